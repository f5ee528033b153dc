//! What meets: the calls before, one after the other, and those that race then.

use super::arena::{Arena, data};
use super::dice::Dice;
use super::serial::{Call, World};
use crate::support::model::Object;
use pfa_vanguard::service::commit::CommitMode;
use pfa_vanguard::service::conflicts::Stage;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

pub const RECORDS: [&str; 3] = ["1", "2", "3"];

/// Who meets whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scene {
    /// Two commits of one field.
    SameField,
    /// Two commits of one record, which change different fields.
    OtherFields,
    /// Two commits of several records, edited in opposite order.
    OppositeOrder,
    /// A commit and a load that changes the same record.
    CommitAndLoad,
    /// A load and an edit.
    EditAndLoad,
    EditAndDiscard,
    /// In one sandbox, as the next four.
    UndoAndCommit,
    EditAndCommit,
    TwoEdits,
    TwoUndos,
    ResolveAndCommit,
    /// A resolution and a commit of the same field in another sandbox.
    ResolveAndOtherCommit,
    /// A resolution and an edit in another sandbox.
    ResolveAndOtherEdit,
    /// The resolution of a committed change that met another one in PEMS, and a commit.
    WriteBackAndCommit,
    /// One request that is sent twice.
    SameKey,
    /// A commit, an edit in another sandbox, and a refresh of the summaries.
    CommitEditRefresh,
    /// Three calls of any kind in any sandbox.
    Any,
}

impl Scene {
    pub const ALL: [Self; 17] = [
        Self::SameField,
        Self::OtherFields,
        Self::OppositeOrder,
        Self::CommitAndLoad,
        Self::EditAndLoad,
        Self::EditAndDiscard,
        Self::UndoAndCommit,
        Self::EditAndCommit,
        Self::TwoEdits,
        Self::TwoUndos,
        Self::ResolveAndCommit,
        Self::ResolveAndOtherCommit,
        Self::ResolveAndOtherEdit,
        Self::WriteBackAndCommit,
        Self::SameKey,
        Self::CommitEditRefresh,
        Self::Any,
    ];

    /// Prepares the scene, and gives the calls that are to race.
    pub async fn set(self, arena: &Arena, world: &mut World, dice: &mut Dice) -> Vec<Call> {
        let (a, b) = (arena.open_session(world, "ana").await, arena.open_session(world, "ben").await);
        let record = dice.pick(&RECORDS);
        let commit = |session| Call::Commit { session, mode: CommitMode::Atomic, key: None };
        let mut stage = Stager { arena, world };
        match self {
            Self::SameField => {
                stage.edit(a, record, json!({"monthlyRate": dice.pick(&[900, 901, 902])})).await;
                stage.edit(b, record, json!({"monthlyRate": dice.pick(&[902, 903]), "category": "B"})).await;
                vec![commit(a), Call::Commit { session: b, mode: dice.pick(&[CommitMode::Atomic, CommitMode::Partial]), key: None }]
            }
            Self::OtherFields => {
                stage.edit(a, record, json!({"monthlyRate": 700 + dice.below(9)})).await;
                let ours = dice.pick(&[json!({"category": "B"}), json!({"forecastEnd": "2025-12-01"}), json!({"isDiscontinued": true})]);
                stage.edit(b, record, ours).await;
                vec![commit(a), commit(b)]
            }
            Self::OppositeOrder => {
                for place in 0..3 {
                    stage.edit(a, RECORDS[place], json!({"monthlyRate": 500 + dice.below(9)})).await;
                    stage.edit(b, RECORDS[2 - place], json!({"dor": "PROJECT", "category": dice.pick(&["A", "C"])})).await;
                }
                if dice.once_in(2) {
                    stage.edit(b, record, json!({"monthlyRate": 555})).await;
                }
                vec![commit(a), commit(b)]
            }
            Self::CommitAndLoad => {
                stage.edit(a, record, patch(dice)).await;
                vec![commit(a), load(stage.world, dice, record)]
            }
            Self::EditAndLoad => {
                stage.edit(a, record, patch(dice)).await;
                vec![edit(a, record, patch(dice)), load(stage.world, dice, record)]
            }
            Self::EditAndDiscard => {
                stage.edit(a, record, patch(dice)).await;
                vec![edit(a, dice.pick(&RECORDS), patch(dice)), Call::Discard { session: a }]
            }
            Self::UndoAndCommit => {
                stage.edit(a, record, json!({"monthlyRate": 800})).await;
                stage.edit(a, dice.pick(&RECORDS), patch(dice)).await;
                vec![Call::Undo { session: a }, commit(a)]
            }
            Self::EditAndCommit => {
                stage.edit(a, record, patch(dice)).await;
                vec![edit(a, dice.pick(&RECORDS), patch(dice)), commit(a)]
            }
            Self::TwoEdits => {
                if dice.once_in(2) {
                    stage.edit(a, record, json!({"monthlyRate": 600})).await;
                }
                let bulk = Call::Bulk { session: a, records: RECORDS.map(str::to_owned).to_vec(), patch: object(patch(dice)) };
                vec![edit(a, record, patch(dice)), dice.pick(&[bulk, edit(a, record, json!({"monthlyRate": 601}))])]
            }
            Self::TwoUndos => {
                stage.edit(a, record, json!({"monthlyRate": 600})).await;
                stage.edit(a, record, patch(dice)).await;
                stage.call(Call::Undo { session: a }).await;
                let others = [Call::Redo { session: a }, Call::Undo { session: a }, edit(a, record, patch(dice))];
                let other = dice.pick(&others);
                vec![Call::Undo { session: a }, other]
            }
            Self::ResolveAndCommit => {
                stage.refuse(a, b, record).await;
                vec![resolve(b, record, Stage::Commit, dice), commit(b)]
            }
            Self::ResolveAndOtherCommit => {
                stage.refuse(a, b, record).await;
                let c = arena.open_session(stage.world, "eva").await;
                stage.edit(c, record, json!({"monthlyRate": dice.pick(&[997, 999])})).await;
                vec![resolve(b, record, Stage::Commit, dice), commit(c)]
            }
            Self::ResolveAndOtherEdit => {
                stage.meet(a, record).await;
                vec![resolve(a, record, Stage::WriteBack, dice), edit(b, record, json!({"monthlyRate": 992, "category": "C"}))]
            }
            Self::WriteBackAndCommit => {
                stage.meet(a, record).await;
                stage.edit(b, record, json!({"monthlyRate": 996, "category": "C"})).await;
                vec![resolve(a, record, Stage::WriteBack, dice), commit(b)]
            }
            Self::SameKey => {
                stage.edit(a, record, patch(dice)).await;
                let mode = dice.pick(&[CommitMode::Atomic, CommitMode::Partial]);
                if mode == CommitMode::Partial {
                    stage.refuse_one_of_two(b, a, record).await;
                }
                vec![Call::Commit { session: a, mode, key: Some(format!("key of {a}")) }; 2]
            }
            Self::CommitEditRefresh => {
                stage.edit(a, record, patch(dice)).await;
                vec![commit(a), edit(b, record, patch(dice)), Call::Refresh]
            }
            Self::Any => {
                stage.edit(a, record, patch(dice)).await;
                (0..3).map(|_| any_call(stage.world, dice)).collect()
            }
        }
    }
}

/// Does calls before the race, and holds each against the world.
struct Stager<'a> {
    arena: &'a Arena,
    world: &'a mut World,
}

impl Stager<'_> {
    async fn call(&mut self, call: Call) {
        let answer = self.arena.call(&self.arena.services.pair[0], self.world, &call).await;
        assert_eq!(answer, self.world.apply(&call), "{call:?}");
    }

    async fn edit(&mut self, session: Uuid, record: &str, patch: Value) {
        self.call(edit(session, record, patch)).await;
    }

    /// A draft of the second sandbox that is refused, because the first one changed the same field.
    async fn refuse(&mut self, first: Uuid, second: Uuid, record: &str) {
        self.edit(first, record, json!({"monthlyRate": 998})).await;
        self.edit(second, record, json!({"monthlyRate": 999, "dor": "PROJECT"})).await;
        for session in [first, second] {
            self.call(Call::Commit { session, mode: CommitMode::Atomic, key: None }).await;
        }
    }

    /// The same, and one on another record: after a commit of that the second sandbox is still open.
    async fn refuse_one_of_two(&mut self, first: Uuid, second: Uuid, record: &str) {
        let other = if record == RECORDS[0] { RECORDS[1] } else { RECORDS[0] };
        self.refuse(first, second, record).await;
        let rate = self.world.published(other)["monthlyRate"].as_u64().unwrap();
        self.edit(second, other, json!({"monthlyRate": rate + 1})).await;
    }

    /// A committed change that is in conflict with what a load brought.
    async fn meet(&mut self, session: Uuid, record: &str) {
        self.edit(session, record, json!({"monthlyRate": 994})).await;
        self.call(Call::Commit { session, mode: CommitMode::Atomic, key: None }).await;
        let mut changed = self.world.mirror[record].0.clone();
        changed.insert("monthlyRate".to_owned(), json!(if changed["monthlyRate"] == 995 { 993 } else { 995 }));
        self.call(Call::Load { records: [(record.to_owned(), changed)].into() }).await;
    }
}

fn object(value: Value) -> Object {
    let Value::Object(object) = value else { panic!("an object") };
    object
}

pub fn edit(session: Uuid, record: &str, patch: Value) -> Call {
    Call::Edit { session, record: record.to_owned(), patch: object(patch) }
}

fn resolve(session: Uuid, record: &str, stage: Stage, dice: &mut Dice) -> Call {
    Call::Resolve { session, record: record.to_owned(), stage, is_mine: dice.once_in(2) }
}

/// One or two fields; some break a rule together with what others publish.
fn patch(dice: &mut Dice) -> Value {
    let one = |dice: &mut Dice| {
        let fields = [
            json!({"monthlyRate": 100 + dice.below(4)}),
            json!({"category": dice.pick(&["A", "B", "C"])}),
            json!({"dor": dice.pick(&["BEO", "PROJECT"])}),
            json!({"forecastStart": dice.pick(&["2025-01-01", "2025-05-01"])}),
            json!({"forecastEnd": dice.pick(&["2025-03-01", "2025-07-01"])}),
            json!({"isDiscontinued": dice.once_in(2)}),
        ];
        object(dice.pick(&fields))
    };
    let mut patch = one(dice);
    if dice.once_in(2) {
        patch.extend(one(dice));
    }
    Value::Object(patch)
}

/// A load of one record, or of all.
fn load(world: &World, dice: &mut Dice, record: &str) -> Call {
    let mut records = BTreeMap::new();
    for &other in &RECORDS {
        if other == record || dice.once_in(3) {
            let mut data = world.mirror[other].0.clone();
            data.extend(object(patch(dice)));
            records.insert(other.to_owned(), data);
        }
    }
    Call::Load { records }
}

fn any_call(world: &World, dice: &mut Dice) -> Call {
    let mut sessions = world.open_sessions();
    // Mostly the few that are at work in the other calls, too.
    sessions.truncate(3);
    let session = dice.pick(&sessions);
    let record = dice.pick(&RECORDS);
    let mode = dice.pick(&[CommitMode::Atomic, CommitMode::Partial]);
    let conflicts = world.conflicts();
    match dice.below(10) {
        0 | 1 => edit(session, record, patch(dice)),
        2 => Call::Bulk { session, records: RECORDS.map(str::to_owned).to_vec(), patch: object(patch(dice)) },
        3 => Call::Drop { session, record: record.to_owned() },
        4 => Call::Undo { session },
        5 => Call::Redo { session },
        6 if dice.once_in(3) => Call::Discard { session },
        7 if !conflicts.is_empty() => {
            let (session, record, stage) = dice.pick(&conflicts);
            resolve(session, &record, stage, dice)
        }
        _ => Call::Commit { session, mode, key: None },
    }
}

/// The records of an organization at the beginning.
pub fn records() -> BTreeMap<String, Object> {
    let data = [data("A", 100, (1, 3)), data("B", 200, (2, 4)), data("A", 300, (3, 6))];
    RECORDS.into_iter().map(str::to_owned).zip(data).collect()
}
