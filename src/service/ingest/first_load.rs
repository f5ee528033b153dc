//! The first load: while the mirror is empty its secondary indexes are dropped, and built again
//! over the loaded rows. A GIN index is built over a million rows in 20 s; filling it row by row
//! takes minutes. All in the load's transaction, so a failure leaves the indexes as they were.

use crate::error::Result;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

/// An index that will be built again: as the catalogue defines it.
#[derive(Debug, FromRow)]
pub(super) struct SetAsideIndex {
    /// Its name.
    pub name: String,
    definition: String,
    comment: Option<String>,
}

/// Drops the secondary indexes of an empty mirror; of any other mirror none.
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
    drop_indexes(connection).await
}

/// Looks, and keeps no lock of the look: two loads that did could never lock the mirror for themselves.
async fn is_mirror_empty(connection: &mut PgConnection) -> Result<bool> {
    sqlx::raw_sql("savepoint look").execute(&mut *connection).await?;
    let is_empty = sqlx::query_scalar("select not exists (select from pfa_mirror)").fetch_one(&mut *connection).await?;
    sqlx::raw_sql("rollback to savepoint look").execute(&mut *connection).await?;
    Ok(is_empty)
}

async fn drop_indexes(connection: &mut PgConnection) -> Result<Vec<SetAsideIndex>> {
    let indexes: Vec<SetAsideIndex> = sqlx::query_as(
        "select c.relname::text as name, pg_get_indexdef(c.oid) as definition, obj_description(c.oid, 'pg_class') as comment
           from pg_index i
           join pg_class c on c.oid = i.indexrelid
          where i.indrelid = 'pfa_mirror'::regclass
            and not exists (select from pg_constraint where conindid = i.indexrelid)
          order by c.relname",
    )
    .fetch_all(&mut *connection)
    .await?;
    for index in &indexes {
        // The name comes from the catalogue and is quoted there.
        let quoted: String = sqlx::query_scalar("select quote_ident($1)").bind(&index.name).fetch_one(&mut *connection).await?;
        sqlx::query(AssertSqlSafe(format!("drop index {quoted}"))).execute(&mut *connection).await?;
    }
    Ok(indexes)
}

impl SetAsideIndex {
    /// Builds the index again, with its comment.
    pub(super) async fn build(&self, connection: &mut PgConnection) -> Result<()> {
        sqlx::query("select set_config('maintenance_work_mem', '512MB', true)").execute(&mut *connection).await?;
        sqlx::query(AssertSqlSafe(self.definition.clone())).execute(&mut *connection).await?;
        if let Some(comment) = &self.comment {
            let statement: String = sqlx::query_scalar("select format('comment on index %I is %L', $1::text, $2::text)")
                .bind(&self.name)
                .bind(comment)
                .fetch_one(&mut *connection)
                .await?;
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
        Ok(())
    }
}
