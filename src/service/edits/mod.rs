//! Editing a sandbox: one record or many, each call one transaction and one step that can be undone.

mod record;
mod selection;
mod steps;

pub use record::RecordEdit;
pub use selection::{MOST_RECORDS, Selection};
pub use steps::{Direction, Step};

use crate::domain::kpi::{Amounts, KpiGroup, Split};
use crate::domain::operation::Operation;
use crate::domain::rules::Rule;
use crate::error::{Error, RefusedEdit, Result};
use crate::service::PfaMirrorService;
use crate::service::sessions::{Sandbox, Workspace};
use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

/// A bulk edit.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkEdit {
    /// Which records.
    pub selection: Selection,
    /// What is done to them.
    pub operation: Operation,
    /// Why, for the history.
    pub reason: Option<String>,
    /// Refuse everything when rules forbid the edit on one record.
    pub is_atomic: bool,
    /// Report what would happen and change nothing.
    pub is_preview: bool,
}

/// What a bulk edit did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditOutcome {
    /// Records selected.
    pub matched: usize,
    /// Drafts that changed.
    pub changed: usize,
    /// Records that were so already.
    pub unchanged: usize,
    /// Records that rules forbid to edit so; left alone.
    pub refused: Vec<RefusedEdit>,
    /// Ids that name no record of the organization.
    pub not_found: Vec<String>,
    /// The sandbox's amounts before.
    pub before: Split,
    /// And after.
    pub after: Split,
}

/// What the edit statement says.
struct Written {
    matched: usize,
    changed: Vec<Uuid>,
    unchanged: usize,
    refused: Vec<RefusedEdit>,
}

impl PfaMirrorService {
    /// Edits many records of a sandbox at once.
    ///
    /// # Errors
    /// [`Error::EditRefused`] when it is atomic and rules forbid it on a record; when the selection is
    /// too large, or the session is not there or was committed; or the database fails. Then nothing is saved.
    pub async fn edit_records(&self, sandbox: &Sandbox, edit: &BulkEdit) -> Result<EditOutcome> {
        let mut workspace = Workspace::open(&self.pool, sandbox).await?;
        let (records, not_found) = selection::find_records(workspace.connection(), sandbox, &edit.selection).await?;
        let before = find_amounts(workspace.connection(), sandbox, &records).await?;
        let written = write_drafts(&mut workspace, sandbox, &records, &edit.operation, "bulk", edit.reason.as_deref()).await?;
        if edit.is_atomic && !written.refused.is_empty() {
            workspace.abandon().await?;
            return Err(Error::EditRefused { matched: written.matched, refused: written.refused });
        }
        let mut after = before;
        if !written.changed.is_empty() {
            workspace.settle(&written.changed, true).await?;
            after = find_amounts(workspace.connection(), sandbox, &records).await?;
        }
        if edit.is_preview {
            workspace.abandon().await?;
        } else {
            workspace.finish().await?;
            self.crowds.expect_drafts(sandbox, written.changed.len());
        }
        let Written { matched, changed, unchanged, refused } = written;
        Ok(EditOutcome { matched, changed: changed.len(), unchanged, refused, not_found, before, after })
    }
}

/// A record that the statement left alone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefusedRow {
    pfa_id: String,
    rules: Vec<String>,
    fields: Vec<String>,
}

/// Writes the drafts that an operation makes of these records, and the step that undoes them.
///
/// One statement for any number of records: the record as others see it and as the sandbox sees it,
/// the delta after the edit (a field set back to its base leaves it), the rules, then the draft.
async fn write_drafts(
    workspace: &mut Workspace<'_>,
    sandbox: &Sandbox,
    records: &[Uuid],
    operation: &Operation,
    kind: &str,
    reason: Option<&str>,
) -> Result<Written> {
    let (step, change_number) = (workspace.next_step().await?, workspace.change_number());
    workspace.expect_many(true).await?;
    let written = sqlx::query!(
        r#"
        with chosen as (
            select m.id, m.pfa_id, m.version,
                   coalesce(p.data, m.data)         as published,
                   coalesce(s.data, p.data, m.data) as seen,
                   d.id as modification_id, d.delta, d.base, d.base_version, d.base_change, d.change_reason
              from pfa_mirror m
             -- The offsets make each of these a probe of its key for each record, the only index that serves it, whatever the
             -- statistics say of rows that were written a moment ago.
              left join lateral (
                       select o.data from pfa_overlay o
                        where o.organization_id = m.organization_id and o.id = m.id and o.session_id = pfa_everybody() offset 0) p on true
              left join lateral (
                       select o.data from pfa_overlay o
                        where o.organization_id = m.organization_id and o.id = m.id and o.session_id = $2 offset 0) s on true
              -- At once, for statistics that know of no drafts take any index for the right one: probes once took minutes.
              left join (select o.* from pfa_modification o
                          where o.organization_id = $1 and o.mirror_id = any ($4) and o.session_id = $2
                            and (o.sync_state = 'draft' or o.conflict_stage = 'commit')) d on d.mirror_id = m.id
             where m.organization_id = $1
               and m.id = any ($4)
        ), edited as (
            select chosen.*, change.delta as new_delta, change.base as new_base, merge.merged, operation.obstacles
              from chosen
             cross join lateral pfa_edit_patch($5, chosen.seen) operation
             cross join lateral (
                      select coalesce(jsonb_object_agg(key, value),  '{}') as delta,
                             coalesce(jsonb_object_agg(key, before), '{}') as base
                        from (select key, value, coalesce(chosen.base->key, chosen.published->key, 'null') as before
                                from jsonb_each(coalesce(chosen.delta, '{}') || operation.patch)) field
                       where value <> before) change
             cross join lateral (select chosen.published || change.delta as merged offset 0) merge
        ), judged as (
            -- Without whole records: each part below reads all of these, and ten thousand of them would go by way of the disk.
            select id, pfa_id, version, modification_id, delta, base, base_version, base_change, change_reason, new_delta, new_base,
                   new_delta <> coalesce(delta, '{}') as is_change,
                   case when obstacles <> '{}' then obstacles
                        when new_delta <> coalesce(delta, '{}') then pfa_broken_rules(merged, new_delta)
                        else '{}' end as broken
              from edited
        ), changed as (
            select * from judged where is_change and broken = '{}'
        ), removed as (
            -- As a join this once read all that was changed again for every draft: 30 s for 9,000 of them.
            delete from pfa_modification d
             where d.organization_id = $1
               and d.id = any (array(select modification_id from changed where new_delta = '{}'))
        ), written as (
            insert into pfa_modification as d
                   (organization_id, session_id, mirror_id, user_id, delta, base, base_version, base_change, change_reason)
            select $1, $2, id, $3, new_delta, new_base, coalesce(base_version, version), coalesce(base_change, $7), $8
              from changed
             where new_delta <> '{}'
            on conflict (organization_id, session_id, mirror_id) where sync_state = 'draft' or conflict_stage = 'commit'
            do update set delta = excluded.delta, base = excluded.base, updated_at = now(),
                          change_reason = coalesce(excluded.change_reason, d.change_reason)
        ), step as (
            insert into pfa_edit_step (organization_id, session_id, step, kind, reason, records)
            select $1, $2, $6, $9, $8, count(*) from changed having count(*) > 0 and pfa_keep_plans_of_checks()
        ), logged as (
            insert into pfa_edit_change (organization_id, session_id, step, mirror_id, before, after)
            select $1, $2, $6, id,
                   pfa_draft_image(delta, base, base_version, base_change, change_reason),
                   case when new_delta <> '{}' then
                       pfa_draft_image(new_delta, new_base, coalesce(base_version, version), coalesce(base_change, $7),
                                       coalesce($8, change_reason)) end
              from changed
        )
        select count(*)                                                    as "matched!",
               array(select id from changed)                               as "changed!",
               count(*) filter (where not is_change and broken = '{}')     as "unchanged!",
               coalesce(jsonb_agg(jsonb_build_object('pfaId', pfa_id, 'rules', broken, 'fields', pfa_keys(new_delta)) order by pfa_id)
                        filter (where broken <> '{}'), '[]')               as "refused!: Json<Vec<RefusedRow>>"
          from judged
        "#,
        sandbox.organization,
        sandbox.session,
        sandbox.user,
        records,
        operation.to_json(),
        step,
        change_number,
        reason,
        kind,
    )
    .fetch_one(workspace.connection())
    .await?;
    workspace.expect_many(false).await?;
    let count = |number: i64| usize::try_from(number).unwrap_or_default();
    Ok(Written {
        matched: count(written.matched),
        changed: written.changed,
        unchanged: count(written.unchanged),
        refused: written.refused.0.into_iter().map(refused).collect(),
    })
}

fn refused(row: RefusedRow) -> RefusedEdit {
    let rules = row.rules.iter().filter_map(|code| Rule::from_code(code)).collect();
    RefusedEdit { pfa_id: row.pfa_id, rules, changed: row.fields }
}

/// What these records amount to as the sandbox sees them.
pub(super) async fn find_amounts(connection: &mut PgConnection, sandbox: &Sandbox, records: &[Uuid]) -> Result<Split> {
    let groups = sqlx::query!(
        r#"
        select category, source, dor, record_count as "record_count!", actualized_count as "actualized_count!",
               plan_amount as "plan!", forecast_amount as "forecast!", actual_amount as "actual!"
          from pfa_amounts($1, $2, $3)
        "#,
        sandbox.organization,
        sandbox.session,
        records,
    )
    .fetch_all(connection)
    .await?;
    let groups: Vec<_> = groups
        .into_iter()
        .map(|row| KpiGroup {
            category: row.category,
            source: row.source,
            dor: row.dor,
            amounts: Amounts {
                record_count: row.record_count,
                actualized_count: row.actualized_count,
                plan: row.plan,
                forecast: row.forecast,
                actual: row.actual,
            },
        })
        .collect();
    Ok(Split::of(&groups))
}
