//! The circle between PEMS and planners, on random records: what is read is what PEMS says, what is
//! edited is what PEMS has in the end, and then nothing moves any more. `PFA_TEST_CASES` is the number of scenes.

mod field_maps;
mod forms;
mod records;

use crate::support::circuit::Circuit;
use crate::support::model::Object;
use crate::support::pems::TestPems;
use crate::support::planner::{Sandbox, data, percent_encode};
use pfa_vanguard::domain::delta::merge;
use pfa_vanguard::domain::field::{Field, Kind};
use pfa_vanguard::domain::rules::broken_rules;
use pfa_vanguard::pems::FieldMap;
use pfa_vanguard::service::sync::SyncScope;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestError, TestRunner};
use records::{Edit, Raw};
use rust_decimal::Decimal;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

#[test]
fn what_planners_publish_is_what_pems_has_in_the_end() {
    let step = prop_oneof![
        6 => (any::<Index>(), any::<bool>(), edit()).prop_map(|(record, is_ben, edit)| Step::Publish(record, is_ben, edit)),
        3 => (any::<Index>(), edit(), edit()).prop_map(|(record, first, second)| Step::PublishTogether(record, first, second)),
        1 => Just(Step::Read),
        1 => Just(Step::Write),
    ];
    prove(8, &(records::records(Vec::new()), vec(step, 6..14)), &check_round_trip);
}

#[derive(Debug, Clone)]
enum Step {
    /// Ana or Ben publishes an edit.
    Publish(Index, bool, Edit),
    /// Both edit the same record before either commits: Ben what Ana leaves alone.
    PublishTogether(Index, Edit, Edit),
    Read,
    Write,
}

fn edit() -> impl Strategy<Value = Edit> {
    let map = FieldMap::built_in().unwrap();
    records::edit(map.write_names().map(|(field, _)| field).filter(|field| field.is_editable()).collect())
}

async fn check_round_trip(circuit: &mut Circuit, (raw, steps): (Vec<Raw>, Vec<Step>)) {
    circuit.pems = TestPems::start().await;
    let mut scene = Scene::begin(circuit, raw).await;
    let (ana, ben) = (circuit.planner("ana"), circuit.planner("ben"));
    for step in steps {
        match step {
            Step::Publish(record, is_ben, edit) => {
                let record = record.index(scene.raw.len());
                let sandbox = if is_ben { ben.open().await } else { ana.open().await };
                let edit = valid(&scene.published[record], edit);
                scene.edit(&sandbox, record, &edit).await;
                scene.commit(&sandbox, record, &edit).await;
            }
            Step::PublishTogether(record, first, mut second) => {
                let record = record.index(scene.raw.len());
                let first = valid(&scene.published[record], first);
                second.retain(|field, _| !first.contains_key(field));
                let mut second = valid(&scene.published[record], second);
                if !broken(&merge(&scene.published[record], [&values(&first)]), &second).is_empty() {
                    second.retain(|field, _| !is_ruled(*field));
                    second = valid(&scene.published[record], second);
                }
                let sandboxes = [ana.open().await, ben.open().await];
                scene.edit(&sandboxes[0], record, &first).await;
                scene.edit(&sandboxes[1], record, &second).await;
                scene.commit(&sandboxes[0], record, &first).await;
                scene.commit(&sandboxes[1], record, &second).await;
            }
            Step::Read => {
                circuit.read().await.unwrap();
            }
            Step::Write => {
                circuit.write().await.unwrap();
            }
        }
    }
    // Everybody reads it before PEMS has it, and goes on reading the same.
    scene.assert_published(circuit).await;
    circuit.write_until_done().await;
    scene.assert_published(circuit).await;
    scene.assert_in_pems(circuit);
    let states = circuit.states().await;
    assert!(states.iter().all(|(state, attempts, error)| state == "synced" && *attempts == 1 && error.is_none()), "{states:?}");
    assert_eq!((states.len(), circuit.writes()), (scene.changes, scene.changes), "each change is written once");
    scene.assert_at_rest(circuit).await;
}

/// What there should be.
struct Scene {
    raw: Vec<Raw>,
    /// The records as everybody reads them.
    published: Vec<Object>,
    edited: BTreeSet<(usize, Field)>,
    /// How many changes were published, in all and of each record.
    changes: usize,
    versions: Vec<i64>,
}

impl Scene {
    /// The records are in PEMS and were read.
    async fn begin(circuit: &mut Circuit, raw: Vec<Raw>) -> Self {
        let organization = circuit.organization.clone();
        circuit.pems.pems.with_records(|records| raw.iter().for_each(|raw| raw.put(records, &organization)));
        circuit.begin(&organization).await;
        let run = circuit.last_run().await;
        assert_eq!((run.status.as_str(), run.findings_total), ("completed", 0), "{:?}", run.findings);
        let (published, versions) = (raw.iter().map(Raw::meaning).collect(), vec![1; raw.len()]);
        let scene = Self { raw, published, edited: BTreeSet::new(), changes: 0, versions };
        scene.assert_published(circuit).await;
        scene
    }

    async fn edit(&self, sandbox: &Sandbox<'_>, record: usize, edit: &Edit) {
        if edit.is_empty() {
            return;
        }
        let patch: Object = edit.iter().map(|(field, (sent, _))| (field.key().to_owned(), sent.clone())).collect();
        let answer = sandbox.edit(&percent_encode(&self.raw[record].id), Value::Object(patch)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    async fn commit(&mut self, sandbox: &Sandbox<'_>, record: usize, edit: &Edit) {
        if edit.is_empty() {
            return;
        }
        let answer = sandbox.commit("").await;
        assert_eq!((answer.status.as_u16(), answer.json()["committed"].as_u64()), (200, Some(1)), "{}", answer.text);
        self.note(record, edit);
    }

    /// A change will arrive.
    fn note(&mut self, record: usize, edit: &Edit) {
        self.published[record].extend(values(edit));
        self.edited.extend(edit.keys().map(|field| (record, *field)));
        self.changes += 1;
        self.versions[record] += 1;
    }

    async fn assert_published(&self, circuit: &Circuit) {
        let cleo = circuit.planner("cleo");
        let mut rows = data(&cleo.get("records?limit=100").await);
        rows.extend(data(&cleo.get("records?limit=100&isDiscontinued=true").await));
        assert_eq!(rows.len(), self.raw.len());
        for (raw, expected) in self.raw.iter().zip(&self.published) {
            let row = rows.iter().find(|row| row["pfaId"] == raw.id).expect("a row");
            let mut row = row.as_object().unwrap().clone();
            row.remove("_meta");
            assert_same(&row, expected);
        }
    }

    /// PEMS has what was edited, and of everything else its own words.
    fn assert_in_pems(&self, circuit: &Circuit) {
        circuit.pems.pems.with_records(|records| {
            for (number, (raw, expected)) in self.raw.iter().zip(&self.published).enumerate() {
                let found = records.get(&circuit.organization, &raw.id).expect("a record");
                for (field, said) in &raw.said {
                    let (text, value) = (&found.texts[field], &expected[field.key()]);
                    let is_untouched = *text == said.text && (!self.edited.contains(&(number, *field)) || said.value == *value);
                    assert!(
                        is_untouched || self.edited.contains(&(number, *field)) && says(*field, text, value),
                        "{field}: {text:?} for {value}"
                    );
                }
                assert_eq!(found.more, raw.more, "columns that nobody knows");
            }
        });
    }

    /// The mirror is what PEMS has, and no reading moves anything any more.
    async fn assert_at_rest(&self, circuit: &Circuit) {
        let before = mirror(circuit).await;
        for (number, raw) in self.raw.iter().enumerate() {
            let (_, version, row) = &before[&raw.id];
            assert_same(row, &self.published[number]);
            assert_eq!(*version, self.versions[number], "a version for each change that arrived");
        }
        for scope in [SyncScope::Full { most_vanished_percent: 0 }, SyncScope::Incremental, SyncScope::Verify] {
            let outcome = circuit.read_scope(scope).await.unwrap();
            let (applied, count) = (outcome.applied, self.raw.len() as u64);
            assert_eq!((applied.inserted, applied.updated, applied.unchanged, applied.discontinued), (0, 0, count, 0));
            assert_eq!((outcome.errored, outcome.findings_total), (0, 0), "{:?}", outcome.findings);
        }
        assert!(circuit.write().await.unwrap().is_none(), "nothing is due");
        assert_eq!(mirror(circuit).await, before, "no row is written again");
        circuit.assert_sound().await;
    }
}

/// The rows of the mirror by id, with the transaction that wrote each.
async fn mirror(circuit: &Circuit) -> BTreeMap<String, (String, i64, Object)> {
    let rows: Vec<(String, String, i64, sqlx::types::Json<Object>)> =
        sqlx::query_as("select pfa_id, xmin::text, version, data from pfa_mirror where organization_id = $1")
            .bind(&circuit.organization)
            .fetch_all(circuit.app.pool())
            .await
            .unwrap();
    rows.into_iter().map(|(id, xmin, version, data)| (id, (xmin, version, data.0))).collect()
}

/// What of an edit can be published on a record: rules hold, and something changes.
fn valid(published: &Object, mut edit: Edit) -> Edit {
    for [start, end] in [[Field::ForecastStart, Field::ForecastEnd], [Field::ActualStart, Field::ActualEnd]] {
        if let (Some(first), Some(last)) = (edit.get(&start).cloned(), edit.get(&end).cloned())
            && first.1.as_str() > last.1.as_str()
            && !last.1.is_null()
        {
            edit.extend([(start, last), (end, first)]);
        }
    }
    if !broken(published, &edit).is_empty() {
        edit.retain(|field, _| !is_ruled(*field));
    }
    let is_change = edit.iter().any(|(field, (_, value))| !is_same(&published[field.key()], value));
    if is_change { edit } else { Edit::new() }
}

fn broken(published: &Object, edit: &Edit) -> Vec<pfa_vanguard::domain::rules::Rule> {
    let delta = values(edit);
    broken_rules(&merge(published, [&delta]), &delta)
}

/// Whether a rule looks at changes of it.
fn is_ruled(field: Field) -> bool {
    matches!(field, Field::ForecastStart | Field::ForecastEnd | Field::ActualStart | Field::ActualEnd)
}

fn values(edit: &Edit) -> Object {
    edit.iter().map(|(field, (_, value))| (field.key().to_owned(), value.clone())).collect()
}

/// Whether PEMS, which writes in its own way, says this.
fn says(field: Field, text: &str, value: &Value) -> bool {
    match (field.kind(), value) {
        (_, Value::Null) => text.is_empty(),
        (Kind::Flag, Value::Bool(flag)) => text == if *flag { "Y" } else { "N" },
        (Kind::Date, Value::String(date)) => *text == format!("{date}T00:00:00.000Z"),
        (Kind::Amount, Value::Number(amount)) => text.parse::<Decimal>() == amount.to_string().parse(),
        (_, value) => value == text,
    }
}

/// Amounts by value.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.to_string().parse::<Decimal>().unwrap() == b.to_string().parse().unwrap(),
        (a, b) => a == b,
    }
}

#[track_caller]
fn assert_same(found: &Object, expected: &Object) {
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differ = |key: &&&String| match (found.get(**key), expected.get(**key)) {
        (Some(found), Some(expected)) => !is_same(found, expected),
        _ => true,
    };
    let different: Vec<_> = keys.iter().filter(differ).map(|key| (key, found.get(*key), expected.get(*key))).collect();
    assert!(different.is_empty(), "found and expected: {different:?}");
}

/// Checks random scenes, each in an organization of its own; the simplest that fails is told.
fn prove<T: Debug>(default_cases: u32, scenes: &impl Strategy<Value = T>, check: &impl AsyncFn(&mut Circuit, T)) {
    let cases = std::env::var("PFA_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default_cases);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let circuit = RefCell::new(runtime.block_on(Circuit::idle()));
    let number = Cell::new(0);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let outcome = TestRunner::new(config).run(scenes, |scene| {
        number.set(number.get() + 1);
        let mut circuit = circuit.borrow_mut();
        circuit.organization = format!("ORG{}", number.get());
        runtime.block_on(check(&mut circuit, scene));
        Ok(())
    });
    // The database goes before the runtime that it needs.
    runtime.block_on(async { drop(circuit) });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, scene)) => panic!("{reason}\nin the scene {scene:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}
