//! What a reading is of: while it is the same, the same question has the same answer.

use super::texts::Origin;
use super::{PageQuery, ReadingState, statement};
use crate::error::{Error, Result};
use crate::service::Reader;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// Everything that is read then is of one moment.
pub(super) const SNAPSHOT: &str = "begin isolation level repeatable read, read only";

/// A state of an organization, or of a sandbox in it, in one mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub state: ReadingState,
    pub origin: Origin,
    session: Option<Uuid>,
}

impl Moment {
    /// The moment of a snapshot.
    pub async fn find(snapshot: &mut PgConnection, query: &PageQuery) -> Result<Self> {
        let organization = &query.reader.organization;
        let row = statement::admission(query).build().fetch_optional(snapshot).await?;
        let moment = Self::read(&row.ok_or_else(|| Error::OrganizationNotFound(organization.clone()))?, &query.reader)?;
        moment.check(&query.reader)?;
        Ok(moment)
    }

    /// Reads the first columns of a statement's admission.
    pub fn read(row: &PgRow, reader: &Reader) -> Result<Self> {
        let state = ReadingState { change_number: row.try_get(0)?, published_at: row.try_get(1)?, edit_count: row.try_get(2)? };
        Ok(Self { state, origin: Origin::new(&reader.organization, row.try_get(3)?), session: reader.session })
    }

    /// A word for it that says nothing else.
    pub fn tag(&self) -> String {
        format!("{:016x}", xxh3_64(format!("{self:?}").as_bytes()))
    }

    /// A session that has no edit count is not there, or somebody else's.
    pub fn check(&self, reader: &Reader) -> Result<()> {
        if reader.session.is_some() && self.state.edit_count.is_none() { Err(Error::SessionNotFound) } else { Ok(()) }
    }
}
