//! The service's readings beside the model's: grid, KPIs, timeline, and the lists of a sandbox.

use super::compare::groups;
use super::drive::{Difference, Play, agree};
use super::model::{Model, USERS};
use super::rules::{broken, compare};
use super::translate::{figures, shown};
use crate::support::model::{Merged, answer, timeline};
use pfa_vanguard::domain::kpi::Split;
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::error::Error;
use pfa_vanguard::service::Reader;
use pfa_vanguard::service::conflicts::ConflictFilter;
use pfa_vanguard::service::records::PageQuery;
use pfa_vanguard::service::timeline::Bounds;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: Error) -> Difference {
    format!("a reading failed: {error}")
}

/// What the service shows to a sandbox, or to everybody: grid, KPIs and timeline.
pub async fn check(play: &Play<'_>, session: Option<usize>) -> Result<(), Difference> {
    let records = play.model.view(session);
    let user = session.map_or("guest", |session| play.model.sessions[session].user);
    let reader =
        Reader { organization: play.organization.clone(), user: user.to_owned(), session: session.map(|s| play.model.sessions[s].id) };
    check_kpis(play, &reader, &records).await?;
    check_timeline(play, &reader, &records).await?;
    check_grid(play, reader, &records).await
}

async fn check_grid(play: &Play<'_>, reader: Reader, records: &[Merged]) -> Result<(), Difference> {
    let filters = super::scene::filters();
    let (filter, question) = filters[usize::try_from(play.model.now).unwrap() % filters.len()].clone();
    let what = format!("the grid of {} by {:?}", reader.user, question.parameters);
    let sort = Sort::parse("pfaId").unwrap();
    let query = PageQuery::new(reader, filter, sort, 100);
    let page = play.app.service.list_records(&query).await.map_err(failed)?;
    let expected: Vec<_> = answer(records.to_vec(), &question).iter().map(shown).collect();
    agree(&what, &serde_json::from_str(&page.rows).unwrap(), &json!(expected))
}

async fn check_kpis(play: &Play<'_>, reader: &Reader, records: &[Merged]) -> Result<(), Difference> {
    let kpis = play.app.service.find_kpis(reader).await.map_err(failed)?;
    let groups_of = kpis.groups.iter();
    let found = groups_of.map(|group| (json!([group.category, group.source, group.dor]).to_string(), figures(Split::of([group]))));
    agree(&format!("the KPIs of {}", reader.user), &json!(found.collect::<BTreeMap<_, _>>()), &json!(groups(records)))
}

async fn check_timeline(play: &Play<'_>, reader: &Reader, records: &[Merged]) -> Result<(), Difference> {
    let bounds = play.app.service.find_timeline(reader).await.map_err(failed)?;
    let layer = |bounds: Bounds| json!({"start": bounds.start, "end": bounds.end});
    let found = json!({"plan": layer(bounds.plan), "forecast": layer(bounds.forecast), "actual": layer(bounds.actual),
                       "recordCount": bounds.record_count, "actualizedCount": bounds.actualized_count});
    agree(&format!("the timeline of {}", reader.user), &found, &timeline(records))
}

/// The lists: each sandbox with its counts, its changes, and the conflicts of each user.
pub async fn check_lists(play: &Play<'_>) -> Result<(), Difference> {
    let (service, model) = (&play.app.service, &play.model);
    for session in play.open_sessions() {
        let found = service.find_session(&play.sandbox(session)).await.map_err(failed)?;
        let of = |state: &str| model.changes.iter().filter(|c| c.session == session && c.state == state).count();
        let steps = &model.sessions[session];
        agree(
            "the counts of a session",
            &json!([found.draft_count, found.conflict_count, found.undo_depth, found.redo_depth]),
            &json!([of("draft"), of("conflict"), steps.done.len(), steps.undone.len()]),
        )?;
        let changes = service.list_changes(&play.sandbox(session), None, 100).await.map_err(failed)?;
        let changes = changes.into_iter().map(|change| {
            let faults: std::collections::BTreeSet<_> = change.faults.into_iter().map(|fault| fault.field).collect();
            json!([change.pfa_id, change.sync_state, change.reason, change.fields, faults])
        });
        agree("the changes of a session", &changes.collect(), &expected_changes(model, session))?;
    }
    for user in &USERS[..2] {
        let found = service.list_conflicts(&play.organization, user, &ConflictFilter::default(), None, 100).await.map_err(failed)?;
        let found: BTreeMap<_, _> =
            found.into_iter().map(|c| (c.id.to_string(), json!([c.stage, c.user_id, c.conflicting.fields]))).collect();
        let expected = model.conflicts(user).into_iter().map(|index| {
            let change = &model.changes[index];
            let fields = model.to_decide(index).into_iter();
            let fields: Vec<_> = fields.map(|c| json!({"field": c.field, "base": c.base, "ours": c.ours, "theirs": c.theirs})).collect();
            (change.id.unwrap().to_string(), json!([change.stage, model.sessions[change.session].user, fields]))
        });
        agree(&format!("the conflicts of {user}"), &json!(found), &Value::Object(expected.collect()))?;
    }
    Ok(())
}

fn expected_changes(model: &Model, session: usize) -> Value {
    let (records, published) = (0..model.rows.len(), model.view(None));
    let changes = records.filter_map(|row| {
        let change = model.open_change(session, row)?;
        let change = &model.changes[change];
        let fields = compare(&change.draft, &published[row].data).into_iter();
        let fields: Vec<_> = fields
            .map(|c| json!({"field": c.field, "base": c.base, "ours": c.ours, "theirs": c.theirs, "conflict": c.is_conflict}))
            .collect();
        let delta = &change.draft.delta;
        let faults = broken(&published[row].data, delta).into_iter().flatten().filter(|field| delta.contains_key(*field));
        let faults: std::collections::BTreeSet<_> = faults.collect();
        Some(json!([model.pfa_id(row), change.state, change.draft.reason, fields, faults]))
    });
    changes.collect()
}
