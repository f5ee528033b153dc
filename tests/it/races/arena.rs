//! Two services on one database, an organization, and what can be seen of it from outside.

use super::serial::{Call, FIELDS, World};
use crate::support::checks;
use crate::support::model::Object;
use chrono::NaiveDate;
use pfa_vanguard::db::pool::{connect_options, pool_options};
use pfa_vanguard::domain::conflict::{Choice, Resolution};
use pfa_vanguard::domain::operation::Operation;
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::error::{Error, Result};
use pfa_vanguard::service::commit::{Commit, CommitReport};
use pfa_vanguard::service::conflicts::ConflictFilter;
use pfa_vanguard::service::edits::{BulkEdit, Direction, RecordEdit, Selection};
use pfa_vanguard::service::ingest::Batch;
use pfa_vanguard::service::sessions::Sandbox;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Two services, each with a pool of its own.
#[derive(Clone)]
pub struct Services {
    pub pair: [PfaMirrorService; 2],
    /// For looking on.
    pub observer: PgPool,
}

impl Services {
    pub async fn start(url: &str) -> Self {
        let options = connect_options(url, Duration::from_secs(30)).unwrap();
        let pool = async || pool_options(12).connect_with(options.clone()).await.unwrap();
        let observer = pool_options(6).connect_with(options.clone().application_name("observer")).await.unwrap();
        Self { pair: [PfaMirrorService::new(pool().await), PfaMirrorService::new(pool().await)], observer }
    }
}

/// An organization that calls race in.
#[derive(Clone)]
pub struct Arena {
    pub services: Services,
    pub organization: String,
}

/// A record as it is loaded.
fn raw(record: &str, data: &Object) -> Map<String, Value> {
    let mut raw = data.clone();
    raw.extend([("pfaId", record), ("originalStart", "2025-01-01"), ("originalEnd", "2025-02-01")].map(|(k, v)| (k.to_owned(), json!(v))));
    raw
}

/// A category, a rate, and months of the forecast.
pub fn data(category: &str, rate: u32, months: (u32, u32)) -> Object {
    let day = |month| NaiveDate::from_ymd_opt(2025, month, 1).unwrap();
    let data = json!({"category": category, "dor": "BEO", "forecastStart": day(months.0), "forecastEnd": day(months.1),
                      "isDiscontinued": false, "monthlyRate": rate});
    data.as_object().unwrap().clone()
}

impl Arena {
    /// An organization with these records; summaries are up to date.
    pub async fn open(services: &Services, organization: &str, records: BTreeMap<String, Object>) -> (Self, World) {
        let arena = Self { services: services.clone(), organization: organization.to_owned() };
        services.pair[0].save_organization(organization, organization).await.unwrap();
        arena.load(&services.pair[0], &records).await.unwrap();
        (arena, World::new(records))
    }

    /// A new sandbox.
    pub async fn open_session(&self, world: &mut World, user: &'static str) -> Uuid {
        let session = self.services.pair[1].open_session(&self.organization, user, None).await.unwrap().id;
        world.open_session(session, user);
        session
    }

    /// Does a call; gives its answer in the words of [`World::apply`].
    pub async fn call(&self, service: &PfaMirrorService, world: &World, call: &Call) -> Value {
        let answer = match call {
            Call::Load { records } => self.load(service, records).await,
            Call::Refresh => match service.refresh_views("race").await {
                // Somebody else's refresh does as well.
                Ok(_) | Err(Error::RefreshRunning) => Ok(json!("refreshed")),
                Err(error) => Err(error),
            },
            Call::Edit { session, .. }
            | Call::Bulk { session, .. }
            | Call::Drop { session, .. }
            | Call::Undo { session }
            | Call::Redo { session }
            | Call::Discard { session }
            | Call::Commit { session, .. }
            | Call::Resolve { session, .. } => {
                let user = world.sessions[session].user.to_owned();
                let sandbox = Sandbox { organization: self.organization.clone(), user, session: *session };
                self.call_in(service, &sandbox, call).await
            }
        };
        answer.unwrap_or_else(|error| match error {
            // Never an answer to a caller: it is told in full, and no order explains it.
            Error::Busy | Error::Database(_) | Error::DatabaseUnavailable(_) | Error::StatementTimeout => {
                json!({"failed": error.to_string()})
            }
            error => json!({"error": format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next()}),
        })
    }

    async fn call_in(&self, service: &PfaMirrorService, sandbox: &Sandbox, call: &Call) -> Result<Value> {
        match call {
            Call::Edit { record, patch, .. } => {
                let edit = RecordEdit { pfa_id: record.clone(), patch: patch.clone(), faults: Vec::new(), reason: None, if_match: None };
                let mut row: Object = serde_json::from_str(&service.edit_record(sandbox, &edit).await?).unwrap();
                row.retain(|field, _| FIELDS.contains(&field.as_str()));
                Ok(Value::Object(row))
            }
            Call::Bulk { records, patch, .. } => {
                let edit = BulkEdit {
                    selection: Selection::PfaIds(records.iter().cloned().collect()),
                    operation: Operation::Set(patch.clone()),
                    reason: None,
                    is_atomic: false,
                    is_preview: false,
                };
                let outcome = service.edit_records(sandbox, &edit).await?;
                Ok(json!({"changed": outcome.changed, "unchanged": outcome.unchanged, "refused": outcome.refused.len()}))
            }
            Call::Drop { record, .. } => service.drop_draft(sandbox, record).await.map(|()| json!("dropped")),
            Call::Undo { .. } => Ok(json!({"records": service.move_step(sandbox, Direction::Undo).await?.records})),
            Call::Redo { .. } => Ok(json!({"records": service.move_step(sandbox, Direction::Redo).await?.records})),
            Call::Discard { .. } => service.discard_session(sandbox).await.map(|()| json!("discarded")),
            Call::Commit { mode, key, .. } => {
                let commit = Commit { mode: *mode, is_dry_run: false, idempotency_key: key.clone() };
                service.commit_session(sandbox, &commit).await.map(|report| told(&report))
            }
            Call::Resolve { record, stage, is_mine, .. } => {
                let (org, session) = (&self.organization, Some(sandbox.session));
                let filter = ConflictFilter { pfa_ids: vec![record.clone()], session, stage: Some(*stage), ..ConflictFilter::default() };
                let found = service.list_conflicts(org, &sandbox.user, &filter, None, 2).await?;
                let Some(conflict) = found.first() else { return Err(Error::ConflictNotFound) };
                let resolution = Resolution::All(if *is_mine { Choice::Mine } else { Choice::Theirs });
                let resolved = service.resolve_conflict(org, &sandbox.user, conflict.id, &resolution, None).await?;
                Ok(json!(format!("{:?}", resolved.outcome)))
            }
            Call::Load { .. } | Call::Refresh => unreachable!("these know no sandbox"),
        }
    }

    /// The way that imports take.
    async fn load(&self, service: &PfaMirrorService, records: &BTreeMap<String, Object>) -> Result<Value> {
        let staged: Vec<_> = records.iter().map(|(record, data)| canonicalise(raw(record, data)).unwrap().0).collect();
        let mut load = service.begin_load(&[&self.organization]).await?;
        load.stage(&staged).await?;
        let batch = Batch::import(&self.organization, Uuid::new_v4(), "test");
        let applied = load.apply(&batch).await?;
        load.commit(|_| ()).await?;
        Ok(json!({"updated": applied.updated, "unchanged": applied.unchanged}))
    }

    /// Everything that a [`World`] knows, as the database has it.
    pub async fn observe(&self) -> Value {
        sqlx::query_scalar(OBSERVE).bind(&self.organization).bind(&FIELDS[..]).fetch_one(&self.services.observer).await.unwrap()
    }

    /// What must hold at any moment, whatever the calls were.
    pub async fn check(&self, world: &World) {
        checks::check_overlay(&self.services.observer, &self.organization).await;
        let open = world.open_sessions().first().map(|session| (*session, world.sessions[session].user));
        let readers = [None, None, open].into_iter().enumerate();
        for (number, sandbox) in readers {
            let (session, user) = sandbox.unzip();
            let reader = Reader { organization: self.organization.clone(), user: user.unwrap_or("ana").to_owned(), session };
            checks::check_summaries(&self.services.pair[number % 2], &self.services.observer, &reader).await;
        }
        checks::check_numbers(&self.services.observer, &self.organization).await;
    }
}

fn told(report: &CommitReport) -> Value {
    let mut conflicts: Vec<_> = report.conflicts.iter().map(|conflict| json!([conflict.pfa_id, conflict.fields])).collect();
    conflicts.sort_by_key(|conflict| conflict[0].to_string());
    json!({"committed": report.committed, "merged": report.merged, "conflicts": conflicts,
           "refused": report.refused, "closed": report.closed})
}

const OBSERVE: &str = r"
    select jsonb_build_object(
        'records', (
            select jsonb_object_agg(m.pfa_id, jsonb_build_object(
                       'mirror', pfa_pick(m.data, $2), 'version', m.version, 'published', pfa_pick(l.data, $2)))
              from pfa_mirror m
              join pfa_merged_live l on l.organization_id = $1 and l.mirror_id = m.id
             where m.organization_id = $1),
        'sessions', (
            select coalesce(jsonb_object_agg(s.id, jsonb_build_object(
                       'status', s.status,
                       'steps', (
                           select coalesce(jsonb_agg(jsonb_build_array(e.is_undone, (
                                      select jsonb_agg(jsonb_build_array(m.pfa_id, c.before->'delta', c.after->'delta') order by m.pfa_id)
                                        from pfa_edit_change c
                                        join pfa_mirror m on m.organization_id = $1 and m.id = c.mirror_id
                                       where c.organization_id = $1 and c.session_id = s.id and c.step = e.step)) order by e.step), '[]')
                             from pfa_edit_step e
                            where e.organization_id = $1 and e.session_id = s.id))), '{}')
              from pfa_session s
             where s.organization_id = $1),
        'changes', (
            select coalesce(jsonb_agg(jsonb_build_object(
                       'record', m.pfa_id, 'session', d.session_id, 'state', d.sync_state, 'stage', d.conflict_stage,
                       'delta', d.delta, 'base', d.base,
                       'isMerge', exists (select from pfa_mirror_history h
                                           where h.organization_id = $1 and h.mirror_id = m.id
                                             and h.change_number > d.base_change and h.after <> '{}'))
                       order by m.pfa_id, d.committed_at, d.session_id), '[]')
              from pfa_modification d
              join pfa_mirror m on m.organization_id = $1 and m.id = d.mirror_id
             where d.organization_id = $1),
        'history', (
            select coalesce(jsonb_agg(jsonb_build_object(
                       'record', m.pfa_id, 'source', h.source, 'session', case when h.source = 'session' then h.source_id end,
                       'by', h.changed_by, 'before', h.before, 'after', h.after) order by m.pfa_id, h.change_number), '[]')
              from pfa_mirror_history h
              join pfa_mirror m on m.organization_id = $1 and m.id = h.mirror_id
             where h.organization_id = $1))";
