//! What must hold of an organization after whatever happened: the overlay, the summaries, the numbers.

use chrono::NaiveDate;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use rust_decimal::Decimal;
use sqlx::PgPool;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The overlay is what the mirror and the deltas say.
pub async fn check_overlay(pool: &PgPool, organization: &str) {
    let mut transaction = pool.begin().await.unwrap();
    let stale: Vec<(Uuid, Uuid)> =
        sqlx::query_as("select * from pfa_stale_overlay($1)").bind(organization).fetch_all(&mut *transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    assert!(stale.is_empty(), "stale in the overlay of {organization}: {stale:?}");
}

type Groups = BTreeMap<[Option<String>; 3], (i64, Decimal, Decimal)>;

/// A reader's KPIs and timeline are the plain sums and bounds of the records that it sees.
pub async fn check_summaries(service: &PfaMirrorService, pool: &PgPool, reader: &Reader) {
    check_kpis(service, pool, reader).await;
    check_timeline(service, pool, reader).await;
}

async fn check_timeline(service: &PfaMirrorService, pool: &PgPool, reader: &Reader) {
    let (first, last, counts): ([Option<NaiveDate>; 3], [Option<NaiveDate>; 3], [i64; 2]) = sqlx::query_as(
        "select array[min(original_start), min(forecast_start), min(actual_start)], array[max(original_end), max(forecast_end), max(actual_end)],
                array[count(*), count(*) filter (where is_actualized)]
           from pfa_merged($1, $2)
          where not is_discontinued",
    )
    .bind(&reader.organization)
    .bind(reader.session)
    .fetch_one(pool)
    .await
    .unwrap();
    let timeline = service.find_timeline(reader).await.unwrap();
    let layers = [timeline.plan, timeline.forecast, timeline.actual];
    let found = (layers.map(|layer| layer.start), layers.map(|layer| layer.end), [timeline.record_count, timeline.actualized_count]);
    assert_eq!(found, (first, last, counts), "timeline of {reader:?}");
}

async fn check_kpis(service: &PfaMirrorService, pool: &PgPool, reader: &Reader) {
    let rows: Vec<(Option<String>, Option<String>, Option<String>, i64, Decimal, Decimal)> = sqlx::query_as(
        "select category, source, dor, count(*),
                sum(case source when 'Purchase' then purchase_price else coalesce(greatest(original_end - original_start, 0) * monthly_rate, 0) end),
                sum(case source when 'Purchase' then purchase_price else coalesce(greatest(forecast_end - forecast_start, 0) * monthly_rate, 0) end)
           from pfa_merged($1, $2)
          where not is_discontinued
          group by category, source, dor",
    )
    .bind(&reader.organization)
    .bind(reader.session)
    .fetch_all(pool)
    .await
    .unwrap();
    let expected: Groups = rows.into_iter().map(|(c, s, d, count, plan, forecast)| ([c, s, d], (count, plan, forecast))).collect();
    let kpis = service.find_kpis(reader).await.unwrap();
    let amounts =
        kpis.groups.iter().cloned().map(|group| {
            ([group.category, group.source, group.dor], (group.amounts.record_count, group.amounts.plan, group.amounts.forecast))
        });
    assert_eq!(amounts.collect::<Groups>(), expected, "KPIs of {reader:?}");
}

/// Every publication has a number and a moment of its own, in the same order, and none is newer
/// than the organization's.
pub async fn check_numbers(pool: &PgPool, organization: &str) {
    let wrong: Vec<(i64, i64)> = sqlx::query_as(
        "with publication as (
             select change_number, min(changed_at) as earliest, max(changed_at) as latest, count(distinct (source, source_id)) as writers
               from pfa_mirror_history
              where organization_id = $1 and resolution is null
              group by change_number
         ), ordered as (
             select *, lag(latest) over (order by change_number) as before from publication
         )
         select change_number, writers
           from ordered
          where earliest <> latest or earliest <= before or writers <> 1
             or change_number > (select change_number from organizations where organization_id = $1)",
    )
    .bind(organization)
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(wrong.is_empty(), "publications of {organization} that share a number or a moment: {wrong:?}");
}
