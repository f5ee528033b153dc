//! Loading records into the mirror: staging by COPY, then one set-based apply per organization.
//!
//! A [`Load`] is one transaction: readers see the mirror before it or after it. Rows whose data is
//! the same are not touched; changed ones get the next version and a history row.

mod first_load;

use crate::domain::record::Record;
use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use crate::service::publication::{Access, Publication, Sign, lock_organization, next_publication, note_amounts, rebuild_overlay};
use first_load::SetAsideIndex;
use sqlx::{PgConnection, Postgres, Transaction};
use std::ops::AddAssign;
use uuid::Uuid;

/// Rows that a load wrote or left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// New records.
    pub inserted: u64,
    /// Records whose data changed.
    pub updated: u64,
    /// Records that were the same.
    pub unchanged: u64,
}

impl Applied {
    /// All records of the load.
    #[must_use]
    pub fn total(self) -> u64 {
        self.inserted + self.updated + self.unchanged
    }
}

impl AddAssign for Applied {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
    }
}

/// Where a batch of records belongs and what its history rows say.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Code of the organization; it must exist.
    pub organization: String,
    /// Id of the run in `pfa_sync_log`.
    pub id: Uuid,
    /// Who brought the records, for the history.
    pub loaded_by: String,
}

/// One transaction that loads records into the mirror.
#[derive(Debug)]
pub struct Load {
    transaction: Transaction<'static, Postgres>,
    /// Indexes that are taken away while an empty mirror is filled, and built again at the end.
    set_aside: Vec<SetAsideIndex>,
    staged: u64,
}

impl PfaMirrorService {
    /// Begins a load of these organizations. Nothing is visible, to anybody, before [`Load::commit`].
    ///
    /// # Errors
    /// [`Error::LoadRunning`] when one of them is being loaded by anybody; else when the database fails.
    pub async fn begin_load(&self, organizations: &[&str]) -> Result<Load> {
        let mut transaction = self.pool.begin().await?;
        // A load waits for its source as long as that takes.
        for setting in ["statement_timeout", "idle_in_transaction_session_timeout"] {
            sqlx::query("select set_config($1, '0', true)").bind(setting).execute(&mut *transaction).await?;
        }
        for organization in organizations {
            let is_free: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock(pfa_load_lock($1))")
                .bind(organization)
                .fetch_one(&mut *transaction)
                .await?;
            if !is_free {
                return Err(Error::LoadRunning((*organization).to_owned()));
            }
        }
        sqlx::query("create temporary table pfa_staging (data jsonb not null) on commit drop").execute(&mut *transaction).await?;
        let set_aside = first_load::set_indexes_aside(&mut transaction, organizations).await?;
        Ok(Load { transaction, set_aside, staged: 0 })
    }

    /// Brings planner statistics and the visibility map up to date after a large load.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vacuum_mirror(&self) -> Result<()> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query("set statement_timeout = 0").execute(&mut *connection).await?;
        let vacuumed = sqlx::query("vacuum (analyze) pfa_mirror").execute(&mut *connection).await;
        // The connection goes back to the pool whatever came of it.
        sqlx::query("reset statement_timeout").execute(&mut *connection).await?;
        vacuumed?;
        Ok(())
    }
}

impl Load {
    /// Copies records into the staging table.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stage(&mut self, records: &[Record]) -> Result<()> {
        let mut copy = self.transaction.copy_in_raw("copy pfa_staging (data) from stdin").await?;
        let mut text = Vec::with_capacity(records.len() * 700);
        for record in records {
            push_copy_line(&mut text, record);
        }
        copy.send(text).await?;
        self.staged += copy.finish().await?;
        Ok(())
    }

    /// Applies what was staged since the last apply to one organization's mirror. Committed changes
    /// whose fields PEMS changed to something else become conflicts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn apply(&mut self, batch: &Batch) -> Result<Applied> {
        let (connection, organization) = (&mut *self.transaction, &batch.organization);
        // Loads and commits of one organization queue, and no sandbox is edited meanwhile.
        lock_organization(connection, organization, Access::Exclusive).await?;
        if self.staged > 10_000 {
            sqlx::query("analyze pfa_staging").execute(&mut *connection).await?;
        }
        let changed: Vec<Uuid> = sqlx::query_scalar(FIND_CHANGED).bind(organization).fetch_one(&mut *connection).await?;
        let mut publication = None;
        if !changed.is_empty() {
            publication = Some(update_changed(connection, batch, &changed).await?);
        }
        let inserted = insert_new(connection, batch, publication).await?;
        sqlx::query("truncate pfa_staging").execute(&mut *connection).await?;
        let updated = changed.len() as u64;
        let applied = Applied { inserted, updated, unchanged: self.staged - inserted - updated };
        self.staged = 0;
        Ok(applied)
    }

    /// Builds the indexes that were set aside, telling each name, and makes everything visible.
    ///
    /// # Errors
    /// When the database fails; then nothing was loaded.
    pub async fn commit(mut self, mut on_index: impl FnMut(&str)) -> Result<()> {
        for index in &self.set_aside {
            on_index(&index.name);
            index.build(&mut self.transaction).await?;
        }
        self.transaction.commit().await?;
        Ok(())
    }
}

/// Writes what changed, with all that follows from it: the history, conflicts, the overlay, the summaries.
async fn update_changed(connection: &mut PgConnection, batch: &Batch, changed: &[Uuid]) -> Result<Publication> {
    let organization = &batch.organization;
    let publication = next_publication(connection, organization).await?;
    note_amounts(connection, organization, publication, Sign::Before, changed).await?;
    sqlx::query(UPDATE_CHANGED)
        .bind(organization)
        .bind(batch.id)
        .bind(publication.number)
        .bind(&batch.loaded_by)
        .bind(publication.at)
        .bind(changed)
        .execute(&mut *connection)
        .await?;
    sqlx::query("select pfa_recheck_published($1, $2)").bind(organization).bind(changed).execute(&mut *connection).await?;
    rebuild_overlay(connection, organization, changed, None).await?;
    note_amounts(connection, organization, publication, Sign::After, changed).await?;
    Ok(publication)
}

/// Inserts new records and returns their number.
async fn insert_new(connection: &mut PgConnection, batch: &Batch, publication: Option<Publication>) -> Result<u64> {
    let organization = &batch.organization;
    let is_first: bool = sqlx::query_scalar("select not exists (select from pfa_mirror where organization_id = $1)")
        .bind(organization)
        .fetch_one(&mut *connection)
        .await?;
    if is_first {
        // The view has nothing of an organization without records, so there is nothing to note beside it.
        let inserted = sqlx::query(INSERT_NEW).bind(organization).bind(batch.id).execute(&mut *connection).await?.rows_affected();
        if inserted > 0 {
            next_publication(connection, organization).await?;
        }
        return Ok(inserted);
    }
    let records: Vec<Uuid> = sqlx::query_scalar(INSERT_NEW_TELLING).bind(organization).bind(batch.id).fetch_one(&mut *connection).await?;
    if !records.is_empty() {
        let publication = match publication {
            Some(publication) => publication,
            None => next_publication(connection, organization).await?,
        };
        note_amounts(connection, organization, publication, Sign::After, &records).await?;
    }
    Ok(records.len() as u64)
}

/// Records whose data is another one; `<>` on JSONB compares by meaning, so 1.0 and 1 are the same.
const FIND_CHANGED: &str = "
    select coalesce(array_agg(m.id), '{}')
      from pfa_staging s
      join pfa_mirror m on m.organization_id = $1 and m.pfa_id = s.data->>'pfaId'
     where m.data <> s.data";

const UPDATE_CHANGED: &str = "
    with changed as (
        select m.id, m.data as before, s.data as after
          from pfa_staging s
          join pfa_mirror m on m.organization_id = $1 and m.pfa_id = s.data->>'pfaId'
         where m.id = any ($6)
    ), updated as (
        update pfa_mirror m
           set data = c.after, version = m.version + 1, last_synced_at = now(), sync_batch_id = $2
          from changed c
         where m.organization_id = $1 and m.id = c.id
        returning m.id, m.version, c.before, c.after
    )
    insert into pfa_mirror_history
           (organization_id, mirror_id, version, change_number, changed_at, changed_by, source, source_id, before, after)
    select $1, u.id, u.version, $3, $5, $4, 'import', $2, pfa_pick(u.before, k.keys), pfa_pick(u.after, k.keys)
      from updated u
     cross join lateral (select pfa_changed_keys(u.before, u.after) as keys) k";

const INSERT_NEW: &str = "
    insert into pfa_mirror (organization_id, data, sync_batch_id)
    select $1, s.data, $2
      from pfa_staging s
     where not exists (
               select from pfa_mirror m
                where m.organization_id = $1 and m.pfa_id = s.data->>'pfaId')";

/// The same, telling which.
const INSERT_NEW_TELLING: &str = "
    with inserted as (
        insert into pfa_mirror (organization_id, data, sync_batch_id)
        select $1, s.data, $2
          from pfa_staging s
         where not exists (
                   select from pfa_mirror m
                    where m.organization_id = $1 and m.pfa_id = s.data->>'pfaId')
        returning id
    )
    select coalesce(array_agg(id), '{}') from inserted";

/// One line of COPY's text format: compact JSON holds no raw tab or line end, so only its
/// backslashes need care.
fn push_copy_line(text: &mut Vec<u8>, record: &Record) {
    let json = serde_json::to_vec(&record.data).unwrap_or_default();
    for part in json.split_inclusive(|&byte| byte == b'\\') {
        text.extend_from_slice(part);
        if part.ends_with(b"\\") {
            text.push(b'\\');
        }
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn backslashes_are_doubled_in_copy_lines() {
        let serde_json::Value::Object(data) = json!({"a": "x\\y\n\"z\""}) else { panic!("an object") };
        let mut text = Vec::new();
        push_copy_line(&mut text, &Record { pfa_id: String::new(), data });
        assert_eq!(String::from_utf8(text).expect("text"), "{\"a\":\"x\\\\\\\\y\\\\n\\\\\"z\\\\\"\"}\n");
    }
}
