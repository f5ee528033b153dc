//! The contract of sandboxes as plain Rust: mirror rows, drafts, steps, conflicts and history in
//! vectors, and what each action makes of them. Nothing of the service is in it.

use super::rules::{self, Draft, broken, compare, edited, faults, in_conflict};
use super::scene::{Mode, Operate};
use crate::support::model::{self, Merged, Modification, Object, Row};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

pub const USERS: [&str; 3] = ["ana", "ben", "ana"];

#[derive(Debug, Clone)]
pub struct Session {
    pub id: Uuid,
    pub user: &'static str,
    pub status: &'static str,
    pub done: Vec<Undoable>,
    /// The next to redo is the last.
    pub undone: Vec<Undoable>,
}

/// A step, with the draft of each record before and after it.
#[derive(Debug, Clone)]
pub struct Undoable {
    pub kind: &'static str,
    pub reason: Option<String>,
    pub drafts: BTreeMap<usize, (Option<Draft>, Option<Draft>)>,
}

/// A modification.
#[derive(Debug, Clone)]
pub struct Change {
    /// Given by the database, known after the step that made it.
    pub id: Option<Uuid>,
    pub row: usize,
    pub session: usize,
    pub state: &'static str,
    pub stage: Option<&'static str>,
    pub draft: Draft,
    /// When it was last edited, published or decided.
    pub order: i64,
    /// The same, as the database has it.
    pub at: String,
}

impl Change {
    /// Whether it is the one that edits of its session go into.
    fn is_open(&self) -> bool {
        self.state == "draft" || self.stage == Some("commit")
    }
}

/// A published change, or a decision.
#[derive(Debug, Clone)]
pub struct Entry {
    pub row: usize,
    pub at: i64,
    pub version: i64,
    pub by: &'static str,
    pub session: Option<usize>,
    pub reason: Option<String>,
    pub before: Object,
    pub after: Object,
    pub resolution: Option<Object>,
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub rows: Vec<Row>,
    pub sessions: Vec<Session>,
    pub changes: Vec<Change>,
    pub history: Vec<Entry>,
    pub now: i64,
}

/// An edit of records of a sandbox.
pub struct Edit<'a> {
    pub session: usize,
    pub rows: &'a [usize],
    pub kind: &'static str,
    pub operation: &'a Operate,
    pub reason: Option<String>,
    /// Refuse all when one is refused.
    pub is_atomic: bool,
    pub is_preview: bool,
}

/// What an edit did.
#[derive(Debug, Default)]
pub struct Edited {
    pub changed: usize,
    pub unchanged: usize,
    /// By pfaId: the fields at fault.
    pub refused: Vec<(String, Vec<String>)>,
}

impl Model {
    /// The records as a sandbox, or without one everybody, sees them.
    pub fn view(&self, session: Option<usize>) -> Vec<Merged> {
        let modifications: Vec<_> = self
            .changes
            .iter()
            .map(|c| Modification {
                mirror_id: self.rows[c.row].id,
                session: self.sessions[c.session].id,
                user: self.sessions[c.session].user.to_owned(),
                state: c.state,
                stage: c.stage,
                delta: c.draft.delta.clone(),
                order: c.order,
                at: c.at.clone(),
            })
            .collect();
        model::read(&self.rows, &modifications, session.map(|session| self.sessions[session].id))
    }

    pub fn published(&self, row: usize) -> Object {
        self.view(None).swap_remove(row).data
    }

    pub fn pfa_id(&self, row: usize) -> String {
        self.rows[row].data["pfaId"].as_str().unwrap().to_owned()
    }

    pub fn open_change(&self, session: usize, row: usize) -> Option<usize> {
        self.changes.iter().position(|c| c.session == session && c.row == row && c.is_open())
    }

    pub fn draft(&self, session: usize, row: usize) -> Option<&Draft> {
        self.open_change(session, row).map(|change| &self.changes[change].draft)
    }

    /// Numbers of the open modifications of a session, by record.
    fn open_changes(&self, session: usize) -> Vec<usize> {
        let mut open: Vec<_> =
            (0..self.changes.len()).filter(|c| self.changes[*c].session == session && self.changes[*c].is_open()).collect();
        open.sort_by_key(|change| self.pfa_id(self.changes[*change].row));
        open
    }

    pub fn edit(&mut self, edit: &Edit) -> Edited {
        let mut outcome = Edited::default();
        let mut drafts = BTreeMap::new();
        for &row in edit.rows {
            let seen = self.view(Some(edit.session)).swap_remove(row).data;
            let fields = match self.judge(edit, row, &seen) {
                Ok(None) => {
                    outcome.unchanged += 1;
                    continue;
                }
                Ok(Some(change)) => {
                    outcome.changed += 1;
                    drafts.insert(row, change);
                    continue;
                }
                Err(fields) => fields,
            };
            outcome.refused.push((self.pfa_id(row), fields));
        }
        outcome.refused.sort();
        let is_refused = edit.is_atomic && !outcome.refused.is_empty();
        if !is_refused && !edit.is_preview && !drafts.is_empty() {
            self.write_step(edit.session, Undoable { kind: edit.kind, reason: edit.reason.clone(), drafts });
        }
        outcome
    }

    /// The draft before and after an edit of one record; nothing when it says nothing new.
    fn judge(&self, edit: &Edit, row: usize, seen: &Object) -> Result<Option<(Option<Draft>, Option<Draft>)>, Vec<String>> {
        let patch = rules::patch(edit.operation, seen)?;
        let (before, published) = (self.draft(edit.session, row), self.published(row));
        let fresh = Draft { reason: edit.reason.clone(), since: self.now, base_version: self.rows[row].version, ..Draft::default() };
        let after = edited(before, &published, &patch, fresh);
        let delta = |draft: Option<&Draft>| draft.map(|draft| draft.delta.clone()).unwrap_or_default();
        let changed = delta(after.as_ref());
        if changed == delta(before) {
            return Ok(None);
        }
        let broken = broken(&published, &changed);
        if broken.is_empty() { Ok(Some((before.cloned(), after))) } else { Err(faults(&broken, &changed)) }
    }

    fn write_step(&mut self, session: usize, step: Undoable) {
        for (row, (_, after)) in &step.drafts {
            self.set_draft(session, *row, after.clone());
        }
        let session = &mut self.sessions[session];
        session.undone.clear();
        session.done.push(step);
        let surplus = session.done.len().saturating_sub(50);
        session.done.drain(..surplus);
    }

    fn set_draft(&mut self, session: usize, row: usize, draft: Option<Draft>) {
        let (open, order) = (self.open_change(session, row), self.now);
        match (open, draft) {
            (Some(change), None) => drop(self.changes.remove(change)),
            (None, None) => {}
            (Some(change), Some(draft)) => {
                // A refused draft stays refused until it agrees with what is published.
                let is_clean = in_conflict(&draft, &self.published(row)).is_empty();
                let change = &mut self.changes[change];
                (change.draft, change.order) = (draft, order);
                if is_clean {
                    (change.state, change.stage) = ("draft", None);
                }
            }
            (None, Some(draft)) => {
                self.changes.push(Change { id: None, row, session, state: "draft", stage: None, draft, order, at: String::new() });
            }
        }
    }

    /// Drops the draft of a record; false when there is none.
    pub fn drop_draft(&mut self, session: usize, row: usize) -> bool {
        let Some(before) = self.draft(session, row).cloned() else { return false };
        self.write_step(session, Undoable { kind: "drop", reason: None, drafts: [(row, (Some(before), None))].into() });
        true
    }

    /// Undoes or redoes a step; gives its kind and how many records it changed.
    pub fn move_step(&mut self, session: usize, is_undo: bool) -> Option<(&'static str, usize)> {
        let steps = &mut self.sessions[session];
        let step = if is_undo { steps.done.pop() } else { steps.undone.pop() }?;
        for (row, (before, after)) in step.drafts.clone() {
            self.set_draft(session, row, if is_undo { before } else { after });
        }
        let moved = (step.kind, step.drafts.len());
        let steps = &mut self.sessions[session];
        if is_undo {
            steps.undone.push(step);
        } else {
            steps.done.push(step);
        }
        Some(moved)
    }

    /// Commits a sandbox; gives the report.
    pub fn commit(&mut self, session: usize, mode: Mode) -> Value {
        let (mut clean, mut conflicts, mut merged, mut told) = (Vec::new(), Vec::new(), 0, Vec::new());
        for change in self.open_changes(session) {
            let Change { row, draft, id, .. } = &self.changes[change];
            let published = self.published(*row);
            let fields = in_conflict(draft, &published);
            if fields.is_empty() {
                clean.push(change);
                merged += i64::from(self.history.iter().any(|e| e.row == *row && e.at > draft.since && !e.after.is_empty()));
            } else {
                conflicts.push(change);
                let fields: Vec<_> =
                    fields.iter().map(|c| json!({"field": c.field, "base": c.base, "ours": c.ours, "theirs": c.theirs})).collect();
                told.push(json!({"id": id, "pfaId": self.pfa_id(*row), "fields": fields, "rules": broken(&published, &draft.delta).len()}));
            }
        }
        let is_dry = mode == Mode::DryRun;
        let is_refused = mode != Mode::Partial && !conflicts.is_empty();
        let is_closed = conflicts.is_empty() && !is_dry;
        let (committed, merged) = if is_refused { (0, 0) } else { (clean.len(), merged) };
        if !is_dry {
            for change in conflicts {
                (self.changes[change].state, self.changes[change].stage) = ("conflict", Some("commit"));
            }
            for change in &clean {
                (self.changes[*change].state, self.changes[*change].stage) = ("draft", None);
            }
            if !is_refused && !clean.is_empty() {
                self.publish(session, &clean);
            }
        }
        if is_closed {
            self.close(session, "committed");
        }
        json!({"committed": committed, "merged": merged, "conflicts": told, "dryRun": is_dry, "refused": is_refused, "closed": is_closed})
    }

    fn publish(&mut self, session: usize, clean: &[usize]) {
        for &change in clean {
            let Change { row, draft, .. } = &self.changes[change];
            let fields = compare(draft, &self.published(*row)).into_iter().filter(|c| c.theirs != c.ours);
            let (before, after): (Object, Object) = fields.map(|c| ((c.field.clone(), c.theirs), (c.field, c.ours))).unzip();
            let (row, reason) = (*row, draft.reason.clone());
            if !after.is_empty() {
                self.note(row, Some(session), self.sessions[session].user, reason, (before, after), None);
            }
            let order = self.now;
            let change = &mut self.changes[change];
            (change.state, change.order) = ("committed", order);
        }
        self.sessions[session].done.clear();
        self.sessions[session].undone.clear();
    }

    pub fn note(
        &mut self,
        row: usize,
        session: Option<usize>,
        by: &'static str,
        reason: Option<String>,
        (before, after): (Object, Object),
        resolution: Option<Object>,
    ) {
        let version = self.rows[row].version;
        self.history.push(Entry { row, at: self.now, version, by, session, reason, before, after, resolution });
    }

    fn close(&mut self, session: usize, status: &'static str) {
        let session = &mut self.sessions[session];
        session.status = status;
        session.done.clear();
        session.undone.clear();
    }

    pub fn discard(&mut self, session: usize) {
        self.changes.retain(|c| c.session != session || !c.is_open());
        self.close(session, "discarded");
    }

    /// PEMS has these records now; gives how many are new, changed and the same.
    pub fn load(&mut self, records: Vec<Object>) -> (u64, u64, u64) {
        let (mut inserted, mut updated, mut unchanged) = (0, 0, 0);
        for data in records {
            let Some(row) = self.rows.iter().position(|row| row.data["pfaId"] == data["pfaId"]) else {
                self.rows.push(Row { id: Uuid::nil(), version: 1, data });
                inserted += 1;
                continue;
            };
            let mirror = &mut self.rows[row];
            if mirror.data == data {
                unchanged += 1;
                continue;
            }
            updated += 1;
            let old = std::mem::replace(&mut mirror.data, data.clone());
            mirror.version += 1;
            let part = |of: &Object, other: &Object| -> Object {
                of.iter().filter(|(key, value)| other.get(*key) != Some(value)).map(|(key, value)| (key.clone(), value.clone())).collect()
            };
            self.note(row, None, "test", None, (part(&old, &data), part(&data, &old)), None);
            self.recheck(row);
        }
        (inserted, updated, unchanged)
    }

    /// Committed changes whose fields PEMS has changed to something else leave what is published.
    fn recheck(&mut self, row: usize) {
        let mut standing = self.rows[row].data.clone();
        let mut committed: Vec<_> =
            (0..self.changes.len()).filter(|c| self.changes[*c].row == row && self.changes[*c].state == "committed").collect();
        committed.sort_by_key(|change| self.changes[*change].order);
        for change in committed {
            let change = &mut self.changes[change];
            if compare(&change.draft, &standing).iter().any(|c| c.is_conflict) {
                (change.state, change.stage) = ("conflict", Some("writeBack"));
            } else {
                standing.extend(change.draft.delta.clone());
            }
        }
    }
}
