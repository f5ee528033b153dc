//! Publishing drafts: the history, the states, the overlay, the summaries.

use crate::error::Result;
use crate::service::publication::{Sign, next_publication, note_amounts};
use crate::service::sessions::{Sandbox, Workspace};
use uuid::Uuid;

/// Publishes clean drafts on these records. Each part is one statement for any number of drafts.
pub(super) async fn publish_drafts(workspace: &mut Workspace<'_>, sandbox: &Sandbox, drafts: &[Uuid], records: &[Uuid]) -> Result<()> {
    let (organization, session) = (&sandbox.organization, sandbox.session);
    let publication = next_publication(workspace.connection(), organization).await?;
    note_amounts(workspace.connection(), organization, publication, Sign::Before, records).await?;
    sqlx::query!(
        r#"
        insert into pfa_mirror_history
               (organization_id, mirror_id, version, change_number, changed_at, changed_by, source, source_id, reason, before, after)
        select $1, c.mirror_id, c.version, $4, $5, $3, 'session', $2, c.change_reason, changed.before, changed.after
          from pfa_compared($1) c
         cross join lateral (
                  select jsonb_object_agg(field, theirs) as before, jsonb_object_agg(field, ours) as after
                    from pfa_three_way(c.delta, c.base, c.published)
                   where theirs <> ours) changed
         where c.session_id = $2
           and (c.sync_state = 'draft' or c.conflict_stage = 'commit')
           and c.id = any ($6)
           -- Somebody else may have published the very same change.
           and changed.after is not null
        "#,
        organization,
        session,
        sandbox.user,
        publication.number,
        publication.at,
        drafts,
    )
    .execute(workspace.connection())
    .await?;
    sqlx::query!(
        r#"
        update pfa_modification d
           set sync_state = 'committed', conflict_stage = null, committed_at = $3, updated_at = $3,
               current_version = (select version from pfa_mirror m where m.organization_id = $1 and m.id = d.mirror_id)
         where organization_id = $1
           and session_id = $2
           and (sync_state = 'draft' or conflict_stage = 'commit')
           and id = any ($4)
        "#,
        organization,
        session,
        publication.at,
        drafts,
    )
    .execute(workspace.connection())
    .await?;
    sqlx::query!("select pfa_publish_overlay($1, $2, $3, $4, $5)", organization, session, sandbox.user, publication.at, records)
        .execute(workspace.connection())
        .await?;
    note_amounts(workspace.connection(), organization, publication, Sign::After, records).await
}
