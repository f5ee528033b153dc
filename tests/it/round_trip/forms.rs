//! PEMS writes the same value now so and now so: what means the same moves nothing.

use super::records::{self, Edit, Raw, forms};
use super::{Scene, edit, prove, valid};
use crate::support::circuit::Circuit;
use crate::support::pems::TestPems;
use pfa_vanguard::domain::field::{Field, Kind};
use pfa_vanguard::fake_pems::{Fault, Records};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rust_decimal::Decimal;
use serde_json::{Value, json};

#[test]
fn other_words_for_the_same_move_nothing() {
    let fault = prop::option::weighted(0.5, 0..30_u64);
    prove(8, &(records::records(Vec::new()), vec((any::<Index>(), edit()), 2..10), vec(any::<Index>(), 97), fault), &check);
}

async fn check(circuit: &mut Circuit, (raw, edits, choices, fault): (Vec<Raw>, Vec<(Index, Edit)>, Vec<Index>, Option<u64>)) {
    circuit.pems = TestPems::start().await;
    let mut scene = Scene::begin(circuit, raw).await;
    // Whoever reads finds other words than the one before.
    let (organization, mut choices) = (circuit.organization.clone(), choices.into_iter().cycle());
    circuit.pems.pems.before_requests(move |request, records| {
        if !request.is_write {
            say_otherwise(records, &organization, &mut choices);
        }
    });
    for (record, edit) in edits {
        let record = record.index(scene.raw.len());
        let edit = valid(&scene.published[record], edit);
        let sandbox = circuit.planner("ana").open().await;
        scene.edit(&sandbox, record, &edit).await;
        scene.commit(&sandbox, record, &edit).await;
    }
    circuit.read().await.unwrap();
    scene.assert_published(circuit).await;
    // Sometimes an answer is lost, and the next attempt finds what was written in other words.
    if let Some(number) = fault {
        circuit.pems.pems.fail_request(circuit.pems.pems.requests().len() as u64 + number, Fault::CutBody);
    }
    circuit.write_until_done().await;
    let states = circuit.states().await;
    assert!(states.iter().all(|(state, _, _)| state == "synced"), "{states:?}");
    // With a lost answer, writings beside it are broken off, and one of them may be repeated before PEMS came to it.
    let most = if fault.is_some() { scene.changes + circuit.options.at_once } else { scene.changes };
    assert!(states.len() == scene.changes && (scene.changes..=most).contains(&circuit.writes()), "each change is written once");
    scene.assert_published(circuit).await;
    scene.assert_at_rest(circuit).await;
}

/// Replaces every text of the organization's records by another one that means the same.
fn say_otherwise(records: &mut Records, organization: &str, choices: &mut impl Iterator<Item = Index>) {
    let all: Vec<_> = records.of(organization).map(|(id, record)| (id.to_owned(), record.texts.clone())).collect();
    for (id, mut texts) in all {
        for (field, text) in &mut texts {
            let forms = forms(*field, &meaning(*field, text));
            let pad = choices.next().unwrap().get(&["", " ", "  ", "\t", "\u{a0}"]);
            *text = format!("{}{pad}", forms[choices.next().unwrap().index(forms.len())]);
        }
        records.set(organization, &id, texts, "PEMS");
    }
}

/// What a text of these forms means.
fn meaning(field: Field, text: &str) -> Value {
    let text = text.trim();
    match field.kind() {
        Kind::Text(_) | Kind::Date if text.is_empty() => Value::Null,
        Kind::Text(_) => json!(text),
        Kind::Date => json!(text[..10]),
        Kind::Word(words) => json!(words.iter().find(|word| word.eq_ignore_ascii_case(text)).unwrap_or(&words[0])),
        Kind::Flag => json!(["y", "yes", "true", "1"].contains(&text.to_lowercase().as_str())),
        Kind::Amount if text.is_empty() => json!(0),
        Kind::Amount => serde_json::from_str(&text.parse::<Decimal>().unwrap().normalize().to_string()).unwrap(),
    }
}
