//! Editing one record of a sandbox, and dropping its draft.

use super::write_drafts;
use crate::domain::fault::Fault;
use crate::domain::operation::Operation;
use crate::domain::patch::Patch;
use crate::domain::tag::tag_of;
use crate::error::{Error, Result};
use crate::service::records::read_record;
use crate::service::sessions::{Sandbox, Workspace};
use crate::service::{PfaMirrorService, Reader};
use uuid::Uuid;

/// An edit of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordEdit {
    /// The record.
    pub pfa_id: String,
    /// What it sets.
    pub patch: Patch,
    /// What was wrong with other fields of it: then nothing is saved, but what rules forbid is told, too.
    pub faults: Vec<Fault>,
    /// Why, for the history.
    pub reason: Option<String>,
    /// Tags of the record's text, of which one must be the current one.
    pub if_match: Option<Vec<String>>,
}

impl PfaMirrorService {
    /// Edits one record; gives the merged row as the sandbox sees it then.
    ///
    /// # Errors
    /// [`Error::InvalidEdit`] when it has faults or rules forbid it; [`Error::StaleRecord`] when it is not what the caller has seen;
    /// when the record or session is not there, or the session was committed; or the database fails.
    pub async fn edit_record(&self, sandbox: &Sandbox, edit: &RecordEdit) -> Result<String> {
        let mut workspace = Workspace::open(&self.pool, sandbox).await?;
        let record = find_mirror_id(&mut workspace, sandbox, &edit.pfa_id).await?;
        if let Some(tags) = &edit.if_match {
            let current = tag_of(&find_row(&mut workspace, sandbox, &edit.pfa_id).await?);
            if !tags.iter().any(|tag| *tag == current || tag == "*") {
                return Err(Error::StaleRecord);
            }
        }
        let operation = Operation::Set(edit.patch.clone());
        let written = write_drafts(&mut workspace, sandbox, &[record], &operation, "edit", edit.reason.as_deref()).await?;
        let broken: Vec<_> = written.refused.iter().flat_map(|refused| refused.faults_beside(&edit.faults)).collect();
        if !edit.faults.is_empty() || !written.refused.is_empty() {
            return Err(Error::InvalidEdit([edit.faults.clone(), broken].concat()));
        }
        if !written.changed.is_empty() {
            workspace.settle(&written.changed, true).await?;
        }
        let row = find_row(&mut workspace, sandbox, &edit.pfa_id).await?;
        workspace.finish().await?;
        Ok(row)
    }

    /// Drops the draft of one record; a step that can be undone.
    ///
    /// # Errors
    /// [`Error::DraftNotFound`] when there is none; else as [`PfaMirrorService::edit_record`].
    pub async fn drop_draft(&self, sandbox: &Sandbox, pfa_id: &str) -> Result<()> {
        let mut workspace = Workspace::open(&self.pool, sandbox).await?;
        let record = find_mirror_id(&mut workspace, sandbox, pfa_id).await?;
        let step = workspace.next_step().await?;
        let dropped = sqlx::query_scalar!(
            r#"
            with dropped as (
                delete from pfa_modification
                 where organization_id = $1 and session_id = $2 and mirror_id = $3 and (sync_state = 'draft' or conflict_stage = 'commit')
                returning mirror_id, delta, base, base_version, base_change, change_reason
            ), step as (
                insert into pfa_edit_step (organization_id, session_id, step, kind, records)
                select $1, $2, $4, 'drop', 1 from dropped
            ), logged as (
                insert into pfa_edit_change (organization_id, session_id, step, mirror_id, before)
                select $1, $2, $4, mirror_id, pfa_draft_image(delta, base, base_version, base_change, change_reason) from dropped
            )
            select mirror_id from dropped
            "#,
            sandbox.organization,
            sandbox.session,
            record,
            step,
        )
        .fetch_optional(workspace.connection())
        .await?;
        let record = dropped.ok_or_else(|| Error::DraftNotFound(pfa_id.to_owned()))?;
        workspace.settle(&[record], true).await?;
        workspace.finish().await
    }
}

async fn find_mirror_id(workspace: &mut Workspace<'_>, sandbox: &Sandbox, pfa_id: &str) -> Result<Uuid> {
    sqlx::query_scalar!("select id from pfa_mirror where organization_id = $1 and pfa_id = $2", sandbox.organization, pfa_id)
        .fetch_optional(workspace.connection())
        .await?
        .ok_or_else(|| Error::RecordNotFound(pfa_id.to_owned()))
}

async fn find_row(workspace: &mut Workspace<'_>, sandbox: &Sandbox, pfa_id: &str) -> Result<String> {
    let reader = Reader { organization: sandbox.organization.clone(), user: sandbox.user.clone(), session: Some(sandbox.session) };
    read_record(workspace.connection(), &reader, pfa_id).await?.ok_or_else(|| Error::RecordNotFound(pfa_id.to_owned()))
}
