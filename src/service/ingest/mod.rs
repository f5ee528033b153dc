//! Loading records into the mirror: staging by COPY, then one set-based apply per organization.
//!
//! A [`Load`] has a connection of its own. Staging leaves everybody alone, however long the source
//! takes; the applies are one transaction, so readers see the mirror before it or after it. Rows whose
//! data is the same are not touched; changed ones get the next version and a history row.

mod apply;
mod first_load;
mod verify;

pub use apply::{Applied, Batch, Origin, Vanished};
pub use verify::{Difference, Expected, Verification};

use crate::domain::record::Record;
use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use crate::service::sync::runs::{RunOutcome, write_outcome};
use first_load::SetAsideIndex;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

/// Bytes of COPY that are sent as soon as they are there: PostgreSQL reads them while the next ones are written, and a million records
/// are staged in 9 seconds instead of 11.
const COPIED_AT_ONCE: usize = 256 * 1024;

/// Loads records into the mirror.
#[derive(Debug)]
pub struct Load {
    connection: PgConnection,
    organizations: Vec<String>,
    /// Indexes that are taken away while an empty mirror is filled, and built again at the end.
    set_aside: Vec<SetAsideIndex>,
    staged: u64,
    is_applying: bool,
    /// Stamps of records that were left to the write-back although they came with other data.
    left_stamps: Vec<Option<String>>,
}

/// A record to stage.
#[derive(Debug, Clone, Copy)]
pub struct Staged<'a> {
    /// The record.
    pub record: &'a Record,
    /// When PEMS changed it last, as PEMS writes it.
    pub stamp: Option<&'a str>,
}

impl<'a> From<&'a Record> for Staged<'a> {
    fn from(record: &'a Record) -> Self {
        Self { record, stamp: None }
    }
}

impl PfaMirrorService {
    /// Begins a load of these organizations. Nothing is visible, to anybody, before [`Load::commit`].
    ///
    /// # Errors
    /// [`Error::LoadRunning`] when one of them is being loaded by anybody; else when the database fails.
    pub async fn begin_load(&self, organizations: &[&str]) -> Result<Load> {
        let mut connection = self.pool.acquire().await?.detach();
        // A load waits for its source as long as that takes.
        for setting in ["statement_timeout", "idle_in_transaction_session_timeout"] {
            sqlx::query("select set_config($1, '0', false)").bind(setting).execute(&mut connection).await?;
        }
        for organization in organizations {
            let is_free: bool =
                sqlx::query_scalar("select pg_try_advisory_lock(pfa_load_lock($1))").bind(organization).fetch_one(&mut connection).await?;
            if !is_free {
                sqlx::raw_sql("select pg_advisory_unlock_all()").execute(&mut connection).await?;
                connection.close().await?;
                return Err(Error::LoadRunning((*organization).to_owned()));
            }
        }
        sqlx::query("create temporary table pfa_staging (data jsonb not null, stamp text)").execute(&mut connection).await?;
        let organizations = organizations.iter().map(|code| (*code).to_owned()).collect();
        Ok(Load { connection, organizations, set_aside: Vec::new(), staged: 0, is_applying: false, left_stamps: Vec::new() })
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
    pub async fn stage<'a>(&mut self, records: impl IntoIterator<Item = impl Into<Staged<'a>>>) -> Result<()> {
        let records: Vec<Staged<'a>> = records.into_iter().map(Into::into).collect();
        let mut copy = self.connection.copy_in_raw("copy pfa_staging (data, stamp) from stdin").await?;
        let mut text = Vec::with_capacity(2 * COPIED_AT_ONCE);
        for record in records {
            push_copy_line(&mut text, record);
            if text.len() > COPIED_AT_ONCE {
                copy.send(text.as_slice()).await?;
                text.clear();
            }
        }
        copy.send(text).await?;
        self.staged += copy.finish().await?;
        Ok(())
    }

    /// Leaves one row a record in the staging table, the last that came; gives their number. A source
    /// whose pages move can bring a record twice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_repeated(&mut self) -> Result<u64> {
        let dropped = sqlx::query(
            "delete from pfa_staging s
              using (select ctid, lead(ctid) over (partition by data->>'pfaId' order by ctid) is not null as is_repeated from pfa_staging) r
              where r.ctid = s.ctid and r.is_repeated",
        )
        .execute(&mut self.connection)
        .await?
        .rows_affected();
        self.staged -= dropped;
        Ok(self.staged)
    }

    /// The transaction of the applies: begun by the first one.
    async fn begin_applying(&mut self) -> Result<()> {
        if !self.is_applying {
            sqlx::raw_sql("begin").execute(&mut self.connection).await?;
            self.is_applying = true;
            self.set_aside = first_load::set_indexes_aside(&mut self.connection, &self.organizations).await?;
        }
        Ok(())
    }

    /// When PEMS changed the records, as PEMS writes it, that the applies left to the write-back although
    /// they came with other data: the next reading has to bring them again.
    pub(super) fn left_stamps(&self) -> &[Option<String>] {
        &self.left_stamps
    }

    /// The connection, for what must be in the transaction of the applies.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Closes the log row of a run in the transaction of the applies, so that the log is true whatever
    /// happens to the process after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_run(&mut self, organization: &str, id: Uuid, outcome: &RunOutcome) -> Result<()> {
        self.begin_applying().await?;
        write_outcome(&mut self.connection, organization, id, outcome).await
    }

    /// Builds the primary key, if it was set aside: what follows from records that are there already looks them up by it.
    async fn build_key(&mut self) -> Result<()> {
        for index in self.set_aside.extract_if(.., |index| index.is_key) {
            index.build(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Builds the indexes that were set aside, telling each name, and makes everything visible.
    ///
    /// # Errors
    /// When the database fails; then nothing was loaded.
    pub async fn commit(mut self, mut on_index: impl FnMut(&str)) -> Result<()> {
        self.begin_applying().await?;
        for index in &self.set_aside {
            on_index(&index.name);
            index.build(&mut self.connection).await?;
        }
        sqlx::raw_sql("commit").execute(&mut self.connection).await?;
        self.close().await;
        Ok(())
    }

    /// Ends the load and leaves everything as it was. Dropping it does the same, a moment later.
    pub async fn abandon(mut self) {
        if self.is_applying {
            let _ = sqlx::raw_sql("rollback").execute(&mut self.connection).await;
        }
        self.close().await;
    }

    /// A server notices the end of a connection a moment later, but the next load may begin at once.
    async fn close(mut self) {
        let unlocked = sqlx::raw_sql("select pg_advisory_unlock_all()").execute(&mut self.connection).await;
        if let Err(error) = unlocked.and(self.connection.close().await) {
            tracing::debug!(%error, "the connection of a load did not close cleanly");
        }
    }
}

/// One line of COPY's text format: compact JSON holds no raw tab or line end, so only backslashes
/// need care; a stamp is text of PEMS and may hold anything.
fn push_copy_line(text: &mut Vec<u8>, staged: Staged<'_>) {
    let json = serde_json::to_vec(&staged.record.data).unwrap_or_default();
    push_escaped(text, &json);
    text.push(b'\t');
    match staged.stamp {
        Some(stamp) => push_escaped(text, stamp.replace(['\t', '\n', '\r', '\0'], " ").as_bytes()),
        None => text.extend_from_slice(b"\\N"),
    }
    text.push(b'\n');
}

fn push_escaped(text: &mut Vec<u8>, value: &[u8]) {
    for part in value.split_inclusive(|&byte| byte == b'\\') {
        text.extend_from_slice(part);
        if part.ends_with(b"\\") {
            text.push(b'\\');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn backslashes_are_doubled_in_copy_lines() {
        let serde_json::Value::Object(data) = json!({"a": "x\\y\n\"z\""}) else { panic!("an object") };
        let record = Record { pfa_id: String::new(), data };
        let mut text = Vec::new();
        push_copy_line(&mut text, Staged::from(&record));
        push_copy_line(&mut text, Staged { record: &record, stamp: Some("a\\\tb") });
        let json = "{\"a\":\"x\\\\\\\\y\\\\n\\\\\"z\\\\\"\"}";
        assert_eq!(String::from_utf8(text).expect("text"), format!("{json}\t\\N\n{json}\ta\\\\ b\n"));
    }
}
