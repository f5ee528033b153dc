//! What calls do one after the other, in plain Rust: the mirror, the sandboxes, what is published.
//!
//! Calls that race must end as they do in one of their orders here. The comparison, the rules and the
//! merge are the domain's references.

mod calls;

use crate::support::model::Object;
use pfa_vanguard::domain::delta::{Draft, merge};
use pfa_vanguard::service::commit::CommitMode;
use pfa_vanguard::service::conflicts::Stage;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The fields that the calls change; every other one stays as it was loaded.
pub const FIELDS: [&str; 6] = ["category", "dor", "forecastEnd", "forecastStart", "isDiscontinued", "monthlyRate"];

/// A call of the service.
#[derive(Debug, Clone)]
pub enum Call {
    Edit { session: Uuid, record: String, patch: Object },
    Bulk { session: Uuid, records: Vec<String>, patch: Object },
    Drop { session: Uuid, record: String },
    Undo { session: Uuid },
    Redo { session: Uuid },
    Discard { session: Uuid },
    Commit { session: Uuid, mode: CommitMode, key: Option<String> },
    Resolve { session: Uuid, record: String, stage: Stage, is_mine: bool },
    Load { records: BTreeMap<String, Object> },
    Refresh,
}

/// An organization.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The number of the newest publication.
    number: u64,
    pub mirror: BTreeMap<String, (Object, i64)>,
    pub sessions: BTreeMap<Uuid, Session>,
    changes: Vec<Change>,
    history: Vec<History>,
    answers: BTreeMap<(&'static str, String), (Uuid, &'static str, Value)>,
}

#[derive(Debug, Clone)]
pub struct Session {
    pub user: &'static str,
    pub status: &'static str,
    steps: Vec<Step>,
}

/// A draft, and the publication that it was begun on.
type Image = (Draft, u64);

#[derive(Debug, Clone)]
struct Step {
    changes: Vec<(String, Option<Image>, Option<Image>)>,
    is_undone: bool,
}

impl Step {
    /// Which records, from what to what: edits of one sandbox that raced left the same drafts in either order, but not the
    /// same steps to undo.
    fn observation(&self) -> Value {
        let delta = |image: &Option<Image>| image.as_ref().map(|(draft, _)| draft.delta.clone());
        let mut changes: Vec<_> = self.changes.iter().map(|(record, before, after)| json!([record, delta(before), delta(after)])).collect();
        changes.sort_by_key(|change| change[0].to_string());
        json!([self.is_undone, changes])
    }
}

#[derive(Debug, Clone)]
struct Change {
    record: String,
    session: Uuid,
    state: State,
    image: Image,
    committed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Draft,
    /// In conflict since a commit.
    Refused,
    Committed,
    /// In conflict with PEMS.
    Met,
}

#[derive(Debug, Clone)]
struct History {
    record: String,
    number: u64,
    source: &'static str,
    session: Option<Uuid>,
    by: &'static str,
    before: Object,
    after: Object,
}

impl World {
    /// A mirror that was loaded once.
    pub fn new(records: BTreeMap<String, Object>) -> Self {
        let mirror = records.into_iter().map(|(record, data)| (record, (data, 1))).collect();
        Self { number: 1, mirror, ..Self::default() }
    }

    pub fn open_session(&mut self, id: Uuid, user: &'static str) {
        self.sessions.insert(id, Session { user, status: "open", steps: Vec::new() });
    }

    /// Everything that can be read from outside, in the shape of [`super::arena::Arena::observe`].
    pub fn observation(&self) -> Value {
        let records: BTreeMap<_, _> = self
            .mirror
            .iter()
            .map(|(record, (data, version))| (record, json!({"mirror": data, "version": version, "published": self.published(record)})))
            .collect();
        let sessions: BTreeMap<_, _> = self
            .sessions
            .iter()
            .map(|(id, session)| {
                let steps: Vec<_> = session.steps.iter().map(Step::observation).collect();
                (id.to_string(), json!({"status": session.status, "steps": steps}))
            })
            .collect();
        let mut changes: Vec<_> = self.changes.iter().collect();
        changes.sort_by_key(|change| (&change.record, change.committed.unwrap_or(u64::MAX), change.session));
        let shown = |change: &&Change| {
            let (word, stage) = match change.state {
                State::Draft => ("draft", None),
                State::Refused => ("conflict", Some("commit")),
                State::Committed => ("committed", None),
                State::Met => ("conflict", Some("writeBack")),
            };
            json!({"record": change.record, "session": change.session, "state": word, "stage": stage,
                   "delta": change.image.0.delta, "base": change.image.0.base, "isMerge": self.is_merge(change)})
        };
        let mut history: Vec<_> = self.history.iter().collect();
        history.sort_by_key(|entry| (&entry.record, entry.number));
        let told = |entry: &&History| {
            json!({"record": entry.record, "source": entry.source, "session": entry.session, "by": entry.by,
                   "before": entry.before, "after": entry.after})
        };
        json!({"records": records, "sessions": sessions, "changes": changes.iter().map(shown).collect::<Vec<_>>(),
               "history": history.iter().map(told).collect::<Vec<_>>()})
    }

    /// The mirror with everything committed on it.
    pub fn published(&self, record: &str) -> Object {
        let mut committed: Vec<_> = self.changes.iter().filter(|c| c.record == record && c.state == State::Committed).collect();
        committed.sort_by_key(|change| change.committed);
        merge(&self.mirror[record].0, committed.into_iter().map(|change| &change.image.0.delta))
    }

    /// The record as a sandbox sees it.
    fn seen(&self, session: Uuid, record: &str) -> Object {
        let mut own: Vec<_> =
            self.changes.iter().filter(|c| c.record == record && c.session == session && c.state != State::Committed).collect();
        own.sort_by_key(|change| change.committed.unwrap_or(u64::MAX));
        merge(&self.published(record), own.into_iter().map(|change| &change.image.0.delta))
    }

    /// Changes that wait for a decision.
    pub fn conflicts(&self) -> Vec<(Uuid, String, Stage)> {
        let stage = |state| match state {
            State::Refused => Some(Stage::Commit),
            State::Met => Some(Stage::WriteBack),
            State::Draft | State::Committed => None,
        };
        self.changes.iter().filter_map(|c| Some((c.session, c.record.clone(), stage(c.state)?))).collect()
    }

    pub fn open_sessions(&self) -> Vec<Uuid> {
        self.sessions.iter().filter(|(_, session)| session.status == "open").map(|(id, _)| *id).collect()
    }

    /// Whether a call leaves the organization to edits of other sandboxes.
    pub fn shares(&self, call: &Call) -> bool {
        match call {
            Call::Edit { session, .. }
            | Call::Bulk { session, .. }
            | Call::Drop { session, .. }
            | Call::Undo { session }
            | Call::Redo { session }
            | Call::Discard { session } => !self.has_refused(*session),
            Call::Commit { .. } | Call::Resolve { .. } | Call::Load { .. } | Call::Refresh => false,
        }
    }

    fn is_merge(&self, change: &Change) -> bool {
        self.history.iter().any(|entry| entry.record == change.record && entry.number > change.image.1 && !entry.after.is_empty())
    }
}
