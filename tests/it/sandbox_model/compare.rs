//! What must agree after each step: the tables, which hold what every reader sees, and the
//! service's own readings.

use super::drive::{Difference, Play, agree};
use super::model::{Change, Model};
use super::readings;
use super::translate::shown;
use crate::support::model::{Merged, totals};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Everything that the database knows of an organization, in one statement.
const TABLES: &str = r#"
    select jsonb_build_object(
        'mirror', (select jsonb_agg(jsonb_build_array(id, version, data) order by pfa_id) from pfa_mirror where organization_id = $1),
        'changes', (select coalesce(jsonb_agg(jsonb_build_object(
                        'id', id, 'record', mirror_id, 'session', session_id, 'user', user_id, 'state', sync_state, 'stage', conflict_stage,
                        'delta', delta, 'base', base, 'baseVersion', base_version, 'reason', change_reason,
                        'at', to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))), '[]')
                      from pfa_modification where organization_id = $1),
        'sessions', (select jsonb_object_agg(id, jsonb_build_array(status, (
                            select coalesce(jsonb_agg(jsonb_build_array(kind, reason, records, is_undone) order by step), '[]')
                              from pfa_edit_step e where e.organization_id = $1 and e.session_id = s.id)))
                       from pfa_session s where organization_id = $1),
        'history', (select coalesce(jsonb_agg(jsonb_build_object(
                        'record', mirror_id, 'version', version, 'by', changed_by, 'source', source,
                        'session', case when source = 'session' then source_id end,
                        'reason', reason, 'before', before, 'after', after, 'resolution', resolution)
                        order by mirror_id, change_number, changed_at), '[]')
                      from pfa_mirror_history where organization_id = $1),
        'overlay', (select coalesce(jsonb_agg(jsonb_build_array(
                        id, session_id, data || jsonb_build_object('_meta', pfa_meta(id, version, sync_state, modified_fields, modified_by, modified_at)::jsonb))), '[]')
                      from pfa_overlay where organization_id = $1))
"#;

/// What comparisons remember from one step to the next.
#[derive(Default)]
pub struct Comparison {
    /// When the newest change so far was made.
    latest: String,
    orders: BTreeMap<Uuid, i64>,
}

impl Comparison {
    /// After a step: all tables, which hold what every reader sees, and what the service shows of it to
    /// everybody and in the sandbox of the step: grid, KPIs and timeline.
    pub async fn check(&mut self, play: &mut Play<'_>, actor: Option<usize>) -> Result<(), Difference> {
        self.check_tables(play).await?;
        readings::check(play, None).await?;
        if actor.is_some() { readings::check(play, actor).await } else { Ok(()) }
    }

    /// After the last step: every reading of every sandbox, and that nothing in the overlay is stale.
    pub async fn check_everything(&mut self, play: &mut Play<'_>) -> Result<(), Difference> {
        for session in [None].into_iter().chain(play.open_sessions().into_iter().map(Some)) {
            readings::check(play, session).await?;
        }
        readings::check_lists(play).await?;
        let mut transaction = play.app.pool().begin().await.unwrap();
        let stale: Vec<(Uuid, Uuid)> =
            sqlx::query_as("select * from pfa_stale_overlay($1)").bind(&play.organization).fetch_all(&mut *transaction).await.unwrap();
        transaction.rollback().await.unwrap();
        agree("stale rows of the overlay", &json!(stale), &json!([]))
    }

    pub async fn check_tables(&mut self, play: &mut Play<'_>) -> Result<(), Difference> {
        let mut tables: Value = sqlx::query_scalar(TABLES).bind(&play.organization).fetch_one(play.app.pool()).await.unwrap();
        let model = &mut play.model;
        let mirror = tables["mirror"].as_array().unwrap();
        agree("number of records", &json!(mirror.len()), &json!(model.rows.len()))?;
        for (row, found) in model.rows.iter_mut().zip(mirror) {
            row.id = read_id(&found[0]);
            agree("the mirror", found, &json!([row.id, row.version, row.data]))?;
        }
        self.check_changes(model, tables["changes"].as_array().unwrap())?;
        agree("sessions and their steps", &tables["sessions"], &expected_sessions(model))?;
        agree("the history", &tables["history"], &expected_history(model))?;
        check_overlay(model, tables["overlay"].take())
    }

    /// The modifications; takes over the ids and times that the database gave to new ones.
    fn check_changes(&mut self, model: &mut Model, found: &[Value]) -> Result<(), Difference> {
        let known: BTreeSet<_> = model.changes.iter().filter_map(|change| change.id).collect();
        for row in found {
            let id = read_id(&row["id"]);
            if !known.contains(&id) {
                let (record, session) = (read_id(&row["record"]), read_id(&row["session"]));
                let is_it = |c: &Change| c.id.is_none() && model.rows[c.row].id == record && model.sessions[c.session].id == session;
                let index = model.changes.iter().position(is_it).ok_or_else(|| format!("an unexpected modification: {row}"))?;
                model.changes[index].id = Some(id);
            }
        }
        let found: BTreeMap<_, _> = found.iter().map(|row| (read_id(&row["id"]), row)).collect();
        let latest = self.latest.clone();
        for change in &mut model.changes {
            let row = change.id.and_then(|id| found.get(&id).map(|row| (id, row)));
            let (id, row) = row.ok_or_else(|| format!("a modification is missing: {change:?}"))?;
            let session = &model.sessions[change.session];
            let expected = json!({
                "id": id, "record": model.rows[change.row].id, "session": session.id, "user": session.user, "state": change.state,
                "stage": change.stage, "delta": change.draft.delta, "base": change.draft.base, "baseVersion": change.draft.base_version,
                "reason": change.draft.reason, "at": row["at"],
            });
            agree("a modification", row, &expected)?;
            // It has a new time when it was edited, published or decided, and only then.
            let at = row["at"].as_str().unwrap();
            let is_newer = self.orders.insert(id, change.order) != Some(change.order);
            if is_newer == (at <= latest.as_str()) || !is_newer && at != change.at {
                return Err(format!("the time of a modification: {at}, was {:?}, latest {latest}, {change:?}", change.at));
            }
            at.clone_into(&mut change.at);
            self.latest = self.latest.clone().max(at.to_owned());
        }
        agree("number of modifications", &json!(found.len()), &json!(model.changes.len()))
    }
}

fn read_id(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

fn expected_sessions(model: &Model) -> Value {
    let sessions = model.sessions.iter().map(|session| {
        let steps = session.done.iter().map(|step| (step, false)).chain(session.undone.iter().rev().map(|step| (step, true)));
        let steps: Vec<_> = steps.map(|(step, is_undone)| json!([step.kind, step.reason, step.drafts.len(), is_undone])).collect();
        (session.id.to_string(), json!([session.status, steps]))
    });
    Value::Object(sessions.collect())
}

fn expected_history(model: &Model) -> Value {
    let mut entries: Vec<_> = model.history.iter().collect();
    entries.sort_by_key(|entry| model.rows[entry.row].id);
    let entries = entries.into_iter().map(|entry| {
        json!({
            "record": model.rows[entry.row].id, "version": entry.version, "by": entry.by,
            "source": if entry.session.is_some() { "session" } else { "import" }, "session": entry.session.map(|session| model.sessions[session].id),
            "reason": entry.reason, "before": entry.before, "after": entry.after, "resolution": entry.resolution,
        })
    });
    entries.collect()
}

/// The overlay holds the records that a reader sees otherwise than the reader below does, as the reader sees them.
fn check_overlay(model: &Model, found: Value) -> Result<(), Difference> {
    let Value::Array(found) = found else { unreachable!("rows") };
    let found = found.into_iter().map(|mut row| ((read_id(&row[1]), read_id(&row[0])), row[2].take()));
    let mut found: BTreeMap<(Uuid, Uuid), Value> = found.collect();
    for session in [None].into_iter().chain((0..model.sessions.len()).map(Some)) {
        let reader = session.map_or(Uuid::nil(), |session| model.sessions[session].id);
        for (row, record) in model.view(session).iter().enumerate() {
            if is_touched(model, session, row) {
                let held = found.remove(&(reader, record.id)).unwrap_or_default();
                agree("a record as somebody sees it", &held, &shown(record))?;
            }
        }
    }
    agree("further rows of the overlay", &json!(found.values().collect::<Vec<_>>()), &json!([]))
}

fn is_touched(model: &Model, session: Option<usize>, row: usize) -> bool {
    model.changes.iter().any(|change| {
        change.row == row
            && match session {
                None => change.state != "draft",
                Some(session) => change.session == session && change.state != "committed",
            }
    })
}

/// Totals by category, source and dor.
pub fn groups(records: &[Merged]) -> BTreeMap<String, Value> {
    let mut groups: BTreeMap<String, Vec<Merged>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.data["isDiscontinued"] != true) {
        let key = json!([record.data["category"], record.data["source"], record.data["dor"]]).to_string();
        groups.entry(key).or_default().push(record.clone());
    }
    groups.into_iter().map(|(key, members)| (key, totals(&members))).collect()
}
