//! Timeline bounds: from the materialized view while it is current, else from the ends of the indexes;
//! record counts as the KPIs have them.

use crate::error::{Error, Result, refusal};
use crate::service::{PfaMirrorService, Reader};
use chrono::{DateTime, NaiveDate, Utc};

/// First and last dates of each layer, and record counts; discontinued records are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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

/// What each statement below says.
struct TimelineRow {
    refusal: Option<String>,
    /// Whether the bounds and counts are those of the view as it stands.
    is_current: Option<bool>,
    plan_start: Option<NaiveDate>,
    plan_end: Option<NaiveDate>,
    forecast_start: Option<NaiveDate>,
    forecast_end: Option<NaiveDate>,
    actual_start: Option<NaiveDate>,
    actual_end: Option<NaiveDate>,
    /// Nothing when the view has none: the organization is new, or had no records at the refresh.
    record_count: Option<i64>,
    actualized_count: Option<i64>,
    refreshed_at: Option<DateTime<Utc>>,
}

impl From<TimelineRow> for Timeline {
    fn from(row: TimelineRow) -> Self {
        Self {
            plan: Bounds { start: row.plan_start, end: row.plan_end },
            forecast: Bounds { start: row.forecast_start, end: row.forecast_end },
            actual: Bounds { start: row.actual_start, end: row.actual_end },
            record_count: row.record_count.unwrap_or_default(),
            actualized_count: row.actualized_count.unwrap_or_default(),
            refreshed_at: row.refreshed_at,
        }
    }
}

impl PfaMirrorService {
    /// Exact timeline bounds for a reader: published, or with a session what-if.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn find_timeline(&self, reader: &Reader) -> Result<Timeline> {
        if reader.session.is_none() {
            let row = self.select_refreshed_timeline(&reader.organization).await?;
            if row.is_current == Some(true) && row.record_count.is_some() {
                return Ok(row.into());
            }
        }
        Ok(*self.read_edition(&self.timelines, reader, async || self.look_at_timeline(reader).await).await?)
    }

    async fn look_at_timeline(&self, reader: &Reader) -> Result<Timeline> {
        let row = self.select_live_timeline(reader).await?;
        refusal(row.refusal.as_deref(), &reader.organization)?;
        if row.record_count.is_some() {
            return Ok(row.into());
        }
        Ok(TimelineRow { refreshed_at: row.refreshed_at, ..self.compute_timeline(reader).await? }.into())
    }

    async fn select_refreshed_timeline(&self, organization: &str) -> Result<TimelineRow> {
        let row = sqlx::query_as!(
            TimelineRow,
            r#"
            select null as refusal, t.change_number = o.change_number as is_current,
                   t.plan_start, t.plan_end, t.forecast_start, t.forecast_end, t.actual_start, t.actual_end,
                   t.record_count, t.actualized_count, t.refreshed_at as "refreshed_at?"
              from organizations o
              left join pfa_timeline_bounds t on t.organization_id = o.organization_id
             where o.organization_id = $1
            "#,
            organization,
        );
        let found = self.summaries.read(async |connection| row.fetch_optional(connection).await).await?;
        found.ok_or_else(|| Error::OrganizationNotFound(organization.to_owned()))
    }

    /// The bounds as they are now; the counts of the view, and what was published or drafted since.
    async fn select_live_timeline(&self, reader: &Reader) -> Result<TimelineRow> {
        let row = sqlx::query_as!(
            TimelineRow,
            r#"
            with touched as materialized (
                select pfa_sandbox_records($1, $2) as records
            ), later as (
                select record_count, actualized_count
                  from pfa_summary_change
                 where organization_id = $1
                   and change_number > (select change_number from pfa_timeline_bounds where organization_id = $1)
                union all
                select record_count, actualized_count from touched, pfa_amounts($1, $2, records)
                union all
                select -record_count, -actualized_count from touched, pfa_amounts($1, null, records)
            ), counted as (
                select coalesce(sum(record_count), 0)::bigint as record_count, coalesce(sum(actualized_count), 0)::bigint as actualized_count
                  from later
            )
            select pfa_refusal($1, $2, $3) as refusal, false as is_current, b.*,
                   t.record_count + c.record_count         as record_count,
                   t.actualized_count + c.actualized_count as actualized_count,
                   t.refreshed_at                          as "refreshed_at?"
              from pfa_live_bounds($1, $2) b
             cross join counted c
              left join pfa_timeline_bounds t on t.organization_id = $1
            "#,
            reader.organization,
            reader.session,
            reader.user,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(row)
    }

    /// The same bounds and counts as `pfa_timeline_bounds`, over what the reader sees now.
    async fn compute_timeline(&self, reader: &Reader) -> Result<TimelineRow> {
        let row = sqlx::query_as!(
            TimelineRow,
            r#"
            select null as refusal, false as is_current,
                   min(original_start) as plan_start,     max(original_end) as plan_end,
                   min(forecast_start) as forecast_start, max(forecast_end) as forecast_end,
                   min(actual_start)   as actual_start,   max(actual_end)   as actual_end,
                   count(*)                              as record_count,
                   count(*) filter (where is_actualized) as actualized_count,
                   null::timestamptz                     as refreshed_at
              from pfa_merged($1, $2)
             where not is_discontinued
            "#,
            reader.organization,
            reader.session,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(row)
    }
}
