//! Commit: all drafts of a sandbox are published at once, or the clean ones, or none.
//!
//! Field by field, base, ours and theirs are compared with the mirror and everything published on
//! it, under the organization's lock: of two commits of the same field the first one wins, and the
//! second is told. A merge that would break a rule (my end before your start) is a conflict, too.

mod answer;
mod publish;

use crate::domain::conflict::{Comparison, ConflictingFields, FieldConflict};
use crate::error::Result;
use crate::service::PfaMirrorService;
use crate::service::publication::{next_publication, rebuild_overlay};
use crate::service::sessions::{Sandbox, Workspace};
use publish::publish_drafts;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
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

/// The drafts of a session, compared with what is published.
struct Checked {
    clean: Vec<Uuid>,
    clean_records: Vec<Uuid>,
    merged: i64,
    conflicts: Vec<CommitConflict>,
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
        let checked = check_drafts(&mut workspace, sandbox).await?;
        let is_refused = commit.mode == CommitMode::Atomic && !checked.conflicts.is_empty();
        let mut report = CommitReport {
            committed: if is_refused { 0 } else { i64::try_from(checked.clean.len()).unwrap_or(i64::MAX) },
            merged: if is_refused { 0 } else { checked.merged },
            conflicts: Vec::new(),
            dry_run: commit.is_dry_run,
            refused: is_refused,
            closed: checked.conflicts.is_empty() && !commit.is_dry_run,
        };
        if commit.is_dry_run {
            workspace.abandon().await?;
            return Ok(CommitReport { conflicts: checked.conflicts, ..report });
        }
        mark_conflicts(&mut workspace, sandbox, &checked).await?;
        if !is_refused && !checked.clean.is_empty() {
            publish_drafts(&mut workspace, sandbox, &checked.clean, &checked.clean_records).await?;
            workspace.forget_steps().await?;
        }
        if report.closed {
            close_session(&mut workspace, sandbox).await?;
        }
        report.conflicts = checked.conflicts;
        if let Some(key) = key {
            answer::save(workspace.connection(), sandbox, commit.mode, key, &report).await?;
        }
        workspace.finish().await?;
        Ok(report)
    }
}

/// Compares every draft of the session with what is published now.
async fn check_drafts(workspace: &mut Workspace<'_>, sandbox: &Sandbox) -> Result<Checked> {
    let row = sqlx::query!(
        r#"
        with checked as (
            select id, mirror_id, pfa_id, is_conflict,
                   case when is_conflict then
                       jsonb_build_object('id', id, 'pfaId', pfa_id, 'rules', broken_rules,
                                          'fields', pfa_comparison(delta, base, published)) end as conflict,
                   exists (select from pfa_mirror_history h
                            where h.organization_id = $1
                              and h.mirror_id = c.mirror_id
                              and h.change_number > c.base_change
                              and h.after <> '{}'
                              and not h.is_arrival) as is_merge
              from pfa_compared($1) c
             cross join lateral (select has_conflict or broken_rules <> '{}' as is_conflict offset 0) verdict
             where session_id = $2
               and (sync_state = 'draft' or conflict_stage = 'commit')
        )
        select array(select id        from checked where not is_conflict order by mirror_id) as "clean!",
               array(select mirror_id from checked where not is_conflict order by mirror_id) as "clean_records!",
               (select count(*)       from checked where not is_conflict and is_merge)       as "merged!",
               (select coalesce(jsonb_agg(conflict order by pfa_id collate "C"), '[]')
                  from checked where is_conflict)                                            as "conflicts!: Json<Vec<ConflictRow>>"
        "#,
        sandbox.organization,
        sandbox.session,
    )
    .fetch_one(workspace.connection())
    .await?;
    let conflicts = row.conflicts.0.into_iter().map(|ConflictRow { id, pfa_id, rules, fields }| {
        let ConflictingFields { fields, rules } = ConflictingFields::of(fields, &rules);
        CommitConflict { id, pfa_id, fields, rules }
    });
    Ok(Checked { clean: row.clean, clean_records: row.clean_records, merged: row.merged, conflicts: conflicts.collect() })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConflictRow {
    id: Uuid,
    pfa_id: String,
    rules: Vec<String>,
    fields: Vec<Comparison>,
}

/// Drafts in conflict become `conflict`, which everybody sees on the record; those that were and are
/// clean now become drafts again.
async fn mark_conflicts(workspace: &mut Workspace<'_>, sandbox: &Sandbox, checked: &Checked) -> Result<()> {
    let conflicts: Vec<_> = checked.conflicts.iter().map(|conflict| conflict.id).collect();
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
