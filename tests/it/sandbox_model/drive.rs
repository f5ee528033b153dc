//! Takes each step of a scene in the service and in the model; both must answer the same.

use super::compare::Comparison;
use super::model::{Edit, Edited, Model, Session, USERS};
use super::scene::{Choose, Entries, How, Mode, Operate, Scene, Select, Step, filters, object, template};
use super::translate::{entry, figures, operation, read_choice, refusals, shown, sorted, timeless};
use crate::support::TestApp;
use crate::support::model::{self, Object, totals};
use pfa_vanguard::domain::conflict::{Choice, Resolution};
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::error::Error;
use pfa_vanguard::service::commit::{Commit, CommitMode};
use pfa_vanguard::service::conflicts::Outcome;
use pfa_vanguard::service::edits::{BulkEdit, Direction, RecordEdit, Selection};
use pfa_vanguard::service::ingest::Batch;
use pfa_vanguard::service::sessions::Sandbox;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A difference, in words.
pub type Difference = String;

/// How often what happened in a scene.
pub type Tally = BTreeMap<String, usize>;

/// Fails with a difference unless both are the same.
pub fn agree(what: &str, found: &Value, expected: &Value) -> Result<(), Difference> {
    if found == expected { Ok(()) } else { Err(format!("{what}:\n   found {found}\nexpected {expected}")) }
}

/// A scene in an organization of its own.
pub struct Play<'a> {
    pub app: &'a TestApp,
    pub organization: String,
    pub model: Model,
    /// The open sandboxes; a new one takes the place of one that was closed.
    open: Vec<usize>,
    /// How often what happened.
    tally: Tally,
    scene: Scene,
}

impl<'a> Play<'a> {
    pub fn new(app: &'a TestApp, organization: String, scene: Scene) -> Self {
        Self { app, organization, model: Model::default(), open: Vec::new(), tally: Tally::new(), scene }
    }

    /// The records that PEMS has at the beginning.
    pub fn first_records(&self) -> Vec<Object> {
        let records = self.scene.records.iter().enumerate();
        records.map(|(number, entries)| with(template(number + 1), entries)).collect()
    }

    /// Takes every step; gives what happened.
    pub async fn run(mut self) -> Result<Tally, Difference> {
        self.model.load(self.first_records().into_iter().map(canonical).collect());
        for user in USERS {
            let session = self.open_session(user).await?;
            self.open.push(session);
        }
        let mut comparison = Comparison::default();
        comparison.check_tables(&mut self).await?;
        for (number, step) in self.scene.steps.clone().into_iter().enumerate() {
            self.model.now += 1;
            let actor = self.take(&step).await.map_err(|difference| format!("step {number}, {step:?}: {difference}"))?;
            let checked = comparison.check(&mut self, actor).await;
            checked.map_err(|difference| format!("after step {number}, {step:?}: {difference}"))?;
        }
        comparison.check_everything(&mut self).await.map_err(|difference| format!("at the end: {difference}"))?;
        Ok(self.tally)
    }

    async fn open_session(&mut self, user: &'static str) -> Result<usize, Difference> {
        let session = self.app.service.open_session(&self.organization, user, None).await.map_err(unexpected)?;
        self.model.sessions.push(Session { id: session.id, user, status: "open", done: Vec::new(), undone: Vec::new() });
        Ok(self.model.sessions.len() - 1)
    }

    /// Opens another sandbox in place of a closed one.
    async fn replace_session(&mut self, closed: usize) -> Result<(), Difference> {
        let session = self.open_session(self.model.sessions[closed].user).await?;
        self.open.iter_mut().filter(|open| **open == closed).for_each(|open| *open = session);
        Ok(())
    }

    pub fn open_sessions(&self) -> Vec<usize> {
        self.open.clone()
    }

    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    fn session(&self, number: usize) -> usize {
        self.open[number % self.open.len()]
    }

    fn row(&self, number: usize) -> usize {
        number % self.model.rows.len()
    }

    pub fn sandbox(&self, session: usize) -> Sandbox {
        let Session { id, user, .. } = &self.model.sessions[session];
        Sandbox { organization: self.organization.clone(), user: (*user).to_owned(), session: *id }
    }

    /// Takes a step; gives the sandbox in which it was taken.
    async fn take(&mut self, step: &Step) -> Result<Option<usize>, Difference> {
        match step {
            Step::Edit(session, row, entries) => self.edit(self.session(*session), self.row(*row), entries).await,
            Step::EditBack(session, row, is_whole) => {
                let (session, row) = (self.session(*session), self.row(*row));
                let base = self.model.draft(session, row).map(|draft| draft.base.clone()).unwrap_or_default();
                let entries: Entries =
                    base.iter().enumerate().filter(|(n, _)| *is_whole || n % 2 == 0).filter_map(|(_, e)| entry(e)).collect();
                if entries.is_empty() { Ok(None) } else { self.edit(session, row, &entries).await }
            }
            Step::Bulk(session, select, operate, how) => self.bulk(self.session(*session), *select, operate, *how).await,
            Step::Drop(session, row) => {
                let (session, row) = (self.session(*session), self.row(*row));
                let dropped = self.app.service.drop_draft(&self.sandbox(session), &self.model.pfa_id(row)).await;
                let found = match dropped {
                    Err(Error::DraftNotFound(_)) => false,
                    other => other.map(|()| true).map_err(unexpected)?,
                };
                agree("dropped", &json!(found), &json!(self.model.drop_draft(session, row)))?;
                Ok(Some(session))
            }
            Step::Undo(session) => self.move_step(self.session(*session), true).await,
            Step::Redo(session) => self.move_step(self.session(*session), false).await,
            Step::Commit(session, mode) => self.commit(self.session(*session), *mode).await,
            Step::Discard(session) => {
                let session = self.session(*session);
                self.app.service.discard_session(&self.sandbox(session)).await.map_err(unexpected)?;
                self.model.discard(session);
                self.replace_session(session).await?;
                Ok(None)
            }
            Step::Load(records) => self.load(records).await,
            Step::Resolve(conflict, user, choose) => self.resolve(*conflict, USERS[user % 2], *choose).await,
            Step::Refresh => {
                match self.app.service.refresh_views("test").await {
                    // Somebody else's refresh does as well.
                    Ok(_) | Err(Error::RefreshRunning) => Ok(None),
                    Err(error) => Err(unexpected(error)),
                }
            }
        }
    }

    /// Every second edit has a reason.
    fn reason(&self) -> Option<String> {
        (self.model.now % 2 == 0).then(|| format!("reason {}", self.model.now))
    }

    async fn edit(&mut self, session: usize, row: usize, entries: &Entries) -> Result<Option<usize>, Difference> {
        let edit = RecordEdit {
            pfa_id: self.model.pfa_id(row),
            patch: object(entries),
            faults: Vec::new(),
            reason: self.reason(),
            if_match: None,
        };
        let found = match self.app.service.edit_record(&self.sandbox(session), &edit).await {
            Ok(row) => serde_json::from_str(&row).unwrap(),
            Err(Error::InvalidEdit(faults)) => json!(sorted(faults.into_iter().map(|fault| fault.field).collect())),
            Err(error) => return Err(unexpected(error)),
        };
        let operation = Operate::Set(entries.clone());
        let Edited { refused, .. } = self.model.edit(&Edit {
            session,
            rows: &[row],
            kind: "edit",
            operation: &operation,
            reason: edit.reason,
            is_atomic: true,
            is_preview: false,
        });
        self.count(if refused.is_empty() { "edit" } else { "refused edit" });
        match refused.first() {
            Some((_, fields)) => agree("fields at fault", &found, &json!(fields))?,
            // The time of the edit is known later.
            None => agree("the edited record", &timeless(found), &timeless(shown(&self.model.view(Some(session))[row])))?,
        }
        Ok(Some(session))
    }

    async fn bulk(&mut self, session: usize, select: Select, operate: &Operate, how: How) -> Result<Option<usize>, Difference> {
        let records = self.model.view(Some(session));
        let (selection, rows, not_found) = match select {
            Select::Ids(bits) => {
                let rows: Vec<_> = (0..records.len()).filter(|row| bits >> row & 1 == 1).collect();
                let unknown = (bits & 128 != 0).then(|| "none".to_owned());
                let ids: BTreeSet<_> = rows.iter().map(|row| self.model.pfa_id(*row)).chain(unknown.clone()).collect();
                (Selection::PfaIds(ids), rows, unknown.into_iter().collect())
            }
            Select::Where(number) => {
                let mut filters = filters();
                let (filter, question) = filters.swap_remove(number % filters.len());
                let matching: BTreeSet<_> = model::answer(records.clone(), &question).into_iter().map(|record| record.id).collect();
                (Selection::Filter(filter), (0..records.len()).filter(|row| matching.contains(&records[*row].id)).collect(), Vec::new())
            }
        };
        let (is_atomic, is_preview) = (how == How::Atomic, how == How::Preview);
        let edit = BulkEdit { selection, operation: operation(operate), reason: self.reason(), is_atomic, is_preview };
        let found = match self.app.service.edit_records(&self.sandbox(session), &edit).await {
            Ok(outcome) => json!({
                "matched": outcome.matched, "changed": outcome.changed, "unchanged": outcome.unchanged, "refused": refusals(outcome.refused),
                "notFound": outcome.not_found, "before": figures(outcome.before), "after": figures(outcome.after),
            }),
            Err(Error::EditRefused { matched, refused }) => json!({"matched": matched, "refused": refusals(refused)}),
            Err(error) => return Err(unexpected(error)),
        };
        let selected = |model: &Model| {
            totals(
                &model
                    .view(Some(session))
                    .into_iter()
                    .enumerate()
                    .filter(|(row, _)| rows.contains(row))
                    .map(|(_, r)| r)
                    .collect::<Vec<_>>(),
            )
        };
        let before = selected(&self.model);
        let edit = Edit { session, rows: &rows, kind: "bulk", operation: operate, reason: edit.reason, is_atomic, is_preview };
        let Edited { changed, unchanged, refused } = self.model.edit(&edit);
        self.count(if is_atomic && !refused.is_empty() { "refused bulk edit" } else { "bulk edit" });
        let after = if is_preview {
            let mut would_be = self.model.clone();
            would_be.edit(&Edit { is_preview: false, ..edit });
            selected(&would_be)
        } else {
            selected(&self.model)
        };
        let refused_json: Vec<_> = refused.iter().map(|(pfa_id, fields)| json!([pfa_id, fields])).collect();
        let mut expected = json!({"matched": rows.len(), "refused": refused_json});
        if !is_atomic || refused.is_empty() {
            expected = json!({"matched": rows.len(), "changed": changed, "unchanged": unchanged, "refused": refused_json,
                              "notFound": not_found, "before": before, "after": after});
        }
        agree("the bulk edit", &found, &expected)?;
        Ok(Some(session))
    }

    async fn move_step(&mut self, session: usize, is_undo: bool) -> Result<Option<usize>, Difference> {
        let direction = if is_undo { Direction::Undo } else { Direction::Redo };
        let found = match self.app.service.move_step(&self.sandbox(session), direction).await {
            Ok(step) => json!([step.kind, step.records]),
            Err(Error::NothingToUndo | Error::NothingToRedo) => Value::Null,
            Err(error) => return Err(unexpected(error)),
        };
        self.count(match (is_undo, found.is_null()) {
            (_, true) => "no step",
            (true, _) => "undo",
            (false, _) => "redo",
        });
        agree("the step", &found, &json!(self.model.move_step(session, is_undo)))?;
        Ok(Some(session))
    }

    async fn commit(&mut self, session: usize, mode: Mode) -> Result<Option<usize>, Difference> {
        let commit = Commit {
            mode: if mode == Mode::Partial { CommitMode::Partial } else { CommitMode::Atomic },
            is_dry_run: mode == Mode::DryRun,
            idempotency_key: None,
        };
        let report = self.app.service.commit_session(&self.sandbox(session), &commit).await.map_err(unexpected)?;
        let mut found = json!(report);
        for conflict in found["conflicts"].as_array_mut().unwrap() {
            conflict["rules"] = json!(conflict["rules"].as_array().map_or(0, Vec::len));
        }
        let of = |key: &str| found[key].as_u64().unwrap_or_default() > 0;
        for what in ["committed", "merged"].into_iter().filter(|key| of(key)) {
            self.count(what);
        }
        for conflict in found["conflicts"].as_array().unwrap() {
            self.count(if conflict["rules"] == 0 { "conflict" } else { "conflict of rules" });
        }
        agree("the commit", &found, &self.model.commit(session, mode))?;
        if self.model.sessions[session].status == "committed" {
            self.replace_session(session).await?;
            return Ok(None);
        }
        Ok(Some(session))
    }

    async fn load(&mut self, records: &[(usize, Entries)]) -> Result<Option<usize>, Difference> {
        let mut raw: Vec<Object> = Vec::new();
        for (number, entries) in records {
            // The last of them may be new.
            let row = number % (self.model.rows.len() + 1).min(7);
            let record = self.model.rows.get(row).map_or_else(|| template(row + 1), |row| row.data.clone());
            if raw.iter().all(|other| other["pfaId"] != record["pfaId"]) {
                raw.push(with(record, entries));
            }
        }
        let records: Vec<_> = raw.into_iter().map(|raw| canonicalise(raw).unwrap().0).collect();
        let batch = Batch::import(&self.organization, Uuid::new_v4(), "test");
        let applied = async {
            let mut load = self.app.service.begin_load(&[&self.organization]).await?;
            load.stage(&records).await?;
            let applied = load.apply(&batch).await?;
            load.commit(|_| ()).await?;
            Ok(applied)
        };
        let applied = applied.await.map_err(unexpected)?;
        let expected = self.model.load(records.into_iter().map(|record| record.data).collect());
        agree("the load", &json!([applied.inserted, applied.updated, applied.unchanged]), &json!(expected))?;
        Ok(None)
    }

    async fn resolve(&mut self, number: usize, user: &'static str, choose: Choose) -> Result<Option<usize>, Difference> {
        if self.model.changes.iter().all(|change| change.state != "conflict") {
            return Ok(None);
        }
        let conflicts = self.model.conflicts(user);
        let Some(&conflict) = conflicts.get(number % conflicts.len().max(1)) else {
            // All there are are somebody else's.
            let foreign = self.model.changes.iter().find_map(|change| change.id.filter(|_| change.state == "conflict")).unwrap();
            let resolved = self.app.service.resolve_conflict(&self.organization, user, foreign, &Resolution::All(Choice::Mine), None).await;
            let is_hidden = matches!(resolved, Err(Error::ConflictNotFound));
            return if is_hidden { Ok(None) } else { Err(format!("somebody else's conflict: {resolved:?}")) };
        };
        let id = self.model.changes[conflict].id.unwrap();
        let stage = self.model.changes[conflict].stage.unwrap();
        if self.model.is_settled(conflict) {
            self.count(&format!("{stage} conflict settled"));
        }
        let resolution = match choose {
            Choose::Mine => Resolution::All(Choice::Mine),
            Choose::Theirs => Resolution::All(Choice::Theirs),
            Choose::Each(_) => {
                let choices = self.model.choices(conflict, choose).into_iter();
                Resolution::Fields(choices.map(|(field, choice)| (field, read_choice(&choice))).collect())
            }
        };
        let reason = self.reason();
        let found = match self.app.service.resolve_conflict(&self.organization, user, id, &resolution, reason.as_deref()).await {
            Ok(resolved) => json!(match resolved.outcome {
                Outcome::Draft => "draft",
                Outcome::Committed => "committed",
                Outcome::Dropped => "dropped",
            }),
            Err(Error::InvalidEdit(faults)) => json!(sorted(faults.into_iter().map(|fault| fault.field).collect())),
            Err(error) => return Err(unexpected(error)),
        };
        let expected = match self.model.resolve(conflict, user, choose, reason.as_deref()) {
            Ok(outcome) => json!(outcome),
            Err(fields) => json!(fields),
        };
        agree("the resolution", &found, &expected)?;
        self.count(&format!("{stage} conflict {}", found.as_str().unwrap_or("refused")));
        Ok(None)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unexpected(error: Error) -> Difference {
    format!("refused: {error}")
}

fn with(mut record: Object, entries: &Entries) -> Object {
    record.extend(object(entries));
    record
}

fn canonical(raw: Object) -> Object {
    canonicalise(raw).unwrap().0.data
}
