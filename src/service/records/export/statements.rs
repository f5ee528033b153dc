//! The statements of exports. Limit and cursor are of no account.

use crate::domain::field::Field;
use crate::service::records::columns::{Columns, field_column};
use crate::service::records::order::{self, Segment};
use crate::service::records::overlay::{Without, push_ids};
use crate::service::records::row::META_COLUMNS;
use crate::service::records::statement::{Branch, Builder, Texts, branches, push_branch, push_mirror, splits_mirror, whole_segment};
use crate::service::records::{PageQuery, predicates};

/// Tells a record in a version from all others. It is the same in one server, and need not be the same in the next.
const HASH: &str = "uuid_hash_extended(r.id, r.version)";

/// All matching rows, one by one in order: the columns of `_meta` and the record's text; or for an export of some fields the id, the
/// version of a row of the mirror, and the fields, which are one list of texts where those of the mirror are remembered.
pub(in crate::service::records) fn rows(query: &PageQuery, texts: Texts) -> Builder {
    let mut sql = Builder::new("select ");
    let columns = match (&query.fields, texts) {
        (None, _) => {
            sql.push(META_COLUMNS).push(", data::text");
            Columns::Page { texts, drafts: None }
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
    push_merged(&mut sql, query, branches(&query.reader), columns);
    sql
}

/// The matching rows of the reader's overlays in order, as for an export of some fields that are remembered, and their starts.
pub(super) fn drafts(query: &PageQuery) -> Builder {
    let mut sql = Builder::new("select *");
    let overlays = branches(&query.reader).into_iter().filter(|branch| *branch != Branch::Mirror);
    push_merged(&mut sql, query, overlays, Columns::Listed);
    sql
}

/// The records that the reader's overlays have, matching or not.
pub(super) fn overlaid(query: &PageQuery) -> Builder {
    let mut sql = Builder::new("");
    push_ids(&mut sql, &query.reader);
    sql
}

/// The matching rows of the mirror in the default order, whatever overlays say of them: id, version, start; and if fields are asked for,
/// the hash of the version, and these.
pub(super) fn mirrored(query: &PageQuery, fields: Option<&[Field]>) -> Builder {
    let mut sql = Builder::new("select r.id, r.version, r.forecast_start");
    if let Some(fields) = fields {
        sql.push(format_args!(", {HASH}"));
        for field in fields {
            sql.push(format_args!(", {}", field_column(*field)));
        }
    }
    push_mirror(&mut sql, &query.reader);
    predicates::push_filter(&mut sql, &query.filter);
    sql.push(" order by r.forecast_start, r.id");
    sql
}

/// How many they are, and the exclusive or of their hashes.
pub(super) fn sum(query: &PageQuery) -> Builder {
    let mut sql = Builder::new(format!("select count(*), coalesce(bit_xor({HASH}), 0)"));
    push_mirror(&mut sql, &query.reader);
    predicates::push_filter(&mut sql, &query.filter);
    sql
}

fn push_merged(sql: &mut Builder, query: &PageQuery, branches: impl IntoIterator<Item = Branch>, columns: Columns) {
    let segments = |branch| match branch {
        Branch::Mirror if splits_mirror(query) => vec![Segment::Head, Segment::Tail],
        _ => vec![whole_segment(query)],
    };
    let parts = branches.into_iter().flat_map(|branch| segments(branch).into_iter().map(move |segment| (branch, segment)));
    let mut count = 0;
    for (branch, segment) in parts {
        sql.push(if count == 0 { " from ((" } else { " union all (" });
        push_branch(sql, query, branch, segment, Without::Hash, columns);
        order::push_branch_order(sql, query, segment);
        sql.push(")");
        count += 1;
    }
    if count > 1 {
        order::push_merged_order(sql, &query.sort);
    }
    sql.push(") merged");
}
