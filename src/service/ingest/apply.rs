//! Applying what was staged to one organization's mirror, with all that follows from it.

use super::Load;
use crate::error::{Error, Result};
use crate::service::publication::{Access, Publication, Sign, lock_organization, next_publication, note_amounts, rebuild_overlay};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
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
    /// Records that the source did not have any more.
    pub discontinued: u64,
}

impl Applied {
    /// All records that the load brought.
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
        self.discontinued += other.discontinued;
    }
}

/// Where records come from, for the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A file, or the generator.
    Import,
    /// PEMS, read since this moment.
    Sync {
        /// What was written back since then may be newer than what was read.
        since: DateTime<Utc>,
    },
}

impl Origin {
    const fn word(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Sync { .. } => "sync",
        }
    }

    const fn since(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Import => None,
            Self::Sync { since } => Some(since),
        }
    }
}

/// What becomes of records that the source does not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vanished {
    /// They stay: the source is a part.
    Stay,
    /// They are discontinued, unless they are more than so many per cent: then the source is not to be trusted.
    Discontinue {
        /// Per cent of the records that are not discontinued.
        most_percent: u32,
    },
}

/// Where a batch of records belongs and what its history rows say.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Code of the organization; it must exist.
    pub organization: String,
    /// Id of the run in `pfa_sync_log`.
    pub id: Uuid,
    /// Who brought the records.
    pub loaded_by: String,
    /// From where.
    pub origin: Origin,
    /// What becomes of records that it lacks.
    pub vanished: Vanished,
}

impl Batch {
    /// A batch that does not come from PEMS.
    #[must_use]
    pub fn import(organization: &str, id: Uuid, loaded_by: &str) -> Self {
        let (organization, loaded_by) = (organization.to_owned(), loaded_by.to_owned());
        Self { organization, id, loaded_by, origin: Origin::Import, vanished: Vanished::Stay }
    }
}

impl Load {
    /// Applies what was staged since the last apply to one organization's mirror. Committed changes
    /// whose fields PEMS changed to something else become conflicts.
    ///
    /// # Errors
    /// [`Error::TooManyVanished`] when the source lacks more records than it may; or the database fails.
    pub async fn apply(&mut self, batch: &Batch) -> Result<Applied> {
        let applied = self.apply_staged(batch).await?;
        self.clear_staging().await?;
        Ok(applied)
    }

    /// The same, leaving what was staged.
    pub(super) async fn apply_staged(&mut self, batch: &Batch) -> Result<Applied> {
        self.begin_applying().await?;
        let staged = self.staged;
        let (connection, organization) = (self.connection(), &batch.organization);
        // Loads and commits of one organization queue, and no sandbox is edited meanwhile.
        lock_organization(connection, organization, Access::Exclusive).await?;
        if staged > 10_000 {
            sqlx::query("analyze pfa_staging").execute(&mut *connection).await?;
        }
        if has_records(connection, organization).await? {
            self.build_key().await?;
        }
        let connection = self.connection();
        let discontinued = match batch.vanished {
            Vanished::Stay => 0,
            Vanished::Discontinue { most_percent } => stage_vanished(connection, batch, most_percent).await?,
        };
        let (changed, left): (Vec<Uuid>, Vec<Option<String>>) =
            sqlx::query_as(FIND_CHANGED).bind(organization).bind(batch.origin.since()).fetch_one(&mut *connection).await?;
        let mut publication = None;
        if !changed.is_empty() {
            publication = Some(update_changed(connection, batch, &changed).await?);
        }
        let inserted = insert_new(connection, batch, publication).await?;
        self.left_stamps.extend(left);
        let updated = changed.len() as u64 - discontinued;
        Ok(Applied { inserted, updated, unchanged: staged - inserted - updated, discontinued })
    }

    pub(super) async fn clear_staging(&mut self) -> Result<()> {
        sqlx::query("truncate pfa_staging").execute(self.connection()).await?;
        self.staged = 0;
        Ok(())
    }
}

impl Load {
    /// Ids of records that are not discontinued and were not staged.
    ///
    /// # Errors
    /// [`Error::TooManyVanished`] when they are more than so many per cent; or the database fails.
    pub async fn find_missing(&mut self, organization: &str, most_percent: u32) -> Result<Vec<String>> {
        let no_guard: Option<DateTime<Utc>> = None;
        let (vanished, live): (i64, i64) =
            sqlx::query_as(COUNT_VANISHED).bind(organization).bind(no_guard).fetch_one(self.connection()).await?;
        check_vanished(vanished, live, most_percent)?;
        Ok(sqlx::query_scalar(FIND_VANISHED).bind(organization).fetch_all(self.connection()).await?)
    }
}

fn check_vanished(vanished: i64, live: i64, most_percent: u32) -> Result<()> {
    let is_too_many = vanished * 100 > live * i64::from(most_percent);
    if is_too_many { Err(Error::TooManyVanished { vanished, live, most_percent }) } else { Ok(()) }
}

/// Stages the records that the source lacks once more, as discontinued; gives their number.
async fn stage_vanished(connection: &mut PgConnection, batch: &Batch, most_percent: u32) -> Result<u64> {
    let (organization, since) = (&batch.organization, batch.origin.since());
    let (vanished, live): (i64, i64) = sqlx::query_as(COUNT_VANISHED).bind(organization).bind(since).fetch_one(&mut *connection).await?;
    check_vanished(vanished, live, most_percent)?;
    let staged = sqlx::query(STAGE_VANISHED).bind(organization).bind(since).execute(&mut *connection).await?;
    Ok(staged.rows_affected())
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
        .bind(batch.origin.word())
        .execute(&mut *connection)
        .await?;
    sqlx::query("select pfa_recheck_published($1, $2)").bind(organization).bind(changed).execute(&mut *connection).await?;
    rebuild_overlay(connection, organization, changed, None).await?;
    note_amounts(connection, organization, publication, Sign::After, changed).await?;
    Ok(publication)
}

async fn has_records(connection: &mut PgConnection, organization: &str) -> Result<bool> {
    let found = sqlx::query_scalar("select exists (select from pfa_mirror where organization_id = $1)");
    Ok(found.bind(organization).fetch_one(connection).await?)
}

/// Inserts new records and returns their number.
async fn insert_new(connection: &mut PgConnection, batch: &Batch, publication: Option<Publication>) -> Result<u64> {
    let organization = &batch.organization;
    if !has_records(connection, organization).await? {
        // The view has nothing of an organization without records, so there is nothing to note beside it.
        let inserted = sqlx::query(INSERT_NEW).bind(organization).bind(batch.id).execute(&mut *connection).await?.rows_affected();
        plan_each_again(connection).await?;
        if inserted > 0 {
            next_publication(connection, organization).await?;
        }
        return Ok(inserted);
    }
    let records: Vec<Uuid> = sqlx::query_scalar(INSERT_NEW_TELLING).bind(organization).bind(batch.id).fetch_one(&mut *connection).await?;
    plan_each_again(connection).await?;
    if !records.is_empty() {
        let publication = match publication {
            Some(publication) => publication,
            None => next_publication(connection, organization).await?,
        };
        note_amounts(connection, organization, publication, Sign::After, &records).await?;
    }
    Ok(records.len() as u64)
}

/// After a statement that kept the plans of its checks: what follows is planned for its own values.
async fn plan_each_again(connection: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql("set local plan_cache_mode to default").execute(connection).await?;
    Ok(())
}

/// Records that are not discontinued: those that were not staged, and all. Only what is missing is
/// asked whether it is in flight: of every record that would take seconds.
const COUNT_VANISHED: &str = "
    select count(*) filter (where case when s.pfa_id is null then $2::timestamptz is null or not pfa_in_flight($1, m.id, $2) else false end),
           count(*)
      from pfa_mirror m
      left join (select data->>'pfaId' as pfa_id from pfa_staging) s on s.pfa_id = m.pfa_id
     where m.organization_id = $1 and not m.is_discontinued";

const FIND_VANISHED: &str = "
    select m.pfa_id
      from pfa_mirror m
      left join (select data->>'pfaId' as pfa_id from pfa_staging) s on s.pfa_id = m.pfa_id
     where m.organization_id = $1 and not m.is_discontinued and s.pfa_id is null
     order by m.pfa_id";

const STAGE_VANISHED: &str = r#"
    insert into pfa_staging (data, stamp)
    select data || '{"isDiscontinued": true}', pems_version
      from (select m.id, m.data, m.pems_version
              from pfa_mirror m
              left join (select data->>'pfaId' as pfa_id from pfa_staging) s on s.pfa_id = m.pfa_id
             where m.organization_id = $1 and not m.is_discontinued and s.pfa_id is null
            offset 0) missing
     where $2::timestamptz is null or not pfa_in_flight($1, id, $2)"#;

/// Records whose data is another one; `<>` on JSONB compares by meaning, so 1.0 and 1 are the same.
/// What is on its way to PEMS, or arrived there while this was being read, is left to the write-back,
/// which reads the record itself: what was read before could take the change back.
const FIND_CHANGED: &str = "
    select coalesce(array_agg(id) filter (where not is_in_flight), '{}'), coalesce(array_agg(stamp) filter (where is_in_flight), '{}')
      from (select id, stamp, $2::timestamptz is not null and pfa_in_flight($1, id, $2) as is_in_flight
              from (select m.id, s.stamp
                      from pfa_staging s
                      join pfa_mirror m on m.organization_id = $1 and m.pfa_id = s.data->>'pfaId'
                     where m.data <> s.data
                    offset 0) different) checked";

const UPDATE_CHANGED: &str = "
    with changed as (
        select m.id, m.data as before, s.data as after, s.stamp
          from pfa_staging s
          join pfa_mirror m on m.organization_id = $1 and m.pfa_id = s.data->>'pfaId'
         where m.id = any ($6)
    ), updated as (
        update pfa_mirror m
           set data = c.after, version = m.version + 1, last_synced_at = now(), sync_batch_id = $2, pems_version = coalesce(c.stamp, m.pems_version)
          from changed c
         where m.organization_id = $1 and m.id = c.id
        returning m.id, m.version, c.before, c.after
    )
    insert into pfa_mirror_history
           (organization_id, mirror_id, version, change_number, changed_at, changed_by, source, source_id, before, after)
    select $1, u.id, u.version, $3, $5, $4, $7, $2, pfa_pick(u.before, k.keys), pfa_pick(u.after, k.keys)
      from updated u
     cross join lateral (select pfa_changed_keys(u.before, u.after) as keys) k";

const INSERT_NEW: &str = "
    insert into pfa_mirror (organization_id, data, sync_batch_id, pems_version)
    select $1, s.data, $2, s.stamp
      from pfa_staging s
     where (select pfa_keep_plans_of_checks())
       and not exists (
               select from pfa_mirror m
                where m.organization_id = $1 and m.pfa_id = s.data->>'pfaId')";

/// The same, telling which.
const INSERT_NEW_TELLING: &str = "
    with inserted as (
        insert into pfa_mirror (organization_id, data, sync_batch_id, pems_version)
        select $1, s.data, $2, s.stamp
          from pfa_staging s
         where (select pfa_keep_plans_of_checks())
           and not exists (
                   select from pfa_mirror m
                    where m.organization_id = $1 and m.pfa_id = s.data->>'pfaId')
        returning id
    )
    select coalesce(array_agg(id), '{}') from inserted";
