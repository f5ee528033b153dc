//! Rows that an overlay stands for: those of the mirror, or of the published overlay, that a reader does not see.

use crate::service::Reader;
use crate::service::records::statement::Builder;

/// `pfa_everybody()` as the value that it is: to plan the function anew in each statement takes a tenth of a page's time.
pub(super) const EVERYBODY: &str = "'00000000-0000-0000-0000-000000000000'::uuid";
/// So many rows of an overlay are read at most to make a hash of them; 20,000 take eight milliseconds.
const MOST_HASHED: i64 = 50_000;

/// How rows that an overlay has are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// By one probe of the overlay's primary key a row, which keeps the order of the scan whatever the size of
    /// the overlay: for pages. The offset keeps it so: as a join, planned before anybody counted twenty thousand
    /// new drafts, the same page takes seconds.
    Probes,
    /// By a hash while the reader's overlay has at most so many rows, else by probes: for large pages of the mirror, of which the
    /// probes are a third of what the database does. It looks at the rows themselves, because statistics are late; and at
    /// nobody else's, or a page would take longer for the sandboxes of others.
    HashUpTo(i64),
    /// By a hash of a much larger overlay: for pages that may have to sort a category, of which far more rows are looked at than
    /// shown. Else by calls of a function that the planner takes for cheap, or it would avoid the sort for their sake.
    HashOrCalls,
    /// By a hash where the CTE [`passed`](super::edge) tells that many rows of the mirror stand before the end of the page, else by
    /// probes: for pages of which the overlay stands for nearly all rows.
    HashInCrowd,
    /// The same, where the CTE [`drafts`](super::edge) tells most of them before.
    DraftsInCrowd,
    /// By a hash of all ids in the overlay, made once: for readings of everything, where a probe a row was a
    /// third of the time. It needs memory for them (see `export`).
    Hash,
}

/// `and` that no overlay row of the sandbox, or of everybody, stands for the row. Of published rows, for which only the sandbox's
/// do, probes or a hash of all tell.
pub(super) fn push_without_overlay(sql: &mut Builder, reader: &Reader, with_published: bool, without: Without) {
    debug_assert!(with_published || matches!(without, Without::Probes | Without::Hash), "{without:?} is of both overlays");
    sql.push(" and ");
    match without {
        Without::Probes => push_probe(sql, reader, with_published),
        Without::Hash => push_hash(sql, reader, with_published),
        Without::HashUpTo(few) => push_hash_up_to(sql, reader, few, push_probe),
        Without::HashOrCalls => push_hash_up_to(sql, reader, MOST_HASHED, push_call),
        Without::HashInCrowd => push_hash_in_crowd(sql, reader, "case"),
        // A row of this hash, which is small and at hand, costs a tenth of a probe.
        Without::DraftsInCrowd => push_hash_in_crowd(sql, reader, "case when r.id in (select id from drafts) then false"),
    }
}

fn push_hash_up_to(sql: &mut Builder, reader: &Reader, few: i64, push_else: fn(&mut Builder, &Reader, bool)) {
    sql.push("case when ");
    // The hash must have all ids.
    let few = few.min(MOST_HASHED);
    sql.push("(select count(*) from (");
    push_ids(sql, reader);
    sql.push(" limit ").push_bind(few + 1).push(") o) <= ").push_bind(few);
    sql.push(" then r.id not in (");
    push_ids(sql, reader);
    push_most_hashed(sql);
    sql.push(") else ");
    push_else(sql, reader, true);
    sql.push(" end");
}

fn push_call(sql: &mut Builder, reader: &Reader, with_published: bool) {
    sql.push("not pfa_is_overlaid(r.organization_id, r.id, array[");
    push_sessions(sql, reader, with_published);
    sql.push("]::uuid[])");
}

/// `not exists` of an overlay row for `r`.
pub(super) fn push_probe(sql: &mut Builder, reader: &Reader, with_published: bool) {
    sql.push("not exists (select from pfa_overlay o where o.id = r.id and ");
    push_overlay_of(sql, reader, with_published);
    sql.push(" offset 0)");
}

fn push_hash(sql: &mut Builder, reader: &Reader, with_published: bool) {
    sql.push("r.id not in (select o.id from pfa_overlay o where ");
    push_overlay_of(sql, reader, with_published);
    sql.push(")");
}

/// Without a limit the planner would not make a hash of what it expects to be larger than its memory, and compare all ids with
/// each row: statistics may tell of rows that are long gone.
fn push_most_hashed(sql: &mut Builder) {
    sql.push(" limit ");
    sql.push_bind(MOST_HASHED);
}

/// Of an overlay that is larger than a hash may be, the probe tells what the hash has no room for.
fn push_hash_in_crowd(sql: &mut Builder, reader: &Reader, case: &str) {
    sql.push(case).push(" when (select are_many from passed) and r.id in (");
    push_ids(sql, reader);
    push_most_hashed(sql);
    sql.push(") then false else ");
    push_probe(sql, reader, true);
    sql.push(" end");
}

/// The ids that the overlays of a reader have, from the two indexes that begin with the session: the primary key has the ids of all
/// sandboxes side by side.
pub(super) fn push_ids(sql: &mut Builder, reader: &Reader) {
    for (separator, part) in [("", " and not o.is_discontinued"), (" union all ", " and o.is_discontinued")] {
        sql.push(separator).push("select o.id from pfa_overlay o where ");
        push_overlay_of(sql, reader, true);
        sql.push(part);
    }
}

/// The overlay rows `o` of the sandbox, or of everybody, or of both.
pub(super) fn push_overlay_of(sql: &mut Builder, reader: &Reader, with_published: bool) {
    sql.push("o.organization_id = ");
    sql.push_bind(reader.organization.clone());
    sql.push(" and o.session_id in (");
    push_sessions(sql, reader, with_published);
    sql.push(")");
}

/// Whose overlays they are.
pub(super) fn push_sessions(sql: &mut Builder, reader: &Reader, with_published: bool) {
    match (reader.session, with_published) {
        (Some(session), true) => {
            sql.push(format_args!("{EVERYBODY}, "));
            sql.push_bind(session);
        }
        (Some(session), false) => {
            sql.push_bind(session);
        }
        (None, _) => {
            sql.push(EVERYBODY);
        }
    }
}
