//! Write-back: accepted changes on their way to PEMS.
//!
//! One process at a time has an organization's turn. Changes are claimed in the order of their
//! commits, one a record. Each is compared with what PEMS has at that moment, field by field; what
//! differs is written and read again; and what came of it is one transaction. A process that ends on
//! the way leaves a claim whose lease runs out, and whoever takes it next reads PEMS first: what was
//! written already is found there.
//!
//! PEMS has no conditional writing. Between reading and writing lies a moment, with the turn in the
//! rate limit usually below half a second, in which somebody's change of the same field in PEMS is not
//! seen; nothing outside PEMS can close it.

mod attempt;
mod claim;
mod dead_letters;
mod pause;
mod rota;
mod settle;
mod turn;

pub use dead_letters::{DeadLetter, DeadLetterFilter, RetriedLetters};
pub use pause::WriteBackState;
pub use turn::WriteTurn;

use crate::service::sync::runs::RunType;
use std::time::Duration;

/// How the write-back behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteBackOptions {
    /// How long a claim holds without a sign of life. Longer than any single request to PEMS may take.
    pub lease: Duration,
    /// So often a change is tried before it is given up.
    pub most_attempts: u32,
    /// The pause after the first attempt that failed; it doubles with each.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// The pause after PEMS as a whole could not be used, unless it says when to come again.
    pub away_pause: Duration,
    /// The pause after a writing whose answer did not come: it may still be done so long.
    pub late_pause: Duration,
    /// A record that was read longer ago is read again before it is written.
    pub oldest_reading: Duration,
    /// Changes of one organization that are under way at once.
    pub at_once: usize,
    /// After so long an organization lets others have their turn.
    pub turn: Duration,
}

impl Default for WriteBackOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_mins(3),
            most_attempts: 12,
            first_pause: Duration::from_secs(10),
            longest_pause: Duration::from_mins(15),
            away_pause: Duration::from_secs(30),
            late_pause: Duration::from_secs(30),
            oldest_reading: Duration::from_secs(1),
            at_once: 4,
            turn: Duration::from_mins(1),
        }
    }
}

impl WriteBackOptions {
    /// How long a change waits after so many attempts, before jitter.
    fn pause_after(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause)
    }
}

/// What is written back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteScope {
    /// What is due.
    Due,
    /// Everything that is committed, also what waits for its next attempt.
    Everything,
    /// Everything committed on these records.
    Records(Vec<String>),
}

impl WriteScope {
    const fn run_type(&self) -> RunType {
        match self {
            Self::Due => RunType::Incremental,
            Self::Everything => RunType::Full,
            Self::Records(_) => RunType::Manual,
        }
    }

    const fn ignores_pauses(&self) -> bool {
        !matches!(self, Self::Due)
    }

    fn records(&self) -> &[String] {
        match self {
            Self::Records(ids) => ids,
            _ => &[],
        }
    }
}

/// A turn that is wanted.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    /// Code of the organization.
    pub organization: String,
    /// What is written back.
    pub scope: WriteScope,
    /// Who wants it; nobody for the schedule.
    pub requested_by: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let options = WriteBackOptions::default();
        let seconds: Vec<_> = [0, 1, 2, 3, 7, 8, 100].map(|attempts| options.pause_after(attempts).as_secs()).into();
        assert_eq!(seconds, [10, 10, 20, 40, 640, 900, 900]);
    }
}
