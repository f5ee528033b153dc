//! The first load: while the mirror is empty its secondary indexes and its primary key are taken away,
//! and built again over the loaded rows. A GIN index is built over a million rows in 20 s; filling it
//! row by row takes minutes. All in the load's transaction, so a failure leaves all as it was.

use crate::error::Result;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

/// An index that will be built again, as the catalogue defines it.
#[derive(Debug, FromRow)]
pub(super) struct SetAsideIndex {
    /// Its name.
    pub name: String,
    /// Whether it is the primary key.
    pub is_key: bool,
    drop: String,
    build: String,
    comment: String,
}

/// Drops the secondary indexes and the primary key of an empty mirror, and begins its files anew; of any other mirror nothing.
///
/// Then the mirror is locked until the load ends, and so are the organizations, before it: an edit
/// holds its organization and waits for the mirror, so the load may not want them the other way round.
pub(super) async fn set_indexes_aside(connection: &mut PgConnection, organizations: &[String]) -> Result<Vec<SetAsideIndex>> {
    if !is_mirror_empty(connection).await? {
        return Ok(Vec::new());
    }
    sqlx::raw_sql("savepoint unlocked").execute(&mut *connection).await?;
    for organization in organizations {
        sqlx::query("select pg_advisory_xact_lock(pfa_publication_lock($1))").bind(organization).execute(&mut *connection).await?;
    }
    // Nobody may write between the look and the drop. Readers wait for the load; they would see nothing.
    sqlx::query("lock table pfa_mirror in access exclusive mode").execute(&mut *connection).await?;
    if !is_mirror_empty(connection).await? {
        // Another first load was faster. This one gives all these locks back.
        sqlx::raw_sql("rollback to savepoint unlocked").execute(&mut *connection).await?;
        return Ok(Vec::new());
    }
    let indexes = drop_indexes(connection).await?;
    begin_new_files(connection).await?;
    Ok(indexes)
}

/// Looks, and keeps no lock of the look: two loads that did could never lock the mirror for themselves.
async fn is_mirror_empty(connection: &mut PgConnection) -> Result<bool> {
    sqlx::raw_sql("savepoint look").execute(&mut *connection).await?;
    let is_empty = sqlx::query_scalar("select not exists (select from pfa_mirror)").fetch_one(&mut *connection).await?;
    sqlx::raw_sql("rollback to savepoint look").execute(&mut *connection).await?;
    Ok(is_empty)
}

/// What a transaction writes into files that it has begun itself needs no log where nobody replicates: a tenth of what inserting takes.
async fn begin_new_files(connection: &mut PgConnection) -> Result<()> {
    let needs_no_log: bool = sqlx::query_scalar("select current_setting('wal_level') = 'minimal'").fetch_one(&mut *connection).await?;
    if needs_no_log {
        sqlx::raw_sql("savepoint files").execute(&mut *connection).await?;
        if let Err(error) = sqlx::raw_sql("truncate pfa_mirror").execute(&mut *connection).await {
            // What an operator made of the table may forbid it: a foreign key, a trigger.
            tracing::debug!(%error, "the mirror cannot be truncated, so its first load is logged");
            sqlx::raw_sql("rollback to savepoint files").execute(&mut *connection).await?;
        }
    }
    Ok(())
}

async fn drop_indexes(connection: &mut PgConnection) -> Result<Vec<SetAsideIndex>> {
    let indexes: Vec<SetAsideIndex> = sqlx::query_as(INDEXES).fetch_all(&mut *connection).await?;
    for index in &indexes {
        sqlx::query(AssertSqlSafe(index.drop.clone())).execute(&mut *connection).await?;
    }
    Ok(indexes)
}

/// What is set aside, with the statements for it; every name comes from the catalogue and is quoted here.
///
/// The primary key's random ids fill its index in no order, 4 s of a million rows. It stays where an operator made
/// something of it: a foreign key, a replica identity, a place for it. The natural key stays always, because the applies
/// look for each record by it.
const INDEXES: &str = "
    select c.relname::text as name, k.oid is not null as is_key,
           case when k.oid is null then format('drop index %I', c.relname)
                else format('alter table pfa_mirror drop constraint %I', c.relname) end as drop,
           case when k.oid is null then pg_get_indexdef(c.oid)
                else format('alter table pfa_mirror add constraint %I %s', c.relname, pg_get_constraintdef(k.oid)) end as build,
           case when k.oid is null then format('comment on index %I is %L', c.relname, obj_description(c.oid, 'pg_class'))
                else format('comment on constraint %I on pfa_mirror is %L', c.relname, obj_description(k.oid, 'pg_constraint')) end as comment
      from pg_index i
      join pg_class c on c.oid = i.indexrelid
      left join pg_constraint k on k.conindid = i.indexrelid
     where i.indrelid = 'pfa_mirror'::regclass
       and (k.oid is null or k.contype = 'p')
       and not (k.contype is not null and (
               i.indisreplident or i.indisclustered or c.reloptions is not null or c.reltablespace <> 0
               or exists (select from pg_depend where refobjid in (k.oid, i.indexrelid) and deptype = 'n')))
     order by c.relname";

impl SetAsideIndex {
    /// Builds the index again, with its comment.
    pub(super) async fn build(&self, connection: &mut PgConnection) -> Result<()> {
        sqlx::query("select set_config('maintenance_work_mem', '512MB', true)").execute(&mut *connection).await?;
        for statement in [&self.build, &self.comment] {
            sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *connection).await?;
        }
        Ok(())
    }
}
