//! The composed statement of a page of the merged grid.
//!
//! ```text
//! admission                                           -- one row: who may read, what state it is of
//! union all
//! (overlay of the sandbox   … order by … limit n+1)     -- n rows, and those that are left out before them
//! union all
//! (published overlay without it   … order by … limit n+1)
//! union all
//! (mirror without both   … order by … limit n+1)      -- in two segments where one scan cannot give the nulls last
//! order by … limit n+1
//! ```
//!
//! Every branch delivers its own order from an index (or sorts within one) and stops at the limit; PostgreSQL merges them. Of pages of
//! which drafts are nearly all the mirror is read [no further than they reach](super::edge).

use crate::service::records::columns::Columns;
use crate::service::records::crowds::Crowd;
use crate::service::records::order::{self, Segment, sorts_a_category};
use crate::service::records::overlay::{Without, push_probe};
use crate::service::records::row::META_COLUMNS;
use crate::service::records::statement::{
    Branch, Builder, Texts, branches, excludes_nulls, push_admission, push_branch, push_count, push_mirror, splits_mirror, starts_in_tail,
    whole_segment,
};
use crate::service::records::{CountKind, PageQuery, edge, predicates};
use std::borrow::Cow;

/// From so many rows on a page is large.
const LARGE_PAGE: i64 = 500;

/// So many rows are looked up at most to tell whether a page is crowded, which takes half a millisecond if all are left out …
const LOOKED_UP: i64 = 256;
/// … and it is where fewer than one in so many of them is shown.
const CROWDED: i64 = 8;

/// How a page is read; what it shows is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub texts: Texts,
    /// Texts of drafts, which are remembered where a page shows little else: each of them may change with the next edit, and is
    /// asked for after the page then.
    pub drafts: Option<Texts>,
    pub crowd: Crowd,
}

impl Way {
    /// With all texts, in one statement.
    pub fn with_texts(self) -> Self {
        Self { texts: Texts::Read, drafts: self.drafts.map(|_| Texts::Read), ..self }
    }
}

/// The statement for a page. The first row is the admission; the others have the columns of `_meta`, the text of the record or
/// the fields asked for, and the sort keys, all behind the admission's columns. Who is refused gets no others, and no record is
/// read for them.
pub(super) fn page(query: &PageQuery, way: Way) -> Builder {
    Composition::new(query, way).compose("")
}

/// The plan of [`page`], measured or as it would be run.
pub(super) fn explain(query: &PageQuery, way: Way, is_measured: bool) -> Builder {
    let prefix = if is_measured { "explain (analyze, buffers, format json) " } else { "explain (format json) " };
    Composition::new(query, way).compose(prefix)
}

/// Whether the reader's overlays stand for nearly all of a page's first rows of the mirror, which are looked up no further than it takes
/// to tell. False for who is refused, without reading a record.
pub(super) fn look(query: &PageQuery) -> Builder {
    let mut sql = Builder::new("with admission as (");
    push_admission(&mut sql, query);
    sql.push("), candidates as materialized (");
    Composition::new(query, Way { texts: Texts::Remembered, drafts: None, crowd: Crowd::Unlikely }).push_candidates(&mut sql);
    sql.push(" limit ").push_bind(LOOKED_UP);
    sql.push(") select exists (select from admission");
    push_admitted(&mut sql, query);
    sql.push(") and (select count(*) from candidates) = ").push_bind(LOOKED_UP);
    sql.push(" and (select count(*) from (select from candidates r where ");
    push_probe(&mut sql, &query.reader, true);
    sql.push(" limit ").push_bind(LOOKED_UP / CROWDED).push(") seen) < ").push_bind(LOOKED_UP / CROWDED);
    sql
}

fn push_admitted(sql: &mut Builder, query: &PageQuery) {
    if query.reader.session.is_some() {
        sql.push(" where edit_count is not null");
    }
}

/// What the parts of a page's statement are made of.
struct Composition<'a> {
    query: &'a PageQuery,
    columns: Columns,
    tells_revisions: bool,
    without: Without,
    /// Whether the mirror is read in two segments.
    is_split: bool,
}

impl<'a> Composition<'a> {
    fn new(query: &'a PageQuery, Way { texts, drafts, crowd }: Way) -> Self {
        let without = match (query.offset + i64::from(query.limit), crowd) {
            _ if sorts_a_category(query) => Without::HashOrCalls,
            (_, Crowd::Dense) if edge::has_edge(query) && !starts_in_tail(query) => Without::DraftsInCrowd,
            (_, Crowd::Dense) => Without::HashInCrowd,
            (..LARGE_PAGE, _) | (_, Crowd::Scattered) => Without::Probes,
            // A row of the hash costs a quarter of a probe.
            (rows, Crowd::Unlikely) => Without::HashUpTo(2 * rows),
        };
        // The range that an edge ends has no nulls.
        let is_split = if without == Without::DraftsInCrowd { !excludes_nulls(query) } else { splits_mirror(query) };
        let columns = Columns::Page { texts, drafts };
        Self { query, columns, tells_revisions: drafts.is_some(), without, is_split }
    }

    /// Whether drafts are nearly all that it shows.
    fn is_crowded(&self) -> bool {
        matches!(self.without, Without::HashInCrowd | Without::DraftsInCrowd)
    }

    /// Whether the mirror is read no further than the drafts reach.
    fn has_edge(&self) -> bool {
        self.without == Without::DraftsInCrowd
    }

    /// Row by row: as one text, put together in the database, the same page took a third longer.
    fn compose(&self, prefix: &str) -> Builder {
        let mut sql = Builder::new(prefix);
        sql.push("with admission as materialized (");
        push_admission(&mut sql, self.query);
        sql.push(")");
        if self.has_edge() {
            edge::push_edge(&mut sql, self.query, |sql| self.push_overlays(sql));
        }
        if self.is_crowded() {
            edge::push_passed(&mut sql, |sql| self.push_candidates(sql));
        }
        if self.is_split {
            sql.push(", head as materialized ");
            self.push_branch(&mut sql, Branch::Mirror, Segment::Head);
        }
        self.push_rows(&mut sql);
        sql
    }

    /// The admission, and behind it the rows of the page, unless the reader is refused.
    fn push_rows(&self, sql: &mut Builder) {
        let columns = page_columns(self.query, self.tells_revisions);
        // One row for all of them: repeated in every row it would be a third of what is sent beside the texts.
        sql.push(" select change_number, last_published_at, edit_count, mirror, ");
        push_count_if_admitted(sql, self.query);
        for _ in &columns {
            sql.push(", null");
        }
        sql.push(" from admission union all select null, null, null, null, null");
        for column in &columns {
            sql.push(format_args!(", {column}"));
        }
        sql.push(" from (");
        self.push_merged(sql);
        order::push_merged_order(sql, &self.query.sort);
        push_limit(sql, self.query);
        if self.query.offset > 0 {
            sql.push(" offset ");
            sql.push_bind(self.query.offset);
        }
        sql.push(") page where exists (select from admission");
        push_admitted(sql, self.query);
        sql.push(")");
    }

    fn push_merged(&self, sql: &mut Builder) {
        if self.has_edge() {
            sql.push("select * from drafts");
        } else {
            self.push_overlays(sql);
        }
        if self.is_split {
            sql.push(" union all select * from head union all ");
            self.push_branch(sql, Branch::Mirror, Segment::Tail);
        } else {
            sql.push(" union all ");
            self.push_branch(sql, Branch::Mirror, whole_segment(self.query));
        }
    }

    /// The first rows of both overlays.
    fn push_overlays(&self, sql: &mut Builder) {
        let overlays = branches(&self.query.reader).into_iter().filter(|branch| *branch != Branch::Mirror);
        for (index, branch) in overlays.enumerate() {
            if index > 0 {
                sql.push(" union all ");
            }
            self.push_branch(sql, branch, whole_segment(self.query));
        }
    }

    /// The first rows of a branch, before the edge where the mirror has one.
    fn push_branch(&self, sql: &mut Builder, branch: Branch, segment: Segment) {
        sql.push("(");
        push_branch(sql, self.query, branch, segment, self.without, self.columns);
        if branch == Branch::Mirror {
            self.push_end(sql, segment);
        }
        order::push_branch_order(sql, self.query, segment);
        if segment == Segment::Tail {
            self.push_tail_limit(sql);
        } else {
            push_limit(sql, self.query);
        }
        sql.push(")");
    }

    /// The mirror's rows of the page in order, as if there was no overlay, before the edge.
    fn push_candidates(&self, sql: &mut Builder) {
        let segment = if self.is_split { Segment::Head } else { whole_segment(self.query) };
        sql.push("select r.id");
        push_mirror(sql, &self.query.reader);
        predicates::push_filter(sql, &self.query.filter);
        order::push_segment(sql, self.query, segment);
        self.push_end(sql, segment);
        order::push_branch_order(sql, self.query, segment);
    }

    fn push_end(&self, sql: &mut Builder, segment: Segment) {
        if self.has_edge() && segment == Segment::Head {
            edge::push_before_edge(sql, self.query);
        }
    }

    /// What the head has left of the limit; nothing where drafts that have a value fill the page.
    fn push_tail_limit(&self, sql: &mut Builder) {
        sql.push(" limit greatest(0, ");
        sql.push_bind(last_row(self.query));
        sql.push(" - (select count(*) from head))");
        if self.has_edge() {
            sql.push(" * (select count(*) = 0 from edge where k0 is not null)::int");
        }
    }
}

/// The columns of a page's rows: those of `_meta`, the record's text or the fields asked for, the revision, the sort keys.
fn page_columns(query: &PageQuery, tells_revisions: bool) -> Vec<Cow<'static, str>> {
    let mut columns: Vec<_> = META_COLUMNS.split(", ").map(Cow::Borrowed).collect();
    match &query.fields {
        None => columns.push("data::text".into()),
        Some(fields) => columns.extend((0..fields.len()).map(|index| format!("f{index}").into())),
    }
    if tells_revisions {
        columns.push("revision".into());
    }
    columns.extend((0..query.sort.keys().len()).map(|index| format!("k{index}").into()));
    columns
}

/// The exact count, if it is asked for, and not for somebody else's session.
fn push_count_if_admitted(sql: &mut Builder, query: &PageQuery) {
    match (query.count, query.reader.session) {
        (CountKind::Exact, None) => push_count(sql, query),
        (CountKind::Exact, Some(_)) => {
            sql.push("case when edit_count is not null then ");
            push_count(sql, query);
            sql.push(" end");
        }
        (CountKind::None | CountKind::Estimated, _) => {
            sql.push("null::bigint");
        }
    }
}

/// One row more than the page has tells that there are more.
fn push_limit(sql: &mut Builder, query: &PageQuery) {
    sql.push(" limit ");
    sql.push_bind(last_row(query));
}

/// The number of the last row that is read, which is behind the page.
pub(super) fn last_row(query: &PageQuery) -> i64 {
    query.offset + i64::from(query.limit) + 1
}
