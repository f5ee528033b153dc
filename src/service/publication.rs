//! Publications: what everybody reads changes under the organization's publication lock, and every
//! change has a number and a moment of its own.
//!
//! Lock order, everywhere: the organization's lock, then a session's row. Each is taken by a
//! statement of its own, so that the next one sees what the holder before has committed.

use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// How an organization is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// For an edit of one sandbox: no publication meanwhile, other sandboxes go on.
    Shared,
    /// For a publication.
    Exclusive,
}

/// One publication.
#[derive(Debug, Clone, Copy)]
pub(super) struct Publication {
    /// The organization's change number from now on.
    pub number: i64,
    /// When; later than every publication before.
    pub at: DateTime<Utc>,
}

/// Waits for the organization's lock, which lasts until the transaction ends; gives its change number.
pub(super) async fn lock_organization(connection: &mut PgConnection, organization: &str, access: Access) -> Result<i64> {
    match access {
        Access::Shared => {
            sqlx::query!("select pg_advisory_xact_lock_shared(pfa_publication_lock($1))", organization).execute(&mut *connection).await?
        }
        Access::Exclusive => {
            sqlx::query!("select pg_advisory_xact_lock(pfa_publication_lock($1))", organization).execute(&mut *connection).await?
        }
    };
    sqlx::query_scalar!("select change_number from organizations where organization_id = $1", organization)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| Error::OrganizationNotFound(organization.to_owned()))
}

/// Takes the next change number. The caller holds the organization's lock exclusively.
pub(super) async fn next_publication(connection: &mut PgConnection, organization: &str) -> Result<Publication> {
    let publication = sqlx::query_as!(
        Publication,
        "update organizations
            set change_number = change_number + 1,
                last_published_at = greatest(clock_timestamp(), last_published_at + interval '1 microsecond')
          where organization_id = $1
        returning change_number as number, last_published_at as at",
        organization
    )
    .fetch_one(connection)
    .await?;
    Ok(publication)
}

/// Whether amounts are taken away or added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// Before the publication changes the records.
    Before,
    /// After it.
    After,
}

/// Notes what is published on these records, so that summaries stay exact until the next refresh.
pub(super) async fn note_amounts(
    connection: &mut PgConnection,
    organization: &str,
    publication: Publication,
    sign: Sign,
    records: &[Uuid],
) -> Result<()> {
    let sign = if sign == Sign::Before { -1 } else { 1 };
    sqlx::query!("select pfa_note_amounts($1, $2, $3, $4)", organization, publication.number, sign, records).execute(connection).await?;
    Ok(())
}

/// Derives the overlay of these records: for every reader, or for one sandbox alone.
pub(super) async fn rebuild_overlay(
    connection: &mut PgConnection,
    organization: &str,
    records: &[Uuid],
    reader: Option<Uuid>,
) -> Result<()> {
    sqlx::query!("select pfa_rebuild_overlay($1, $2, $3)", organization, records, reader as _).fetch_one(connection).await?;
    Ok(())
}
