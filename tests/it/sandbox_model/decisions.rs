//! Conflicts in the model: who may decide them, and what a decision makes of a change.

use super::model::{Change, Model, Undoable};
use super::rules::{Compared, Draft, broken, compare, faults, in_conflict, to_decide};
use super::scene::{Choose, Val, values};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Model {
    /// Conflicts that a user may decide, in the order of their modifications.
    pub fn conflicts(&self, user: &str) -> Vec<usize> {
        let is_theirs = |c: &Change| c.stage == Some("writeBack") || c.stage == Some("commit") && self.sessions[c.session].user == user;
        (0..self.changes.len()).filter(|change| is_theirs(&self.changes[*change])).collect()
    }

    /// The fields of a conflict that need a choice, with base, ours and theirs.
    pub fn to_decide(&self, change: usize) -> Vec<Compared> {
        let change = &self.changes[change];
        to_decide(&change.draft, &self.published(change.row))
    }

    /// Whether others took back what stood against a change that still waits for its decision.
    pub fn is_settled(&self, change: usize) -> bool {
        let change = &self.changes[change];
        in_conflict(&change.draft, &self.published(change.row)).is_empty()
    }

    /// What somebody chooses for each field that needs a choice; a field left open has no choice.
    pub fn choices(&self, change: usize, choose: Choose) -> BTreeMap<String, Value> {
        let Choose::Each(bits) = choose else { unreachable!("a choice for each field") };
        let fields = self.to_decide(change).into_iter().enumerate();
        let choice = |(index, compared): (usize, Compared)| {
            let choice = match bits >> (2 * index) & 3 {
                0 => json!("mine"),
                1 => json!("theirs"),
                2 => {
                    let mut third = values(&compared.field).into_iter().map(Val::json);
                    json!({"value": third.clone().find(|v| *v != compared.ours && *v != compared.theirs).or(third.next_back())})
                }
                _ => return None,
            };
            Some((compared.field, choice))
        };
        fields.filter_map(choice).collect()
    }

    /// Resolves a conflict; gives what became of it, or the fields at fault.
    pub fn resolve(
        &mut self,
        number: usize,
        user: &'static str,
        choose: Choose,
        reason: Option<&str>,
    ) -> Result<&'static str, Vec<String>> {
        let (change, published) = (&self.changes[number], self.published(self.changes[number].row));
        let fields: Vec<_> = self.to_decide(number).into_iter().map(|c| c.field).collect();
        let choices: BTreeMap<_, _> = match choose {
            Choose::Mine => fields.iter().map(|field| (field.clone(), json!("mine"))).collect(),
            Choose::Theirs => fields.iter().map(|field| (field.clone(), json!("theirs"))).collect(),
            Choose::Each(_) => self.choices(number, choose),
        };
        let mut open: Vec<_> = fields.into_iter().filter(|field| !choices.contains_key(field)).collect();
        if !open.is_empty() {
            open.sort();
            return Err(open);
        }
        let (row, session, stage) = (change.row, change.session, change.stage);
        let mut draft = Draft { since: self.now, base_version: self.rows[row].version, ..change.draft.clone() };
        draft.reason = reason.map(str::to_owned).or(draft.reason);
        for (field, choice) in &choices {
            let value = match choice.as_str() {
                Some("theirs") => published[field].clone(),
                Some(_) => draft.delta[field].clone(),
                None => choice["value"].clone(),
            };
            draft.base.insert(field.clone(), published[field].clone());
            if value == published[field] {
                draft.delta.remove(field);
                draft.base.remove(field);
            } else {
                draft.delta.insert(field.clone(), value);
            }
        }
        let broken = broken(&published, &draft.delta);
        if !broken.is_empty() {
            return Err(faults(&broken, &draft.delta));
        }
        let words = choices
            .iter()
            .map(|(field, choice)| (field.clone(), if choice.is_string() { choice.clone() } else { json!("value") }))
            .collect();
        let outcome = match stage {
            _ if draft.delta.is_empty() => "dropped",
            Some("commit") => "draft",
            _ => "committed",
        };
        let changed = compare(&draft, &published).into_iter().filter(|c| outcome == "committed" && c.theirs != c.ours);
        let seen = changed.map(|c| ((c.field.clone(), c.theirs), (c.field, c.ours))).unzip();
        self.note(row, Some(session), user, reason.map(str::to_owned), seen, Some(words));
        let after = (!draft.delta.is_empty()).then_some(draft);
        if stage == Some("commit") {
            let before = Some(self.changes[number].draft.clone());
            let step = Undoable { kind: "resolve", reason: reason.map(str::to_owned), drafts: [(row, (before, after.clone()))].into() };
            self.sessions[session].undone.clear();
            self.sessions[session].done.push(step);
        }
        let order = self.now;
        match after {
            None => drop(self.changes.remove(number)),
            Some(draft) => {
                let change = &mut self.changes[number];
                (change.state, change.stage, change.draft, change.order) = (outcome, None, draft, order);
            }
        }
        Ok(outcome)
    }
}
