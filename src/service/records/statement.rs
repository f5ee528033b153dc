//! What the composed statements over merged records share: branches, their rows, who may read. And estimates and ids of all matching
//! rows. [Pages](super::page_statement) and [exports](super::export) have their own.
//!
//! Columns come from the closed list of [fields](crate::domain::field::Field), values are always bound.

use crate::domain::filter::Filter;
use crate::domain::sort::Direction;
use crate::service::Reader;
use crate::service::records::columns::{Columns, push_columns};
use crate::service::records::order::{self, Segment};
use crate::service::records::overlay::{EVERYBODY, Without, push_overlay_of, push_without_overlay};
use crate::service::records::{PageQuery, predicates};
use sqlx::{Postgres, QueryBuilder};

pub(super) type Builder = QueryBuilder<Postgres>;

/// Which mirror a page is of: another one in another database, after a restart of the server and when the table was restored,
/// which count the same versions again.
pub(super) const MIRROR: &str = "pg_relation_filepath('pfa_mirror') || ' ' || pg_postmaster_start_time()";

/// Where a page has the texts of records from: of those of the mirror, or of drafts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texts {
    /// From the statement.
    Read,
    /// From memory: the row tells its version or revision only, which the indexes of the grid hold (see [`super::texts`]).
    Remembered,
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
pub(super) fn splits_mirror(query: &PageQuery) -> bool {
    let is_one_scan = query.cursor.is_none() && query.sort.keys()[0].direction == Direction::Ascending;
    !excludes_nulls(query) && !starts_in_tail(query) && !is_one_scan
}

/// Whether all rows behind the cursor have no value in the first key.
pub(super) fn starts_in_tail(query: &PageQuery) -> bool {
    query.cursor.as_ref().is_some_and(|cursor| cursor.values.first() == Some(&None))
}

/// Whether the first key has a value in every row that can match; then its head is all there is.
pub(super) fn excludes_nulls(query: &PageQuery) -> bool {
    let first = query.sort.keys()[0].field;
    !first.is_nullable() || query.filter.excludes_null(first)
}

/// The segment of a branch that is read in one.
pub(super) fn whole_segment(query: &PageQuery) -> Segment {
    if excludes_nulls(query) { Segment::Head } else { Segment::Whole }
}

/// `change_number, last_published_at, edit_count, mirror`: what state the answer is of, and which mirror. No row when the organization
/// is not there, no edit count when the session is not the reader's. `pfa_refusal` would be planned anew in every call.
pub(super) fn push_admission(sql: &mut Builder, query: &PageQuery) {
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

/// `select … from … where …` of one branch.
pub(super) fn push_branch(sql: &mut Builder, query: &PageQuery, branch: Branch, segment: Segment, without: Without, columns: Columns) {
    sql.push("select r.id");
    push_columns(sql, query, branch, columns);
    for (index, key) in query.sort.keys().iter().enumerate() {
        sql.push(format_args!(", {} as k{index}", order::key_column(query, key.field)));
    }
    push_from(sql, &query.reader, branch, without);
    predicates::push_filter(sql, &query.filter);
    order::push_segment(sql, query, segment);
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

pub(super) fn push_mirror(sql: &mut Builder, reader: &Reader) {
    sql.push(" from pfa_mirror r where r.organization_id = ");
    sql.push_bind(reader.organization.clone());
}
