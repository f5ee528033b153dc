//! What everybody reads, after the drafts of a commit were published: the overlay and the summaries.

use crate::error::Result;
use crate::service::publication::{Publication, Sign, note_amounts};
use crate::service::sessions::{Sandbox, Workspace};
use uuid::Uuid;

/// Shows everybody what a commit has published on these records. Each part is one statement for any number of them.
pub(super) async fn show_to_everybody(
    workspace: &mut Workspace<'_>,
    sandbox: &Sandbox,
    publication: Publication,
    records: &[Uuid],
) -> Result<()> {
    let (organization, session) = (&sandbox.organization, sandbox.session);
    note_amounts(workspace.connection(), organization, publication, Sign::Before, records).await?;
    sqlx::query!("select pfa_publish_overlay($1, $2, $3, $4, $5)", organization, session, sandbox.user, publication.at, records)
        .execute(workspace.connection())
        .await?;
    note_amounts(workspace.connection(), organization, publication, Sign::After, records).await
}
