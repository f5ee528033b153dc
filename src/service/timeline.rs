//! Timeline bounds: from the materialized view while it is current, else from the merged records.

use crate::error::{Error, Result, refusal};
use crate::service::{PfaMirrorService, Reader};
use chrono::{DateTime, NaiveDate, Utc};

/// First and last dates of each layer, and record counts; discontinued records are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Original dates.
    pub plan: Bounds,
    /// Forecast dates.
    pub forecast: Bounds,
    /// Actual dates.
    pub actual: Bounds,
    /// Number of records.
    pub record_count: i64,
    /// How many of them are actualized.
    pub actualized_count: i64,
    /// When the summaries were last refreshed.
    pub refreshed_at: Option<DateTime<Utc>>,
}

/// The first start and the last end; null where no record has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Earliest start.
    pub start: Option<NaiveDate>,
    /// Latest end.
    pub end: Option<NaiveDate>,
}

impl PfaMirrorService {
    /// Exact timeline bounds for a reader: published, or with a session what-if.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn find_timeline(&self, reader: &Reader) -> Result<Timeline> {
        if reader.session.is_some() {
            return self.compute_timeline(reader).await;
        }
        let row = sqlx::query!(
            r#"
            select t.change_number = o.change_number as is_current,
                   t.plan_start, t.plan_end, t.forecast_start, t.forecast_end, t.actual_start, t.actual_end,
                   t.record_count, t.actualized_count, t.refreshed_at as "refreshed_at?"
              from organizations o
              left join pfa_timeline_bounds t on t.organization_id = o.organization_id
             where o.organization_id = $1
            "#,
            reader.organization,
        )
        .fetch_optional(&self.summaries)
        .await?;
        let Some(row) = row else { return Err(Error::OrganizationNotFound(reader.organization.clone())) };
        if row.is_current != Some(true) {
            return self.compute_timeline(reader).await;
        }
        Ok(Timeline {
            plan: Bounds { start: row.plan_start, end: row.plan_end },
            forecast: Bounds { start: row.forecast_start, end: row.forecast_end },
            actual: Bounds { start: row.actual_start, end: row.actual_end },
            record_count: row.record_count.unwrap_or_default(),
            actualized_count: row.actualized_count.unwrap_or_default(),
            refreshed_at: row.refreshed_at,
        })
    }

    /// The same bounds as `pfa_timeline_bounds`, over what the reader sees now.
    async fn compute_timeline(&self, reader: &Reader) -> Result<Timeline> {
        let row = sqlx::query!(
            r#"
            select pfa_refusal($1, $2, $3) as refusal,
                   (select refreshed_at from pfa_timeline_bounds where organization_id = $1) as refreshed_at,
                   min(original_start) as plan_start,     max(original_end) as plan_end,
                   min(forecast_start) as forecast_start, max(forecast_end) as forecast_end,
                   min(actual_start)   as actual_start,   max(actual_end)   as actual_end,
                   count(*)                              as "record_count!",
                   count(*) filter (where is_actualized) as "actualized_count!"
              from pfa_merged($1, $2)
             where not is_discontinued
            "#,
            reader.organization,
            reader.session,
            reader.user,
        )
        .fetch_one(&self.pool)
        .await?;
        refusal(row.refusal.as_deref(), &reader.organization)?;
        Ok(Timeline {
            plan: Bounds { start: row.plan_start, end: row.plan_end },
            forecast: Bounds { start: row.forecast_start, end: row.forecast_end },
            actual: Bounds { start: row.actual_start, end: row.actual_end },
            record_count: row.record_count,
            actualized_count: row.actualized_count,
            refreshed_at: row.refreshed_at,
        })
    }
}
