//! `POST /ops/maintenance/{task}`.

use crate::http::Shared;
use crate::http::body::{NoKeys, OptionalJson};
use crate::http::extract::{Caller, Path};
use crate::http::number::serialize_decimal;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::maintenance::{MaintenanceRun, Task};
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

/// One run of a maintenance task.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceAnswer {
    /// Ascending number.
    pub id: i64,
    /// Which task.
    pub task: String,
    /// Who started it; nobody for the schedule.
    pub requested_by: Option<String>,
    /// Rows moved or dropped, tables vacuumed or indexed anew.
    pub affected: i64,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub duration_ms: Decimal,
    /// Whether it failed; the log of the service says why.
    pub failed: bool,
}

impl From<MaintenanceRun> for MaintenanceAnswer {
    fn from(run: MaintenanceRun) -> Self {
        let MaintenanceRun { id, task, requested_by, affected, started_at, duration_ms, error } = run;
        Self { id, task, requested_by, affected, started_at, duration_ms, failed: error.is_some() }
    }
}

/// Does a maintenance task and answers when it is done. It goes on when the client does not wait; `GET /ops/database` tells how it
/// ended. One task runs at a time in all processes, and none blocks readers or writers.
#[utoipa::path(post, path = "/api/v1/ops/maintenance/{task}", tag = "operations", operation_id = "runMaintenance",
    params(("task" = String, Path, description = "vacuum-analyze: free what deleted rows took and count anew for the planner; archive: \
        move changes that arrived in PEMS more than 30 days ago to pfa_modification_archive; prune-logs: drop log rows older than \
        90 days, but the last good ones; reindex: build all indexes anew. The schedule does archive and prune-logs every night")),
    responses((status = 200, body = MaintenanceAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another task is running"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn run_maintenance(
    State(state): State<Shared>,
    Path(task): Path<String>,
    Caller(user): Caller,
    mut parameters: Parameters,
    _: OptionalJson<NoKeys>,
) -> Result<JsonAnswer<MaintenanceAnswer>, Problem> {
    let task = read_task(&mut parameters, &task);
    let task = parameters.finish_with(task)?;
    Ok(JsonAnswer(state.service.maintain(task, Some(&user)).await?.into()))
}

fn read_task(parameters: &mut Parameters, word: &str) -> Option<Task> {
    let task = Task::ALL.into_iter().find(|task| task.word() == word);
    if task.is_none() {
        parameters.refuse_value("task", word, &Task::ALL.map(Task::word));
    }
    task
}
