//! A page of the grid: its statement, its cursor, its JSON.

use crate::records::raw;
use chrono::NaiveDate;
use criterion::{Criterion, Throughput};
use pfa_vanguard::domain::cursor::Cursor;
use pfa_vanguard::domain::export::CsvWriter;
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::filter::{Filter, Range};
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::domain::row::{Cell, Meta, ShownModification, push_fields, push_record};
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::service::Reader;
use pfa_vanguard::service::records::{CountKind, PageQuery};
use stats_alloc::{Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use uuid::Uuid;

/// Rows of the page.
const ROWS: usize = 1_000;
const LEAN: [Field; 5] = [Field::PfaId, Field::Category, Field::Source, Field::ForecastStart, Field::ForecastEnd];

/// A thousand records as PostgreSQL sends them.
fn records() -> Vec<String> {
    raw(ROWS as u64).into_iter().map(|raw| serde_json::to_string(&canonicalise(raw).unwrap().0.data).unwrap()).collect()
}

/// Every tenth row is a draft.
fn meta(row: usize) -> Meta<'static> {
    let shown = || ShownModification {
        state: "draft",
        fields: vec!["forecastEnd".to_owned(), "forecastStart".to_owned()],
        user: "planner",
        at: "2026-11-25T12:00:00Z".parse().unwrap(),
    };
    Meta { id: Uuid::from_u128(row as u128), version: 3, shown: row.is_multiple_of(10).then(shown) }
}

const CELLS: [Cell<'static>; 5] = [
    Cell::Text("104711"),
    Cell::Text("Lifting"),
    Cell::Text("Rental"),
    Cell::Date(NaiveDate::from_ymd_opt(2027, 3, 1).unwrap()),
    Cell::Date(NaiveDate::from_ymd_opt(2027, 9, 30).unwrap()),
];

fn whole_page(records: &[String]) -> String {
    let mut json = String::with_capacity(records.len() * 800);
    for (row, record) in records.iter().enumerate() {
        json.push(if row == 0 { '[' } else { ',' });
        push_record(&mut json, record, &meta(row));
    }
    json.push(']');
    json
}

fn lean_page() -> String {
    let mut json = String::with_capacity(ROWS * 300);
    for row in 0..ROWS {
        json.push(if row == 0 { '[' } else { ',' });
        push_fields(&mut json, &LEAN, CELLS, Some(&meta(row)));
    }
    json.push(']');
    json
}

fn csv() -> String {
    let mut export = CsvWriter::new(&LEAN);
    for _ in 0..ROWS {
        export.push(CELLS);
    }
    export.take()
}

fn query() -> PageQuery {
    let words = [(Field::Category, vec!["Lifting".to_owned()]), (Field::Source, vec!["Rental".to_owned()])];
    let dates = [(Field::ForecastStart, Range { from: "2023-06-01".parse().ok(), to: None })];
    PageQuery {
        reader: Reader { organization: "HOLNG".to_owned(), user: "planner".to_owned(), session: Some(Uuid::from_u128(1)) },
        filter: Filter { words: words.into(), dates: dates.into(), text: vec!["crane".to_owned()], ..Filter::default() },
        sort: Sort::parse("forecastStart,-monthlyRate").unwrap(),
        fields: None,
        offset: 0,
        limit: 1_000,
        cursor: None,
        count: CountKind::Exact,
    }
}

/// Prints what a page asks for: how often, and how much.
pub fn print_allocations(allocator: &StatsAlloc<System>) {
    let records = records();
    println!("| page of {ROWS} rows | allocations | reallocations | bytes |\n|---|---|---|---|");
    let count = |name: &str, make: &dyn Fn() -> String| {
        let region = Region::new(allocator);
        let page = make();
        let change = region.change();
        println!(
            "| {name}, {} bytes of text | {} | {} | {} |",
            page.len(),
            change.allocations,
            change.reallocations,
            change.bytes_allocated
        );
    };
    count("whole records", &|| whole_page(&records));
    count("5 fields", &lean_page);
    count("5 fields as CSV", &csv);
}

pub fn measure(criterion: &mut Criterion) {
    let records = records();
    let query = query();
    let fingerprint = query.fingerprint();
    let cursor = Cursor::new(fingerprint, vec![Some("2027-03-01".to_owned()), None], Uuid::from_u128(7));
    let text = cursor.encode();

    let mut group = criterion.benchmark_group("question");
    group.bench_function("statement", |bench| bench.iter(|| black_box(&query).statement()));
    group.bench_function("fingerprint", |bench| bench.iter(|| black_box(&query).fingerprint()));
    group.bench_function("cursor, written", |bench| bench.iter(|| black_box(&cursor).encode()));
    group.bench_function("cursor, read", |bench| bench.iter(|| Cursor::decode(black_box(&text), fingerprint, &query.sort)));
    group.finish();

    let mut group = criterion.benchmark_group("page");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("whole records", |bench| bench.iter(|| whole_page(black_box(&records))));
    group.bench_function("5 fields", |bench| bench.iter(lean_page));
    group.bench_function("5 fields as CSV", |bench| bench.iter(csv));
    group.finish();
}
