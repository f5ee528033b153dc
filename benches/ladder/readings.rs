//! The hot readings, three ways in turns, so that a noisy moment meets all alike.

use crate::bed::{Bed, HOLNG, SESSION};
use crate::comparison::{Compares, compare};
use crate::report::{Report, Rung};
use crate::rows;
use crate::support::{Client, quantile, time};
use axum::Router;
use axum::routing::get;
use futures_util::TryStreamExt as _;
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

#[derive(Clone, Copy)]
enum Turn {
    Ours,
    Floor,
    Original,
}

/// What was read last is still at hand: so ours and the floor come as often behind the original design, and behind each other.
const TURNS: [[Turn; 3]; 6] = {
    use Turn::{Floor, Original, Ours};
    [
        [Ours, Floor, Original],
        [Ours, Original, Floor],
        [Floor, Ours, Original],
        [Floor, Original, Ours],
        [Original, Ours, Floor],
        [Original, Floor, Ours],
    ]
};

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
        containment(
            "containment, 100 rows of the largest organization",
            largest,
            r#"{"manufacturer": "Caterpillar", "isActualized": true}"#,
            Some("is_actualized and manufacturer = 'Caterpillar'"),
        ),
        containment(
            "containment by the inverted index, 100 rows of the largest organization",
            largest,
            // No other index has both words.
            &format!(r#"{{"contract": "{largest}-1101", "model": "336F L"}}"#),
            None,
        ),
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

/// A page of the records that contain this. The floor asks the columns that say the same, where an index has them all.
fn containment(name: &'static str, largest: &str, contained: &str, columns: Option<&str>) -> Reading {
    let encoded: String = form_urlencoded::byte_serialize(contained.as_bytes()).collect();
    let search = format!("data @> '{contained}'");
    let page = |condition: &str, rest: &str| format!("where organization_id = '{largest}' and {condition} {rest} limit 100");
    let floor = page(columns.unwrap_or(&search), "and not is_discontinued order by forecast_start, id");
    let literal = page(&search, "order by forecast_start");
    Reading {
        name,
        path: format!("/api/v1/orgs/{largest}/records?contains={encoded}&limit=100"),
        floor: format!("select data::text from pfa_mirror {floor}"),
        literal: Some(format!("select data::text from literal.pfa_merged_live {literal}")),
        at_least: Some(20.0),
        at_most: Some(2.0),
        share: PAGE_SHARE,
        ..Reading::default()
    }
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
        for (round, order) in TURNS.into_iter().cycle().take(rounds).enumerate() {
            for turn in order {
                match turn {
                    Turn::Ours => {
                        let client = if reading.is_first { &mut bed.forgetful } else { &mut bed.client };
                        time(&mut ours, client.read(&reading.path, &reading.body)).await;
                    }
                    Turn::Floor => {
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
                    Turn::Original => {
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
