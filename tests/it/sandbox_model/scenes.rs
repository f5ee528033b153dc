//! Scenes that failed once, made small, and named by what they show.

use super::Stage;
use super::drive::Tally;
use super::scene::{Choose, How, Mode, Operate, Scene, Select, Step, Val};
use Val::{Flag, Number, Text};

fn play(scene: Scene) -> Tally {
    let (stage, mut tally) = (Stage::new(), Tally::new());
    let failure = stage.play(vec![scene], &mut tally);
    stage.close();
    assert_eq!(failure, Ok(()));
    tally
}

/// The second commit is told, undoes the field, and goes through.
#[test]
fn two_planners_meet_on_one_field() {
    play(Scene {
        records: vec![vec![], vec![("isActualized", Flag(true))]],
        steps: vec![
            Step::Edit(0, 0, vec![("dor", Text("BEO")), ("monthlyRate", Number(6088))]),
            Step::Bulk(1, Select::Ids(3), Operate::Set(vec![("monthlyRate", Number(0))]), How::SkipInvalid),
            Step::Commit(0, Mode::Atomic),
            Step::Commit(1, Mode::Atomic),
            Step::Undo(1),
            Step::Commit(1, Mode::Atomic),
        ],
    });
}

#[test]
fn a_shift_beyond_the_years_names_the_date_that_leaves_them() {
    play(Scene {
        records: vec![vec![("isActualized", Flag(true))], vec![("forecastStart", Val::Null)]],
        steps: vec![Step::Bulk(0, Select::Ids(3), Operate::Shift(400_000), How::SkipInvalid)],
    });
}

/// What PEMS overtook was published by two; the decision on the first says what the second says.
#[test]
fn a_decision_that_changes_nothing_for_others_has_no_fields_in_the_history() {
    for choose in [Choose::Mine, Choose::Theirs, Choose::Each(2)] {
        play(Scene {
            records: vec![vec![]],
            steps: vec![
                Step::Edit(0, 0, vec![("equipment", Text("F"))]),
                Step::Commit(0, Mode::Partial),
                Step::Edit(1, 0, vec![("equipment", Text("E"))]),
                Step::Commit(1, Mode::Partial),
                Step::Load(vec![(0, vec![("equipment", Val::Null)])]),
                // The value of the second, chosen for the first.
                Step::Resolve(0, 0, Choose::Each(2)),
                Step::Resolve(0, 2, choose),
            ],
        });
    }
}

/// Of two fields that are published again, somebody else has published one meanwhile.
#[test]
fn the_history_of_a_decision_leaves_out_what_others_have_published_already() {
    play(Scene {
        records: vec![vec![]],
        steps: vec![
            Step::Edit(0, 0, vec![("monthlyRate", Number(100)), ("dor", Text("BEO"))]),
            Step::Commit(0, Mode::Atomic),
            Step::Load(vec![(0, vec![("monthlyRate", Number(0))])]),
            Step::Edit(1, 0, vec![("dor", Text("BEO"))]),
            Step::Commit(1, Mode::Atomic),
            Step::Resolve(0, 0, Choose::Mine),
        ],
    });
}

/// Two have published one field, and PEMS overtook it. The decision on one gives the other its base
/// back: that one is not in conflict any more, and still somebody must say what becomes of it.
#[test]
fn what_a_decision_settles_is_listed_with_all_its_fields() {
    for choose in [Choose::Mine, Choose::Theirs, Choose::Each(3), Choose::Each(4), Choose::Each(9)] {
        let tally = play(Scene {
            records: vec![vec![]],
            steps: vec![
                Step::Edit(1, 0, vec![("monthlyRate", Number(100))]),
                Step::Commit(1, Mode::Partial),
                Step::Edit(0, 0, vec![("monthlyRate", Number(3044)), ("dor", Text("BEO"))]),
                Step::Commit(0, Mode::Partial),
                Step::Load(vec![(0, vec![("monthlyRate", Number(0))])]),
                Step::Resolve(0, 0, Choose::Mine),
                Step::Resolve(0, 0, choose),
            ],
        });
        assert_eq!(tally["writeBack conflict settled"], 1, "{choose:?}");
    }
}

/// A draft is refused, and then somebody publishes the very same value: what the draft changes
/// besides is decided upon, too, and the decision can be undone.
#[test]
fn a_refused_draft_that_others_come_to_agree_with_is_decided_as_a_whole() {
    for choose in [Choose::Mine, Choose::Theirs, Choose::Each(12), Choose::Each(1), Choose::Each(2)] {
        let tally = play(Scene {
            records: vec![vec![]],
            steps: vec![
                Step::Edit(0, 0, vec![("monthlyRate", Number(6088))]),
                Step::Edit(1, 0, vec![("monthlyRate", Number(100)), ("dor", Text("BEO"))]),
                Step::Commit(0, Mode::Atomic),
                Step::Commit(1, Mode::Atomic),
                Step::Edit(2, 0, vec![("monthlyRate", Number(100))]),
                Step::Commit(2, Mode::Atomic),
                Step::Resolve(0, 1, choose),
                Step::Undo(1),
                Step::Redo(1),
                Step::Commit(1, Mode::Atomic),
            ],
        });
        assert_eq!(tally["commit conflict settled"], 1, "{choose:?}");
    }
}

/// As after an edit, what was undone before cannot be redone.
#[test]
fn a_decision_ends_what_could_be_redone() {
    for choose in [Choose::Mine, Choose::Theirs] {
        play(Scene {
            records: vec![vec![], vec![]],
            steps: vec![
                Step::Edit(0, 0, vec![("monthlyRate", Number(6088))]),
                Step::Edit(1, 0, vec![("monthlyRate", Number(100))]),
                Step::Commit(0, Mode::Atomic),
                Step::Commit(1, Mode::Atomic),
                Step::Edit(1, 1, vec![("dor", Text("BEO"))]),
                Step::Undo(1),
                Step::Resolve(0, 1, choose),
                Step::Redo(1),
            ],
        });
    }
}

/// Drafts, refused ones, and a record that others have published on meanwhile.
#[test]
fn a_discarded_sandbox_leaves_nothing_behind() {
    play(Scene {
        records: vec![vec![], vec![], vec![]],
        steps: vec![
            Step::Bulk(1, Select::Ids(7), Operate::Set(vec![("monthlyRate", Number(100))]), How::Atomic),
            Step::Edit(0, 0, vec![("monthlyRate", Number(6088))]),
            Step::Edit(0, 1, vec![("dor", Text("BEO"))]),
            Step::Commit(0, Mode::Atomic),
            Step::Discard(1),
            Step::Bulk(1, Select::Ids(7), Operate::Set(vec![("monthlyRate", Number(100))]), How::Atomic),
            Step::Edit(0, 0, vec![("monthlyRate", Number(0))]),
            Step::Commit(0, Mode::Atomic),
            Step::Commit(1, Mode::Atomic),
            Step::Discard(1),
        ],
    });
}

/// What is undone is not what was refused: together with what others have published, the rest still
/// ends before it starts.
#[test]
fn an_undo_that_leaves_a_rule_broken_leaves_the_conflict() {
    let tally = play(Scene {
        records: vec![vec![]],
        steps: vec![
            Step::Edit(1, 0, vec![("forecastEnd", Text("2025-03-01"))]),
            Step::Edit(1, 0, vec![("dor", Text("BEO"))]),
            Step::Edit(0, 0, vec![("forecastStart", Text("2025-04-01"))]),
            Step::Commit(0, Mode::Atomic),
            Step::Commit(1, Mode::Atomic),
            Step::Undo(1),
            Step::Redo(1),
            Step::Resolve(0, 1, Choose::Theirs),
        ],
    });
    assert_eq!((tally["conflict of rules"], tally["commit conflict draft"]), (1, 1));
}

/// Published again, a change lies on top of what others have published while it waited.
#[test]
fn a_change_that_is_published_again_is_the_newest() {
    play(Scene {
        records: vec![vec![]],
        steps: vec![
            Step::Edit(0, 0, vec![("monthlyRate", Number(100))]),
            Step::Commit(0, Mode::Atomic),
            Step::Load(vec![(0, vec![("monthlyRate", Number(0))])]),
            Step::Edit(1, 0, vec![("monthlyRate", Number(6088))]),
            Step::Commit(1, Mode::Atomic),
            Step::Resolve(0, 0, Choose::Mine),
        ],
    });
}
