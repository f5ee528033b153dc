//! The rules that stand twice, in Rust and in SQL, say the same: on thousands of records, clean and
//! dirty ones, sent in batches.

use crate::support::server::TestDatabase;
use pfa_vanguard::domain::conflict::{Comparison, three_way};
use pfa_vanguard::domain::cost::{Payment, round_to_cents};
use pfa_vanguard::domain::delta::{Draft, merge};
use pfa_vanguard::domain::operation::{MOST_DAYS, Operation};
use pfa_vanguard::domain::rules::{Rule, broken_rules};
use pfa_vanguard::domain::value::{read_amount, read_date, read_flag};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow};
use std::collections::{BTreeMap, BTreeSet};

type Object = Map<String, Value>;

const CASES: usize = 4_000;
const BATCH: usize = 500;

const DATES: [&str; 6] = ["originalStart", "originalEnd", "forecastStart", "forecastEnd", "actualStart", "actualEnd"];

fn draw<T>(strategy: &impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    (0..CASES).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Asks about pairs of objects `a` and `b`; what came back stands beside the pair as the database holds it.
async fn ask<T>(database: &TestDatabase, question: &str, pairs: &[(Object, Object)]) -> Vec<(Object, Object, T)>
where
    T: Send + Unpin,
    for<'r> (Json<Object>, Json<Object>, T): FromRow<'r, PgRow>,
{
    let mut answers = Vec::new();
    for batch in pairs.chunks(BATCH) {
        let (a, b): (Vec<_>, Vec<_>) = batch.iter().map(|(a, b)| (Value::Object(a.clone()), Value::Object(b.clone()))).unzip();
        let statement = format!("select a, b, {question} from unnest($1::jsonb[], $2::jsonb[]) with ordinality u (a, b, n) order by n");
        let rows: Vec<(Json<Object>, Json<Object>, T)> =
            sqlx::query_as(AssertSqlSafe(statement)).bind(a).bind(b).fetch_all(&database.pool).await.unwrap();
        answers.extend(rows.into_iter().map(|(a, b, answer)| (a.0, b.0, answer)));
    }
    assert_eq!(answers.len(), pairs.len());
    answers
}

/// Fails unless each of these came up often enough to be worth the name of a test.
fn assert_met(met: &BTreeMap<String, usize>, expected: &[&str]) {
    let rare: Vec<_> = expected.iter().filter(|what| met.get(**what).is_none_or(|times| *times < 10)).collect();
    assert!(rare.is_empty(), "too rare: {rare:?} of {met:?}");
}

#[tokio::test]
async fn broken_rules_are_the_same() {
    let database = TestDatabase::migrated().await;
    let mut met = BTreeMap::new();
    for (record, delta, found) in ask::<Vec<String>>(&database, "pfa_broken_rules(a || b, b)", &draw(&(record(), record()))).await {
        let expected: Vec<_> = broken_rules(&merge(&record, [&delta]), &delta).into_iter().map(Rule::code).collect();
        assert_eq!(found, expected, "{record:?} with {delta:?}");
        for rule in found {
            *met.entry(rule).or_default() += 1;
        }
    }
    assert_met(&met, &["forecastOrder", "actualOrder", "frozenForecast"]);
}

#[tokio::test]
async fn operations_do_the_same() {
    let database = TestDatabase::migrated().await;
    let (operations, records): (Vec<_>, Vec<_>) = draw(&(operation(), record())).into_iter().unzip();
    let json = |operation: &Operation| operation.to_json().as_object().unwrap().clone();
    let pairs: Vec<_> = operations.iter().map(json).zip(records).collect();
    let mut met = BTreeMap::new();
    let answers =
        ask::<Json<(Object, Vec<String>)>>(&database, "(select jsonb_build_array(patch, obstacles) from pfa_edit_patch(a, b))", &pairs);
    for (operation, (asked, record, Json((patch, obstacles)))) in operations.into_iter().zip(answers.await) {
        // The database writes numbers in its own way.
        let operation = match operation {
            Operation::Set(_) => Operation::Set(asked["fields"].as_object().unwrap().clone()),
            other => other,
        };
        match operation.patch(&record) {
            Ok(expected) => assert_eq!((&patch, &obstacles[..]), (&expected, &[][..]), "{operation:?} on {record:?}"),
            Err(rules) => {
                let expected: Vec<_> = rules.into_iter().map(Rule::code).collect();
                assert_eq!(obstacles, expected, "{operation:?} on {record:?}");
            }
        }
        let outcome = if obstacles.is_empty() { operation.to_json()["type"].as_str().unwrap().to_owned() } else { obstacles.join(" ") };
        *met.entry(outcome).or_default() += 1;
    }
    let outside = ["forecastStartRange", "forecastEndRange", "actualEndRange", "forecastStartRange forecastEndRange"];
    assert_met(&met, &["set", "shiftDates", "setDuration", "resetToPlan", "noForecastStart", "noPlan"]);
    assert_met(&met, &outside);
}

#[tokio::test]
async fn three_ways_compare_the_same() {
    let database = TestDatabase::migrated().await;
    // The second object is what was, with what is published under a key of its own.
    let pairs: Vec<_> = draw(&(fields(), fields(), fields()))
        .into_iter()
        .map(|(delta, base, published)| {
            (delta, [("was", base), ("is", published)].map(|(k, v)| (k.to_owned(), json!(v))).into_iter().collect())
        })
        .collect();
    let mut met = BTreeMap::new();
    let question = "coalesce(pfa_comparison(a, b->'was', b->'is'), '[]')";
    for (delta, both, Json(found)) in ask::<Json<Vec<Comparison>>>(&database, question, &pairs).await {
        let [base, published] = ["was", "is"].map(|key| both[key].as_object().unwrap().clone());
        let expected = three_way(&Draft { delta, base }, &published);
        assert_eq!(found, expected, "{both:?}");
        for compared in found {
            let texts = [&compared.base, &compared.ours, &compared.theirs].map(ToString::to_string);
            let by_meaning = !compared.conflict && texts[2] != texts[0] && texts[2] != texts[1];
            let outcome = if by_meaning {
                "the same by meaning"
            } else if compared.conflict {
                "conflict"
            } else {
                "clean"
            };
            *met.entry(outcome.to_owned()).or_default() += 1;
        }
    }
    assert_met(&met, &["clean", "conflict", "the same by meaning"]);
}

#[tokio::test]
async fn deltas_merge_the_same() {
    let database = TestDatabase::migrated().await;
    for (first, second, Json(found)) in ask::<Json<Object>>(
        &database,
        "(select pfa_merge(d order by n) from (values (2, b), (1, a)) layers (n, d))",
        &draw(&(fields(), fields())),
    )
    .await
    {
        assert_eq!(found, merge(&first, [&second]));
    }
}

#[tokio::test]
async fn records_cost_the_same() {
    let database = TestDatabase::migrated().await;
    let question = "(select jsonb_build_array(source, amounts) from pfa_record_amounts(a))";
    let mut met = BTreeMap::new();
    for (record, _, Json((source, found))) in
        ask::<Json<(Option<String>, Vec<Value>)>>(&database, question, &draw(&(record(), Just(Object::new())))).await
    {
        let text = |key: &str| text(&record, key);
        let date = |key: &str| text(key).as_deref().and_then(read_date);
        let amount = |key: &str| text(key).as_deref().and_then(read_amount).unwrap_or_default();
        let flag = |key: &str| text(key).as_deref().and_then(read_flag) == Some(true);
        let payment = Payment::of(source.as_deref());
        let layer = |counts: bool, start: &str, end: &str| {
            let amount = payment.amount(amount("monthlyRate"), amount("purchasePrice"), date(start), date(end));
            if counts { amount } else { Decimal::ZERO }
        };
        let counts = !flag("isDiscontinued");
        let expected = [
            layer(counts, "originalStart", "originalEnd"),
            layer(counts, "forecastStart", "forecastEnd"),
            layer(counts && flag("isActualized"), "actualStart", "actualEnd"),
        ];
        assert_eq!(source, text("source"));
        let found: Vec<_> = found.iter().map(|amount| amount.to_string().parse::<Decimal>().unwrap()).collect();
        assert_eq!(found, expected, "{record:?}");
        let kind = if payment == Payment::Purchase { "purchase" } else { "rental" };
        *met.entry(format!("{kind} {}", if found.iter().any(|amount| !amount.is_zero()) { "costs" } else { "is free" })).or_default() += 1;
    }
    assert_met(&met, &["rental costs", "rental is free", "purchase costs", "purchase is free"]);
}

#[tokio::test]
async fn sums_are_divided_and_rounded_the_same() {
    let database = TestDatabase::migrated().await;
    let cases = draw(&(select(&["Rental", "Purchase"][..]), 0..=400_000_i64, 0..=99_999_999_999_i64, 0..=4_u32));
    let (sources, amounts): (Vec<_>, Vec<_>) = cases
        .into_iter()
        .map(|(source, days, rate, scale)| (source.to_owned(), Decimal::from(days) * Decimal::new(rate, scale.max(2))))
        .unzip();
    let found: Vec<Decimal> = sqlx::query_scalar(
        // More digits than the quotient has by itself, so that it is rounded once.
        "select round(pfa_cost(s, a * 1.0000000000), 2) from unnest($1::text[], $2::numeric[]) with ordinality u (s, a, n) order by n",
    )
    .bind(&sources)
    .bind(&amounts)
    .fetch_all(&database.pool)
    .await
    .unwrap();
    for ((source, amount), found) in sources.iter().zip(&amounts).zip(found) {
        assert_eq!(round_to_cents(Payment::of(Some(source)).cost(*amount)), found, "{source} {amount}");
    }
}

/// What an edit makes of a draft, in the reference and in the model of sandboxes.
#[test]
fn edits_make_the_same_drafts() {
    use crate::sandbox_model::rules::{Draft as Plain, edited};
    let mut kept = BTreeSet::new();
    for (published, later, first, second) in draw(&(clean(), clean(), clean(), clean())) {
        let (mut reference, mut plain) = (Draft::default(), None);
        // Others publish between the first edit and the second; the third goes back to what was.
        for (published, patch) in [(&published, &first), (&later, &second), (&later, &published)] {
            reference = reference.edit(published, patch);
            plain = edited(plain.as_ref(), published, patch, Plain::default());
            let expected = plain.clone().unwrap_or_default();
            assert_eq!(
                (&reference.delta, &reference.base),
                (&expected.delta, &expected.base),
                "{published:?}, {later:?}: {first:?}, {second:?}"
            );
            kept.insert(reference.delta.len());
        }
    }
    assert!(kept.len() > 2, "drafts of several sizes, also none: {kept:?}");
}

/// The text of a value as `->>` gives it.
fn text(record: &Object, key: &str) -> Option<String> {
    match record.get(key)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

// ---- What records are made of.

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Dates near each other and near the ends of the years, and what is none.
fn date() -> impl Strategy<Value = Value> {
    let near = (0..60_u64).prop_map(|days| json!(chrono::NaiveDate::from_ymd_opt(2024, 1, 15).unwrap() + chrono::Days::new(days)));
    let ends = select(&["1900-01-01", "1900-01-20", "2999-12-31", "2999-12-05", "2024-02-29"][..]).prop_map(Value::from);
    let dirt = select(vec![json!("2025-02-30"), json!("soon"), json!(""), json!("2024-02-01T10:00:00Z"), json!(20_240_201), json!(true)]);
    prop_oneof![6 => near, 3 => ends, 1 => dirt, 1 => Just(Value::Null)]
}

fn flag() -> impl Strategy<Value = Value> {
    let dirt = select(vec![json!("Y"), json!("no"), json!("maybe"), json!(1), json!(0), Value::Null]);
    prop_oneof![3 => any::<bool>().prop_map(Value::from), 1 => dirt]
}

fn amount() -> impl Strategy<Value = Value> {
    let good = select(&["0", "15000", "15000.0", "1.5e4", "0.01", "99999999999.9999", "-5", "30440"][..]).prop_map(number);
    let dirt = select(vec![json!("abc"), json!("15"), json!(""), Value::Null, number("123456789012"), number("0.00001"), number("1e300")]);
    prop_oneof![4 => good, 1 => dirt]
}

fn entry() -> impl Strategy<Value = (String, Value)> {
    let source = select(vec![json!("Rental"), json!("Purchase"), json!("Lease"), Value::Null]);
    prop_oneof![
        8 => (select(&DATES[..]), date()),
        2 => (select(&["isActualized", "isDiscontinued"][..]), flag()),
        2 => (select(&["monthlyRate", "purchasePrice"][..]), amount()),
        1 => (Just("source"), source),
    ]
    .prop_map(|(key, value)| (key.to_owned(), value))
}

/// Some keys of a record.
fn record() -> impl Strategy<Value = Object> {
    vec(entry(), 1..16).prop_map(|entries| entries.into_iter().collect())
}

/// Few keys and values, so that they meet; numbers that are written in several ways.
fn fields() -> impl Strategy<Value = Object> {
    let texts = [
        "null",
        "1",
        "1.0",
        "10e-1",
        "-0",
        "0.00",
        "1e300",
        "10e299",
        "0.1e-299",
        "\"1\"",
        "true",
        "[1, 1.0]",
        "[1.0, 1]",
        "{\"a\": 1}",
        "{\"a\": 1.00}",
    ];
    let value = select(texts.to_vec()).prop_map(number);
    vec((select(&["a", "b", "c", "d"][..]).prop_map(str::to_owned), value), 0..5).prop_map(|entries| entries.into_iter().collect())
}

/// Canonical values, as edits and the mirror have them.
fn clean() -> impl Strategy<Value = Object> {
    let value = select(&["null", "1", "2", "\"1\"", "true"][..]).prop_map(number);
    vec(value, 4).prop_map(|values| ["a", "b", "c", "d"].map(str::to_owned).into_iter().zip(values).collect())
}

fn operation() -> impl Strategy<Value = Operation> {
    let days = || prop_oneof![6 => -40..40_i32, 1 => select(&[MOST_DAYS, -MOST_DAYS, 365_000, -365_000][..])];
    prop_oneof![
        1 => record().prop_map(Operation::Set),
        6 => days().prop_map(Operation::ShiftDates),
        3 => days().prop_map(|days| Operation::SetDuration(days.abs())),
        2 => Just(Operation::ResetToPlan),
    ]
}
