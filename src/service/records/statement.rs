//! The composed statements: a page of the merged grid, and all of its rows for an export.
//!
//! ```text
//! (overlay of the sandbox   … order by … limit n+1)
//! union all
//! (published overlay without it   … order by … limit n+1)
//! union all
//! (mirror without both   … order by … limit n+1)      -- in two segments where one scan cannot give the nulls last
//! order by … limit n+1
//! ```
//!
//! Every branch delivers its own order from an index and, for a page, stops at the limit; PostgreSQL merges
//! them. Columns come from the closed list of [`Field`]s, values are always bound.

use crate::domain::field::{Field, Kind};
use crate::domain::filter::Filter;
use crate::domain::sort::Direction;
use crate::service::Reader;
use crate::service::records::order::{self, Segment};
use crate::service::records::row::META_COLUMNS;
use crate::service::records::{CountKind, PageQuery, predicates};
use sqlx::{Postgres, QueryBuilder};

pub(super) type Builder = QueryBuilder<Postgres>;

/// How rows that an overlay has are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    /// By one probe of the overlay's primary key a row, which keeps the order of the scan whatever the size of
    /// the overlay: for pages. The offset keeps it so: as a join, planned before anybody counted twenty thousand
    /// new drafts, the same page takes seconds.
    Probes,
    /// By a hash of all ids in the overlay, made once: for readings of everything, where a probe a row was a
    /// third of the time. It needs memory for them (see `export`).
    Hash,
}

/// Which rows a branch reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Branch {
    /// The overlay of the reader's sandbox.
    Sandbox,
    /// The published overlay, without what the sandbox touches.
    Published,
    /// The mirror, without what either overlay has.
    Mirror,
}

/// The statement for a page: the admission, then the columns of `_meta`, the record's text or the
/// fields asked for, and the sort keys. At least one row, whose id is null when nothing matches.
pub(super) fn page(query: &PageQuery) -> Builder {
    page_after(query, "")
}

/// The plan of [`page`], measured or as it would be run.
pub(super) fn explain(query: &PageQuery, is_measured: bool) -> Builder {
    page_after(query, if is_measured { "explain (analyze, buffers, format json) " } else { "explain (format json) " })
}

/// Row by row: as one text, put together in the database, the same page took a third longer.
fn page_after(query: &PageQuery, prefix: &str) -> Builder {
    let mut sql = Builder::new(prefix);
    let splits = splits_mirror(query);
    if splits {
        sql.push("with head as materialized (");
        push_ordered_branch(&mut sql, query, Branch::Mirror, Segment::Head, Without::Probes);
        push_limit(&mut sql, query);
        sql.push(") ");
    }
    sql.push("select refusal, change_number, last_published_at, edit_count, count, page.");
    sql.push(META_COLUMNS);
    push_body(&mut sql, query.fields.as_deref());
    for index in 0..query.sort.keys().len() {
        sql.push(format_args!(", k{index}"));
    }
    sql.push(" from (");
    push_admission(&mut sql, query);
    // One row on the left, so the join has one row of its own and the order of the right side.
    sql.push(") admission left join (");
    for (index, branch) in branches(&query.reader).into_iter().enumerate() {
        if index > 0 {
            sql.push(" union all ");
        }
        if branch == Branch::Mirror && splits {
            sql.push("select * from head union all ");
        }
        let segment = if branch == Branch::Mirror && splits { Segment::Tail } else { whole_segment(query) };
        sql.push("(");
        push_ordered_branch(&mut sql, query, branch, segment, Without::Probes);
        if segment == Segment::Tail {
            push_tail_limit(&mut sql, query);
        } else {
            push_limit(&mut sql, query);
        }
        sql.push(")");
    }
    order::push_merged_order(&mut sql, &query.sort);
    push_limit(&mut sql, query);
    sql.push(") page on admission.refusal is null");
    sql
}

/// All matching rows, one by one in order: the fields asked for, or the columns of `_meta` and the record's
/// text. Limit and cursor are of no account.
pub(super) fn export(query: &PageQuery) -> Builder {
    let mut sql = Builder::new("select ");
    match &query.fields {
        None => {
            sql.push(META_COLUMNS);
            push_body(&mut sql, None);
        }
        Some(fields) => {
            for index in 0..fields.len() {
                sql.push(format_args!("{}f{index}", if index == 0 { "" } else { ", " }));
            }
        }
    }
    sql.push(" from (");
    for (index, branch) in branches(&query.reader).into_iter().enumerate() {
        if index > 0 {
            sql.push(" union all ");
        }
        let is_split = branch == Branch::Mirror && splits_mirror(query);
        let segments = if is_split { vec![Segment::Head, Segment::Tail] } else { vec![whole_segment(query)] };
        for (index, segment) in segments.into_iter().enumerate() {
            sql.push(if index == 0 { "(" } else { " union all (" });
            push_ordered_branch(&mut sql, query, branch, segment, Without::Hash);
            sql.push(")");
        }
    }
    order::push_merged_order(&mut sql, &query.sort);
    sql.push(") merged");
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

fn branches(reader: &Reader) -> Vec<Branch> {
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

/// `refusal, change_number, last_published_at, edit_count, count`, in one row: whether the reader may ask, what state the answer is
/// of, and the exact count, if it is asked for. `pfa_refusal` would be planned anew in every call.
fn push_admission(sql: &mut Builder, query: &PageQuery) {
    sql.push("select case when o.organization_id is null then 'organization'");
    sql.push(if query.reader.session.is_some() { " when s.id is null then 'session' end" } else { " end" });
    sql.push(" as refusal, o.change_number, o.last_published_at, ");
    sql.push(if query.reader.session.is_some() { "s.edit_count, " } else { "null::bigint as edit_count, " });
    if query.count == CountKind::Exact {
        push_count(sql, query);
    } else {
        sql.push("null::bigint");
    }
    sql.push(" as count from (values (1)) one left join organizations o on o.organization_id = ");
    sql.push_bind(query.reader.organization.clone());
    if query.reader.session.is_some() {
        sql.push(" left join pfa_session s on s.organization_id = ");
        sql.push_bind(query.reader.organization.clone());
        sql.push(" and s.id = ");
        sql.push_bind(query.reader.session);
        sql.push(" and s.user_id = ");
        sql.push_bind(query.reader.user.clone());
        sql.push(" and s.status <> 'discarded'");
    }
}

/// The record's text as it is stored, or the fields asked for.
fn push_body(sql: &mut Builder, fields: Option<&[Field]>) {
    let Some(fields) = fields else {
        sql.push(", data::text");
        return;
    };
    for index in 0..fields.len() {
        sql.push(format_args!(", f{index}"));
    }
}

/// `select … from … where … order by …` of one branch.
fn push_ordered_branch(sql: &mut Builder, query: &PageQuery, branch: Branch, segment: Segment, without: Without) {
    sql.push("select r.id, r.version, ");
    match &query.fields {
        None => {
            sql.push("r.data");
        }
        Some(fields) => {
            for (index, field) in fields.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                match field.kind() {
                    // The column reads a missing flag as false; the answer shows what the record says.
                    Kind::Flag => sql.push(format_args!("{separator}pfa_flag(r.data->>'{}') as f{index}", field.key())),
                    _ => sql.push(format_args!("{separator}r.{} as f{index}", field.column())),
                };
            }
        }
    }
    for (index, key) in query.sort.keys().iter().enumerate() {
        sql.push(format_args!(", r.{} as k{index}", key.field.column()));
    }
    match branch {
        Branch::Mirror => {
            sql.push(", null as sync_state, null::text[] as modified_fields, null as modified_by, null::timestamptz as modified_at")
        }
        Branch::Sandbox | Branch::Published => sql.push(", r.sync_state, r.modified_fields, r.modified_by, r.modified_at"),
    };
    push_from(sql, &query.reader, branch, without);
    predicates::push_filter(sql, &query.filter);
    order::push_segment(sql, query, segment);
    order::push_branch_order(sql, &query.sort, segment);
}

fn push_from(sql: &mut Builder, reader: &Reader, branch: Branch, without: Without) {
    sql.push(if branch == Branch::Mirror { " from pfa_mirror r" } else { " from pfa_overlay r" });
    sql.push(" where r.organization_id = ");
    sql.push_bind(reader.organization.clone());
    match branch {
        Branch::Sandbox => {
            sql.push(" and r.session_id = ");
            sql.push_bind(reader.session);
        }
        Branch::Published => {
            sql.push(" and r.session_id = pfa_everybody()");
            if reader.session.is_some() {
                push_without_overlay(sql, reader, false, without);
            }
        }
        Branch::Mirror => push_without_overlay(sql, reader, true, without),
    }
}

/// `and not exists (an overlay row of the sandbox, or of everybody)`.
fn push_without_overlay(sql: &mut Builder, reader: &Reader, with_published: bool, without: Without) {
    sql.push(match without {
        Without::Probes => " and not exists (select from pfa_overlay o where o.id = r.id and ",
        Without::Hash => " and r.id not in (select o.id from pfa_overlay o where ",
    });
    push_overlay_of(sql, reader, with_published);
    sql.push(match without {
        Without::Probes => " offset 0)",
        Without::Hash => ")",
    });
}

/// The overlay rows `o` of the sandbox, or of everybody, or of both.
fn push_overlay_of(sql: &mut Builder, reader: &Reader, with_published: bool) {
    sql.push("o.organization_id = ");
    sql.push_bind(reader.organization.clone());
    sql.push(" and o.session_id ");
    match (reader.session, with_published) {
        (Some(session), true) => {
            sql.push("in (pfa_everybody(), ");
            sql.push_bind(session);
            sql.push(")");
        }
        (Some(session), false) => {
            sql.push("= ");
            sql.push_bind(session);
        }
        (None, _) => {
            sql.push("= pfa_everybody()");
        }
    }
}

/// Of the mirror all matches are counted, and those taken away that an overlay has: a join with the smaller side first, instead
/// of a probe for each match, which took 280 ms of 300,000 records; this takes 20 to 50.
fn push_count(sql: &mut Builder, query: &PageQuery) {
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

fn push_limit(sql: &mut Builder, query: &PageQuery) {
    sql.push(" limit ");
    sql.push_bind(i64::from(query.limit) + 1);
}

/// What the head has left of the limit.
fn push_tail_limit(sql: &mut Builder, query: &PageQuery) {
    sql.push(" limit greatest(0, ");
    sql.push_bind(i64::from(query.limit) + 1);
    sql.push(" - (select count(*) from head))");
}
