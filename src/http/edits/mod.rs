//! Editing a sandbox: `PATCH` and `DELETE …/records/{pfaId}`, `POST …/edits`, `undo`, `redo`.

mod bulk;
mod record;
mod steps;

pub(super) use bulk::{__path_edit_records, edit_records};
pub use bulk::{EditBody, EditsAnswer, KpiDifference, OperationBody, SelectBody};
pub use record::PatchBody;
pub(super) use record::{__path_drop_draft, __path_edit_record, drop_draft, edit_record};
pub(super) use steps::{__path_redo_step, __path_undo_step, redo_step, undo_step};
pub use steps::{StepAnswer, StepDetails};
