//! The one composed statement: a page of the merged grid.
//!
//! ```text
//! (overlay of the sandbox   … order by … limit n+1)
//! union all
//! (published overlay without it   … order by … limit n+1)
//! union all
//! (mirror without both   … order by … limit n+1)      -- with a null tail where the first key can be null
//! order by … limit n+1
//! ```
//!
//! Every branch delivers its own order from an index and stops at the limit; PostgreSQL merges
//! them. Columns come from the closed list of [`Field`]s, values are always bound.

use crate::domain::field::{Field, Kind};
use crate::domain::filter::Filter;
use crate::service::Reader;
use crate::service::records::order::{self, Segment};
use crate::service::records::{CountKind, PageQuery, predicates};
use sqlx::{Postgres, QueryBuilder};

pub(super) type Builder = QueryBuilder<Postgres>;

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

/// The statement for a page: one row with `refusal, rows, has_more, last` and `count` if exact.
pub(super) fn page(query: &PageQuery) -> Builder {
    page_after(query, "")
}

/// The measured plan of [`page`].
pub(super) fn explain(query: &PageQuery) -> Builder {
    page_after(query, "explain (analyze, buffers, format json) ")
}

fn page_after(query: &PageQuery, prefix: &str) -> Builder {
    let mut sql = Builder::new(prefix);
    let splits = splits_mirror(query);
    let whole = if excludes_nulls(query) { Segment::Head } else { Segment::Whole };
    if splits {
        sql.push("with head as materialized (");
        push_ordered_branch(&mut sql, query, Branch::Mirror, Segment::Head);
        push_limit(&mut sql, query);
        sql.push(") ");
    }
    sql.push("select ");
    push_refusal(&mut sql, query);
    sql.push(" as refusal, string_agg(concat(");
    push_row(&mut sql, query.fields.as_deref());
    sql.push(
        ", e'\\x1e', pfa_meta(id, version, sync_state, modified_fields, modified_by, modified_at)), e'\\x1f') filter (where position <= ",
    );
    sql.push_bind(i64::from(query.limit));
    sql.push(") as rows, count(*) > ");
    sql.push_bind(i64::from(query.limit));
    sql.push(" as has_more, max(array[");
    for index in 0..query.sort.keys().len() {
        match query.sort.keys()[index].field.kind() {
            // Whatever the session's date style.
            Kind::Date => sql.push(format_args!("to_char(k{index}, 'YYYY-MM-DD'), ")),
            _ => sql.push(format_args!("k{index}::text, ")),
        };
    }
    sql.push("id::text]) filter (where position = ");
    sql.push_bind(i64::from(query.limit));
    sql.push(") as last");
    if query.count == CountKind::Exact {
        sql.push(", (");
        push_count(&mut sql, query);
        sql.push(") as count");
    }
    // The union arrives in order and is numbered as it arrives.
    sql.push(" from (select *, row_number() over () as position from (");
    for (index, branch) in branches(&query.reader).into_iter().enumerate() {
        if index > 0 {
            sql.push(" union all ");
        }
        if branch == Branch::Mirror && splits {
            sql.push("select * from head union all ");
        }
        let segment = match branch {
            Branch::Mirror if splits => Segment::Tail,
            _ => whole,
        };
        sql.push("(");
        push_ordered_branch(&mut sql, query, branch, segment);
        if segment == Segment::Tail {
            push_tail_limit(&mut sql, query);
        } else {
            push_limit(&mut sql, query);
        }
        sql.push(")");
    }
    order::push_merged_order(&mut sql, &query.sort);
    push_limit(&mut sql, query);
    sql.push(") merged) page");
    sql
}

/// All matching rows, one by one in order: the fields asked for as `f0, f1, …`, or the whole record as
/// text with its `meta`. Limit and cursor are of no account.
pub(super) fn export(query: &PageQuery) -> Builder {
    let mut sql = Builder::new("select ");
    match &query.fields {
        None => {
            sql.push("data::text as record, pfa_meta(id, version, sync_state, modified_fields, modified_by, modified_at) as meta");
        }
        Some(fields) => {
            for (index, field) in fields.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                match field.kind() {
                    Kind::Flag => sql.push(format_args!("{separator}pfa_flag(f{index} #>> '{{}}') as f{index}")),
                    _ => sql.push(format_args!("{separator}f{index}")),
                };
            }
        }
    }
    sql.push(" from (");
    let whole = if excludes_nulls(query) { Segment::Head } else { Segment::Whole };
    for (index, branch) in branches(&query.reader).into_iter().enumerate() {
        if index > 0 {
            sql.push(" union all ");
        }
        let segments = if branch == Branch::Mirror && splits_mirror(query) { vec![Segment::Head, Segment::Tail] } else { vec![whole] };
        for (index, segment) in segments.into_iter().enumerate() {
            sql.push(if index == 0 { "(" } else { " union all (" });
            push_ordered_branch(&mut sql, query, branch, segment);
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
        push_from(sql, reader, branch);
        predicates::push_filter(sql, filter);
    }
}

fn branches(reader: &Reader) -> Vec<Branch> {
    match reader.session {
        Some(_) => vec![Branch::Sandbox, Branch::Published, Branch::Mirror],
        None => vec![Branch::Published, Branch::Mirror],
    }
}

/// An ascending index puts nulls last but, read backward, first; and a row range never includes
/// them. So the mirror is read in two segments, unless the first key has no nulls to show.
fn splits_mirror(query: &PageQuery) -> bool {
    let starts_in_tail = query.cursor.as_ref().is_some_and(|cursor| cursor.values.first() == Some(&None));
    !excludes_nulls(query) && !starts_in_tail
}

/// Whether the first key has a value in every row that can match; then its head is all there is.
fn excludes_nulls(query: &PageQuery) -> bool {
    let first = query.sort.keys()[0].field;
    !first.is_nullable() || query.filter.excludes_null(first)
}

fn push_refusal(sql: &mut Builder, query: &PageQuery) {
    sql.push("pfa_refusal(");
    sql.push_bind(query.reader.organization.clone());
    sql.push(", ");
    sql.push_bind(query.reader.session);
    sql.push(", ");
    sql.push_bind(query.reader.user.clone());
    sql.push(")");
}

/// The record as JSON: the stored text as it is, or only the fields asked for.
fn push_row(sql: &mut Builder, fields: Option<&[Field]>) {
    let Some(fields) = fields else {
        sql.push("data");
        return;
    };
    sql.push("json_build_object(");
    for (index, field) in fields.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        sql.push(format_args!("{separator}'{}', f{index}", field.key()));
    }
    sql.push(")");
}

/// `select … from … where … order by …` of one branch.
fn push_ordered_branch(sql: &mut Builder, query: &PageQuery, branch: Branch, segment: Segment) {
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
                    Kind::Flag => sql.push(format_args!("{separator}r.data->'{}' as f{index}", field.key())),
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
            sql.push(", 'pristine' as sync_state, null::text[] as modified_fields, null as modified_by, null::timestamptz as modified_at")
        }
        Branch::Sandbox | Branch::Published => sql.push(", r.sync_state, r.modified_fields, r.modified_by, r.modified_at"),
    };
    push_from(sql, &query.reader, branch);
    predicates::push_filter(sql, &query.filter);
    order::push_segment(sql, query, segment);
    order::push_branch_order(sql, &query.sort, segment);
}

fn push_from(sql: &mut Builder, reader: &Reader, branch: Branch) {
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
                push_without_overlay(sql, reader, false);
            }
        }
        Branch::Mirror => push_without_overlay(sql, reader, true),
    }
}

/// `and not exists (an overlay row of the sandbox, or of everybody)`: one probe of the overlay's
/// primary key a row, which keeps the order of the scan whatever the size of the overlay. The offset
/// keeps it so: as a join, planned before anybody counted twenty thousand new drafts, the same page
/// takes seconds.
fn push_without_overlay(sql: &mut Builder, reader: &Reader, with_published: bool) {
    sql.push(" and not exists (select from pfa_overlay o where o.organization_id = ");
    sql.push_bind(reader.organization.clone());
    sql.push(" and o.id = r.id and o.session_id ");
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
    sql.push(" offset 0)");
}

fn push_count(sql: &mut Builder, query: &PageQuery) {
    for (index, branch) in branches(&query.reader).into_iter().enumerate() {
        sql.push(if index == 0 { "(select count(*)" } else { " + (select count(*)" });
        push_from(sql, &query.reader, branch);
        predicates::push_filter(sql, &query.filter);
        sql.push(")");
    }
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
