//! KPI amounts: from the materialized view while it is current, else computed from the merged
//! records, so that an answer is exact at any moment.

use crate::domain::kpi::{Amounts, KpiGroup};
use crate::error::{Error, Result, refusal};
use crate::service::{PfaMirrorService, Reader};
use chrono::{DateTime, Utc};

/// Amounts by category, source and dor, and the age of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kpis {
    /// The groups; none for an organization without records.
    pub groups: Vec<KpiGroup>,
    /// When the summaries were last refreshed.
    pub refreshed_at: Option<DateTime<Utc>>,
}

impl PfaMirrorService {
    /// Exact KPI amounts for a reader: published, or with a session what-if.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn find_kpis(&self, reader: &Reader) -> Result<Kpis> {
        if reader.session.is_some() {
            return self.compute_kpis(reader).await;
        }
        // An outer join: one row at least for an organization that is there.
        let rows = sqlx::query!(
            r#"
            select k.change_number = o.change_number as is_current,
                   k.category, k.source, k.dor, k.record_count, k.actualized_count,
                   k.plan_amount, k.forecast_amount, k.actual_amount, k.refreshed_at as "refreshed_at?"
              from organizations o
              left join pfa_kpi_summary k on k.organization_id = o.organization_id
             where o.organization_id = $1
            "#,
            reader.organization,
        )
        .fetch_all(&self.summaries)
        .await?;
        let Some(first) = rows.first() else { return Err(Error::OrganizationNotFound(reader.organization.clone())) };
        let refreshed_at = first.refreshed_at;
        if !rows.iter().all(|row| row.is_current == Some(true)) {
            return self.compute_kpis(reader).await;
        }
        let groups = rows.into_iter().map(|row| KpiGroup {
            category: row.category,
            source: row.source,
            dor: row.dor,
            amounts: Amounts {
                record_count: row.record_count.unwrap_or_default(),
                actualized_count: row.actualized_count.unwrap_or_default(),
                plan: row.plan_amount.unwrap_or_default(),
                forecast: row.forecast_amount.unwrap_or_default(),
                actual: row.actual_amount.unwrap_or_default(),
            },
        });
        Ok(Kpis { groups: groups.collect(), refreshed_at })
    }

    /// The same sums as `pfa_kpi_summary`, over what the reader sees now.
    async fn compute_kpis(&self, reader: &Reader) -> Result<Kpis> {
        // Outer joins again, so that a refusal and the age come with an organization without records.
        let rows = sqlx::query!(
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
        refusal(rows.first().and_then(|row| row.refusal.as_deref()), &reader.organization)?;
        let refreshed_at = rows.first().and_then(|row| row.refreshed_at);
        let groups = rows.into_iter().filter(|row| row.record_count.is_some()).map(|row| KpiGroup {
            category: row.category,
            source: row.source,
            dor: row.dor,
            amounts: Amounts {
                record_count: row.record_count.unwrap_or_default(),
                actualized_count: row.actualized_count.unwrap_or_default(),
                plan: row.plan.unwrap_or_default(),
                forecast: row.forecast.unwrap_or_default(),
                actual: row.actual.unwrap_or_default(),
            },
        });
        Ok(Kpis { groups: groups.collect(), refreshed_at })
    }
}
