//! Faults that requests can meet.

use serde::Deserialize;
use std::collections::BTreeMap;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Fault {
    /// Status 500 without an envelope.
    Status500,
    /// Status 429 with Retry-After.
    TooManyRequests {
        /// When to come again.
        seconds: u64,
    },
    /// The work is done, but the answer takes so long.
    Hang {
        /// How long.
        seconds: u64,
    },
    /// The work is done, but the connection ends in the middle of the answer.
    CutBody,
    /// An error in the envelope with status 200; nothing is done.
    ErrorEnvelope,
    /// The rows of the page before, told as this one.
    DuplicatePage,
    /// Half of the rows, told as the last page.
    TruncatedPage,
    /// A date that is none.
    MalformedValue,
    /// The credentials are refused.
    Unauthorized,
}

impl Fault {
    /// One of each kind that a full read can meet.
    pub const ALL: [Self; 9] = [
        Self::Status500,
        Self::TooManyRequests { seconds: 0 },
        Self::Hang { seconds: 3 },
        Self::CutBody,
        Self::ErrorEnvelope,
        Self::DuplicatePage,
        Self::TruncatedPage,
        Self::MalformedValue,
        Self::Unauthorized,
    ];
}

/// Which request meets which fault.
#[derive(Debug, Default)]
pub(super) struct FaultPlan {
    planned: BTreeMap<u64, Fault>,
    always: Option<Fault>,
}

impl FaultPlan {
    pub fn at(&mut self, number: u64, fault: Fault) {
        self.planned.insert(number, fault);
    }

    pub fn always(&mut self, fault: Fault) {
        self.always = Some(fault);
    }

    pub fn of(&self, number: u64) -> Option<Fault> {
        self.planned.get(&number).copied().or(self.always)
    }
}
