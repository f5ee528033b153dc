//! Calls of two services on one database that meet: whatever the moment, they end as they do one
//! after the other.

mod arena;
mod dice;
mod locks;
mod random;
mod scenes;
mod serial;

use serde_json::Value;
use serial::{Call, World};

/// The orders of the calls that, one after the other, give these answers and this state; each with
/// the world after it.
fn explain(before: &World, calls: &[Call], answers: &[Value], seen: &Value) -> Vec<(Vec<usize>, World)> {
    let is_so = |order: Vec<usize>| {
        let mut world = before.clone();
        let fits = order.iter().all(|&index| world.apply(&calls[index]) == answers[index]);
        (fits && world.observation() == *seen).then_some((order, world))
    };
    orders(calls.len()).into_iter().filter_map(is_so).collect()
}

/// Every order of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    (0..count).rev().flat_map(|place| shorter.iter().map(move |order| [&order[..place], &[count - 1], &order[place..]].concat())).collect()
}

/// Why nothing explains what happened, for people.
fn unexplained(before: &World, calls: &[Call], answers: &[Value], seen: &Value) -> String {
    let mut lines = vec![format!("before: {:#}", before.observation()), format!("after: {seen:#}")];
    lines.extend(calls.iter().zip(answers).map(|(call, answer)| format!("{call:?}\n  answered {answer}")));
    lines.extend(orders(calls.len()).into_iter().map(|order| {
        let mut world = before.clone();
        let expected: Vec<_> = order.iter().map(|&index| world.apply(&calls[index]).to_string()).collect();
        let is_same = world.observation() == *seen;
        format!("in the order {order:?} the answers are {expected:?}, the state is {}", if is_same { "this" } else { "another" })
    }));
    lines.join("\n")
}

#[test]
fn all_orders_are_tried() {
    assert_eq!(orders(2), [[0, 1], [1, 0]]);
    assert_eq!(orders(3).into_iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
}
