//! The composed statements: a page of the merged grid, and all of its rows for an export.
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
//! Every branch delivers its own order from an index (or sorts within one) and, for a page, stops at the limit; PostgreSQL
//! merges them. Columns come from the closed list of [fields](crate::domain::field::Field), values are always bound.

use crate::domain::filter::Filter;
use crate::domain::sort::Direction;
use crate::service::Reader;
use crate::service::records::columns::{Columns, push_columns};
use crate::service::records::order::{self, Segment, sorts_a_category};
use crate::service::records::overlay::{EVERYBODY, Without, push_crowd, push_overlay_of, push_without_overlay};
use crate::service::records::row::META_COLUMNS;
use crate::service::records::{CountKind, PageQuery, predicates};
use sqlx::{Postgres, QueryBuilder};
use std::borrow::Cow;

pub(super) type Builder = QueryBuilder<Postgres>;

/// From so many rows on a page is large.
const LARGE_PAGE: i64 = 500;

/// Which mirror a page is of: another one in another database, after a restart of the server and when the table was restored,
/// which count the same versions again.
pub(super) const MIRROR: &str = "pg_relation_filepath('pfa_mirror') || ' ' || pg_postmaster_start_time()";

/// Where a page has the texts of the mirror's records from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texts {
    /// From the statement.
    Read,
    /// From memory: the row tells its version only, which the indexes of the grid hold (see [`super::texts`]).
    Remembered,
}

/// How a page is read; what it shows is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub texts: Texts,
    /// Whether the reader's overlay has so many rows that most of the page may be left out (see [`super::crowds`]).
    pub may_be_crowded: bool,
}

/// Which rows a branch reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Branch {
    /// The overlay of the reader's sandbox.
    Sandbox,
    /// The published overlay, without what the sandbox touches.
    Published,
    /// The mirror, without what either overlay has.
    Mirror,
}

/// The statement for a page. The first row is the admission; the others have the columns of `_meta`, the text of the record or
/// the fields asked for, and the sort keys, all behind the admission's columns. Who is refused gets no others, and no record is
/// read for them.
pub(super) fn page(query: &PageQuery, way: Way) -> Builder {
    page_after(query, way, "")
}

/// The plan of [`page`], measured or as it would be run.
pub(super) fn explain(query: &PageQuery, way: Way, is_measured: bool) -> Builder {
    page_after(query, way, if is_measured { "explain (analyze, buffers, format json) " } else { "explain (format json) " })
}

/// Row by row: as one text, put together in the database, the same page took a third longer.
fn page_after(query: &PageQuery, Way { texts, may_be_crowded }: Way, prefix: &str) -> Builder {
    let mut sql = Builder::new(prefix);
    let splits = splits_mirror(query);
    let without = match query.offset + i64::from(query.limit) {
        _ if sorts_a_category(query) => Without::HashOrCalls,
        _ if may_be_crowded => Without::HashInCrowd,
        ..LARGE_PAGE => Without::Probes,
        // A row of the hash costs a quarter of a probe.
        rows => Without::HashUpTo(2 * rows),
    };
    let columns = page_columns(query);
    sql.push("with admission as materialized (");
    push_admission(&mut sql, query);
    sql.push(")");
    if without == Without::HashInCrowd {
        sql.push(", ");
        push_crowd(&mut sql, &query.reader, |sql| push_candidates(sql, query));
    }
    if splits {
        sql.push(", head as materialized (");
        push_ordered_branch(&mut sql, query, Branch::Mirror, Segment::Head, without, Columns::Page(texts));
        push_limit(&mut sql, query);
        sql.push(")");
    }
    // One row for all of them: repeated in every row it would be a third of what is sent beside the texts.
    sql.push(" select change_number, last_published_at, edit_count, mirror, ");
    push_count_if_admitted(&mut sql, query);
    for _ in &columns {
        sql.push(", null");
    }
    sql.push(" from admission union all select null, null, null, null, null");
    for column in &columns {
        sql.push(format_args!(", {column}"));
    }
    sql.push(" from (");
    for (index, branch) in branches(&query.reader).into_iter().enumerate() {
        if index > 0 {
            sql.push(" union all ");
        }
        if branch == Branch::Mirror && splits {
            sql.push("select * from head union all ");
        }
        let segment = if branch == Branch::Mirror && splits { Segment::Tail } else { whole_segment(query) };
        sql.push("(");
        push_ordered_branch(&mut sql, query, branch, segment, without, Columns::Page(texts));
        if segment == Segment::Tail {
            push_tail_limit(&mut sql, query);
        } else {
            push_limit(&mut sql, query);
        }
        sql.push(")");
    }
    order::push_merged_order(&mut sql, &query.sort);
    push_limit(&mut sql, query);
    if query.offset > 0 {
        sql.push(" offset ");
        sql.push_bind(query.offset);
    }
    sql.push(") page where exists (select from admission");
    sql.push(if query.reader.session.is_some() { " where edit_count is not null)" } else { ")" });
    sql
}

/// The mirror's first rows of a page, as if there was no overlay.
fn push_candidates(sql: &mut Builder, query: &PageQuery) {
    let segment = if splits_mirror(query) { Segment::Head } else { whole_segment(query) };
    sql.push("select r.id");
    push_mirror(sql, &query.reader);
    predicates::push_filter(sql, &query.filter);
    order::push_segment(sql, query, segment);
    order::push_branch_order(sql, query, segment);
}

/// The columns of a page's rows: those of `_meta`, the record's text or the fields asked for, the sort keys.
fn page_columns(query: &PageQuery) -> Vec<Cow<'static, str>> {
    let mut columns: Vec<_> = META_COLUMNS.split(", ").map(Cow::Borrowed).collect();
    match &query.fields {
        None => columns.push("data::text".into()),
        Some(fields) => columns.extend((0..fields.len()).map(|index| format!("f{index}").into())),
    }
    columns.extend((0..query.sort.keys().len()).map(|index| format!("k{index}").into()));
    columns
}

/// All matching rows, one by one in order: the columns of `_meta` and the record's text; or for an export of some fields the id, the
/// version of a row of the mirror, and the fields, which are one list of texts where those of the mirror are remembered. Limit and
/// cursor are of no account.
pub(super) fn export(query: &PageQuery, texts: Texts) -> Builder {
    let mut sql = Builder::new("select ");
    let columns = match (&query.fields, texts) {
        (None, _) => {
            sql.push(META_COLUMNS).push(", data::text");
            Columns::Page(texts)
        }
        (Some(_), Texts::Remembered) => {
            // With the sort keys, or else each row would be put together once more without them.
            sql.push("*");
            Columns::Listed
        }
        (Some(fields), Texts::Read) => {
            sql.push("id, version");
            for index in 0..fields.len() {
                sql.push(format_args!(", f{index}"));
            }
            Columns::Fields
        }
    };
    sql.push(" from (");
    for (index, branch) in branches(&query.reader).into_iter().enumerate() {
        if index > 0 {
            sql.push(" union all ");
        }
        let is_split = branch == Branch::Mirror && splits_mirror(query);
        let segments = if is_split { vec![Segment::Head, Segment::Tail] } else { vec![whole_segment(query)] };
        for (index, segment) in segments.into_iter().enumerate() {
            sql.push(if index == 0 { "(" } else { " union all (" });
            push_ordered_branch(&mut sql, query, branch, segment, Without::Hash, columns);
            sql.push(")");
        }
    }
    order::push_merged_order(&mut sql, &query.sort);
    sql.push(") merged");
    sql
}

/// The admission alone.
pub(super) fn admission(query: &PageQuery) -> Builder {
    let mut sql = Builder::new("");
    push_admission(&mut sql, query);
    sql
}

/// The plan of all matching rows, for its row estimate.
pub(super) fn estimate(query: &PageQuery) -> Builder {
    let mut sql = Builder::new("explain (format json) ");
    push_matching(&mut sql, &query.reader, &query.filter);
    sql
}

/// The ids of all matching rows, at most so many.
pub(super) fn matching(reader: &Reader, filter: &Filter, most: usize) -> Builder {
    let mut sql = Builder::new("");
    push_matching(&mut sql, reader, filter);
    sql.push(" limit ");
    sql.push_bind(i64::try_from(most).unwrap_or(i64::MAX));
    sql
}

fn push_matching(sql: &mut Builder, reader: &Reader, filter: &Filter) {
    for (index, branch) in branches(reader).into_iter().enumerate() {
        if index > 0 {
            sql.push(" union all ");
        }
        sql.push("select r.id");
        push_from(sql, reader, branch, Without::Probes);
        predicates::push_filter(sql, filter);
    }
}

pub(super) fn branches(reader: &Reader) -> Vec<Branch> {
    match reader.session {
        Some(_) => vec![Branch::Sandbox, Branch::Published, Branch::Mirror],
        None => vec![Branch::Published, Branch::Mirror],
    }
}

/// An ascending index puts nulls last; but read backward it puts them first, and the range behind a cursor
/// never includes them. Then the mirror is read in two segments, unless the first key has no nulls to show.
fn splits_mirror(query: &PageQuery) -> bool {
    let first = query.sort.keys()[0];
    let starts_in_tail = query.cursor.as_ref().is_some_and(|cursor| cursor.values.first() == Some(&None));
    let is_one_scan = query.cursor.is_none() && first.direction == Direction::Ascending;
    !excludes_nulls(query) && !starts_in_tail && !is_one_scan
}

/// Whether the first key has a value in every row that can match; then its head is all there is.
fn excludes_nulls(query: &PageQuery) -> bool {
    let first = query.sort.keys()[0].field;
    !first.is_nullable() || query.filter.excludes_null(first)
}

/// The segment of a branch that is read in one.
fn whole_segment(query: &PageQuery) -> Segment {
    if excludes_nulls(query) { Segment::Head } else { Segment::Whole }
}

/// `change_number, last_published_at, edit_count, mirror`: what state the answer is of, and which mirror. No row when the organization
/// is not there, no edit count when the session is not the reader's. `pfa_refusal` would be planned anew in every call.
fn push_admission(sql: &mut Builder, query: &PageQuery) {
    sql.push("select o.change_number, o.last_published_at, ");
    if query.reader.session.is_some() {
        sql.push("(select s.edit_count from pfa_session s where s.organization_id = ");
        sql.push_bind(query.reader.organization.clone());
        sql.push(" and s.id = ");
        sql.push_bind(query.reader.session);
        sql.push(" and s.user_id = ");
        sql.push_bind(query.reader.user.clone());
        sql.push(" and s.status <> 'discarded')");
    } else {
        sql.push("null::bigint");
    }
    sql.push(format_args!(" as edit_count, {MIRROR} as mirror from organizations o where o.organization_id = "));
    sql.push_bind(query.reader.organization.clone());
}

/// `select … from … where … order by …` of one branch.
fn push_ordered_branch(sql: &mut Builder, query: &PageQuery, branch: Branch, segment: Segment, without: Without, columns: Columns) {
    sql.push("select r.id");
    push_columns(sql, query, branch, columns);
    for (index, key) in query.sort.keys().iter().enumerate() {
        sql.push(format_args!(", {} as k{index}", order::key_column(query, key.field)));
    }
    push_from(sql, &query.reader, branch, without);
    predicates::push_filter(sql, &query.filter);
    order::push_segment(sql, query, segment);
    order::push_branch_order(sql, query, segment);
}

pub(super) fn push_from(sql: &mut Builder, reader: &Reader, branch: Branch, without: Without) {
    sql.push(if branch == Branch::Mirror { " from pfa_mirror r" } else { " from pfa_overlay r" });
    sql.push(" where r.organization_id = ");
    sql.push_bind(reader.organization.clone());
    match branch {
        Branch::Sandbox => {
            sql.push(" and r.session_id = ");
            sql.push_bind(reader.session);
        }
        Branch::Published => {
            sql.push(format_args!(" and r.session_id = {EVERYBODY}"));
            if reader.session.is_some() {
                push_without_overlay(sql, reader, false, if without == Without::Hash { without } else { Without::Probes });
            }
        }
        Branch::Mirror => push_without_overlay(sql, reader, true, without),
    }
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

/// Of the mirror all matches are counted, and those taken away that an overlay has: a join with the smaller side first, instead
/// of a probe for each match, which took 280 ms of 300,000 records; this takes 20 to 50.
pub(super) fn push_count(sql: &mut Builder, query: &PageQuery) {
    for (index, branch) in branches(&query.reader).into_iter().enumerate() {
        sql.push(if index == 0 { "(select count(*)" } else { " + (select count(*)" });
        if branch == Branch::Mirror {
            push_mirror(sql, &query.reader);
            predicates::push_filter(sql, &query.filter);
            sql.push(") - (select count(*)");
            push_mirror(sql, &query.reader);
            sql.push(" and r.id in (select o.id from pfa_overlay o where ");
            push_overlay_of(sql, &query.reader, true);
            sql.push(")");
        } else {
            push_from(sql, &query.reader, branch, Without::Probes);
        }
        predicates::push_filter(sql, &query.filter);
        sql.push(")");
    }
}

fn push_mirror(sql: &mut Builder, reader: &Reader) {
    sql.push(" from pfa_mirror r where r.organization_id = ");
    sql.push_bind(reader.organization.clone());
}

/// One row more than the page has tells that there are more.
fn push_limit(sql: &mut Builder, query: &PageQuery) {
    sql.push(" limit ");
    sql.push_bind(last_row(query));
}

fn last_row(query: &PageQuery) -> i64 {
    query.offset + i64::from(query.limit) + 1
}

/// What the head has left of the limit.
fn push_tail_limit(sql: &mut Builder, query: &PageQuery) {
    sql.push(" limit greatest(0, ");
    sql.push_bind(last_row(query));
    sql.push(" - (select count(*) from head))");
}
