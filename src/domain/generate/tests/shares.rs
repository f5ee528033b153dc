//! Shares and correlations, within the tolerance of a sample.

use super::super::REFERENCE_DATE;
use super::{Record, SAMPLE, cents, clean_records, date, flag, text};

/// Compares the share of the clean records, in per cent.
#[track_caller]
fn assert_share(what: &str, expected: f64, tolerance: f64, is: impl Fn(&Record) -> bool) {
    let count = u32::try_from(clean_records().filter(|record| is(record)).count()).unwrap();
    let share = f64::from(count) * 100.0 / f64::from(SAMPLE);
    assert!((share - expected).abs() <= tolerance, "{what}: {share} %, expected {expected} %");
}

#[test]
fn shares_are_as_documented() {
    let has = |key: &'static str| move |record: &Record| text(record, key).is_some();
    let is = |key: &'static str| move |record: &Record| flag(record, key);
    let rental = |record: &Record| record["source"] == "Rental";
    assert_share("rental", 70.0, 1.5, rental);
    assert_share("project", 75.0, 1.5, |record| record["dor"] == "PROJECT");
    assert_share("actualized", 25.0, 1.5, is("isActualized"));
    assert_share("discontinued", 4.0, 0.7, is("isDiscontinued"));
    assert_share("funds transferable", 6.0, 0.8, is("isFundsTransferable"));
    assert_share("plan start", 97.0, 0.6, has("originalStart"));
    assert_share("forecast start", 98.0, 0.6, has("forecastStart"));
    assert_share("complete plan", 96.0, 0.7, is("hasPlan"));
    assert_share("equipment", 60.0, 2.0, has("equipment"));
    assert_share("contract", 95.0, 1.0, has("contract"));
    assert_share("extra keys", 5.0, 0.7, |record| record.contains_key("pemsCostCode") || record.contains_key("pemsRemarks"));
    assert_share("rentals with rate", 69.3, 1.5, |record| rental(record) && cents(record, "monthlyRate") > 0);
    assert_share("rentals with price", 2.1, 0.5, |record| rental(record) && cents(record, "purchasePrice") > 0);
    assert_share("purchases with price", 29.7, 1.5, |record| !rental(record) && cents(record, "purchasePrice") > 0);
    assert_share("heavy equipment", 32.0, 1.5, |record| text(record, "category") == Some("Heavy Equipment"));
    assert_share("forecast as planned", 45.0, 3.0, |record| {
        has("originalStart")(record) && text(record, "originalStart") == text(record, "forecastStart")
    });
    assert_share("cents", 7.0, 1.5, |record| cents(record, "monthlyRate") % 100 + cents(record, "purchasePrice") % 100 > 0);
}

#[test]
fn later_ids_start_later_but_only_weakly() {
    let days: Vec<f64> = clean_records()
        .map(|record| date(record, "forecastStart").unwrap_or(REFERENCE_DATE))
        .map(|date| f64::from(i32::try_from((date - REFERENCE_DATE).num_days()).unwrap()))
        .collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / f64::from(SAMPLE);
    let ranks: Vec<f64> = (0..SAMPLE).map(f64::from).collect();
    let (day, rank) = (mean(&days), mean(&ranks));
    let products =
        |a: &[f64], b: &[f64], mean_a: f64, mean_b: f64| -> f64 { a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum() };
    let correlation = products(&days, &ranks, day, rank) / (products(&days, &days, day, day) * products(&ranks, &ranks, rank, rank)).sqrt();
    assert!((0.03..0.3).contains(&correlation), "{correlation}");
}
