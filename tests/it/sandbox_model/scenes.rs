//! Scenes that failed once, made small, and named by what they show.

use super::Stage;
use super::scene::{How, Mode, Operate, Scene, Select, Step, Val};
use Val::{Flag, Number, Text};

fn play(scene: Scene) {
    let stage = Stage::new();
    let failure = stage.play(vec![scene]);
    stage.close();
    assert_eq!(failure, None);
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
