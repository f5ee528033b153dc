//! Answers of commits that came with an Idempotency-Key. An answer is written in the transaction of
//! its commit: after a crash it is there when the commit is, and only then.

use super::{Commit, CommitMode, CommitReport};
use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use crate::service::sessions::Sandbox;
use sqlx::PgConnection;
use sqlx::types::Json;

impl PfaMirrorService {
    /// The kept answer of a commit whose session is closed by now.
    pub(super) async fn find_answer(&self, sandbox: &Sandbox, commit: &Commit, key: Option<&str>) -> Result<Option<CommitReport>> {
        if key.is_none() {
            return Ok(None);
        }
        let mut connection = self.pool.acquire().await?;
        find(&mut connection, sandbox, commit.mode, key).await
    }
}

/// The kept answer for a key.
pub(super) async fn find(
    connection: &mut PgConnection,
    sandbox: &Sandbox,
    mode: CommitMode,
    key: Option<&str>,
) -> Result<Option<CommitReport>> {
    let Some(key) = key else { return Ok(None) };
    let kept = sqlx::query!(
        r#"
        select session_id, mode, answer as "answer: Json<CommitReport>"
          from pfa_commit_answer
         where organization_id = $1 and user_id = $2 and idempotency_key = $3
        "#,
        sandbox.organization,
        sandbox.user,
        key,
    )
    .fetch_optional(connection)
    .await?;
    match kept {
        None => Ok(None),
        Some(kept) if kept.session_id == sandbox.session && kept.mode == mode.word() => Ok(Some(kept.answer.0)),
        Some(_) => Err(Error::IdempotencyKeyReused),
    }
}

/// Keeps an answer, and drops those of the organization that are older than a week.
pub(super) async fn save(
    connection: &mut PgConnection,
    sandbox: &Sandbox,
    mode: CommitMode,
    key: &str,
    report: &CommitReport,
) -> Result<()> {
    sqlx::query!(
        "with expired as (
             delete from pfa_commit_answer where organization_id = $1 and created_at < now() - interval '7 days'
         )
         insert into pfa_commit_answer (organization_id, user_id, idempotency_key, session_id, mode, answer)
         values ($1, $2, $3, $4, $5, $6)",
        sandbox.organization,
        sandbox.user,
        key,
        sandbox.session,
        mode.word(),
        Json(report) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}
