//! Pages of which drafts are nearly all (see [`crowds`](super::crowds)): how far the mirror is read for them.
//!
//! ```text
//! drafts  -- the first rows of both overlays, as many as the page has
//! edge    -- the first key of the draft that ends the page, if there are so many: what the mirror has behind it is not on the page
//! passed  -- whether so many rows of the mirror stand before it that a hash of the overlay's ids tells them faster than probes
//! ```
//!
//! Where everything that a page would show has a draft, the drafts fill it, and the mirror is read no further than their last
//! row. Otherwise it would be read until as many of its own rows are found, behind all of the drafts' records. What is left to
//! pass are as many records as the page has, and those whose drafts stand elsewhere, as after dates were shifted.

use crate::domain::field::Kind;
use crate::domain::sort::Direction;
use crate::service::records::page_statement::last_row;
use crate::service::records::statement::Builder;
use crate::service::records::{PageQuery, order};

/// From so many rows to pass on: to make a hash of twenty thousand ids takes as long as to probe four or five thousand rows.
const WORTH_A_HASH: i64 = 4_096;

/// Whether an order has an edge: not every type has a value behind all others, for when the drafts do not fill the page.
pub(super) fn has_edge(query: &PageQuery) -> bool {
    matches!(query.sort.keys()[0].field.kind(), Kind::Date | Kind::Amount)
}

/// The CTEs `drafts`, which `push_drafts` selects, and `edge`.
pub(super) fn push_edge(sql: &mut Builder, query: &PageQuery, push_drafts: impl FnOnce(&mut Builder)) {
    sql.push(", drafts as materialized (");
    push_drafts(sql);
    sql.push("), edge as materialized (select k0 from drafts");
    order::push_merged_order(sql, &query.sort);
    sql.push(" offset ").push_bind(last_row(query) - 1).push(" limit 1)");
}

/// `and` that a row of the mirror which has a value in the first key is not behind the edge; it is an end of the index range.
pub(super) fn push_before_edge(sql: &mut Builder, query: &PageQuery) {
    let first = query.sort.keys()[0];
    let (comparison, behind_all) = match first.direction {
        Direction::Ascending => ("<=", "infinity"),
        Direction::Descending => (">=", "-infinity"),
    };
    sql.push(format_args!(" and r.{} {comparison} coalesce((select k0 from edge), '{behind_all}')", first.field.column()));
}

/// The CTE `passed` of the rows that `push_candidates` selects.
pub(super) fn push_passed(sql: &mut Builder, push_candidates: impl FnOnce(&mut Builder)) {
    sql.push(", passed as materialized (select count(*) = ").push_bind(WORTH_A_HASH).push(" as are_many from (");
    push_candidates(sql);
    sql.push(" limit ").push_bind(WORTH_A_HASH).push(") r)");
}
