//! Whose overlays have thousands of rows, and whether these stand for most of what a page would show.
//!
//! A page leaves out rows that the overlay has, by one probe for each. Where all of twenty thousand rows have drafts, as after a bulk
//! edit of what the grid shows, it probes all of them to find its first row of the mirror: thirty times what the page takes otherwise.
//! Such pages are read [otherwise](super::edge); for others that takes longer. A look at a page's first rows tells which it is, a
//! statement of its own that takes a fifth of a common page's time: only where there are so many overlay rows at all, and anew after
//! some changes. Edits and commits of many rows tell that they were written; what others write, as another process does, is found
//! out within as many changes. All of this is about time: any way shows the same rows.

use crate::domain::cursor::fingerprint;
use crate::domain::field::{Field, Kind};
use crate::error::Result;
use crate::service::Reader;
use crate::service::records::order::sorts_a_category;
use crate::service::records::{PageQuery, ReadingState, page_statement};
use crate::service::sessions::Sandbox;
use quick_cache::sync::Cache;
use sqlx::PgConnection;
use std::iter::once;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// From so many rows on an overlay is worth a look.
const MANY: i64 = 2_000;
/// Once so many rows are written to such an overlay at a time, its pages are looked at again.
const SOME: usize = 256;
/// An overlay that had many rows is counted again after so many changes, and its pages are looked at again; after each it would take
/// a fifth of a page's time.
const PATIENCE: i64 = 16;
/// So many overlays are remembered …
const OVERLAYS: usize = 10_000;
/// … and so many pages.
const PAGES: usize = 10_000;

/// What a reader's overlays are on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowd {
    /// Not large, as far as it is known, or none that makes this page slow.
    Unlikely,
    /// Large, but they do not stand for nearly all of its first rows.
    Scattered,
    /// They stand for nearly all of its first rows.
    Dense,
}

/// Whether a page is one that a crowd makes slow: one that is read in the order of an index, or else it would be searched and sorted
/// for a second time. Larger ones take the hash for more overlay rows, however they lie.
fn suits(query: &PageQuery) -> bool {
    let PageQuery { filter, sort, .. } = query;
    let first = sort.keys()[0].field;
    let is_in_order = first == Field::PfaId || matches!(first.kind(), Kind::Date | Kind::Amount);
    let is_filtered_by_columns = filter.text.is_empty() && filter.contains.is_none() && filter.conditions.is_empty();
    query.offset + i64::from(query.limit) <= MANY / 2 && is_in_order && is_filtered_by_columns && !sorts_a_category(query)
}

/// What was found out about overlays lately.
#[derive(Debug)]
pub(in crate::service) struct Crowds {
    overlays: Cache<Overlay, Counted>,
    /// What pages met, by a hash of their query and of the eras of their overlays.
    pages: Cache<u64, Crowd>,
    last_era: AtomicU64,
    /// Whether every page that can be is read as a crowded one.
    are_everywhere: bool,
}

/// An organization's, of a sandbox and its user, or of everybody.
type Overlay = (String, Option<(Uuid, String)>);

/// How one was when it was counted last.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// The state of the overlay: the edits of a sandbox, the publications of an organization. None where somebody told.
    number: Option<i64>,
    has_many: bool,
    /// What pages met in an earlier one tells nothing any more.
    era: u64,
}

impl Counted {
    /// Whether it is worth counting again, in this state of the overlay.
    fn is_old(self, number: i64) -> bool {
        let patience = if self.has_many { PATIENCE } else { 1 };
        self.number.is_none_or(|seen| (number - seen).abs() >= patience)
    }
}

impl Crowds {
    /// Nothing is found out yet, unless crowds are everywhere.
    pub(in crate::service) fn new(are_everywhere: bool) -> Self {
        Self { overlays: Cache::new(OVERLAYS), pages: Cache::new(PAGES), last_era: AtomicU64::new(0), are_everywhere }
    }

    /// What the overlays that the reader reads across are on a page.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn met_by(&self, connection: &mut PgConnection, query: &PageQuery) -> Result<Crowd> {
        if !suits(query) {
            return Ok(Crowd::Unlikely);
        }
        if self.are_everywhere {
            return Ok(Crowd::Dense);
        }
        let counted = [Some(published(&query.reader)), sandbox(&query.reader)].map(|overlay| self.overlays.get(&overlay?));
        let eras = counted.map(|counted| counted.filter(|counted| counted.has_many).map(|counted| counted.era));
        if eras == [None, None] {
            return Ok(Crowd::Unlikely);
        }
        let user = query.reader.session.map(|_| &query.reader.user);
        let page = fingerprint(&format!("{} {user:?} {:?} {eras:?}", query.fingerprint(), query.cursor));
        if let Some(crowd) = self.pages.get(&page) {
            return Ok(crowd);
        }
        let is_dense = page_statement::look(query).build_query_scalar().fetch_one(connection).await?;
        let crowd = if is_dense { Crowd::Dense } else { Crowd::Scattered };
        self.pages.insert(page, crowd);
        Ok(crowd)
    }

    /// Counts those overlays of the reader that were counted too long ago.
    pub(super) async fn count(&self, connection: &mut PgConnection, reader: &Reader, state: ReadingState) -> Result<()> {
        let sandbox = sandbox(reader).zip(state.edit_count);
        for (overlay, number) in once((published(reader), state.change_number)).chain(sandbox) {
            let last = self.overlays.get(&overlay);
            if last.is_none_or(|last| last.is_old(number)) {
                let session = overlay.1.as_ref().map_or(Uuid::nil(), |(session, _)| *session);
                let has_many = has_many(connection, &overlay.0, session).await?;
                // Pages that were looked at since somebody told of many need no other look.
                let era = last.filter(|last| last.number.is_none()).map(|last| last.era);
                // What somebody has told meanwhile is newer.
                if self.overlays.get(&overlay).map(|now| now.era) == last.map(|last| last.era) {
                    self.overlays.insert(overlay, Counted { number: Some(number), has_many, era: era.unwrap_or_else(|| self.next_era()) });
                }
            }
        }
        Ok(())
    }

    /// So many rows of a sandbox's overlay were written or removed.
    pub(in crate::service) fn expect_drafts(&self, sandbox: &Sandbox, rows: usize) {
        self.expect(overlay_of(sandbox), rows);
    }

    /// The same of everybody's overlay, by a commit, which leaves nothing in that of its sandbox.
    pub(in crate::service) fn expect_published(&self, sandbox: &Sandbox, rows: usize) {
        self.expect((sandbox.organization.clone(), None), rows);
        self.overlays.remove(&overlay_of(sandbox));
    }

    fn expect(&self, overlay: Overlay, rows: usize) {
        let last = self.overlays.get(&overlay);
        if i64::try_from(rows).is_ok_and(|rows| rows >= MANY) {
            self.overlays.insert(overlay, Counted { number: None, has_many: true, era: self.next_era() });
        } else if let Some(last) = last.filter(|last| last.has_many && rows >= SOME) {
            self.overlays.insert(overlay, Counted { era: self.next_era(), ..last });
        }
    }

    fn next_era(&self) -> u64 {
        self.last_era.fetch_add(1, Ordering::Relaxed)
    }
}

fn published(reader: &Reader) -> Overlay {
    (reader.organization.clone(), None)
}

fn sandbox(reader: &Reader) -> Option<Overlay> {
    reader.session.map(|session| (reader.organization.clone(), Some((session, reader.user.clone()))))
}

fn overlay_of(Sandbox { organization, user, session }: &Sandbox) -> Overlay {
    (organization.clone(), Some((*session, user.clone())))
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
