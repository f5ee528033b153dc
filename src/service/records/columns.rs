//! What the rows of a statement show.

use crate::domain::field::{Field, Kind};
use crate::service::records::PageQuery;
use crate::service::records::overlay::push_sessions;
use crate::service::records::statement::{Branch, Builder, MIRROR, Texts};
use crate::service::records::text_of::TextOf;
use uuid::Uuid;

/// What the rows of a branch have beside their sort keys.
#[derive(Clone, Copy)]
pub(super) enum Columns {
    /// What a page shows: `_meta` and the record or its fields.
    Page {
        /// Of the mirror's records.
        texts: Texts,
        /// Of those in overlays, whose rows tell their revisions then; nothing else where they are remembered with their `_meta`.
        drafts: Option<Texts>,
    },
    /// Some fields; where a row is not the mirror's, no version.
    Fields,
    /// The same as one list of texts, and none in the mirror: each column takes time in each row, also an empty one.
    Listed,
}

const VERSION: &str = ", r.version";
const NO_VERSION: &str = ", null::bigint as version";
/// What `_meta` says of a record of the mirror …
const PRISTINE: &str = ", null as sync_state, null::text[] as modified_fields, null as modified_by, null::timestamptz as modified_at";
/// … and of one in an overlay.
const MODIFIED: &str = ", r.sync_state, r.modified_fields, r.modified_by, r.modified_at";

/// Adds them, behind the id.
pub(super) fn push_columns(sql: &mut Builder, query: &PageQuery, branch: Branch, columns: Columns) {
    let is_mirror = branch == Branch::Mirror;
    let [version, more] = match (columns, is_mirror) {
        (Columns::Page { drafts: Some(Texts::Remembered), .. }, false) => [NO_VERSION, PRISTINE],
        (Columns::Page { .. }, true) => [VERSION, PRISTINE],
        (Columns::Page { .. }, false) => [VERSION, MODIFIED],
        (Columns::Fields | Columns::Listed, true) => [VERSION, ""],
        (Columns::Fields | Columns::Listed, false) => [NO_VERSION, ""],
    };
    sql.push(version).push(more);
    if let Columns::Page { drafts: Some(_), .. } = columns {
        sql.push(if is_mirror { ", null::bigint as revision" } else { ", r.revision" });
    }
    let fields = query.fields.as_deref();
    match (fields, columns) {
        (None, Columns::Page { texts, drafts }) if is_remembered(is_mirror, texts, drafts) => {
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
        (Some(fields), Columns::Page { .. } | Columns::Fields) => {
            for (index, field) in fields.iter().enumerate() {
                sql.push(format_args!(", {} as f{index}", field_column(*field)));
            }
        }
    }
}

/// Whether rows of the mirror, or those of overlays, come without their texts.
fn is_remembered(is_mirror: bool, texts: Texts, drafts: Option<Texts>) -> bool {
    let texts = if is_mirror { Some(texts) } else { drafts };
    texts == Some(Texts::Remembered)
}

/// The column of a field. That of a flag reads a missing one as false; the answer shows what the record says.
pub(super) fn field_column(field: Field) -> String {
    match field.kind() {
        Kind::Flag => format!("pfa_flag(r.data->>'{}')", field.key()),
        _ => format!("r.{}", field.column()),
    }
}

/// What a query shows of records, and of rows of the reader's overlays: behind the name of the mirror, whether it is an overlay's, its version
/// or revision, and the columns of `_meta`.
pub(super) fn records(query: &PageQuery, texts: &[TextOf]) -> Builder {
    let mut sql = Builder::new("");
    let mut separator = "";
    for is_overlaid in [false, true] {
        let ids: Vec<_> = texts.iter().filter(|text| text.is_overlaid() == is_overlaid).map(|text| text.id).collect();
        if !ids.is_empty() {
            sql.push(separator);
            push_records(&mut sql, query, is_overlaid, ids);
            separator = " union all ";
        }
    }
    sql
}

fn push_records(sql: &mut Builder, query: &PageQuery, is_overlaid: bool, ids: Vec<Uuid>) {
    let (table, stamp, meta) = if is_overlaid { ("pfa_overlay", "revision", MODIFIED) } else { ("pfa_mirror", "version", PRISTINE) };
    sql.push(format_args!("select (select {MIRROR}), {is_overlaid}, r.{stamp}, r.id{VERSION}{meta}"));
    match &query.fields {
        None => {
            sql.push(", r.data::text");
        }
        Some(fields) => fields.iter().for_each(|field| {
            sql.push(format_args!(", {}", field_column(*field)));
        }),
    }
    sql.push(format_args!(" from {table} r where r.organization_id = ")).push_bind(query.reader.organization.clone());
    sql.push(" and r.id = any (").push_bind(ids).push(")");
    if is_overlaid {
        sql.push(" and r.session_id in (");
        push_sessions(sql, &query.reader, true);
        sql.push(")");
    }
}
