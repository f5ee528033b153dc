//! Reading values: Rust and SQL read the same, and no text makes a load fail.

use crate::support::server::TestDatabase;
use crate::support::test_app;
use chrono::NaiveDate;
use pfa_vanguard::domain::value::{read_amount, read_date, read_flag};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rust_decimal::Decimal;
use serde_json::json;

fn texts() -> Vec<String> {
    let near_misses = prop_oneof![
        "[12][0-9]{3}-[0-3][0-9]-[0-4][0-9]",
        "(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T[0-2][0-9]:[0-6][0-9](:[0-6][0-9](\\.[0-9]{0,3})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?",
        "[+-]?[0-9]{0,13}(\\.[0-9]{0,6})?",
        "[+-]?[0-9]{1,11}\\.[0-9]{1,4}0{0,3}",
        "(?i:true|false|y|n|yes|no|1|0|t|f|on)",
        "[0-9#]{4}-[0-9#]{2}-[0-9#]{2}",
        "\\PC{0,12}",
    ];
    let mut runner = TestRunner::deterministic();
    let odd = ["####-##-##", "2025-01-01\n", "\n2025-01-01", "2025-01-1", "2025-1-01", "２０２５-01-01", "2025‐01‐01", "1２3.5", ""];
    let texts = (0..RANDOM).map(|_| near_misses.new_tree(&mut runner).unwrap().current());
    texts.chain(days()).chain(odd.map(str::to_owned)).collect()
}

/// So many random texts come first.
const RANDOM: usize = 3_500;

/// Every month and day, and those beyond, of years that differ: the first and the last, leap years and others.
fn days() -> impl Iterator<Item = String> {
    let years = [1899, 1900, 1996, 2000, 2025, 2100, 2999, 3000];
    years.into_iter().flat_map(|year| (0..=13).flat_map(move |month| (0..=32).map(move |day| format!("{year}-{month:02}-{day:02}"))))
}

#[tokio::test]
async fn sql_and_rust_read_the_same() {
    let database = TestDatabase::migrated().await;
    let texts = texts();
    let rows: Vec<(String, Option<NaiveDate>, Option<Decimal>, Option<bool>)> =
        sqlx::query_as("select t, pfa_date(t), pfa_amount(t), pfa_flag(t) from unnest($1::text[]) with ordinality u (t, n) order by n")
            .bind(&texts)
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert_eq!(rows.len(), texts.len());
    let (mut dates, mut amounts, mut flags) = (0, 0, 0);
    for (index, (text, date, amount, flag)) in rows.into_iter().enumerate() {
        assert_eq!(read_date(&text), date, "date {text:?}");
        assert_eq!(read_amount(&text), amount, "amount {text:?}");
        assert_eq!(read_flag(&text), flag, "flag {text:?}");
        dates += usize::from(date.is_some() && index < RANDOM);
        amounts += usize::from(amount.is_some());
        flags += usize::from(flag.is_some());
    }
    assert!(dates > 200 && amounts > 500 && flags > 200, "the texts are worth reading: {dates} dates, {amounts} amounts, {flags} flags");
}

/// Somebody may write raw PEMS text straight into the table: nothing fails, what cannot be read is null.
#[tokio::test]
async fn raw_text_in_the_mirror_never_fails() {
    let app = test_app().await;
    app.load("ORG", &[]).await;
    let data = json!({"pfaId": "1", "forecastStart": "2025-02-30", "forecastEnd": "2025-03-01T00:00:00.000Z", "monthlyRate": "abc", "purchasePrice": "",
                      "isActualized": "maybe", "isDiscontinued": "N", "hasPlan": "Y", "source": "Lease"});
    sqlx::query("insert into pfa_mirror (organization_id, data) values ('ORG', $1)").bind(&data).execute(app.pool()).await.unwrap();
    let row: (Option<NaiveDate>, Option<NaiveDate>, Option<Decimal>, Option<Decimal>, bool, bool, bool, Option<String>) = sqlx::query_as(
        "select forecast_start, forecast_end, monthly_rate, purchase_price, is_actualized, is_discontinued, has_plan, source from pfa_merged_live",
    )
    .fetch_one(app.pool())
    .await
    .unwrap();
    assert_eq!(row, (None, NaiveDate::from_ymd_opt(2025, 3, 1), None, None, false, false, true, None));
}
