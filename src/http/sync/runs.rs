//! `/orgs/{org}/sync/runs`: list the runs, look at one, cancel it.

use crate::domain::record::Finding;
use crate::error::Error;
use crate::http::Shared;
use crate::http::extract::{Caller, Path};
use crate::http::list::{ListInfo, ListPage, ListParameters};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::sync::runs::Run;
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunAnswer {
    /// Its id.
    pub id: Uuid,
    /// full, incremental, manual, import or verify.
    #[serde(rename = "type")]
    pub run_type: String,
    /// read or write.
    pub direction: String,
    /// running, completed, `completed_with_errors`, failed or cancelled.
    pub status: String,
    /// Who started it; null for the schedule and the command line.
    pub requested_by: Option<String>,
    /// Whether somebody asked it to stop and it has not yet.
    pub cancelling: bool,
    /// How many records of which kind, so far.
    pub counts: RunCounts,
    /// Values that could not be read, the first thousand; empty in lists.
    pub findings: Vec<FindingAnswer>,
    /// How many there are in all.
    pub findings_total: i64,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
}

/// Counts of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunCounts {
    /// Records in all, as far as that is known.
    pub total: i64,
    /// Records that came so far.
    pub processed: i64,
    /// New ones.
    pub inserted: i64,
    /// Changed ones.
    pub updated: i64,
    /// Those that were the same.
    pub unchanged: i64,
    /// Those that PEMS did not have any more.
    pub discontinued: i64,
    /// Those that could not be taken.
    pub errored: i64,
}

/// A value that could not be read; null stands for it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingAnswer {
    /// The record.
    pub pfa_id: String,
    /// The field.
    pub field: String,
    /// What stands there.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunList {
    /// Newest first.
    pub data: Vec<RunAnswer>,
    /// Where the page stands.
    pub page: ListInfo,
}

impl From<Run> for RunAnswer {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            run_type: run.run_type,
            direction: run.direction,
            status: run.status,
            requested_by: run.requested_by,
            cancelling: run.is_cancelling,
            counts: RunCounts {
                total: run.total,
                processed: run.processed,
                inserted: run.inserted,
                updated: run.updated,
                unchanged: run.unchanged,
                discontinued: run.discontinued,
                errored: run.errored,
            },
            findings: run.findings.0.into_iter().map(FindingAnswer::from).collect(),
            findings_total: run.findings_total,
            error: run.error,
            started_at: run.started_at,
            completed_at: run.completed_at,
            duration_ms: run.completed_at.map(|ended| (ended - run.started_at).num_milliseconds()),
        }
    }
}

impl From<Finding> for FindingAnswer {
    fn from(Finding { pfa_id, field, value, problem }: Finding) -> Self {
        Self { pfa_id, field, value, problem }
    }
}

/// Runs of an organization: syncs, imports and write-backs.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/sync/runs", tag = "sync", operation_id = "listRuns",
    params(("org" = String, Path, description = "Code of the organization"), ListParameters),
    responses((status = 200, body = RunList), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn list_runs(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    _: Caller,
    mut parameters: Parameters,
) -> Result<JsonAnswer<RunList>, Problem> {
    let page = ListPage::read(&mut parameters, &format!("runs {organization:?}"));
    parameters.finish()?;
    let mut runs = state.service.list_runs(&organization, page.after, page.wanted()).await?;
    let info = page.cut(&mut runs, |run| (run.started_at, run.id));
    Ok(JsonAnswer(RunList { data: runs.into_iter().map(RunAnswer::from).collect(), page: info }))
}

/// One run, with progress while it goes on and with what could not be read.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/sync/runs/{run}", tag = "sync", operation_id = "getRun",
    params(("org" = String, Path, description = "Code of the organization"), ("run" = Uuid, Path, description = "The run")),
    responses((status = 200, body = RunAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn get_run(
    State(state): State<Shared>,
    Path((organization, run)): Path<(String, String)>,
    _: Caller,
    parameters: Parameters,
) -> Result<JsonAnswer<RunAnswer>, Problem> {
    parameters.finish()?;
    Ok(JsonAnswer(state.service.find_run(&organization, read_run(&run)?).await?.into()))
}

/// Asks a run to stop; it does after the page at hand, and nothing of it is applied. One that has ended stays as it is.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sync/runs/{run}/cancel", tag = "sync", operation_id = "cancelRun",
    params(("org" = String, Path, description = "Code of the organization"), ("run" = Uuid, Path, description = "The run")),
    responses((status = 200, body = RunAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn cancel_run(
    State(state): State<Shared>,
    Path((organization, run)): Path<(String, String)>,
    _: Caller,
    parameters: Parameters,
) -> Result<JsonAnswer<RunAnswer>, Problem> {
    parameters.finish()?;
    Ok(JsonAnswer(state.service.cancel_run(&organization, read_run(&run)?).await?.into()))
}

/// An id that is no UUID names no run.
fn read_run(text: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(text).map_err(|_| Error::RunNotFound)
}
