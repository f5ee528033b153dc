//! `openapi`.

use super::CommandError;
use super::lines::say;
use crate::http::router;

pub(super) fn run() -> Result<(), CommandError> {
    let document = router::document().to_pretty_json().map_err(|error| CommandError::Incomplete(error.to_string()))?;
    say(&document);
    Ok(())
}
