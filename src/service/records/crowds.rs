//! Whose overlays have thousands of rows, which may stand for most of what a page would show.
//!
//! A page leaves out rows that the overlay has, by one probe for each. Where all of twenty thousand rows have drafts, as after a bulk
//! edit of what the grid shows, it probes all of them to find its first row of the mirror: thirty times what the page takes else.
//! To make a hash of the overlay's ids takes as long as a few thousand probes, so a statement looks at its first rows whether it is
//! worth it. To plan that look takes an eighth of a small page's time: it is part of pages only where there are so many overlay rows
//! at all. That is found out once for a state of an overlay, by the first page of it, for the next ones.

use crate::error::Result;
use crate::service::Reader;
use crate::service::records::ReadingState;
use quick_cache::sync::Cache;
use sqlx::PgConnection;
use std::iter::once;
use uuid::Uuid;

/// From so many rows on an overlay is worth a look.
pub(super) const MANY: i64 = 2_000;
/// And one that had is looked at again when it was changed so often: in vain costs the next pages less than looking each time.
const PATIENCE: i64 = 16;
/// So many overlays are remembered.
const OVERLAYS: usize = 10_000;

/// What was found out about overlays lately.
#[derive(Debug)]
pub(in crate::service) struct Crowds(Cache<(String, Uuid), Look>);

/// What was found out about one.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// The state of the overlay: the edits of a sandbox, the publications of an organization.
    number: i64,
    has_many: bool,
}

impl Look {
    /// Whether it is worth another look, in this state of the overlay.
    const fn is_old(self, number: i64) -> bool {
        if self.has_many { (number - self.number).abs() >= PATIENCE } else { number != self.number }
    }
}

impl Default for Crowds {
    fn default() -> Self {
        Self(Cache::new(OVERLAYS))
    }
}

impl Crowds {
    /// Whether an overlay that the reader reads across had many rows when somebody looked last.
    pub(super) fn has_many(&self, reader: &Reader) -> bool {
        let has_many = |session| self.0.get(&(reader.organization.clone(), session)).is_some_and(|look| look.has_many);
        has_many(Uuid::nil()) || reader.session.is_some_and(has_many)
    }

    /// Looks at those overlays of the reader of which the last look is too old.
    pub(super) async fn look(&self, connection: &mut PgConnection, reader: &Reader, state: ReadingState) -> Result<()> {
        let sandbox = reader.session.zip(state.edit_count);
        for (session, number) in once((Uuid::nil(), state.change_number)).chain(sandbox) {
            let overlay = (reader.organization.clone(), session);
            if self.0.get(&overlay).is_none_or(|look| look.is_old(number)) {
                let has_many = has_many(connection, &overlay.0, session).await?;
                self.0.insert(overlay, Look { number, has_many });
            }
        }
        Ok(())
    }
}

async fn has_many(connection: &mut PgConnection, organization: &str, session: Uuid) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select count(*) = $3 as "has_many!"
             from (select from pfa_overlay o where o.organization_id = $1 and o.session_id = $2 and not o.is_discontinued
                   union all
                   select from pfa_overlay o where o.organization_id = $1 and o.session_id = $2 and o.is_discontinued
                   limit $3) o"#,
        organization,
        session,
        MANY,
    )
    .fetch_one(connection)
    .await?)
}
