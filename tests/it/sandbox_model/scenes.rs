//! Scenes that failed once, made small, and named by what they show.

use super::Stage;
use super::scene::{Choose, How, Mode, Operate, Scene, Select, Step, Val};
use Val::{Flag, Number, Text};

fn play(scene: Scene) {
    let stage = Stage::new();
    let failure = stage.play(vec![scene], &mut super::Tally::new());
    stage.close();
    assert_eq!(failure, Ok(()));
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

/// What PEMS overtook was published by two; the first decision leaves nothing to decide for the second.
#[test]
fn a_decision_that_changes_nothing_for_others_has_no_fields_in_the_history() {
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
            Step::Resolve(0, 2, Choose::Each(2)),
        ],
    });
}
