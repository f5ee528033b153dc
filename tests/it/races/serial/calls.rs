//! What each call does to the world.

use super::{Call, Change, History, Image, State, Step, World};
use crate::support::model::Object;
use pfa_vanguard::domain::conflict::{Choice, Comparison, resolve, three_way};
use pfa_vanguard::domain::delta::merge;
use pfa_vanguard::domain::rules::{Rule, broken_rules};
use pfa_vanguard::service::commit::CommitMode;
use pfa_vanguard::service::conflicts::Stage;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

fn refusal(error: &str) -> Value {
    json!({"error": error})
}

impl World {
    /// Does a call; gives its answer.
    pub fn apply(&mut self, call: &Call) -> Value {
        let answer = match call {
            Call::Edit { session, record, patch } => self.edit_one(*session, record, patch),
            Call::Bulk { session, records, patch } => self.edit_many(*session, records, patch),
            Call::Drop { session, record } => self.drop_draft(*session, record),
            Call::Undo { session } => self.move_step(*session, true),
            Call::Redo { session } => self.move_step(*session, false),
            Call::Discard { session } => self.discard(*session),
            Call::Commit { session, mode, key } => self.commit(*session, *mode, key.as_deref()),
            Call::Resolve { session, record, stage, is_mine } => self.resolve(*session, record, *stage, *is_mine),
            Call::Load { records } => Ok(self.load(records)),
            Call::Refresh => Ok(json!("refreshed")),
        };
        answer.unwrap_or_else(refusal)
    }

    fn is_open(&self, session: Uuid) -> Result<(), &'static str> {
        match self.sessions[&session].status {
            "open" => Ok(()),
            "committed" => Err("SessionCommitted"),
            _ => Err("SessionNotFound"),
        }
    }

    fn open_change(&self, session: Uuid, record: &str) -> Option<usize> {
        let is_open = |c: &Change| c.session == session && c.record == record && matches!(c.state, State::Draft | State::Refused);
        self.changes.iter().position(is_open)
    }

    pub(super) fn has_refused(&self, session: Uuid) -> bool {
        self.changes.iter().any(|change| change.session == session && change.state == State::Refused)
    }

    fn set_draft(&mut self, session: Uuid, record: &str, image: Option<Image>) {
        match (self.open_change(session, record), image) {
            (Some(index), None) => drop(self.changes.remove(index)),
            (Some(index), Some(image)) => self.changes[index].image = image,
            (None, Some(image)) => {
                self.changes.push(Change { record: record.to_owned(), session, state: State::Draft, image, committed: None });
            }
            (None, None) => {}
        }
    }

    fn push_step(&mut self, session: Uuid, changes: Vec<(String, Option<Image>, Option<Image>)>) {
        let steps = &mut self.sessions.get_mut(&session).unwrap().steps;
        steps.retain(|step| !step.is_undone);
        steps.push(Step { changes, is_undone: false });
    }

    /// In a sandbox with conflicts, those that an edit has ended are drafts again.
    fn settle(&mut self, session: Uuid, records: &[String], had_refused: bool) {
        if !had_refused {
            return;
        }
        self.number += 1;
        for record in records {
            if let Some(index) = self.open_change(session, record)
                && self.in_conflict(&self.changes[index]).is_empty()
            {
                self.changes[index].state = State::Draft;
            }
        }
    }

    /// The fields of a change that others made something else of, or that break a rule on what is published.
    fn in_conflict(&self, change: &Change) -> Vec<Comparison> {
        let (published, draft) = (self.published(&change.record), &change.image.0);
        let broken = broken_rules(&merge(&published, [&draft.delta]), &draft.delta);
        let ruled: BTreeSet<_> = broken.into_iter().flat_map(Rule::fields).map(|field| field.key()).collect();
        three_way(draft, &published).into_iter().filter(|c| c.conflict || ruled.contains(c.field.as_str())).collect()
    }

    /// The fields that a decision on a change is about: those in conflict, or all when none is any more.
    fn to_decide(&self, change: &Change) -> Vec<String> {
        let in_conflict = self.in_conflict(change);
        let all = || change.image.0.delta.keys().cloned().collect();
        if in_conflict.is_empty() { all() } else { in_conflict.into_iter().map(|c| c.field).collect() }
    }

    /// Counts of changed, unchanged and refused records.
    fn edit(&mut self, session: Uuid, records: &[String], patch: &Object) -> Result<[usize; 3], &'static str> {
        self.is_open(session)?;
        let had_refused = self.has_refused(session);
        let mut counts = [0; 3];
        let mut changes = Vec::new();
        for record in records {
            let before = self.open_change(session, record).map(|index| self.changes[index].image.clone());
            let old = before.clone().map(|image| image.0).unwrap_or_default();
            let published = self.published(record);
            let new = old.edit(&published, patch);
            if new.delta == old.delta {
                counts[1] += 1;
            } else if broken_rules(&merge(&published, [&new.delta]), &new.delta).is_empty() {
                counts[0] += 1;
                let begun = before.as_ref().map_or(self.number, |image| image.1);
                changes.push((record.clone(), before, (!new.delta.is_empty()).then_some((new, begun))));
            } else {
                counts[2] += 1;
            }
        }
        if !changes.is_empty() {
            for (record, _, after) in &changes {
                self.set_draft(session, record, after.clone());
            }
            let records: Vec<_> = changes.iter().map(|change| change.0.clone()).collect();
            self.push_step(session, changes);
            self.settle(session, &records, had_refused);
        }
        Ok(counts)
    }

    fn edit_one(&mut self, session: Uuid, record: &String, patch: &Object) -> Result<Value, &'static str> {
        match self.edit(session, std::slice::from_ref(record), patch)? {
            [_, _, 0] => Ok(Value::Object(self.seen(session, record))),
            _ => Err("InvalidEdit"),
        }
    }

    fn edit_many(&mut self, session: Uuid, records: &[String], patch: &Object) -> Result<Value, &'static str> {
        let [changed, unchanged, refused] = self.edit(session, records, patch)?;
        Ok(json!({"changed": changed, "unchanged": unchanged, "refused": refused}))
    }

    fn drop_draft(&mut self, session: Uuid, record: &str) -> Result<Value, &'static str> {
        self.is_open(session)?;
        let had_refused = self.has_refused(session);
        let index = self.open_change(session, record).ok_or("DraftNotFound")?;
        let before = self.changes.remove(index).image;
        self.push_step(session, vec![(record.to_owned(), Some(before), None)]);
        self.settle(session, &[record.to_owned()], had_refused);
        Ok(json!("dropped"))
    }

    fn move_step(&mut self, session: Uuid, is_undo: bool) -> Result<Value, &'static str> {
        self.is_open(session)?;
        let had_refused = self.has_refused(session);
        let steps = &mut self.sessions.get_mut(&session).unwrap().steps;
        let found = if is_undo { steps.iter().rposition(|step| !step.is_undone) } else { steps.iter().position(|step| step.is_undone) };
        let step = &mut steps[found.ok_or(if is_undo { "NothingToUndo" } else { "NothingToRedo" })?];
        step.is_undone = is_undo;
        let changes = step.changes.clone();
        for (record, before, after) in &changes {
            self.set_draft(session, record, if is_undo { before.clone() } else { after.clone() });
        }
        let records: Vec<_> = changes.into_iter().map(|change| change.0).collect();
        self.settle(session, &records, had_refused);
        Ok(json!({"records": records.len()}))
    }

    fn discard(&mut self, session: Uuid) -> Result<Value, &'static str> {
        self.is_open(session)?;
        self.changes.retain(|c| c.session != session || matches!(c.state, State::Committed | State::Met));
        self.close(session, "discarded");
        Ok(json!("discarded"))
    }

    fn close(&mut self, session: Uuid, status: &'static str) {
        let session = self.sessions.get_mut(&session).unwrap();
        session.status = status;
        session.steps.clear();
    }

    fn commit(&mut self, session: Uuid, mode: CommitMode, key: Option<&str>) -> Result<Value, &'static str> {
        let user = self.sessions[&session].user;
        let key = key.map(|key| (user, key.to_owned()));
        if let Some((of, kept_mode, answer)) = key.as_ref().and_then(|key| self.answers.get(key)) {
            return if (*of, *kept_mode) == (session, mode.word()) { Ok(answer.clone()) } else { Err("IdempotencyKeyReused") };
        }
        self.is_open(session)?;
        let (mut clean, mut refused) = (Vec::new(), Vec::new());
        for (index, change) in self.changes.iter().enumerate() {
            if change.session == session && matches!(change.state, State::Draft | State::Refused) {
                let in_conflict = self.in_conflict(change);
                if in_conflict.is_empty() {
                    clean.push(index);
                } else {
                    refused.push((index, in_conflict));
                }
            }
        }
        let is_refused = mode == CommitMode::Atomic && !refused.is_empty();
        let merged = clean.iter().filter(|index| self.is_merge(&self.changes[**index])).count();
        let told = |c: &Comparison| json!({"field": c.field, "base": c.base, "ours": c.ours, "theirs": c.theirs});
        let of =
            |(index, fields): &(usize, Vec<Comparison>)| json!([self.changes[*index].record, fields.iter().map(told).collect::<Vec<_>>()]);
        let mut conflicts: Vec<_> = refused.iter().map(of).collect();
        conflicts.sort_by_key(|conflict| conflict[0].to_string());
        let (published, merged) = if is_refused { (0, 0) } else { (clean.len(), merged) };
        let answer =
            json!({"committed": published, "merged": merged, "conflicts": conflicts, "refused": is_refused, "closed": refused.is_empty()});
        let is_in_conflict: BTreeSet<_> = refused.iter().map(|(index, _)| *index).collect();
        self.mark(session, &is_in_conflict);
        if !is_refused && !clean.is_empty() {
            self.publish(user, &clean);
            self.sessions.get_mut(&session).unwrap().steps.clear();
        }
        if refused.is_empty() {
            self.close(session, "committed");
        }
        if let Some(key) = key {
            self.answers.insert(key, (session, mode.word(), answer.clone()));
        }
        Ok(answer)
    }

    fn mark(&mut self, session: Uuid, in_conflict: &BTreeSet<usize>) {
        let mut is_change = false;
        for (index, change) in self.changes.iter_mut().enumerate() {
            if change.session == session && matches!(change.state, State::Draft | State::Refused) {
                let state = if in_conflict.contains(&index) { State::Refused } else { State::Draft };
                is_change |= change.state != state;
                change.state = state;
            }
        }
        self.number += u64::from(is_change);
    }

    fn publish(&mut self, by: &'static str, clean: &[usize]) {
        self.number += 1;
        for &index in clean {
            let Change { record, session, image, .. } = self.changes[index].clone();
            let changed: Vec<_> = three_way(&image.0, &self.published(&record)).into_iter().filter(|c| c.theirs != c.ours).collect();
            if !changed.is_empty() {
                let (before, after) =
                    changed.into_iter().map(|c| ((c.field.clone(), c.theirs), (c.field, c.ours))).unzip::<_, _, Object, Object>();
                let (number, session) = (self.number, Some(session));
                self.history.push(History { record, number, source: "session", session, by, before, after });
            }
            self.changes[index].state = State::Committed;
            self.changes[index].committed = Some(self.number);
        }
    }

    fn resolve(&mut self, session: Uuid, record: &str, stage: Stage, is_mine: bool) -> Result<Value, &'static str> {
        let wanted = if stage == Stage::Commit { State::Refused } else { State::Met };
        let is_wanted = |change: &Change| change.session == session && change.record == record && change.state == wanted;
        let index = self.changes.iter().position(is_wanted).ok_or("ConflictNotFound")?;
        let published = self.published(record);
        let (old, by) = (self.changes[index].image.clone(), self.sessions[&session].user);
        let choice = if is_mine { Choice::Mine } else { Choice::Theirs };
        let choices = self.to_decide(&self.changes[index]).into_iter().map(|field| (field, choice.clone())).collect();
        let new = resolve(&old.0, &published, &choices);
        if !broken_rules(&merge(&published, [&new.delta]), &new.delta).is_empty() {
            return Err("InvalidEdit");
        }
        self.number += 1;
        let image = (new.clone(), self.number);
        let is_left = !new.delta.is_empty();
        let (mut before, mut after) = (Object::new(), Object::new());
        if stage == Stage::Commit {
            self.push_step(session, vec![(record.to_owned(), Some(old), is_left.then(|| image.clone()))]);
        } else if is_left {
            // What others have published already does not change for anybody.
            let changed = three_way(&new, &published).into_iter().filter(|c| c.theirs != c.ours);
            (before, after) = changed.map(|c| ((c.field.clone(), c.theirs), (c.field, c.ours))).unzip();
        }
        if is_left {
            let change = &mut self.changes[index];
            change.image = image;
            change.state = if stage == Stage::Commit { State::Draft } else { State::Committed };
            change.committed = change.committed.map(|_| self.number);
        } else {
            self.changes.remove(index);
        }
        let (number, session) = (self.number, Some(session));
        self.history.push(History { record: record.to_owned(), number, source: "session", session, by, before, after });
        Ok(json!(if !is_left {
            "Dropped"
        } else if stage == Stage::Commit {
            "Draft"
        } else {
            "Committed"
        }))
    }

    fn load(&mut self, records: &BTreeMap<String, Object>) -> Value {
        let changed: Vec<_> = records.iter().filter(|(record, data)| self.mirror[*record].0 != **data).collect();
        self.number += u64::from(!changed.is_empty());
        for (record, data) in &changed {
            let (old, version) = self.mirror[*record].clone();
            let fields = data.iter().filter(|(field, value)| old[*field] != **value);
            let (before, after) =
                fields.map(|(f, value)| ((f.clone(), old[f].clone()), (f.clone(), value.clone()))).unzip::<_, _, Object, Object>();
            let (record, number) = ((*record).clone(), self.number);
            self.mirror.insert(record.clone(), ((*data).clone(), version + 1));
            self.recheck(&record);
            self.history.push(History { record, number, source: "import", session: None, by: "test", before, after });
        }
        json!({"updated": changed.len(), "unchanged": records.len() - changed.len()})
    }

    /// Committed changes whose fields PEMS changed to something else become conflicts, oldest first.
    fn recheck(&mut self, record: &str) {
        let mut under = self.mirror[record].0.clone();
        let mut committed: Vec<_> =
            self.changes.iter_mut().filter(|change| change.record == record && change.state == State::Committed).collect();
        committed.sort_by_key(|change| change.committed);
        for change in committed {
            if three_way(&change.image.0, &under).iter().any(|comparison| comparison.conflict) {
                change.state = State::Met;
            } else {
                under = merge(&under, [&change.image.0.delta]);
            }
        }
    }
}
