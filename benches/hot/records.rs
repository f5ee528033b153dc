//! One record: what happens to it on its way from PEMS, in a sandbox and at a commit.

use criterion::{BatchSize, Criterion};
use pfa_vanguard::domain::conflict::three_way;
use pfa_vanguard::domain::cost::Payment;
use pfa_vanguard::domain::delta::{Draft, merge};
use pfa_vanguard::domain::generate::Plan;
use pfa_vanguard::domain::json::object_digest;
use pfa_vanguard::domain::patch::read_patch;
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::domain::rules::broken_rules;
use pfa_vanguard::domain::value::{read_amount, read_date, read_flag};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use std::hint::black_box;

/// The generator's records, as PEMS would send them.
pub fn raw(count: u64) -> Vec<Map<String, Value>> {
    let plan = Plan::skewed(count, 1, 42).organizations.remove(0);
    plan.records().collect()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { unreachable!("only objects are asked for") };
    object
}

pub fn measure(criterion: &mut Criterion) {
    let raw = raw(1).remove(0);
    let (record, _) = canonicalise(raw.clone()).unwrap();
    let patch = object(json!({"forecastStart": "2027-03-01", "forecastEnd": "2027-09-30", "monthlyRate": 12_500.5}));
    let draft = Draft::default().edit(&record.data, &patch);
    let published = merge(&record.data, [&object(json!({"monthlyRate": 11_000, "model": "NBT45"}))]);

    let mut group = criterion.benchmark_group("record");
    group.bench_function("canonicalise", |bench| bench.iter_batched(|| raw.clone(), canonicalise, BatchSize::SmallInput));
    group.bench_function("digest", |bench| bench.iter(|| object_digest(black_box(&record.data))));
    group.bench_function("merge of two deltas", |bench| {
        bench.iter(|| merge(black_box(&record.data), [black_box(&patch), black_box(&draft.delta)]));
    });
    group.finish();

    let mut group = criterion.benchmark_group("sandbox");
    group.bench_function("read a patch", |bench| bench.iter_batched(|| patch.clone(), read_patch, BatchSize::SmallInput));
    group.bench_function("edit of three fields", |bench| bench.iter(|| draft.edit(black_box(&record.data), black_box(&patch))));
    group.bench_function("rules", |bench| bench.iter(|| broken_rules(black_box(&record.data), black_box(&patch))));
    group.bench_function("three-way comparison", |bench| bench.iter(|| three_way(black_box(&draft), black_box(&published))));
    group.finish();

    let (start, end) = (read_date("2027-03-01"), read_date("2027-09-30"));
    let mut group = criterion.benchmark_group("value");
    group.bench_function("date", |bench| bench.iter(|| read_date(black_box("2027-03-01T00:00:00.000Z"))));
    group.bench_function("amount", |bench| bench.iter(|| read_amount(black_box("12500.50"))));
    group.bench_function("flag", |bench| bench.iter(|| read_flag(black_box("Y"))));
    group.bench_function("cost of a rental", |bench| {
        bench.iter(|| Payment::Rental.cost(Payment::Rental.amount(black_box(Decimal::from(12_500)), Decimal::ZERO, start, end)));
    });
    group.finish();
}
