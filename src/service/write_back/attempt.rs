//! One attempt at one change: read the record, compare, write what differs, read it again.

use super::WriteBackOptions;
use super::claim::Claim;
use super::settle::{Compared, Current, Settled};
use crate::domain::record::canonicalise;
use crate::error::Result;
use crate::pems::{Head, PemsClient, PemsError};
use crate::service::PfaMirrorService;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
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
    Away(PemsError),
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
    /// Brings a change to PEMS, and the claim to its end whatever comes of it.
    ///
    /// # Errors
    /// When the database fails; the claim's lease runs out.
    pub async fn bring(&self, claim: &Claim) -> Result<Outcome> {
        match self.try_to_bring(claim).await? {
            Ok(outcome) => Ok(outcome),
            Err(setback) => self.take_setback(claim, setback).await,
        }
    }

    /// The same, unless it is halted on the way; then the change is given back.
    ///
    /// # Errors
    /// As [`Attempt::bring`].
    pub async fn bring_unless_halted(self, claim: Claim, halt: CancellationToken) -> Result<(Claim, Option<Outcome>)> {
        let outcome = halt.run_until_cancelled(self.bring(&claim)).await.transpose()?;
        if outcome.is_none() {
            self.give_back(&claim, "the attempt was stopped", Duration::ZERO).await?;
        }
        Ok((claim, outcome))
    }

    async fn try_to_bring(&self, claim: &Claim) -> Result<Result<Outcome, Setback>> {
        if let Err(error) = self.pems.check_fields(&claim.delta) {
            return Ok(Err(error.into()));
        }
        let before = match self.read(claim).await {
            Ok(current) => current,
            Err(setback) => return Ok(Err(setback)),
        };
        let compared = self.service.compare_change(&self.organization, self.run, claim, &before, self.options.lease).await?;
        let fields = match compared {
            Compared::Write(fields) => fields,
            Compared::Arrived => return Ok(Ok(Outcome::Found)),
            Compared::Conflict(problem) => return Ok(Ok(Outcome::Conflict(problem))),
            Compared::Lost => return Ok(Ok(Outcome::Lost)),
        };
        if let Err(error) = self.pems.update_record(&self.organization, &claim.pfa_id, &fields).await {
            return Ok(Err(error.into()));
        }
        let now = match self.read(claim).await {
            Ok(current) => current,
            Err(setback) => return Ok(Err(setback)),
        };
        Ok(Ok(match self.service.settle_change(&self.organization, self.run, claim, &fields, &before, &now).await? {
            Settled::Arrived => Outcome::Written,
            Settled::NotKept(error) => Outcome::Failed(error),
            Settled::Lost => Outcome::Lost,
        }))
    }

    /// The record as PEMS has it at this moment.
    async fn read(&self, claim: &Claim) -> Result<Current, Setback> {
        let read = self.pems.read_record(&self.organization, &self.head, &claim.pfa_id).await?;
        let record = read.ok_or_else(|| Setback::Final("PEMS does not have this record (any more)".into()))?;
        if record.organization.as_ref().is_some_and(|owner| *owner != self.organization) {
            return Err(Setback::Final("in PEMS this record belongs to another organization".into()));
        }
        let is_asked_for = record.data.get("pfaId").and_then(Value::as_str) == Some(&claim.pfa_id);
        let (canonical, findings) =
            canonicalise(record.data).map_err(|error| Setback::Passing(format!("PEMS has an unreadable record: {error}")))?;
        if let Some(finding) = findings.iter().find(|finding| claim.delta.contains_key(&finding.field)) {
            // Null stands for what cannot be read; to compare with that would be a guess.
            return Err(Setback::Passing(format!("PEMS has an unreadable value in {}: {}", finding.field, finding.problem)));
        }
        let unreadable = findings.into_iter().map(|finding| finding.field).collect();
        if !is_asked_for && canonical.pfa_id != claim.pfa_id {
            return Err(Setback::Passing(format!("PEMS answered with record {:?} instead", canonical.pfa_id)));
        }
        Ok(Current { record: canonical, unreadable, stamp: record.stamp })
    }

    async fn take_setback(&self, claim: &Claim, setback: Setback) -> Result<Outcome> {
        match setback {
            Setback::Final(error) => self.give_up(claim, error).await,
            Setback::Passing(error) if claim.attempts >= self.options.most_attempts => {
                self.give_up(claim, format!("{error} (after {} attempts)", claim.attempts)).await
            }
            Setback::Passing(error) => {
                let pause = self.options.pause_after(claim.attempts);
                self.service.release_change(&self.organization, self.run, claim, &error, pause, true).await?;
                Ok(Outcome::Waits(error))
            }
            Setback::Away(error) => {
                let pause = error.retry_after().unwrap_or(self.options.away_pause);
                self.give_back(claim, &error.to_string(), pause).await?;
                Ok(Outcome::Away(error))
            }
        }
    }

    async fn give_up(&self, claim: &Claim, error: String) -> Result<Outcome> {
        self.service.fail_change(&self.organization, self.run, claim, &error).await?;
        Ok(Outcome::Failed(error))
    }

    /// Gives a change back that was not at fault.
    pub async fn give_back(&self, claim: &Claim, why: &str, pause: Duration) -> Result<()> {
        self.service.release_change(&self.organization, self.run, claim, why, pause, false).await
    }
}
