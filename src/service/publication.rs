//! Publications: what everybody reads changes under the organization's publication lock, and every
//! change has a number and a moment of its own.
//!
//! Lock order, everywhere: the organization's lock, then a session's row. Each is taken by a
//! statement of its own, so that the next one sees what the holder before has committed.

use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;
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

/// So few rows are not worth a plan for many.
pub(super) const FEW: usize = 100;

/// Whether the statements that follow in the transaction are planned for thousands of rows, or for as many as the statistics know of.
///
/// Those may be of a moment without drafts. Then ten thousand records were compared with ten thousand drafts each with each, and any index was
/// as good as the right one. For many, lists are joined by hashes, and a probe that asks for an order reads the index that has it.
/// A statement may have kept the plans of its checks (`pfa_keep_plans_of_checks`): the end of this ends that, too.
pub(super) async fn expect_many(connection: &mut PgConnection, many: bool) -> Result<()> {
    let settings = if many {
        "set local enable_nestloop = off; set local enable_bitmapscan = off; set local enable_sort = off"
    } else {
        "set local enable_nestloop to default; set local enable_bitmapscan to default; set local enable_sort to default;
         set local plan_cache_mode to default"
    };
    sqlx::raw_sql(settings).execute(connection).await?;
    Ok(())
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

/// What everybody saw of some records before a publication that is told by its difference.
#[derive(Debug)]
pub(super) struct Seen {
    records: Vec<Uuid>,
    before: Vec<Value>,
    /// The first number of the transaction: what was told since is not told again.
    first: i64,
}

impl Seen {
    /// Looks at what is published now, and notes what it amounts to.
    pub async fn look(connection: &mut PgConnection, organization: &str, publication: Publication, records: &[Uuid]) -> Result<Self> {
        note_amounts(connection, organization, publication, Sign::Before, records).await?;
        let rows = sqlx::query!(
            r#"select record as "record!", pfa_published($1, record) as "data!" from unnest($2::uuid[]) record"#,
            organization,
            records
        )
        .fetch_all(connection)
        .await?;
        let (records, before) = rows.into_iter().map(|row| (row.record, row.data)).unzip();
        Ok(Self { records, before, first: publication.number })
    }

    /// Notes what it amounts to after the publication; where everybody reads the same as before, nothing stays noted.
    pub async fn note_after(&self, connection: &mut PgConnection, organization: &str, publication: Publication) -> Result<()> {
        let forgotten = sqlx::query!(
            "delete from pfa_summary_change
              where organization_id = $1
                and change_number = $2
                and not exists (
                        select from unnest($3::uuid[], $4::jsonb[]) n (record, before) where pfa_published($1, record) is distinct from before)",
            organization,
            self.first,
            &self.records,
            &self.before,
        )
        .execute(&mut *connection)
        .await?;
        // Nothing was noted before only where there is nothing to note.
        if forgotten.rows_affected() == 0 {
            note_amounts(connection, organization, publication, Sign::After, &self.records).await?;
        }
        Ok(())
    }

    /// Writes a history row for each record that everybody reads otherwise now, with the fields that
    /// nothing in this transaction has told: by whom, from where, why.
    pub async fn tell(
        &self,
        connection: &mut PgConnection,
        organization: &str,
        publication: Publication,
        by: &str,
        source: (&str, Option<Uuid>),
        reason: Option<&str>,
    ) -> Result<()> {
        sqlx::query!(
            "insert into pfa_mirror_history
                    (organization_id, mirror_id, version, change_number, changed_at, changed_by, source, source_id, reason, before, after)
             select $1, m.id, m.version, $2, $3, $4, $5, $6, $7, pfa_pick(seen.before, untold.keys), pfa_pick(seen.now, untold.keys)
               from (select record, before, pfa_published($1, record) as now from unnest($8::uuid[], $9::jsonb[]) n (record, before)) seen
               join pfa_mirror m on m.organization_id = $1 and m.id = seen.record
              cross join lateral (
                       select array_agg(key) as keys
                         from unnest(pfa_changed_keys(seen.before, seen.now)) key
                        where not exists (
                                select from pfa_mirror_history h
                                 where h.organization_id = $1
                                   and h.mirror_id = m.id
                                   and h.change_number >= $10
                                   and not h.is_arrival
                                   and h.before->key is not distinct from seen.before->key
                                   and h.after->key is not distinct from seen.now->key)) untold
              where untold.keys is not null",
            organization,
            publication.number,
            publication.at,
            by,
            source.0,
            source.1 as _,
            reason,
            &self.records,
            &self.before,
            self.first,
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}
