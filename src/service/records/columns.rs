//! What the rows of a statement show.

use crate::domain::field::{Field, Kind};
use crate::service::records::PageQuery;
use crate::service::records::statement::{Branch, Builder, MIRROR, Texts};
use uuid::Uuid;

/// What the rows of a branch have beside their sort keys.
#[derive(Clone, Copy)]
pub(super) enum Columns {
    /// What a page shows: `_meta` and the record or its fields.
    Page(Texts),
    /// Some fields; where a row is not the mirror's, no version.
    Fields,
    /// The same as one list of texts, and none in the mirror: each column takes time in each row, also an empty one.
    Listed,
}

/// Adds them, behind the id.
pub(super) fn push_columns(sql: &mut Builder, query: &PageQuery, branch: Branch, columns: Columns) {
    let is_mirror = branch == Branch::Mirror;
    sql.push(match (columns, is_mirror) {
        (Columns::Page(_), true) => {
            ", r.version, null as sync_state, null::text[] as modified_fields, null as modified_by, null::timestamptz as modified_at"
        }
        (Columns::Page(_), false) => ", r.version, r.sync_state, r.modified_fields, r.modified_by, r.modified_at",
        (Columns::Fields | Columns::Listed, true) => ", r.version",
        (Columns::Fields | Columns::Listed, false) => ", null::bigint as version",
    });
    let fields = query.fields.as_deref();
    match (fields, columns) {
        (None, Columns::Page(Texts::Remembered)) if is_mirror => {
            sql.push(", null::jsonb as data");
        }
        (None, _) => {
            sql.push(", r.data");
        }
        (Some(_), Columns::Listed) if is_mirror => {
            sql.push(", null::text[] as shown");
        }
        (Some(fields), Columns::Listed) => {
            let texts: Vec<_> = fields.iter().map(|field| format!("({})::text", field_column(*field))).collect();
            sql.push(format_args!(", array[{}]::text[] as shown", texts.join(", ")));
        }
        (Some(fields), Columns::Page(_) | Columns::Fields) => {
            for (index, field) in fields.iter().enumerate() {
                sql.push(format_args!(", {} as f{index}", field_column(*field)));
            }
        }
    }
}

/// The column of a field. That of a flag reads a missing one as false; the answer shows what the record says.
fn field_column(field: Field) -> String {
    match field.kind() {
        Kind::Flag => format!("pfa_flag(r.data->>'{}')", field.key()),
        _ => format!("r.{}", field.column()),
    }
}

/// What a query shows of records of the mirror, behind the name of the mirror, their ids and versions.
pub(super) fn records(query: &PageQuery, ids: Vec<Uuid>) -> Builder {
    let mut sql = Builder::new(format!("select (select {MIRROR}), r.id, r.version"));
    match &query.fields {
        None => {
            sql.push(", r.data::text");
        }
        Some(fields) => fields.iter().for_each(|field| {
            sql.push(format_args!(", {}", field_column(*field)));
        }),
    }
    sql.push(" from pfa_mirror r where r.organization_id = ").push_bind(query.reader.organization.clone());
    sql.push(" and r.id = any (").push_bind(ids).push(")");
    sql
}
