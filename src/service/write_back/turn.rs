//! A turn: one organization's changes on their way, by one process at a time.

use super::attempt::{Attempt, Outcome};
use super::claim::Claim;
use super::rota::Rota;
use super::{WriteBackOptions, WriteRequest, WriteScope};
use crate::domain::record::Finding;
use crate::error::{Error, Result, in_one_line};
use crate::pems::PemsClient;
use crate::service::PfaMirrorService;
use crate::service::sync::runs::{Run, RunDirection, RunOutcome};
use futures_util::StreamExt as _;
use futures_util::stream;
use sqlx::{Connection as _, PgConnection};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use uuid::Uuid;

/// A turn that was taken: while it is held, no other process writes for the organization.
#[derive(Debug)]
pub struct WriteTurn {
    lock: PgConnection,
    request: WriteRequest,
    run: Option<Uuid>,
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
        /// How often organizations are looked for that have become due meanwhile.
        const LOOK: Duration = Duration::from_secs(2);
        let (mut rota, mut turns) = (Rota::default(), JoinSet::new());
        loop {
            let due = if self.is_stopping() { Vec::new() } else { self.find_organizations_due().await? };
            for organization in rota.begin(due, Instant::now()) {
                turns.spawn(self.clone().take_due_turn(pems.clone(), *options, organization));
            }
            if turns.is_empty() {
                return Ok(());
            }
            let ended = tokio::time::timeout(LOOK, turns.join_next()).await;
            if let Ok(Some(Ok((organization, has_moved)))) = ended {
                rota.end(organization, has_moved, Instant::now());
            }
        }
    }

    /// Does an organization's turn unless somebody else has it; tells whether it brought anything to an end.
    async fn take_due_turn(self, pems: PemsClient, options: WriteBackOptions, organization: String) -> (String, bool) {
        let request = WriteRequest { organization: organization.clone(), scope: WriteScope::Due, requested_by: None };
        let ended = async { self.write_back(&pems, &options, self.begin_write(request).await?).await }.await;
        let has_moved = match ended {
            Ok(outcome) => outcome.is_some_and(|outcome| outcome.applied.total() > 0 && !outcome.is_cancelled),
            Err(Error::WriteBackRunning(_)) => false,
            Err(error) => {
                tracing::warn!(organization, error = in_one_line(&error), "a write-back turn did not end well");
                false
            }
        };
        (organization, has_moved)
    }

    /// Does a turn to its end and gives it back; none when there was nothing to do.
    ///
    /// # Errors
    /// Why it ended before its time, which the log tells, too.
    pub async fn write_back(&self, pems: &PemsClient, options: &WriteBackOptions, mut turn: WriteTurn) -> Result<Option<RunOutcome>> {
        let mut outcome = RunOutcome::default();
        let ended = self.take_turn(pems, options, &mut turn, &mut outcome).await;
        outcome.error = ended.as_ref().err().map(Error::told);
        let closed = match turn.run {
            Some(run) => self.finish_run(&turn.request.organization, run, &outcome).await,
            None => self.log_refused_turn(&turn.request, outcome.error.as_deref()).await,
        };
        turn.give_back().await;
        ended?;
        closed?;
        let has_tried = outcome.applied.total() + outcome.errored + outcome.findings_total > 0;
        Ok(has_tried.then_some(outcome))
    }

    async fn take_turn(&self, pems: &PemsClient, options: &WriteBackOptions, turn: &mut WriteTurn, outcome: &mut RunOutcome) -> Result<()> {
        let organization = turn.request.organization.clone();
        let started = Instant::now();
        self.release_expired(&organization).await?;
        // Nothing is claimed while PEMS cannot even tell its fields.
        let head = self.stopping.run_until_cancelled(pems.read_head(&organization)).await.ok_or(Error::RunCancelled)??;
        let head = Arc::new(head);
        let (mut tried, mut attempted) = (Vec::new(), 0);
        while !self.is_stopping() {
            let claims = self.claim_changes(&organization, &turn.request.scope, &tried, options.at_once * 4, options).await?;
            if claims.is_empty() {
                break;
            }
            tried.extend(claims.iter().map(|claim| claim.id));
            attempted += claims.len() as u64;
            let run = match turn.run {
                Some(run) => run,
                None => self.open_run(turn).await?,
            };
            let attempt = Attempt {
                service: self.clone(),
                pems: pems.clone(),
                head: Arc::clone(&head),
                options: *options,
                organization: organization.clone(),
                run,
                halt: self.stopping.child_token(),
            };
            bring_batch(attempt, claims, outcome).await?;
            match self.report_progress(&organization, run, attempted, attempted).await {
                Err(Error::RunCancelled) => {
                    outcome.is_cancelled = true;
                    break;
                }
                reported => reported?,
            }
            if started.elapsed() >= options.turn {
                break;
            }
        }
        Ok(())
    }

    /// A turn that could not even begin is in the log as well.
    async fn log_refused_turn(&self, request: &WriteRequest, error: Option<&str>) -> Result<()> {
        match error {
            Some(error) if !self.is_stopping() => {
                self.log_failure(&request.organization, request.scope.run_type(), RunDirection::Write, error).await
            }
            _ => Ok(()),
        }
    }

    async fn open_run(&self, turn: &mut WriteTurn) -> Result<Uuid> {
        let WriteRequest { organization, scope, requested_by } = &turn.request;
        let id = self.begin_run(organization, scope.run_type(), RunDirection::Write, requested_by.as_deref()).await?;
        turn.run = Some(id);
        Ok(id)
    }
}

/// Brings a batch of changes to PEMS, some at once. When PEMS is away or the database fails, the
/// others end where nothing is under way and are given back.
async fn bring_batch(attempt: Attempt, claims: Vec<Claim>, outcome: &mut RunOutcome) -> Result<()> {
    let (halt, organization, at_once) = (attempt.halt.clone(), attempt.organization.clone(), attempt.options.at_once);
    let begun = claims.into_iter().map(|claim| attempt.clone().bring(claim));
    let mut attempts = stream::iter(begun).buffer_unordered(at_once);
    let mut ended_early = Ok(());
    while let Some(ended) = attempts.next().await {
        match ended {
            Ok((claim, came)) => {
                if let Some(Outcome::Away(error)) = &came {
                    halt.cancel();
                    ended_early = Err(error.clone().into());
                }
                if let Some(came) = came {
                    note(outcome, &organization, &claim, came);
                }
            }
            Err(error) => {
                halt.cancel();
                ended_early = Err(error);
            }
        }
    }
    ended_early
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

/// Counts what came of an attempt and keeps what people should know.
fn note(outcome: &mut RunOutcome, organization: &str, claim: &Claim, came: Outcome) {
    let (word, problem) = match came {
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
        "written" => outcome.applied.updated += 1,
        "found" => outcome.applied.unchanged += 1,
        _ => outcome.errored += 1,
    }
    if let Some(problem) = problem {
        let fields: Vec<_> = claim.delta.keys().map(String::as_str).collect();
        outcome.add_finding(Finding {
            pfa_id: claim.pfa_id.clone(),
            field: fields.join(", "),
            value: String::new(),
            problem: format!("{word}: {problem}"),
        });
    }
}
