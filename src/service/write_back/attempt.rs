//! One attempt at one change: read the record, compare, write what differs, read it again.

use super::WriteBackOptions;
use super::claim::Claim;
use super::settle::{Compared, Current, Settled};
use crate::domain::record::canonicalise;
use crate::error::Result;
use crate::pems::{Head, PemsClient, PemsError};
use crate::service::PfaMirrorService;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Where an attempt is made.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub service: PfaMirrorService,
    pub pems: PemsClient,
    pub head: Arc<Head>,
    pub options: WriteBackOptions,
    pub organization: String,
    pub run: Uuid,
    /// Ends attempts where nothing is under way.
    pub halt: CancellationToken,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// PEMS has the change now.
    Written,
    /// PEMS had it already.
    Found,
    /// PEMS has another change of the same; a person decides.
    Conflict(String),
    /// It was given up; a person retries or drops it.
    Failed(String),
    /// It will be tried again.
    Waits(String),
    /// PEMS as a whole cannot be used now: nobody's attempt is worth anything.
    Away(PemsError),
    /// Somebody else has it.
    Lost,
}

/// Why an attempt does not go on.
enum Setback {
    Final(String),
    Passing(String),
    /// PEMS may still do what it was asked.
    Uncertain(String),
    Away(PemsError),
    /// Others were told that PEMS is away, or the service stops.
    Halted,
}

impl From<PemsError> for Setback {
    fn from(error: PemsError) -> Self {
        match error {
            PemsError::Unreachable(_) | PemsError::Resting | PemsError::TooManyRequests { .. } | PemsError::Unauthorized => {
                Self::Away(error)
            }
            error if error.is_passing() => Self::Passing(error.to_string()),
            error => Self::Final(error.to_string()),
        }
    }
}

impl Attempt {
    /// Brings a change to PEMS, and the claim to its end whatever comes of it; none when it was halted
    /// before anything came of it.
    ///
    /// # Errors
    /// When the database fails; the claim's lease runs out.
    pub async fn bring(self, claim: Claim) -> Result<(Claim, Option<Outcome>)> {
        let outcome = match self.try_to_bring(&claim).await? {
            Ok(outcome) => Some(outcome),
            Err(setback) => self.take_setback(&claim, setback).await?,
        };
        Ok((claim, outcome))
    }

    async fn try_to_bring(&self, claim: &Claim) -> Result<Result<Outcome, Setback>> {
        if let Err(error) = self.pems.check_fields(&claim.delta) {
            return Ok(Err(error.into()));
        }
        let (before, fields) = loop {
            let current = match self.read(claim).await {
                Ok(current) => current,
                Err(setback) => return Ok(Err(setback)),
            };
            match self.service.compare_change(&self.organization, self.run, claim, &current, self.options.lease).await? {
                // The comparison waits while a load or a commit holds the organization; then PEMS is asked again.
                Compared::Write(_) if current.answered_at.elapsed() > self.options.oldest_reading => {}
                Compared::Write(fields) => break (current, fields),
                Compared::Arrived => return Ok(Ok(Outcome::Found)),
                Compared::Conflict(problem) => return Ok(Ok(Outcome::Conflict(problem))),
                Compared::Lost => return Ok(Ok(Outcome::Lost)),
            }
        };
        // What is asked now is waited for: given up, PEMS could still do it, over a later change.
        match self.pems.update_record(&self.organization, &claim.pfa_id, &fields).await {
            Ok(()) => {}
            Err(error @ (PemsError::TimedOut(_) | PemsError::Cut(_))) => return Ok(Err(Setback::Uncertain(error.to_string()))),
            Err(error) => return Ok(Err(error.into())),
        }
        let now = match self.read(claim).await {
            Ok(current) => current,
            Err(setback) => return Ok(Err(setback)),
        };
        Ok(match self.service.settle_change(&self.organization, self.run, claim, &fields, &before, &now).await? {
            Settled::Arrived => Ok(Outcome::Written),
            Settled::NotKept(error) => Err(Setback::Passing(error)),
            Settled::Lost => Ok(Outcome::Lost),
        })
    }

    /// The record as PEMS has it at this moment.
    async fn read(&self, claim: &Claim) -> Result<Current, Setback> {
        let reading = self.pems.read_record(&self.organization, &self.head, &claim.pfa_id);
        let read = self.halt.run_until_cancelled(reading).await.ok_or(Setback::Halted)??;
        let record = read.ok_or_else(|| Setback::Final("PEMS does not have this record (any more)".into()))?;
        if record.organization.as_ref().is_some_and(|owner| *owner != self.organization) {
            return Err(Setback::Final("in PEMS this record belongs to another organization".into()));
        }
        let (canonical, findings) =
            canonicalise(record.data).map_err(|error| Setback::Passing(format!("PEMS has an unreadable record: {error}")))?;
        // Null stands for what cannot be read. Where it did so before, the change repairs it; else to compare with it would be a guess.
        let was_readable = |field: &str| claim.base.get(field).is_some_and(|base| !base.is_null());
        if let Some(finding) = findings.iter().find(|finding| was_readable(&finding.field)) {
            return Err(Setback::Passing(format!("PEMS has an unreadable value in {}: {}", finding.field, finding.problem)));
        }
        let unreadable = findings.into_iter().map(|finding| finding.field).collect();
        Ok(Current { record: canonical, unreadable, stamp: record.stamp, answered_at: Instant::now() })
    }

    async fn take_setback(&self, claim: &Claim, setback: Setback) -> Result<Option<Outcome>> {
        let pause = self.options.pause_after(claim.attempts);
        match setback {
            Setback::Final(error) => self.give_up(claim, error).await.map(Some),
            Setback::Passing(error) => self.wait_or_give_up(claim, error, pause).await.map(Some),
            Setback::Uncertain(error) => self.wait_or_give_up(claim, error, pause.max(self.options.late_pause)).await.map(Some),
            Setback::Away(error) => {
                let pause = error.retry_after().unwrap_or(self.options.away_pause);
                self.give_back(claim, &error.to_string(), pause).await?;
                Ok(Some(Outcome::Away(error)))
            }
            Setback::Halted => {
                self.give_back(claim, "the attempt was stopped", Duration::ZERO).await?;
                Ok(None)
            }
        }
    }

    async fn wait_or_give_up(&self, claim: &Claim, error: String, pause: Duration) -> Result<Outcome> {
        if claim.attempts >= self.options.most_attempts {
            return self.give_up(claim, format!("{error} (after {} attempts)", claim.attempts)).await;
        }
        self.service.release_change(&self.organization, self.run, claim, &error, pause, true).await?;
        Ok(Outcome::Waits(error))
    }

    async fn give_up(&self, claim: &Claim, error: String) -> Result<Outcome> {
        self.service.fail_change(&self.organization, self.run, claim, &error).await?;
        Ok(Outcome::Failed(error))
    }

    /// Gives a change back that was not at fault.
    async fn give_back(&self, claim: &Claim, why: &str, pause: Duration) -> Result<()> {
        self.service.release_change(&self.organization, self.run, claim, why, pause, false).await
    }
}
