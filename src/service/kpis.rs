//! KPI amounts, exact at any moment: what the materialized view says as of its refresh, what was
//! published since, and for a sandbox its own rows in place of what is published on them.

use crate::domain::kpi::{Amounts, KpiGroup};
use crate::error::{Error, Result, refusal};
use crate::service::{PfaMirrorService, Reader};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Amounts by category, source and dor, and the age of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kpis {
    /// The groups; none for an organization without records.
    pub groups: Vec<KpiGroup>,
    /// When the summaries were last refreshed.
    pub refreshed_at: Option<DateTime<Utc>>,
}

/// A part of the sum: of the view, of a publication since, or of a sandbox.
struct KpiRow {
    refusal: Option<String>,
    /// Set by rows of the view, and where there is no view by all.
    refreshed_at: Option<DateTime<Utc>>,
    category: Option<String>,
    source: Option<String>,
    dor: Option<String>,
    record_count: Option<i64>,
    actualized_count: Option<i64>,
    plan: Option<Decimal>,
    forecast: Option<Decimal>,
    actual: Option<Decimal>,
}

impl PfaMirrorService {
    /// Exact KPI amounts for a reader: published, or with a session what-if.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn find_kpis(&self, reader: &Reader) -> Result<Arc<Kpis>> {
        self.read_edition(&self.kpis, reader, async || self.sum_kpis(reader).await).await
    }

    async fn sum_kpis(&self, reader: &Reader) -> Result<Kpis> {
        let rows = match reader.session {
            None => self.select_published_kpis(&reader.organization).await?,
            Some(session) => self.select_sandbox_kpis(reader, session).await?,
        };
        self.finish_kpis(reader, rows).await
    }

    async fn finish_kpis(&self, reader: &Reader, rows: Vec<KpiRow>) -> Result<Kpis> {
        let Some(first) = rows.first() else { return Err(Error::OrganizationNotFound(reader.organization.clone())) };
        refusal(first.refusal.as_deref(), &reader.organization)?;
        if rows.iter().any(|row| row.refreshed_at.is_some()) {
            return Ok(add_up(rows));
        }
        // The view has nothing of this organization: it was never refreshed, or had no records then.
        Ok(add_up(self.compute_kpis(reader).await?))
    }

    async fn select_published_kpis(&self, organization: &str) -> Result<Vec<KpiRow>> {
        // An outer join: one row at least for an organization that is there.
        let rows = sqlx::query_as!(
            KpiRow,
            r#"
            select null as refusal, k.refreshed_at, k.category, k.source, k.dor, k.record_count, k.actualized_count,
                   k.plan_amount as plan, k.forecast_amount as forecast, k.actual_amount as actual
              from organizations o
              left join lateral (
                       select refreshed_at, category, source, dor, record_count, actualized_count, plan_amount, forecast_amount, actual_amount
                         from pfa_kpi_summary
                        where organization_id = $1
                       union all
                       select null, category, source, dor, record_count, actualized_count, plan_amount, forecast_amount, actual_amount
                         from pfa_summary_change
                        where organization_id = $1
                          and change_number > (select change_number from pfa_kpi_summary where organization_id = $1 limit 1)) k on true
             where o.organization_id = $1
            "#,
            organization,
        );
        self.summaries.read(async |connection| rows.fetch_all(connection).await).await
    }

    async fn select_sandbox_kpis(&self, reader: &Reader, session: Uuid) -> Result<Vec<KpiRow>> {
        let rows = sqlx::query_as!(
            KpiRow,
            r#"
            with touched as materialized (
                select pfa_sandbox_records($1, $2) as records
            )
            select pfa_refusal($1, $2, $3) as refusal, k.refreshed_at, k.category, k.source, k.dor, k.record_count, k.actualized_count,
                   k.plan_amount as plan, k.forecast_amount as forecast, k.actual_amount as actual
              from (select) one
              left join lateral (
                       select refreshed_at, category, source, dor, record_count, actualized_count, plan_amount, forecast_amount, actual_amount
                         from pfa_kpi_summary
                        where organization_id = $1
                       union all
                       select null, category, source, dor, record_count, actualized_count, plan_amount, forecast_amount, actual_amount
                         from pfa_summary_change
                        where organization_id = $1
                          and change_number > (select change_number from pfa_kpi_summary where organization_id = $1 limit 1)
                       union all
                       select null, a.* from touched, pfa_amounts($1, $2, records) a
                       union all
                       select null, category, source, dor, -record_count, -actualized_count, -plan_amount, -forecast_amount, -actual_amount
                         from touched, pfa_amounts($1, null, records)) k on true
            "#,
            reader.organization,
            session,
            reader.user,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// The same sums as `pfa_kpi_summary`, over what the reader sees now.
    async fn compute_kpis(&self, reader: &Reader) -> Result<Vec<KpiRow>> {
        // Outer joins again, so that a refusal and the age come with an organization without records.
        let rows = sqlx::query_as!(
            KpiRow,
            r#"
            select pfa_refusal($1, $2, $3) as refusal,
                   (select refreshed_at from pfa_timeline_bounds where organization_id = $1) as refreshed_at,
                   sums.*
              from (select) one
              left join (
                   select category, source, dor,
                          count(*)                              as record_count,
                          count(*) filter (where is_actualized) as actualized_count,
                          sum(pfa_amount_of(source, monthly_rate, purchase_price, original_start, original_end)) as plan,
                          sum(pfa_amount_of(source, monthly_rate, purchase_price, forecast_start, forecast_end)) as forecast,
                          sum(case when is_actualized
                                   then pfa_amount_of(source, monthly_rate, purchase_price, actual_start, actual_end)
                                   else 0 end)                  as actual
                     from pfa_merged($1, $2)
                    where not is_discontinued
                    group by category, source, dor) sums on true
            "#,
            reader.organization,
            reader.session,
            reader.user,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }
}

/// Adds up the parts of each group; a group whose records have all gone is none.
fn add_up(rows: Vec<KpiRow>) -> Kpis {
    let refreshed_at = rows.iter().find_map(|row| row.refreshed_at);
    let mut groups: BTreeMap<[Option<String>; 3], Amounts> = BTreeMap::new();
    for row in rows {
        *groups.entry([row.category, row.source, row.dor]).or_default() += Amounts {
            record_count: row.record_count.unwrap_or_default(),
            actualized_count: row.actualized_count.unwrap_or_default(),
            plan: row.plan.unwrap_or_default(),
            forecast: row.forecast.unwrap_or_default(),
            actual: row.actual.unwrap_or_default(),
        };
    }
    let groups = groups.into_iter().filter(|(_, amounts)| amounts.record_count != 0);
    Kpis { groups: groups.map(|([category, source, dor], amounts)| KpiGroup { category, source, dor, amounts }).collect(), refreshed_at }
}
