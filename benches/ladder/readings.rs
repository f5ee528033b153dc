//! The hot readings, three ways in turns, so that a noisy moment meets all alike.

use crate::bed::{Bed, HOLNG, SESSION};
use crate::report::{Report, Rung};
use crate::rows;
use crate::support::{Client, quantile, time};
use axum::Router;
use axum::routing::get;
use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row as _, ValueRef as _};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// One reading, three ways.
#[derive(Clone, Default)]
pub struct Reading {
    pub name: &'static str,
    /// Ours: a path below the API.
    pub path: String,
    /// And what is posted to it; nothing for a GET.
    pub body: String,
    pub floor: String,
    pub literal: Option<String>,
    /// Where the floor gives no records, or what is summed up already: a statement of which only the answer is compared.
    pub shown: Option<String>,
    /// The same of the original design's answer.
    pub literal_shown: Option<String>,
    /// Whether the floor also has a static answer of the same size over HTTP: for answers that are mostly HTTP.
    pub has_static: bool,
    pub at_least: Option<f64>,
    pub at_most: Option<f64>,
    /// From a million records to ten.
    pub most_growth: Option<f64>,
    /// Whether nobody asked for it before.
    pub is_first: bool,
    /// What is compared between the three ways.
    pub compares: Compares,
    /// Rounds in a hundred of those asked for.
    pub share: usize,
}

/// What must be the same in all three.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Compares {
    /// Records, as far as no modification touches them: the original design shows everybody's drafts.
    #[default]
    Records,
    /// Values of one field, in order.
    Ids,
    /// What is told of the merged records, in no order.
    Shown,
}

/// Rounds of a page.
const PAGE_SHARE: usize = 100;
/// Of a page, and of what is summed up already.
const MOST_GROWTH: Option<f64> = Some(1.3);
const GRID: &str = "category=Lifting&source=Rental&forecastStartFrom=2023-06-01&forecastEndTo=2028-12-31";
const WHERE_GRID: &str = "category = 'Lifting' and source = 'Rental' and forecast_start >= '2023-06-01' and forecast_end <= '2028-12-31'";
const LEAN: [&str; 5] = ["pfa_id", "category", "source", "forecast_start", "forecast_end"];

#[expect(clippy::too_many_lines, reason = "a list, one reading after the other")]
fn readings(largest: &str, session: Uuid) -> Vec<Reading> {
    let organization = format!("/api/v1/orgs/{HOLNG}");
    let contained = r#"{"manufacturer": "Caterpillar", "isActualized": true}"#;
    // No other index has both words.
    let searched = format!(r#"{{"contract": "{largest}-1101", "model": "336F L"}}"#);
    let [encoded, searched_encoded]: [String; 2] =
        [contained, &searched].map(|json| form_urlencoded::byte_serialize(json.as_bytes()).collect());
    let fields = LEAN.join(", ");
    let shown = "jsonb_build_object('pfaId', pfa_id, 'category', category, 'source', source, 'forecastStart', forecast_start,
                                    'forecastEnd', forecast_end)::text";
    let page = Reading {
        name: "grid page of the largest organization, 1,000 rows, in a sandbox",
        path: format!("/api/v1/orgs/{largest}/records?{GRID}&limit=1000&session={session}"),
        floor: format!(
            "select data::text from pfa_mirror
              where organization_id = '{largest}' and {WHERE_GRID} and not is_discontinued order by forecast_start, id limit 1000"
        ),
        literal: Some(format!(
            "select data::text from literal.pfa_merged_live
              where organization_id = '{largest}' and {WHERE_GRID} order by forecast_start limit 1000"
        )),
        at_least: Some(40.0),
        at_most: Some(1.5),
        most_growth: MOST_GROWTH,
        share: PAGE_SHARE,
        ..Reading::default()
    };
    let streamed = Reading {
        name: "whole organization merged, streamed",
        path: format!("{organization}/records/export?session={SESSION}"),
        floor: format!(
            "select data::text from pfa_mirror where organization_id = '{HOLNG}' and not is_discontinued order by forecast_start, id"
        ),
        literal: Some(format!("select data::text from literal.pfa_merged_live where organization_id = '{HOLNG}'")),
        at_least: Some(1.1),
        at_most: Some(1.3),
        share: 20,
        ..Reading::default()
    };
    let lean = Reading {
        name: "whole organization, 5 fields",
        path: format!("{organization}/records/export?session={SESSION}&fields=pfaId,category,source,forecastStart,forecastEnd"),
        floor: format!(
            "select {fields} from pfa_mirror where organization_id = '{HOLNG}' and not is_discontinued order by forecast_start, id"
        ),
        literal: Some(format!("select {fields} from literal.pfa_merged_live where organization_id = '{HOLNG}'")),
        shown: Some(format!(
            "select {shown} from pfa_mirror where organization_id = '{HOLNG}' and not is_discontinued order by forecast_start, id"
        )),
        literal_shown: Some(format!("select {shown} from literal.pfa_merged_live where organization_id = '{HOLNG}'")),
        at_least: Some(2.0),
        at_most: Some(1.5),
        share: 20,
        ..Reading::default()
    };
    vec![
        page.clone(),
        Reading { name: "the same page, asked for by nobody before", literal: None, at_least: None, is_first: true, ..page },
        streamed.clone(),
        Reading { name: "the same organization, asked for by nobody before", at_least: None, is_first: true, ..streamed },
        lean.clone(),
        Reading { name: "the same fields, asked for by nobody before", at_least: None, is_first: true, ..lean },
        Reading {
            name: "KPIs of an organization",
            path: format!("{organization}/kpis?groupBy=category"),
            floor: format!(
                "select category, source, dor, record_count, actualized_count, plan_amount, forecast_amount, actual_amount
                   from pfa_kpi_summary where organization_id = '{HOLNG}'"
            ),
            literal: Some(format!(
                "select * from literal.pfa_kpi_summary where organization_id = '{HOLNG}' order by total_forecast_cost desc"
            )),
            shown: Some(format!(
                "select jsonb_build_object('key', jsonb_build_object('category', category), 'recordCount', count(*),
                                           'planCost', round(sum({}), 2), 'forecastCost', round(sum({}), 2))::text
                   from {} group by category",
                cost_of("original"),
                cost_of("forecast"),
                published(HOLNG)
            )),
            has_static: true,
            at_most: Some(1.5),
            most_growth: MOST_GROWTH,
            compares: Compares::Shown,
            share: 500,
            ..Reading::default()
        },
        Reading {
            name: "timeline bounds",
            path: format!("{organization}/timeline"),
            floor: format!("select * from pfa_timeline_bounds where organization_id = '{HOLNG}'"),
            literal: Some(format!("select * from literal.pfa_timeline_bounds where organization_id = '{HOLNG}'")),
            shown: Some(format!(
                "select jsonb_build_object('plan', jsonb_build_object('start', min(original_start), 'end', max(original_end)),
                                           'forecast', jsonb_build_object('start', min(forecast_start), 'end', max(forecast_end)),
                                           'recordCount', count(*), 'actualizedCount', count(*) filter (where is_actualized))::text
                   from {}",
                published(HOLNG)
            )),
            has_static: true,
            at_most: Some(1.5),
            most_growth: MOST_GROWTH,
            compares: Compares::Shown,
            share: 500,
            ..Reading::default()
        },
        Reading {
            name: "containment, 100 rows of the largest organization",
            path: format!("/api/v1/orgs/{largest}/records?contains={encoded}&limit=100"),
            floor: format!(
                "select data::text from pfa_mirror
                  where organization_id = '{largest}' and is_actualized and manufacturer = 'Caterpillar' and not is_discontinued
                  order by forecast_start, id limit 100"
            ),
            literal: Some(format!(
                "select data::text from literal.pfa_merged_live
                  where organization_id = '{largest}' and data @> '{contained}' order by forecast_start limit 100"
            )),
            at_least: Some(20.0),
            at_most: Some(2.0),
            share: PAGE_SHARE,
            ..Reading::default()
        },
        Reading {
            name: "containment by the inverted index, 100 rows of the largest organization",
            path: format!("/api/v1/orgs/{largest}/records?contains={searched_encoded}&limit=100"),
            floor: format!(
                "select data::text from pfa_mirror
                  where organization_id = '{largest}' and data @> '{searched}' and not is_discontinued
                  order by forecast_start, id limit 100"
            ),
            literal: Some(format!(
                "select data::text from literal.pfa_merged_live
                  where organization_id = '{largest}' and data @> '{searched}' order by forecast_start limit 100"
            )),
            at_least: Some(20.0),
            at_most: Some(2.0),
            share: PAGE_SHARE,
            ..Reading::default()
        },
        Reading {
            name: "pending write-backs, 100 rows",
            path: format!("{organization}/sync/pending?limit=100"),
            floor: format!(
                "select d.id::text, d.mirror_id, m.pfa_id, d.delta::text, d.modified_fields
                   from pfa_modification d join pfa_mirror m on m.organization_id = d.organization_id and m.id = d.mirror_id
                  where d.organization_id = '{HOLNG}' and d.sync_state = 'committed' order by d.committed_at, d.id limit 100"
            ),
            literal: Some(format!(
                "select mod.id::text, mod.mirror_id, m.pfa_id, mod.delta::text, mod.modified_fields
                   from literal.pfa_modification mod join literal.pfa_mirror m on mod.mirror_id = m.id
                  where mod.organization_id = '{HOLNG}' and mod.sync_state = 'committed' order by mod.committed_at, mod.id limit 100"
            )),
            at_most: Some(1.5),
            compares: Compares::Ids,
            share: 200,
            ..Reading::default()
        },
    ]
}

/// Published records as the merge gives them, of which none is read from a summary.
pub fn published(organization: &str) -> String {
    format!("pfa_merged('{organization}', null) where not is_discontinued")
}

/// What a record costs by its dates of a layer: the original design's formula, for every record that has what it asks for.
pub fn cost_of(layer: &str) -> String {
    format!(
        "case when source = 'Purchase' then coalesce(purchase_price, 0)
              when {layer}_end > {layer}_start then ({layer}_end - {layer}_start) / 30.44 * coalesce(monthly_rate, 0)
              else 0 end"
    )
}

/// Measures every reading.
pub async fn measure(bed: &mut Bed, rounds: usize, report: &mut Report) {
    let touched: BTreeSet<String> =
        sqlx::query_scalar("select distinct m.pfa_id from pfa_modification d join pfa_mirror m on m.organization_id = d.organization_id and m.id = d.mirror_id")
            .fetch_all(&bed.pool)
            .await
            .unwrap()
            .into_iter()
            .collect();
    let mut readings = readings(&bed.largest, bed.sandbox_of_largest().await);
    readings.extend(rows::readings(&bed.largest, report.records));
    for mut reading in readings {
        if bed.original.is_none() {
            (reading.literal, reading.literal_shown, reading.at_least) = (None, None, None);
        }
        let body = bed.client.get_or_post(&reading.path, &reading.body).await;
        compare(bed, &reading, &body, &touched).await;
        let fixed = body.clone();
        let mut fixed = Client::of(Router::new().route("/", get(async move || fixed))).await;
        let rounds = (rounds * reading.share / 100).max(5);
        let [mut ours, mut floor, mut literal]: [Vec<Duration>; 3] = Default::default();
        // Each of the three behind each of the others: what was read last is still at hand.
        for round in 0..rounds {
            for turn in round..round + 3 {
                match turn % 3 {
                    0 => {
                        let client = if reading.is_first { &mut bed.forgetful } else { &mut bed.client };
                        time(&mut ours, client.read(&reading.path, &reading.body)).await;
                    }
                    1 => {
                        let reads_fixed = reading.has_static;
                        time(&mut floor, async {
                            if reads_fixed {
                                fixed.read("/", "").await;
                            }
                            read(&mut bed.bare, &reading.floor).await
                        })
                        .await;
                    }
                    // Of a page it takes up to half a second.
                    _ => {
                        if let (Some(statement), Some(original)) = (&reading.literal, &mut bed.original)
                            && (round < 5 || round % 10 == 0 || reading.share < PAGE_SHARE)
                        {
                            time(&mut literal, read(original, statement)).await;
                        }
                    }
                }
            }
        }
        // As it was read in the last round.
        let client = if reading.is_first { &mut bed.forgetful } else { &mut bed.client };
        let body = client.get_or_post(&reading.path, &reading.body).await;
        compare(bed, &reading, &body, &touched).await;
        report.add(Rung {
            name: reading.name.to_owned(),
            ours: quantile(&mut ours, 0.5),
            ours_p99: quantile(&mut ours, 0.99),
            floor: Some(quantile(&mut floor, 0.5)),
            literal: reading.literal.is_some().then(|| quantile(&mut literal, 0.5)),
            at_least: reading.at_least,
            at_most: reading.at_most,
            most_growth: reading.most_growth,
            ..Rung::default()
        });
    }
}

/// Reads all rows, as they come; gives the number of those with a value in the first column.
async fn read(connection: &mut PgConnection, statement: &str) -> usize {
    let mut rows = sqlx::query(AssertSqlSafe(statement)).fetch(connection);
    let mut values = 0;
    while let Some(row) = rows.try_next().await.unwrap() {
        values += row.try_get_raw(0).map_or(0, |value| usize::from(!value.is_null()));
    }
    values
}

/// Fails unless the three ways say the same where they should.
async fn compare(bed: &mut Bed, reading: &Reading, body: &str, touched: &BTreeSet<String>) {
    let ours = rows_of(body);
    assert!(!ours.is_empty(), "{}: nothing was read", reading.name);
    let literal = reading.literal_shown.as_ref().or(reading.literal.as_ref().filter(|_| reading.shown.is_none()));
    for (statement, has_order) in [(Some(reading.shown.as_ref().unwrap_or(&reading.floor)), true), (literal, false)] {
        let Some(statement) = statement else { continue };
        let theirs: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement.as_str())).fetch_all(&mut bed.bare).await.unwrap();
        if reading.compares == Compares::Ids {
            let ours: Vec<_> = ours.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(ours, theirs, "{}", reading.name);
            continue;
        }
        let theirs: Vec<Value> = theirs.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        if reading.compares == Compares::Shown {
            assert_eq!(sorted(ours.iter().map(|row| like(row, &theirs[0]))), sorted(theirs.iter().cloned()), "{}", reading.name);
            return;
        }
        let is_page = reading.path.contains("limit=") || !reading.body.is_empty();
        let [mut ours, mut theirs] = [&ours, &theirs].map(|rows| untouched(rows, touched));
        if is_page && has_order {
            // Both begin the same list, and end where each has its number of rows.
            let shorter = ours.len().min(theirs.len());
            ours.truncate(shorter);
            theirs.truncate(shorter);
        } else if is_page {
            // The original design says no order of one day: up to the earlier of both last days the same rows are in both.
            let end = [&ours, &theirs].map(|rows| rows.last().map_or(String::new(), start_of)).into_iter().min().unwrap();
            for rows in [&mut ours, &mut theirs] {
                rows.retain(|row| start_of(row) < end);
            }
        }
        if !has_order {
            for rows in [&mut ours, &mut theirs] {
                rows.sort_by_key(|row| row["pfaId"].to_string());
            }
        }
        assert!(!ours.is_empty() && ours == theirs, "{}: {} rows of ours, {} of theirs", reading.name, ours.len(), theirs.len());
    }
}

/// The rows of an answer: of a page, of a grid, of a summary or of an export; a summary that has none is one itself.
fn rows_of(body: &str) -> Vec<Value> {
    let Ok(answer) = serde_json::from_str::<Value>(body) else {
        return body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    };
    let rows = ["data", "rows", "groups"].iter().find_map(|key| answer[key].as_array());
    rows.cloned().unwrap_or_else(|| vec![answer])
}

/// Of a row what the other one tells.
fn like(row: &Value, other: &Value) -> Value {
    other.as_object().unwrap().keys().map(|key| (key.clone(), row[key].clone())).collect()
}

fn sorted(rows: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(Value::to_string);
    rows
}

fn start_of(row: &Value) -> String {
    // Rows without a date come last.
    row["forecastStart"].as_str().unwrap_or("~").to_owned()
}

/// Records that no modification touches, in their order.
fn untouched(rows: &[Value], touched: &BTreeSet<String>) -> Vec<Value> {
    let rows = rows.iter().filter(|row| !touched.contains(row["pfaId"].as_str().unwrap()));
    rows.map(|row| {
        let mut record = row.as_object().unwrap().clone();
        record.remove("_meta");
        Value::Object(record)
    })
    .collect()
}
