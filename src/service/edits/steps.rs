//! Undo and redo: every edit is a step that remembers the drafts before and after it.

use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use crate::service::publication::FEW;
use crate::service::sessions::{Sandbox, Workspace};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Back or forth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Takes the newest step back.
    Undo,
    /// Does the step that was undone last again.
    Redo,
}

/// A step that was undone or redone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// edit, bulk, drop or resolve.
    pub kind: String,
    /// Why it was done.
    pub reason: Option<String>,
    /// Records that it changed.
    pub records: i64,
    /// When it was done.
    pub created_at: DateTime<Utc>,
}

impl PfaMirrorService {
    /// Undoes or redoes one step.
    ///
    /// # Errors
    /// [`Error::NothingToUndo`] or [`Error::NothingToRedo`]; when the session is not there or was committed;
    /// or the database fails.
    pub async fn move_step(&self, sandbox: &Sandbox, direction: Direction) -> Result<Step> {
        let is_undo = direction == Direction::Undo;
        let mut workspace = Workspace::open(&self.pool, sandbox).await?;
        let step = sqlx::query!(
            // The newest done step, or the oldest undone one.
            r#"
            update pfa_edit_step
               set is_undone = $3
             where organization_id = $1
               and session_id = $2
               and step = (select case when $3 then max(step) else min(step) end
                             from pfa_edit_step
                            where organization_id = $1 and session_id = $2 and is_undone = not $3)
            returning step, kind, reason, records, created_at
            "#,
            sandbox.organization,
            sandbox.session,
            is_undo,
        )
        .fetch_optional(workspace.connection())
        .await?
        .ok_or(if is_undo { Error::NothingToUndo } else { Error::NothingToRedo })?;
        workspace.expect_many(usize::try_from(step.records).is_ok_and(|records| records > FEW)).await?;
        let records = restore_drafts(&mut workspace, sandbox, step.step, is_undo).await?;
        workspace.expect_many(false).await?;
        workspace.settle(&records, false).await?;
        workspace.finish().await?;
        self.crowds.expect_drafts(sandbox, records.len());
        Ok(Step { kind: step.kind, reason: step.reason, records: step.records, created_at: step.created_at })
    }
}

/// Makes the drafts of a step's records what they were before it, or after it.
async fn restore_drafts(workspace: &mut Workspace<'_>, sandbox: &Sandbox, step: i64, is_undo: bool) -> Result<Vec<Uuid>> {
    let records = sqlx::query_scalar!(
        r#"
        with restored as (
            select mirror_id, case when $5 then before else after end as draft
              from pfa_edit_change
             where organization_id = $1 and session_id = $2 and step = $4
        ), removed as (
            delete from pfa_modification d
             using restored
             where d.organization_id = $1
               and d.session_id = $2
               and (d.sync_state = 'draft' or d.conflict_stage = 'commit')
               and d.mirror_id = restored.mirror_id
               and restored.draft is null
        ), written as (
            insert into pfa_modification
                   (organization_id, session_id, mirror_id, user_id, delta, base, base_version, base_change, change_reason)
            select $1, $2, mirror_id, $3, draft->'delta', draft->'base',
                   (draft->'baseVersion')::bigint, (draft->'baseChange')::bigint, draft->>'reason'
              from restored
             where draft is not null
               and (select pfa_keep_plans_of_checks())
            on conflict (organization_id, session_id, mirror_id) where sync_state = 'draft' or conflict_stage = 'commit'
            do update set delta = excluded.delta, base = excluded.base, base_version = excluded.base_version,
                          base_change = excluded.base_change, change_reason = excluded.change_reason, updated_at = now()
        )
        select mirror_id from restored
        "#,
        sandbox.organization,
        sandbox.session,
        sandbox.user,
        step,
        is_undo,
    )
    .fetch_all(workspace.connection())
    .await?;
    Ok(records)
}
