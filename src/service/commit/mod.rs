//! Commit: all drafts of a sandbox are published at once, or the clean ones, or none.
//!
//! Field by field, base, ours and theirs are compared with the mirror and everything published on
//! it, under the organization's lock: of two commits of the same field the first one wins, and the
//! second is told. A merge that would break a rule (my end before your start) is a conflict, too.

mod answer;
mod drafts;
mod publish;

use crate::domain::conflict::FieldConflict;
use crate::error::Result;
use crate::service::PfaMirrorService;
use crate::service::publication::{next_publication, rebuild_overlay};
use crate::service::sessions::{Sandbox, Workspace};
use drafts::publish_clean_drafts;
use publish::show_to_everybody;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How conflicts are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMode {
    /// One conflict refuses the commit.
    Atomic,
    /// Clean drafts are committed, conflicts wait.
    Partial,
}

impl CommitMode {
    /// The word in parameters and in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Atomic => "atomic",
            Self::Partial => "partial",
        }
    }
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// How conflicts are met.
    pub mode: CommitMode,
    /// Report and change nothing.
    pub is_dry_run: bool,
    /// The same key gives the same answer again, also after a crash.
    pub idempotency_key: Option<String>,
}

/// What a commit did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitReport {
    /// Drafts that are published.
    pub committed: i64,
    /// How many of them were merged with what others published meanwhile.
    pub merged: i64,
    /// Drafts in conflict.
    pub conflicts: Vec<CommitConflict>,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Whether the commit was refused: there are conflicts, and it is atomic.
    pub refused: bool,
    /// Whether the session is closed now.
    pub closed: bool,
}

/// A draft in conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitConflict {
    /// Its id.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// The fields in conflict.
    pub fields: Vec<FieldConflict>,
    /// The rules that the merge would break.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl PfaMirrorService {
    /// Commits a sandbox. A refused commit is a report, too.
    ///
    /// # Errors
    /// When the session is not there or was committed (and no answer is kept for the key), the key was
    /// used for another commit, or the database fails.
    pub async fn commit_session(&self, sandbox: &Sandbox, commit: &Commit) -> Result<CommitReport> {
        let key = commit.idempotency_key.as_deref().filter(|_| !commit.is_dry_run);
        // Under the lock, so that of two requests with one key the second finds the answer of the first.
        let mut workspace = match Workspace::open_exclusively(&self.pool, sandbox).await {
            Ok(workspace) => workspace,
            Err(error) => return self.find_answer(sandbox, commit, key).await?.ok_or(error),
        };
        if let Some(report) = answer::find(workspace.connection(), sandbox, commit.mode, key).await? {
            return Ok(report);
        }
        let compared = publish_clean_drafts(&mut workspace, sandbox, commit).await?;
        let is_refused = commit.mode == CommitMode::Atomic && !compared.conflicts.is_empty();
        // What the database has published, not what it should have.
        let publishes = if commit.is_dry_run { !is_refused } else { compared.publication.is_some() };
        let mut report = CommitReport {
            committed: if publishes { i64::try_from(compared.clean.len()).unwrap_or(i64::MAX) } else { 0 },
            merged: if publishes { compared.merged } else { 0 },
            conflicts: Vec::new(),
            dry_run: commit.is_dry_run,
            refused: is_refused,
            closed: compared.conflicts.is_empty() && !commit.is_dry_run,
        };
        if commit.is_dry_run {
            workspace.abandon().await?;
            return Ok(CommitReport { conflicts: compared.conflicts, ..report });
        }
        if let Some(publication) = compared.publication {
            show_to_everybody(&mut workspace, sandbox, publication, &compared.clean).await?;
            workspace.forget_steps().await?;
        }
        mark_conflicts(&mut workspace, sandbox, &compared.conflicts).await?;
        if report.closed {
            close_session(&mut workspace, sandbox).await?;
        }
        report.conflicts = compared.conflicts;
        if let Some(key) = key {
            answer::save(workspace.connection(), sandbox, commit.mode, key, &report).await?;
        }
        workspace.finish().await?;
        if publishes {
            self.crowds.expect_published(sandbox, compared.clean.len());
        }
        Ok(report)
    }
}

/// Drafts in conflict become `conflict`, which everybody sees on the record; those that were and are
/// clean now become drafts again.
async fn mark_conflicts(workspace: &mut Workspace<'_>, sandbox: &Sandbox, conflicts: &[CommitConflict]) -> Result<()> {
    let conflicts: Vec<_> = conflicts.iter().map(|conflict| conflict.id).collect();
    let changed = sqlx::query_scalar!(
        r#"
        update pfa_modification
           set sync_state     = case when id = any ($3) then 'conflict' else 'draft' end,
               conflict_stage = case when id = any ($3) then 'commit' end,
               conflicted_at  = case when id = any ($3) then clock_timestamp() end
         where organization_id = $1
           and session_id = $2
           and (sync_state = 'draft' or conflict_stage = 'commit')
           and (sync_state = 'conflict') <> (id = any ($3))
        returning mirror_id
        "#,
        sandbox.organization,
        sandbox.session,
        &conflicts,
    )
    .fetch_all(workspace.connection())
    .await?;
    if !changed.is_empty() {
        next_publication(workspace.connection(), &sandbox.organization).await?;
        rebuild_overlay(workspace.connection(), &sandbox.organization, &changed, None).await?;
    }
    Ok(())
}

async fn close_session(workspace: &mut Workspace<'_>, sandbox: &Sandbox) -> Result<()> {
    sqlx::query!(
        "update pfa_session set status = 'committed', closed_at = now() where organization_id = $1 and id = $2",
        sandbox.organization,
        sandbox.session,
    )
    .execute(workspace.connection())
    .await?;
    workspace.forget_steps().await
}
