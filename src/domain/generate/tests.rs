//! What the generated data promises; this file draws the sample that the tests share and reads it.

mod plan;
mod rules;
mod shares;
mod stream;

use std::sync::LazyLock;

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::draw::Source;
use super::{OrganizationPlan, record};

type Record = Map<String, Value>;

const SAMPLE: u32 = 20_000;

fn organization(records: u64) -> OrganizationPlan {
    OrganizationPlan { code: "HOLNG".into(), name: "HOLNG Project".into(), records, seed: 7 }
}

/// Drawn once: every test reads the same ones.
static CLEAN: LazyLock<Vec<Record>> = LazyLock::new(|| {
    let source = Source::new("HOLNG", 7);
    let draw = |index| record::draw_clean(&mut source.draws(index), &source, "HOLNG", index);
    (0..u64::from(SAMPLE)).map(draw).collect()
});

fn clean_records() -> impl Iterator<Item = &'static Record> {
    CLEAN.iter()
}

fn text<'a>(record: &'a Record, key: &str) -> Option<&'a str> {
    record.get(key).filter(|value| !value.is_null()).map(|value| value.as_str().unwrap())
}

fn flag(record: &Record, key: &str) -> bool {
    record[key].as_bool().unwrap()
}

fn date(record: &Record, key: &str) -> Option<NaiveDate> {
    text(record, key).map(|text| text.parse().unwrap())
}

fn cents(record: &Record, key: &str) -> u64 {
    let Some(value) = record.get(key) else {
        return 0;
    };
    assert!(value.is_number(), "{value}");
    let text = value.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    assert!(decimals.len() <= 2, "{text}");
    format!("{whole}{decimals:0<2}").parse().unwrap()
}
