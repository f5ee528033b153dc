//! Random scenes: few records, few values and three sandboxes of two users, so that changes meet.

use super::scene::{Choose, Entries, How, Mode, Operate, Scene, Select, Step, Val, values};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Fields that edits set; those that stand more than once meet more often.
const EDITED: [&str; 16] = [
    "forecastStart",
    "forecastStart",
    "forecastEnd",
    "forecastEnd",
    "dor",
    "dor",
    "monthlyRate",
    "monthlyRate",
    "category",
    "source",
    "purchasePrice",
    "equipment",
    "isActualized",
    "isDiscontinued",
    "actualStart",
    "actualEnd",
];
/// Fields that PEMS changes.
const LOADED: [&str; 13] = [
    "forecastStart",
    "forecastEnd",
    "forecastEnd",
    "dor",
    "dor",
    "monthlyRate",
    "monthlyRate",
    "category",
    "isActualized",
    "isDiscontinued",
    "originalStart",
    "originalEnd",
    "extra",
];

pub fn scene() -> impl Strategy<Value = Scene> {
    let records = vec(prop_oneof![1 => Just(Entries::new()), 2 => entries(&LOADED, 4)], 3..6);
    (records, vec(step(), 8..16)).prop_map(|(records, steps)| Scene { records, steps })
}

fn entry(fields: &'static [&'static str]) -> impl Strategy<Value = (&'static str, Val)> {
    select(fields).prop_flat_map(|field| (Just(field), select(values(field))))
}

/// Each field once; the last value counts.
fn entries(fields: &'static [&'static str], most: usize) -> impl Strategy<Value = Entries> {
    vec(entry(fields), 1..=most).prop_map(|entries| {
        let mut kept = Entries::new();
        for (field, value) in entries {
            kept.retain(|(other, _)| *other != field);
            kept.push((field, value));
        }
        kept
    })
}

fn step() -> impl Strategy<Value = Step> {
    let (session, record) = (0..3_usize, 0..6_usize);
    let days = || prop_oneof![6 => select(&[0, 1, 28, 31, -28, -31][..]), 1 => select(&[400_000, -400_000][..])];
    let operate = prop_oneof![
        3 => entries(&EDITED, 3).prop_map(Operate::Set),
        2 => days().prop_map(Operate::Shift),
        1 => select(&[0, 28, 59, 400_000][..]).prop_map(Operate::Duration),
        1 => Just(Operate::Reset),
    ];
    let selected = prop_oneof![2 => any::<u8>().prop_map(Select::Ids), 1 => (0..7_usize).prop_map(Select::Where)];
    let how = prop_oneof![4 => Just(How::SkipInvalid), 1 => Just(How::Atomic), 1 => Just(How::Preview)];
    let mode = prop_oneof![3 => Just(Mode::Atomic), 3 => Just(Mode::Partial), 1 => Just(Mode::DryRun)];
    let choose = prop_oneof![2 => Just(Choose::Mine), 1 => Just(Choose::Theirs), 3 => any::<u16>().prop_map(Choose::Each)];
    let loads = vec((0..7_usize, entries(&LOADED, 2)), 1..3);
    prop_oneof![
        16 => (session.clone(), record.clone(), entries(&EDITED, 3)).prop_map(|(s, r, e)| Step::Edit(s, r, e)),
        4 => (session.clone(), record.clone(), any::<bool>()).prop_map(|(s, r, is_whole)| Step::EditBack(s, r, is_whole)),
        8 => (session.clone(), selected, operate, how).prop_map(|(s, selected, o, how)| Step::Bulk(s, selected, o, how)),
        2 => (session.clone(), record).prop_map(|(s, r)| Step::Drop(s, r)),
        5 => session.clone().prop_map(Step::Undo),
        3 => session.clone().prop_map(Step::Redo),
        9 => (session.clone(), mode).prop_map(|(s, mode)| Step::Commit(s, mode)),
        1 => session.prop_map(Step::Discard),
        8 => loads.prop_map(Step::Load),
        9 => (0..6_usize, 0..2_usize, choose).prop_map(|(c, user, choose)| Step::Resolve(c, user, choose)),
        1 => Just(Step::Refresh),
    ]
}
