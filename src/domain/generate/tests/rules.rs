//! Rules that every clean record keeps.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::NaiveDate;

use super::super::catalogue::CATEGORIES;
use super::super::{REFERENCE_DATE, price};
use super::{cents, clean_records, date, flag, text};

#[test]
fn clean_records_keep_the_rules() {
    let keys = "actualEnd actualStart areaSilo category class contract dor equipment forecastEnd \
        forecastStart hasActuals hasPlan isActualized isDiscontinued isFundsTransferable \
        manufacturer model monthlyRate originalEnd originalStart pemsCostCode pemsRemarks pfaId \
        purchasePrice source";
    let keys: BTreeSet<&str> = keys.split_whitespace().collect();
    let mut seen = BTreeSet::new();
    let mut latest_actual_start = None;
    let (first, last): (NaiveDate, NaiveDate) = ("2023-01-01".parse().unwrap(), "2028-12-31".parse().unwrap());
    for record in clean_records() {
        for key in record.keys() {
            seen.insert(key.clone());
        }
        let layer = |start, end| (date(record, start), date(record, end));
        let original = layer("originalStart", "originalEnd");
        let forecast = layer("forecastStart", "forecastEnd");
        let actual = layer("actualStart", "actualEnd");
        for (start, end) in [original, forecast, actual] {
            assert!(start.is_none_or(|start| end.is_none_or(|end| start <= end)), "{record:?}");
            assert!(start.is_some() || end.is_none());
            assert!([start, end].into_iter().flatten().all(|day| first <= day && day <= last));
        }
        if let (Some(start), Some(end)) = original {
            assert!((14..=1_095).contains(&(end - start).num_days()), "{record:?}");
        }
        assert_eq!(flag(record, "hasPlan"), original.0.is_some() && original.1.is_some());
        assert_eq!(flag(record, "hasActuals"), actual.0.is_some() && actual.1.is_some());
        assert_eq!(flag(record, "isActualized"), actual.0.is_some());
        latest_actual_start = latest_actual_start.max(actual.0);
        assert!(matches!(text(record, "source"), Some("Rental" | "Purchase")));
        assert!(matches!(text(record, "dor"), Some("PROJECT" | "BEO")));
        assert!(cents(record, "monthlyRate") <= 16_500_000);
        assert!(cents(record, "purchasePrice") <= 820_000_000);
        assert!(text(record, "model").is_none() || text(record, "manufacturer").is_some());
        assert!(text(record, "equipment").is_none_or(|asset| asset.contains(" - ")));
    }
    assert_eq!(seen.iter().map(String::as_str).collect::<BTreeSet<_>>(), keys);
    assert_eq!(latest_actual_start, Some(REFERENCE_DATE));
}

#[test]
fn a_class_decides_category_makes_and_money() {
    let known: HashMap<&str, _> =
        CATEGORIES.iter().flat_map(|category| category.classes.iter().map(|class| (class.name, (category.name, class)))).collect();
    assert_eq!(known.len(), CATEGORIES.iter().map(|category| category.classes.len()).sum::<usize>());
    assert!((35..=45).contains(&known.len()), "{}", known.len());
    let mut seen = HashSet::new();
    for record in clean_records() {
        let Some((category, class)) = text(record, "class").map(|name| known[name]) else {
            continue;
        };
        seen.insert(class.name);
        assert!(text(record, "category").is_none_or(|name| name == category));
        if let (Some(make), Some(model)) = (text(record, "manufacturer"), text(record, "model")) {
            assert!(class.models.contains(&(make, model)));
        }
        let fits = |key, (low, high): (u32, u32)| {
            let cents = cents(record, key);
            // The rounding to a grain may go a little below the range.
            cents == 0 || (u64::from(low - 500) * 100..=u64::from(high) * 100).contains(&cents)
        };
        assert!(fits("purchasePrice", class.purchase_price), "{record:?}");
        let (low, high) = class.monthly_rate;
        assert!(fits("monthlyRate", (low + 450, high)), "{record:?}");
    }
    assert_eq!(seen.len(), known.len());
}

#[test]
fn every_amount_in_cents_is_written_exactly() {
    let amounts = (0..200_000).chain((200_000..u32::MAX).step_by(99_991)).chain([u32::MAX]);
    for cents in amounts {
        let text = price::money(cents).to_string();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        assert_eq!(format!("{whole}{decimals:0<2}").parse(), Ok(cents), "{text}");
        assert_eq!(text.contains('.'), cents % 100 > 0, "{text}");
    }
}
