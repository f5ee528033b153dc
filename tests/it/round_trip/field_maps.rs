//! PEMS calls everything otherwise: the same holds with any field map, and what a map cannot say is told.

use super::records::{self, Edit, Raw};
use super::{Scene, is_same, prove, valid};
use crate::support::circuit::Circuit;
use crate::support::pems::TestPems;
use pfa_vanguard::domain::field::{Field, Kind};
use pfa_vanguard::fake_pems::{FakeOptions, FakeRecord};
use pfa_vanguard::pems::{FieldMap, ReadTarget};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

#[test]
fn everything_arrives_under_any_names_and_what_has_none_is_told() {
    let scenes = any::<[bool; 2]>().prop_flat_map(|has| {
        let layers = [Field::HasPlan, Field::HasActuals].into_iter().zip(has).filter(|(_, has)| *has).map(|(field, _)| field);
        let layers: Vec<_> = layers.collect();
        let editable: Vec<_> =
            Field::ALL.iter().copied().filter(|field| field.is_editable() && (has[1] || *field != Field::HasActuals)).collect();
        let edit = || records::edit(editable.clone());
        (records::records(layers.clone()), names(layers, editable.clone()), vec(edit(), 9), vec(edit(), 9))
    });
    prove(8, &scenes, &check);
}

/// Nobody could tell what it would replace, nor whether it arrived.
#[tokio::test]
async fn what_is_not_read_is_not_written() {
    let map = FieldMap::parse("[read]\nid = 'pfaId'\nmodel = 'model'\nchanged = 'pemsVersion'").unwrap();
    let mut circuit = Circuit::idle().await;
    circuit.pems = TestPems::start_mapped(FakeOptions::default(), map).await;
    circuit.pems.put("ORG", &[json!({"pfaId": "1", "class": "theirs"}).as_object().unwrap().clone()]);
    circuit.begin("ORG").await;
    circuit.planner("ana").publish("1", json!({"class": "ours", "model": "ours"})).await;
    circuit.write().await.unwrap();
    let (state, _, error) = circuit.states().await.remove(0);
    assert_eq!(state, "failed");
    assert_eq!(error.as_deref(), Some("class cannot be written to PEMS: the field map does not read it"));
    assert_eq!((circuit.in_pems("1", Field::Class), circuit.writes()), ("theirs".into(), 0));
}

/// What everything is called; what is not in `write` cannot be written.
#[derive(Debug, Clone)]
struct Names {
    grid: [String; 3],
    read: BTreeMap<String, String>,
    write: BTreeMap<String, String>,
    missing: BTreeSet<Field>,
}

impl Names {
    /// The file that says so: these texts are quoted in TOML as in JSON.
    fn file(&self) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let [grid, id, screen] = self.grid.each_ref().map(|name| quoted(name));
        let mut file = format!("[names]\ngrid = {grid}\ngridId = {id}\nscreen = {screen}\n");
        for (section, entries) in [("read", &self.read), ("write", &self.write)] {
            writeln!(file, "[{section}]").unwrap();
            for (name, value) in entries {
                writeln!(file, "{} = {}", quoted(name), quoted(value)).unwrap();
            }
        }
        file
    }
}

async fn check(circuit: &mut Circuit, (raw, names, first, second): (Vec<Raw>, Names, Vec<Edit>, Vec<Edit>)) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), names.file()).unwrap();
    let map = FieldMap::load(file.path()).unwrap();
    assert_eq!([&map.grid, &map.grid_id, &map.screen], names.grid.each_ref());
    assert_eq!(map.read_names().count(), names.read.len());
    for (key, name) in names.write.iter().filter(|(key, _)| *key != "organization") {
        assert_eq!(map.write_name(Field::from_key(key).unwrap()), Some(name.as_str()));
    }
    assert!(map.read_name(ReadTarget::Organization).is_some());
    circuit.pems = TestPems::start_mapped(FakeOptions::default(), map).await;
    let mut scene = Scene::begin(circuit, raw).await;

    let (ana, ben) = (circuit.planner("ana"), circuit.planner("ben"));
    let mut unsayable = BTreeMap::new();
    for (record, (first, mut second)) in first.into_iter().zip(second).enumerate().take(scene.raw.len()) {
        let first = valid(&scene.published[record], first);
        // Ben's change stands on nothing that may be given up.
        second.retain(|field, _| !first.contains_key(field) && !names.missing.contains(field) && matches!(field.kind(), Kind::Text(_)));
        let second = valid(&scene.published[record], second);
        let is_change = |(field, (_, value)): &(&Field, &(Value, Value))| !is_same(&scene.published[record][field.key()], value);
        let lacks: BTreeSet<_> =
            first.iter().filter(is_change).map(|(field, _)| *field).filter(|field| names.missing.contains(field)).collect();
        let sandbox = ana.open().await;
        scene.edit(&sandbox, record, &first).await;
        if lacks.is_empty() {
            scene.commit(&sandbox, record, &first).await;
        } else {
            assert_eq!(sandbox.commit("").await.json()["committed"], 1);
            unsayable.insert(scene.raw[record].id.clone(), lacks);
        }
        let sandbox = ben.open().await;
        scene.edit(&sandbox, record, &second).await;
        scene.commit(&sandbox, record, &second).await;
    }
    let before = in_pems(circuit);
    circuit.write_until_done().await;

    let mut given_up = BTreeSet::new();
    for (id, state, error) in ends(circuit).await {
        if state == "failed" {
            let (told, _) = error.as_deref().unwrap().split_once(" cannot be written to PEMS: the field map").expect("why");
            assert_eq!(told.split(", ").collect::<BTreeSet<_>>(), unsayable[&id].iter().map(|field| field.key()).collect());
            given_up.insert(id);
        } else {
            assert_eq!((state.as_str(), error), ("synced", None), "{id}");
        }
    }
    assert_eq!(given_up, unsayable.into_keys().collect());
    let (now, changed) = (in_pems(circuit), scene.edited.iter().map(|(record, _)| scene.raw[*record].id.as_str()).collect::<BTreeSet<_>>());
    for (id, record) in &before {
        assert!(changed.contains(id.as_str()) || now[id] == *record, "nothing of what was given up is written");
    }
    assert_eq!(circuit.writes(), scene.changes);
    if !names.read.values().any(|key| key == "hasActuals") {
        scene.derive_actuals();
    }
    scene.assert_published(circuit).await;
    scene.assert_in_pems(circuit);
    scene.assert_at_rest(circuit).await;
}

/// The records of the organization in PEMS.
fn in_pems(circuit: &Circuit) -> BTreeMap<String, FakeRecord> {
    circuit
        .pems
        .pems
        .with_records(|records| records.of(&circuit.organization).map(|(id, record)| (id.to_owned(), record.clone())).collect())
}

/// What came of the changes.
async fn ends(circuit: &Circuit) -> Vec<(String, String, Option<String>)> {
    sqlx::query_as(
        "select m.pfa_id, d.sync_state, d.last_error
           from pfa_modification d
           join pfa_mirror m on m.organization_id = d.organization_id and m.id = d.mirror_id
          where d.organization_id = $1",
    )
    .bind(&circuit.organization)
    .fetch_all(circuit.app.pool())
    .await
    .unwrap()
}

impl Scene {
    /// A grid that says nothing of the layer leaves it to the dates, as soon as they have arrived.
    fn derive_actuals(&mut self) {
        for (record, version) in self.published.iter_mut().zip(&mut self.versions) {
            let has_actuals = json!([Field::ActualStart, Field::ActualEnd].iter().all(|date| !record[date.key()].is_null()));
            if record["hasActuals"] != has_actuals {
                record.insert("hasActuals".into(), has_actuals);
                *version += 1;
            }
        }
    }
}

fn names(layers: Vec<Field>, editable: Vec<Field>) -> impl Strategy<Value = Names> {
    let is_read = move |field: &&Field| !matches!(field, Field::HasPlan | Field::HasActuals) || layers.contains(field);
    let read: Vec<_> =
        Field::ALL.iter().filter(is_read).map(|field| field.key()).chain(["organization", "pemsVersion"]).map(str::to_owned).collect();
    let name = || prop_oneof!["[a-zA-Z_]{0,10}", "\\PC{0,6}", "pfs_[a-f]"];
    // Different ones, also for who does not see capital letters.
    let numbered = |names: Vec<String>| names.into_iter().enumerate().map(|(number, name)| format!("{name}_{number}"));
    let missing = subsequence(editable.clone(), 0..6);
    (vec(name(), 3), vec(name(), read.len()), vec(name(), editable.len() + 2), missing).prop_map(
        move |(grid, read_names, write_names, missing)| {
            let missing: BTreeSet<_> = missing.into_iter().collect();
            let written =
                editable.iter().filter(|field| !missing.contains(field)).map(|field| field.key()).chain(["pfaId", "organization"]);
            Names {
                grid: numbered(grid).collect::<Vec<_>>().try_into().unwrap(),
                read: numbered(read_names).zip(read.clone()).collect(),
                write: written.map(str::to_owned).zip(numbered(write_names)).collect(),
                missing,
            }
        },
    )
}
