//! Random scenes: few records, few fields, few values and three sandboxes of two users, so that
//! changes meet.

use super::scene::{Choose, Entries, How, Mode, Operate, Scene, Select, Step, Val, values};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// What a scene is about is drawn from these.
const FIELDS: [&str; 12] = [
    "forecastStart",
    "forecastEnd",
    "dor",
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
/// What only PEMS changes.
const LOADED: [&str; 3] = ["originalStart", "originalEnd", "extra"];

type Fields = Vec<&'static str>;

/// Fields with three values and more, over which conflicts arise.
const CONTESTED: [&str; 7] = ["forecastStart", "forecastEnd", "actualEnd", "monthlyRate", "purchasePrice", "category", "equipment"];

/// Each scene has a few fields of its own that everybody changes; some steps come as a plot that
/// leads to a conflict, unless the steps before stand in its way.
pub fn scene() -> impl Strategy<Value = Scene> {
    vec(select(&FIELDS[..]), 1..4).prop_flat_map(|fields| {
        let records = vec(prop_oneof![1 => Just(Entries::new()), 1 => entries(FIELDS.to_vec(), 4)], 2..5);
        let single = || step(fields.clone()).prop_map(|step| vec![step]);
        let part = prop_oneof![6 => single(), 1 => meeting(), 1 => overtaking(), 1 => squeezing(), 1 => regretting(fields.clone())];
        (records, vec(edit(fields.clone()), 1..3), vec(part, 3..8)).prop_map(|(records, mut steps, parts)| {
            steps.extend(parts.into_iter().flatten());
            steps.truncate(14);
            Scene { records, steps }
        })
    })
}

/// A field with its values in any order.
fn contest() -> impl Strategy<Value = (&'static str, Vec<Val>)> {
    select(&CONTESTED[..]).prop_flat_map(|field| (Just(field), Just(values(field)).prop_shuffle()))
}

/// Two sandboxes change one field; the second commit is told, and decides, agrees or gives way, or a
/// third one agrees with it first.
fn meeting() -> impl Strategy<Value = Vec<Step>> {
    (sandbox(), record(), contest(), prop::option::of(entry(FIELDS.to_vec())), mode(), choose(), 0..12_usize).prop_map(
        |(first, row, (field, values), other, mode, choose, end)| {
            let (second, third) = ((first + 1) % 3, (first + 2) % 3);
            let more = other.into_iter().filter(|(key, _)| *key != field);
            let end = match end {
                0 => vec![Step::Edit(second, row, vec![(field, values[0])])],
                1 => vec![Step::Undo(second)],
                2 => vec![Step::Drop(second, row)],
                3..6 => vec![
                    Step::Edit(third, row, vec![(field, values[1])]),
                    Step::Commit(third, Mode::Partial),
                    Step::Resolve(0, second, choose),
                ],
                // What was undone before a decision cannot be redone after it.
                6 => vec![
                    Step::Edit(second, row + 1, vec![(field, values[0])]),
                    Step::Undo(second),
                    Step::Resolve(0, second, choose),
                    Step::Redo(second),
                ],
                _ => vec![Step::Resolve(0, second, choose)],
            };
            let meet = vec![
                Step::Edit(first, row, vec![(field, values[0])]),
                Step::Edit(second, row, [(field, values[1])].into_iter().chain(more).collect()),
                Step::Commit(first, Mode::Partial),
                Step::Commit(second, mode),
            ];
            [meet, end].concat()
        },
    )
}

/// PEMS changes what one or two sandboxes have published; the decision on one may settle the other's
/// conflict. Or a second one publishes before the decision, and then lies below it.
fn overtaking() -> impl Strategy<Value = Vec<Step>> {
    (sandbox(), record(), contest(), entry(FIELDS.to_vec()), 0..3_usize, [choose(), choose()]).prop_map(
        |(first, row, (field, values), other, turn, [one, next])| {
            let second = [Step::Edit(first + 1, row, vec![(field, values[1])]), Step::Commit(first + 1, Mode::Partial)];
            let mut steps = vec![Step::Edit(first, row, vec![(field, values[0]), other]), Step::Commit(first, Mode::Partial)];
            if turn == 0 {
                steps.extend(second.clone());
                // Nothing that they have published: both stand.
                steps.push(Step::Load(vec![(row, vec![("extra", Val::Number(2))])]));
            }
            steps.push(Step::Load(vec![(row, vec![(field, values[2])])]));
            if turn == 1 {
                steps.extend(second);
            }
            steps.push(Step::Resolve(0, first, one));
            if turn == 0 {
                steps.push(Step::Resolve(0, first, next));
            }
            steps
        },
    )
}

/// Two sandboxes change fields that a rule binds together; the second one decides, or takes back
/// something else.
fn squeezing() -> impl Strategy<Value = Vec<Step>> {
    let dates = |ends: [&'static str; 2]| {
        (select(values(ends[0])), select(values(ends[1]))).prop_map(move |(start, end)| [(ends[0], start), (ends[1], end)])
    };
    let freeze = select(values("forecastEnd")).prop_map(|end| [("isActualized", Val::Flag(true)), ("forecastEnd", end)]);
    let pair = prop_oneof![dates(["forecastStart", "forecastEnd"]), dates(["actualStart", "actualEnd"]), freeze];
    (sandbox(), record(), pair, mode(), choose(), 0..4_usize).prop_map(|(first, row, [one, other], mode, choose, end)| {
        let second = (first + 1) % 3;
        let mut steps = vec![Step::Edit(first, row, vec![one]), Step::Edit(second, row, vec![other])];
        if end == 0 {
            steps.push(Step::Edit(second, row, vec![("dor", Val::Text("BEO")), ("monthlyRate", Val::Number(0))]));
        }
        steps.extend([Step::Commit(first, Mode::Partial), Step::Commit(second, mode)]);
        steps.push(if end == 0 { Step::Undo(second) } else { Step::Resolve(0, second, choose) });
        steps
    })
}

/// Edits of one sandbox, back and forth.
fn regretting(fields: Fields) -> impl Strategy<Value = Vec<Step>> {
    (sandbox(), vec(edit(fields.clone()), 1..4), vec(0..8_usize, 2..6), entries(fields, 2)).prop_map(|(sandbox, edits, moves, entries)| {
        let edits = edits.into_iter().map(|edit| match edit {
            Step::Bulk(_, selected, operate, how) => Step::Bulk(sandbox, selected, operate, how),
            Step::Edit(_, row, entries) => Step::Edit(sandbox, row, entries),
            other => other,
        });
        let moves = moves.into_iter().map(|step| match step {
            0..4 => Step::Undo(sandbox),
            4..6 => Step::Redo(sandbox),
            6 => Step::Drop(sandbox, 0),
            _ => Step::Edit(sandbox, 0, entries.clone()),
        });
        edits.chain(moves).collect()
    })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![3 => Just(Mode::Atomic), 3 => Just(Mode::Partial), 1 => Just(Mode::DryRun)]
}

fn choose() -> impl Strategy<Value = Choose> {
    prop_oneof![2 => Just(Choose::Mine), 1 => Just(Choose::Theirs), 3 => any::<u16>().prop_map(Choose::Each)]
}

fn sandbox() -> impl Strategy<Value = usize> {
    select(&[0, 0, 1, 1, 2][..])
}

fn record() -> impl Strategy<Value = usize> {
    select(&[0, 0, 0, 1, 1, 2, 3, 4][..])
}

fn edit(fields: Fields) -> impl Strategy<Value = Step> {
    let single = (sandbox(), record(), entries(fields.clone(), 3)).prop_map(|(s, r, e)| Step::Edit(s, r, e));
    let many = (sandbox(), any::<u8>(), entries(fields, 2))
        .prop_map(|(s, ids, e)| Step::Bulk(s, Select::Ids(ids), Operate::Set(e), How::SkipInvalid));
    prop_oneof![2 => single, 1 => many]
}

fn entry(fields: Fields) -> impl Strategy<Value = (&'static str, Val)> {
    select(fields).prop_flat_map(|field| (Just(field), select(values(field))))
}

/// Each field once; the last value counts.
fn entries(fields: Fields, most: usize) -> impl Strategy<Value = Entries> {
    vec(entry(fields), 1..=most).prop_map(|entries| {
        let mut kept = Entries::new();
        for (field, value) in entries {
            kept.retain(|(other, _)| *other != field);
            kept.push((field, value));
        }
        kept
    })
}

fn step(fields: Fields) -> impl Strategy<Value = Step> {
    let days = prop_oneof![6 => select(&[0, 1, 28, 31, -28, -31][..]), 1 => select(&[400_000, -400_000][..])];
    let operate = prop_oneof![
        4 => entries(fields.clone(), 3).prop_map(Operate::Set),
        2 => days.prop_map(Operate::Shift),
        1 => select(&[0, 28, 59, 400_000][..]).prop_map(Operate::Duration),
        1 => Just(Operate::Reset),
    ];
    let selected = prop_oneof![2 => any::<u8>().prop_map(Select::Ids), 1 => (0..7_usize).prop_map(Select::Where)];
    let how = prop_oneof![4 => Just(How::SkipInvalid), 2 => Just(How::Atomic), 1 => Just(How::Preview)];
    let loaded = fields.iter().chain(&fields).chain(&LOADED).copied().collect();
    let loads = vec((prop_oneof![4 => record(), 1 => 0..7_usize], entries(loaded, 2)), 1..3);
    prop_oneof![
        14 => edit(fields),
        4 => (sandbox(), record(), any::<bool>()).prop_map(|(s, r, is_whole)| Step::EditBack(s, r, is_whole)),
        8 => (sandbox(), selected, operate, how).prop_map(|(s, selected, o, how)| Step::Bulk(s, selected, o, how)),
        2 => (sandbox(), record()).prop_map(|(s, r)| Step::Drop(s, r)),
        5 => sandbox().prop_map(Step::Undo),
        3 => sandbox().prop_map(Step::Redo),
        12 => (sandbox(), mode()).prop_map(|(s, mode)| Step::Commit(s, mode)),
        3 => sandbox().prop_map(Step::Discard),
        7 => loads.prop_map(Step::Load),
        12 => (0..6_usize, 0..2_usize, choose()).prop_map(|(c, user, choose)| Step::Resolve(c, user, choose)),
        1 => Just(Step::Refresh),
    ]
}
