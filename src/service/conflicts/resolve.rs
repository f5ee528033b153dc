//! Resolving conflicts: mine, theirs, or a choice for each field; one or many, in one transaction.

use super::{ConflictFilter, Stage};
use crate::domain::conflict::{Choice, Comparison, ConflictingFields, Resolution, resolve, same};
use crate::domain::delta::{Draft, merge};
use crate::domain::fault::Fault;
use crate::domain::rules::broken_rules;
use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use crate::service::publication::{
    Access, FEW, Publication, Sign, expect_many, lock_organization, next_publication, note_amounts, rebuild_overlay,
};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is a draft again, on what is published now.
    Draft,
    /// It is committed again and waits for PEMS.
    Committed,
    /// Nothing of it is left.
    Dropped,
}

/// A conflict that was resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Its id.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// What became of the change.
    pub outcome: Outcome,
    /// What was chosen for each field.
    pub choices: BTreeMap<String, &'static str>,
}

/// A conflict that could not be resolved so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedResolution {
    /// Its id.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// Every field at fault.
    pub faults: Vec<Fault>,
}

/// What a resolution of many did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResolvedMany {
    /// Resolved conflicts.
    pub resolved: Vec<Resolved>,
    /// Conflicts that were left alone, and why.
    pub refused: Vec<RefusedResolution>,
}

/// A conflict on its way to a decision.
struct Open {
    id: Uuid,
    session: Uuid,
    stage: Stage,
    mirror_id: Uuid,
    pfa_id: String,
    draft: Draft,
    published: Map<String, Value>,
    conflicting: ConflictingFields,
}

/// A decision that can be written.
struct Decided {
    open: Open,
    choices: BTreeMap<String, Choice>,
    draft: Draft,
}

impl PfaMirrorService {
    /// Resolves one conflict.
    ///
    /// # Errors
    /// [`Error::ConflictNotFound`] when it is not there or of somebody else's sandbox;
    /// [`Error::InvalidEdit`] when fields are left open, or the result would break a rule; or the database fails.
    pub async fn resolve_conflict(
        &self,
        organization: &str,
        user: &str,
        id: Uuid,
        resolution: &Resolution,
        reason: Option<&str>,
    ) -> Result<Resolved> {
        let filter = ConflictFilter { ids: vec![id], ..ConflictFilter::default() };
        let mut many = self.resolve_conflicts(organization, user, &filter, resolution, reason).await?;
        match (many.resolved.pop(), many.refused.pop()) {
            (Some(resolved), _) => Ok(resolved),
            (None, Some(refused)) => Err(Error::InvalidEdit(refused.faults)),
            (None, None) => Err(Error::ConflictNotFound),
        }
    }

    /// Resolves all conflicts that a filter matches, of those that the caller may decide. Those that
    /// cannot be resolved so are listed and left alone.
    ///
    /// # Errors
    /// When the organization is not there, the filter names a session of somebody else that has none of them, or the
    /// database fails.
    pub async fn resolve_conflicts(
        &self,
        organization: &str,
        user: &str,
        filter: &ConflictFilter,
        resolution: &Resolution,
        reason: Option<&str>,
    ) -> Result<ResolvedMany> {
        let mut transaction = self.pool.begin().await?;
        let connection = &mut *transaction;
        // The organization's lock keeps every sandbox still, too.
        lock_organization(connection, organization, Access::Exclusive).await?;
        let mut many = ResolvedMany::default();
        let mut seen = BTreeSet::new();
        // Of several conflicts on one record the next is decided on what the one before has published.
        loop {
            let mut records = BTreeSet::new();
            let open = find_open(connection, organization, user, filter).await?;
            let turn: Vec<_> = open.into_iter().filter(|open| !seen.contains(&open.id) && records.insert(open.mirror_id)).collect();
            if turn.is_empty() {
                break;
            }
            seen.extend(turn.iter().map(|open| open.id));
            let mut decided = Vec::new();
            for open in turn {
                match decide(open, resolution) {
                    Ok(decision) => decided.push(decision),
                    Err(refused) => many.refused.push(refused),
                }
            }
            if !decided.is_empty() {
                let publication = next_publication(connection, organization).await?;
                write(connection, organization, user, publication, &decided, reason).await?;
                many.resolved.extend(decided.into_iter().map(Decided::into_resolved));
            }
        }
        transaction.commit().await?;
        if many.resolved.is_empty() && many.refused.is_empty() {
            self.check_reader(&filter.reader(organization, user)).await?;
        }
        Ok(many)
    }
}

/// The conflicts as they are now: those of the write-back first, in the order in which their changes were published, whatever the order in
/// which they were found, for the later one of two is decided on the earlier one; then drafts.
async fn find_open(connection: &mut PgConnection, organization: &str, user: &str, filter: &ConflictFilter) -> Result<Vec<Open>> {
    let rows = sqlx::query!(
        r#"
        select id as "id!", session_id as "session!", mirror_id as "mirror_id!", pfa_id as "pfa_id!", conflict_stage as "stage!",
               delta as "delta!: Json<Map<String, Value>>", base as "base!: Json<Map<String, Value>>",
               published as "published!: Json<Map<String, Value>>", broken_rules as "rules!",
               pfa_comparison(delta, base, published) as "fields!: Json<Vec<Comparison>>"
          from pfa_compared($1)
         where sync_state = 'conflict'
           and (conflict_stage = 'writeBack' or user_id = $2)
           and ($3::uuid[] = '{}' or id = any ($3))
           and ($4::text[] = '{}' or mirror_id = any (array(select m.id from pfa_mirror m where m.organization_id = $1 and m.pfa_id = any ($4))))
           and ($5::uuid is null or session_id = $5)
           and ($6::text is null or conflict_stage = $6)
         order by committed_at, conflicted_at, id
        "#,
        organization,
        user,
        &filter.ids,
        &filter.pfa_ids,
        filter.session as _,
        filter.stage.map(Stage::word) as _,
    )
    .fetch_all(connection)
    .await?;
    let open = rows.into_iter().map(|row| Open {
        id: row.id,
        session: row.session,
        stage: if row.stage == Stage::Commit.word() { Stage::Commit } else { Stage::WriteBack },
        mirror_id: row.mirror_id,
        pfa_id: row.pfa_id,
        draft: Draft { delta: row.delta.0, base: row.base.0 },
        published: row.published.0,
        conflicting: ConflictingFields::of(row.fields.0, &row.rules),
    });
    Ok(open.collect())
}

fn decide(open: Open, resolution: &Resolution) -> Result<Decided, RefusedResolution> {
    let decision = resolution.choices(&open.conflicting.keys()).and_then(|choices| {
        let draft = resolve(&open.draft, &open.published, &choices);
        let changed: Vec<_> = draft.delta.keys().cloned().collect();
        let broken = broken_rules(&merge(&open.published, [&draft.delta]), &draft.delta);
        let faults: Vec<_> = broken.into_iter().flat_map(|rule| rule.faults(&changed)).collect();
        if faults.is_empty() { Ok((choices, draft)) } else { Err(faults) }
    });
    match decision {
        Ok((choices, draft)) => Ok(Decided { open, choices, draft }),
        Err(faults) => Err(RefusedResolution { id: open.id, pfa_id: open.pfa_id, faults }),
    }
}

impl Decided {
    fn outcome(&self) -> Outcome {
        match self.open.stage {
            _ if self.draft.delta.is_empty() => Outcome::Dropped,
            Stage::Commit => Outcome::Draft,
            Stage::WriteBack => Outcome::Committed,
        }
    }

    fn words(&self) -> BTreeMap<String, &'static str> {
        self.choices.iter().map(|(field, choice)| (field.clone(), choice.word())).collect()
    }

    /// What everybody sees change: the fields that a committed change sets again to another value.
    fn published_change(&self) -> (Value, Value) {
        let (mut before, mut after) = (Map::new(), Map::new());
        if self.outcome() == Outcome::Committed {
            for (field, ours) in &self.draft.delta {
                let theirs = self.open.published.get(field).cloned().unwrap_or_default();
                if !same(&theirs, ours) {
                    before.insert(field.clone(), theirs);
                    after.insert(field.clone(), ours.clone());
                }
            }
        }
        (Value::Object(before), Value::Object(after))
    }

    fn into_resolved(self) -> Resolved {
        Resolved { id: self.open.id, outcome: self.outcome(), choices: self.words(), pfa_id: self.open.pfa_id }
    }
}

/// Writes decisions: the undo steps of the sandboxes, the changes, the history, overlay and summaries.
async fn write(
    connection: &mut PgConnection,
    organization: &str,
    user: &str,
    publication: Publication,
    decided: &[Decided],
    reason: Option<&str>,
) -> Result<()> {
    let records: Vec<_> = decided.iter().map(|decision| decision.open.mirror_id).collect();
    note_amounts(connection, organization, publication, Sign::Before, &records).await?;
    expect_many(connection, decided.len() > FEW).await?;
    write_steps(connection, organization, decided, reason).await?;
    write_changes(connection, organization, publication, decided, reason).await?;
    write_history(connection, organization, user, publication, decided, reason).await?;
    expect_many(connection, false).await?;
    rebuild_overlay(connection, organization, &records, None).await?;
    note_amounts(connection, organization, publication, Sign::After, &records).await
}

/// One step for each sandbox; what was published before is not a sandbox's to undo.
async fn write_steps(connection: &mut PgConnection, organization: &str, decided: &[Decided], reason: Option<&str>) -> Result<()> {
    let mine: Vec<_> = decided.iter().filter(|decision| decision.open.stage == Stage::Commit).collect();
    let ids: Vec<_> = mine.iter().map(|decision| decision.open.id).collect();
    let deltas: Vec<_> = mine.iter().map(|decision| Value::Object(decision.draft.delta.clone())).collect();
    let bases: Vec<_> = mine.iter().map(|decision| Value::Object(decision.draft.base.clone())).collect();
    sqlx::query!(
        r#"
        with decided as (
            select d.*, n.delta as new_delta, n.base as new_base, m.version, o.change_number
              from unnest($2::uuid[], $3::jsonb[], $4::jsonb[]) n (id, delta, base)
              join pfa_modification d on d.organization_id = $1 and d.sync_state = 'conflict' and d.id = n.id
             cross join lateral (select version from pfa_mirror where organization_id = $1 and id = d.mirror_id offset 0) m
              join organizations o on o.organization_id = $1
        ), redoable as (
            delete from pfa_edit_step
             where organization_id = $1 and session_id in (select session_id from decided) and is_undone
        ), step as (
            insert into pfa_edit_step (organization_id, session_id, step, kind, reason, records)
            select $1, session_id,
                   1 + coalesce((select max(step) from pfa_edit_step s where s.organization_id = $1 and s.session_id = decided.session_id), 0),
                   'resolve', $5, count(*)
              from decided
             group by session_id
            returning session_id, step
        ), edited as (
            update pfa_session set last_edited_at = now(), edit_count = edit_count + 1
             where organization_id = $1 and id in (select session_id from decided)
        )
        insert into pfa_edit_change (organization_id, session_id, step, mirror_id, before, after)
        select $1, d.session_id, step.step, d.mirror_id,
               pfa_draft_image(d.delta, d.base, d.base_version, d.base_change, d.change_reason),
               case when d.new_delta <> '{}' then
                   pfa_draft_image(d.new_delta, d.new_base, d.version, d.change_number, coalesce($5, d.change_reason)) end
          from decided d
          join step on step.session_id = d.session_id
        "#,
        organization,
        &ids,
        &deltas,
        &bases,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_changes(
    connection: &mut PgConnection,
    organization: &str,
    publication: Publication,
    decided: &[Decided],
    reason: Option<&str>,
) -> Result<()> {
    let ids: Vec<_> = decided.iter().map(|decision| decision.open.id).collect();
    let deltas: Vec<_> = decided.iter().map(|decision| Value::Object(decision.draft.delta.clone())).collect();
    let bases: Vec<_> = decided.iter().map(|decision| Value::Object(decision.draft.base.clone())).collect();
    let records: Vec<_> = decided.iter().map(|decision| decision.open.mirror_id).collect();
    sqlx::query!(
        r#"
        with decided as (
            select * from unnest($2::uuid[], $3::jsonb[], $4::jsonb[], $8::uuid[]) n (id, delta, base, record)
        ), dropped as (
            delete from pfa_modification d
             using decided n
             where d.organization_id = $1 and d.sync_state = 'conflict' and d.id = n.id and n.delta = '{}'
        )
        -- Published again, a change lies on top of everything that it was decided upon.
        update pfa_modification d
           set delta = n.delta, base = n.base, base_version = m.version, current_version = m.version, base_change = $5,
               sync_state     = case d.conflict_stage when 'commit' then 'draft' else 'committed' end,
               committed_at   = case d.conflict_stage when 'commit' then d.committed_at else $6 end,
               conflict_stage = null, conflicted_at = null, attempts = 0, next_attempt_at = null, last_error = null,
               change_reason  = coalesce($7, d.change_reason),
               updated_at     = $6
          from decided n
         cross join lateral (select version from pfa_mirror where organization_id = $1 and id = n.record offset 0) m
         where d.organization_id = $1
           and d.sync_state = 'conflict'
           and d.id = n.id
           and n.delta <> '{}'
        "#,
        organization,
        &ids,
        &deltas,
        &bases,
        publication.number,
        publication.at,
        reason,
        &records,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_history(
    connection: &mut PgConnection,
    organization: &str,
    user: &str,
    publication: Publication,
    decided: &[Decided],
    reason: Option<&str>,
) -> Result<()> {
    let records: Vec<_> = decided.iter().map(|decision| decision.open.mirror_id).collect();
    let sessions: Vec<_> = decided.iter().map(|decision| decision.open.session).collect();
    let choices: Vec<_> = decided.iter().map(|decision| json!(decision.words())).collect();
    let (before, after): (Vec<_>, Vec<_>) = decided.iter().map(Decided::published_change).unzip();
    sqlx::query!(
        r#"
        insert into pfa_mirror_history
               (organization_id, mirror_id, version, change_number, changed_at, changed_by, source, source_id, reason, before, after, resolution)
        select $1, m.id, m.version, $2, $3, $4, 'session', n.session, $5, n.before, n.after, n.choices
          from unnest($6::uuid[], $7::uuid[], $8::jsonb[], $9::jsonb[], $10::jsonb[]) n (record, session, before, after, choices)
         cross join lateral (select id, version from pfa_mirror where organization_id = $1 and id = n.record offset 0) m
        "#,
        organization,
        publication.number,
        publication.at,
        user,
        reason,
        &records,
        &sessions,
        &before,
        &after,
        &choices,
    )
    .execute(connection)
    .await?;
    Ok(())
}
