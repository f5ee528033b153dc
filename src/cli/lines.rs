//! What commands print for people and scripts, on standard output.

use std::io::Write as _;

/// Prints a line. A reader that has gone away is no error of ours.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
