//! Idle sandboxes: counted for operators, discarded only when the settings say so.

use super::{Sandbox, Workspace};
use crate::error::{Error, Result};
use crate::service::PfaMirrorService;

/// Open sessions that nobody has edited for long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdleSessions {
    /// How many there are.
    pub found: usize,
    /// How many of them were discarded.
    pub discarded: usize,
}

impl PfaMirrorService {
    /// Finds open sessions without an edit in so many days; discards them when asked to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn check_idle_sessions(&self, idle_days: u32, discards: bool) -> Result<IdleSessions> {
        let idle = sqlx::query_as!(
            Sandbox,
            "select organization_id as organization, user_id as user, id as session
               from pfa_session
              where status = 'open'
                and coalesce(last_edited_at, created_at) < now() - make_interval(days => $1)
              order by organization_id, coalesce(last_edited_at, created_at)",
            days(idle_days),
        )
        .fetch_all(&self.pool)
        .await?;
        let mut sessions = IdleSessions { found: idle.len(), discarded: 0 };
        if discards {
            for sandbox in &idle {
                sessions.discarded += usize::from(self.discard_if_idle(sandbox, idle_days).await?);
            }
        }
        Ok(sessions)
    }

    /// Its owner, or another process, may have been faster.
    async fn discard_if_idle(&self, sandbox: &Sandbox, idle_days: u32) -> Result<bool> {
        let mut workspace = match Workspace::open(&self.pool, sandbox).await {
            Ok(workspace) => workspace,
            Err(Error::SessionNotFound | Error::SessionCommitted) => return Ok(false),
            Err(error) => return Err(error),
        };
        let is_idle = sqlx::query_scalar!(
            r#"select coalesce(last_edited_at, created_at) < now() - make_interval(days => $3) as "is_idle!"
                 from pfa_session where organization_id = $1 and id = $2"#,
            sandbox.organization,
            sandbox.session,
            days(idle_days),
        )
        .fetch_one(workspace.connection())
        .await?;
        if is_idle {
            workspace.discard().await?;
        }
        Ok(is_idle)
    }
}

fn days(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
