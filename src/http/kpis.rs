//! `GET /orgs/{org}/kpis`.

use crate::domain::kpi::{Dimension, Figures, Split, group_by};
use crate::http::Shared;
use crate::http::etag::weakly_tagged_json;
use crate::http::extract::{Caller, Path};
use crate::http::number::serialize_decimal;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::http::records::read_reader;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// KPI totals of an organization.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KpiAnswer {
    /// Code of the organization.
    pub organization: String,
    /// When the summaries were last refreshed; the figures are exact all the same.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// How many seconds ago that was.
    pub age_seconds: Option<i64>,
    /// The dimensions of the groups.
    pub group_by: Vec<&'static str>,
    /// All records.
    pub total: Totals,
    /// One entry for each combination of values.
    pub groups: Vec<KpiGroupAnswer>,
}

/// Totals of a group of records.
#[derive(Debug, Serialize, ToSchema)]
pub struct KpiGroupAnswer {
    /// The value of each dimension.
    pub key: BTreeMap<&'static str, Option<String>>,
    /// The totals.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Costs and counts, together and split by how the equipment is paid for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Totals {
    /// Rentals and purchases together.
    #[serde(flatten)]
    pub all: Costs,
    /// Rentals alone.
    pub rental: Costs,
    /// Purchases alone.
    pub purchase: Costs,
}

/// Costs in US dollars, rounded to cents, and counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    /// By original dates.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64, example = 29566.36)]
    pub plan_cost: Decimal,
    /// By forecast dates.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub forecast_cost: Decimal,
    /// By actual dates, actualized records only.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub actual_cost: Decimal,
    /// Forecast − plan.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub variance: Decimal,
    /// Variance in percent of the plan; 0 without a plan.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub variance_percent: Decimal,
    /// Number of records.
    pub record_count: i64,
    /// How many of them are actualized.
    pub actualized_count: i64,
}

impl From<Figures> for Costs {
    fn from(figures: Figures) -> Self {
        Self {
            plan_cost: figures.plan_cost,
            forecast_cost: figures.forecast_cost,
            actual_cost: figures.actual_cost,
            variance: figures.variance,
            variance_percent: figures.variance_percent,
            record_count: figures.record_count,
            actualized_count: figures.actualized_count,
        }
    }
}

impl From<Split> for Totals {
    fn from(split: Split) -> Self {
        Self { all: split.total().into(), rental: split.rental().into(), purchase: split.purchase().into() }
    }
}

/// Plan, forecast and actual costs, variance and counts; with `session` as what-if.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/kpis", tag = "summaries", operation_id = "getKpis",
    params(("org" = String, Path, description = "Code of the organization"),
        ("groupBy" = Option<String>, Query, description = "Any of category, source, dor, separated by commas", example = "category,source"),
        ("session" = Option<Uuid>, Query, description = "Read inside this sandbox of the caller")),
    responses((status = 200, body = KpiAnswer), (status = 304, description = "The client has this answer"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get_kpis(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    caller: Caller,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let reader = read_reader(organization, caller, &mut parameters);
    let words = Dimension::ALL.map(Dimension::word);
    let read_dimension = |word: &str| Dimension::ALL.into_iter().find(|dimension| dimension.word() == word);
    let dimensions = parameters.choose_list("groupBy", &words, read_dimension).unwrap_or_default();
    parameters.finish()?;

    let kpis = state.service.find_kpis(&reader).await?;
    let answer = KpiAnswer {
        organization: reader.organization,
        refreshed_at: kpis.refreshed_at,
        age_seconds: None,
        group_by: dimensions.iter().map(|dimension| dimension.word()).collect(),
        total: Split::of(&kpis.groups).into(),
        groups: group_by(&kpis.groups, &dimensions).into_iter().map(|(key, split)| group_answer(&dimensions, key, split)).collect(),
    };
    // The age grows by itself, so the tag leaves it out, and it is written in afterwards: making two
    // texts of the same figures would take a third of the request.
    let meaning = serde_json::to_string(&answer).unwrap_or_default();
    let body = match kpis.refreshed_at {
        Some(at) => meaning.replacen("\"ageSeconds\":null", &format!("\"ageSeconds\":{}", (Utc::now() - at).num_seconds().max(0)), 1),
        None => meaning.clone(),
    };
    Ok(weakly_tagged_json(&headers, &meaning, body))
}

fn group_answer(dimensions: &[Dimension], key: Vec<Option<String>>, split: Split) -> KpiGroupAnswer {
    KpiGroupAnswer { key: dimensions.iter().map(|dimension| dimension.word()).zip(key).collect(), totals: split.into() }
}
