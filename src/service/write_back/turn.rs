//! A turn: one organization's changes on their way, by one process at a time.

use super::attempt::{Attempt, Outcome};
use super::claim::Claim;
use super::{WriteBackOptions, WriteRequest, WriteScope};
use crate::domain::record::Finding;
use crate::error::{Error, Result, in_one_line};
use crate::pems::{PemsClient, PemsError};
use crate::service::PfaMirrorService;
use crate::service::sync::runs::{Run, RunDirection, RunOutcome};
use futures_util::StreamExt as _;
use futures_util::stream;
use sqlx::{Connection as _, PgConnection};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// A turn that was taken: while it is held, no other process writes for the organization.
#[derive(Debug)]
pub struct WriteTurn {
    lock: PgConnection,
    request: WriteRequest,
    run: Option<Uuid>,
}

/// How a turn goes on after a batch.
#[derive(Debug, Default)]
struct Progress {
    outcome: RunOutcome,
    attempted: u64,
    /// Why no further change is tried.
    away: Option<PemsError>,
}

impl PfaMirrorService {
    /// Takes an organization's turn.
    ///
    /// # Errors
    /// [`Error::WriteBackRunning`] when somebody else has it; when the organization is not there; or the database fails.
    pub async fn begin_write(&self, request: WriteRequest) -> Result<WriteTurn> {
        let organization = &request.organization;
        self.check_organization(organization).await?;
        let mut lock = self.pool.acquire().await?.detach();
        let is_free: bool =
            sqlx::query_scalar("select pg_try_advisory_lock(pfa_push_lock($1))").bind(organization).fetch_one(&mut lock).await?;
        if !is_free {
            lock.close().await?;
            return Err(Error::WriteBackRunning(organization.clone()));
        }
        Ok(WriteTurn { lock, request, run: None })
    }

    /// Begins a turn by hand that goes on by itself; its run is in the log.
    ///
    /// # Errors
    /// As [`PfaMirrorService::begin_write`]; [`Error::WriteBackPaused`].
    pub async fn start_write(&self, pems: &PemsClient, options: WriteBackOptions, request: WriteRequest) -> Result<Run> {
        let organization = request.organization.clone();
        if self.read_write_back(&organization).await?.paused_at.is_some() {
            return Err(Error::WriteBackPaused(organization));
        }
        let mut turn = self.begin_write(request).await?;
        let id = self.open_run(&mut turn).await?;
        let (service, pems) = (self.clone(), pems.clone());
        self.background.spawn(async move { service.write_back(&pems, &options, turn).await.map(drop) });
        self.find_run(&organization, id).await
    }

    /// Writes back what is due in every organization, side by side and in turns, until nothing is due
    /// or the service stops.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write_back_all(&self, pems: &PemsClient, options: &WriteBackOptions) -> Result<()> {
        /// So many organizations have their turn side by side: each holds a connection.
        const SIDE_BY_SIDE: usize = 4;
        loop {
            let due = self.find_organizations_due().await?;
            let turns = due.into_iter().map(|organization| self.clone().take_due_turn(pems.clone(), *options, organization));
            let turns = stream::iter(turns);
            let moved: Vec<bool> = turns.buffer_unordered(SIDE_BY_SIDE).collect().await;
            if self.is_stopping() || !moved.contains(&true) {
                return Ok(());
            }
        }
    }

    /// Does an organization's turn unless somebody else has it; tells whether it brought anything to an end.
    async fn take_due_turn(self, pems: PemsClient, options: WriteBackOptions, organization: String) -> bool {
        let request = WriteRequest { organization: organization.clone(), scope: WriteScope::Due, requested_by: None };
        let ended = async { self.write_back(&pems, &options, self.begin_write(request).await?).await }.await;
        match ended {
            Ok(outcome) => outcome.is_some_and(|outcome| outcome.applied.total() > 0),
            Err(Error::WriteBackRunning(_)) => false,
            Err(error) => {
                tracing::warn!(organization, error = in_one_line(&error), "a write-back turn did not end well");
                false
            }
        }
    }

    /// Does a turn to its end and gives it back; none when there was nothing to do.
    ///
    /// # Errors
    /// Why it ended before its time, which the log tells, too.
    pub async fn write_back(&self, pems: &PemsClient, options: &WriteBackOptions, mut turn: WriteTurn) -> Result<Option<RunOutcome>> {
        let ended = self.take_turn(pems, options, &mut turn).await;
        let (outcome, ended) = match ended {
            Ok(progress) => (RunOutcome { error: progress.away.as_ref().map(ToString::to_string), ..progress.outcome }, Ok(progress.away)),
            Err(error) => (RunOutcome { error: Some(in_one_line(&error)), ..RunOutcome::default() }, Err(error)),
        };
        let closed = match turn.run {
            Some(run) => self.finish_run(&turn.request.organization, run, &outcome).await,
            None => Ok(()),
        };
        turn.give_back().await;
        match ended? {
            Some(error) => Err(error.into()),
            None => closed.map(|()| turn_outcome(outcome)),
        }
    }

    async fn take_turn(&self, pems: &PemsClient, options: &WriteBackOptions, turn: &mut WriteTurn) -> Result<Progress> {
        let organization = turn.request.organization.clone();
        let started = Instant::now();
        self.release_expired(&organization).await?;
        let mut progress = Progress::default();
        let mut head = None;
        while started.elapsed() < options.turn && !self.is_stopping() && progress.away.is_none() {
            let claims = self.claim_changes(&organization, &turn.request.scope, options.at_once * 4, options).await?;
            if claims.is_empty() {
                break;
            }
            let run = match turn.run {
                Some(run) => run,
                None => self.open_run(turn).await?,
            };
            if head.is_none() {
                match pems.read_head(&organization).await {
                    Ok(read) => head = Some(Arc::new(read)),
                    Err(error) => progress.away = Some(error),
                }
            }
            let Some(head) = &head else {
                self.give_back_all(&organization, run, &claims, progress.away.as_ref(), options).await?;
                break;
            };
            let attempt = Attempt {
                service: self.clone(),
                pems: pems.clone(),
                head: Arc::clone(head),
                options: *options,
                organization: organization.clone(),
                run,
            };
            self.bring_batch(attempt, claims, &mut progress).await?;
            match self.report_progress(&organization, run, progress.attempted, progress.attempted).await {
                Err(Error::RunCancelled) => {
                    progress.outcome.is_cancelled = true;
                    break;
                }
                reported => reported?,
            }
        }
        Ok(progress)
    }

    /// Brings a batch of changes to PEMS, some at once.
    async fn bring_batch(&self, attempt: Attempt, claims: Vec<Claim>, progress: &mut Progress) -> Result<()> {
        // When PEMS is away or the service stops, attempts end where they are and changes are given back.
        let halt = self.stopping.child_token();
        let (at_once, organization) = (attempt.options.at_once, attempt.organization.clone());
        let begun = claims.into_iter().map(|claim| attempt.clone().bring_unless_halted(claim, halt.clone()));
        let mut attempts = stream::iter(begun).buffer_unordered(at_once);
        let mut failed = Ok(());
        while let Some(ended) = attempts.next().await {
            match ended {
                Ok((claim, Some(outcome))) => {
                    if let Outcome::Away(error) = &outcome {
                        progress.away.get_or_insert_with(|| error.clone());
                        halt.cancel();
                    }
                    progress.note(&organization, &claim, outcome);
                }
                Ok((_, None)) => {}
                Err(error) => {
                    halt.cancel();
                    failed = Err(error);
                }
            }
        }
        failed
    }

    /// Gives claims back that nobody was asked about.
    async fn give_back_all(
        &self,
        organization: &str,
        run: Uuid,
        claims: &[Claim],
        error: Option<&PemsError>,
        options: &WriteBackOptions,
    ) -> Result<()> {
        let why = error.map_or_else(String::new, ToString::to_string);
        let pause = error.and_then(PemsError::retry_after).unwrap_or(options.away_pause);
        for claim in claims {
            self.release_change(organization, run, claim, &why, pause, false).await?;
        }
        Ok(())
    }

    async fn open_run(&self, turn: &mut WriteTurn) -> Result<Uuid> {
        let WriteRequest { organization, scope, requested_by } = &turn.request;
        let id = self.begin_run(organization, scope.run_type(), RunDirection::Write, requested_by.as_deref()).await?;
        turn.run = Some(id);
        Ok(id)
    }
}

/// A turn that tried nothing is none.
fn turn_outcome(outcome: RunOutcome) -> Option<RunOutcome> {
    let has_tried = outcome.applied.total() + outcome.errored + outcome.findings_total > 0;
    has_tried.then_some(outcome)
}

impl WriteTurn {
    /// Lets others have it, at once.
    async fn give_back(mut self) {
        let unlocked = sqlx::raw_sql("select pg_advisory_unlock_all()").execute(&mut self.lock).await;
        if let Err(error) = unlocked.and(self.lock.close().await) {
            tracing::debug!(%error, "the connection of a turn did not close cleanly");
        }
    }
}

impl Progress {
    /// Counts what came of an attempt and keeps what people should know.
    fn note(&mut self, organization: &str, claim: &Claim, outcome: Outcome) {
        self.attempted += 1;
        let (word, problem) = match outcome {
            Outcome::Written => ("written", None),
            Outcome::Found => ("found", None),
            Outcome::Conflict(problem) => ("conflict", Some(problem)),
            Outcome::Failed(problem) => ("failed", Some(problem)),
            Outcome::Waits(problem) => ("waits", Some(problem)),
            Outcome::Away(error) => ("away", Some(error.to_string())),
            Outcome::Lost => ("lost", None),
        };
        metrics::counter!("pfa_write_backs_total", "outcome" => word).increment(1);
        tracing::info!(organization, pfa_id = claim.pfa_id, attempt = claim.attempts, outcome = word, problem, "write-back");
        match word {
            "written" => self.outcome.applied.updated += 1,
            "found" => self.outcome.applied.unchanged += 1,
            _ => self.outcome.errored += 1,
        }
        if let Some(problem) = problem {
            let fields: Vec<_> = claim.delta.keys().map(String::as_str).collect();
            self.outcome.add_finding(Finding {
                pfa_id: claim.pfa_id.clone(),
                field: fields.join(", "),
                value: String::new(),
                problem: format!("{word}: {problem}"),
            });
        }
    }
}
