//! kill -9 in the middle of commits, bulk edits and loads, of the service and of PostgreSQL: each is whole
//! or absent afterwards, and asking again tells which.

mod database;
mod first_load;
mod service;
mod sync;

use crate::support::checks;
use pfa_vanguard::domain::operation::Operation;
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::error::Error;
use pfa_vanguard::service::commit::{Commit, CommitMode};
use pfa_vanguard::service::edits::{BulkEdit, Selection};
use pfa_vanguard::service::ingest::Batch;
use pfa_vanguard::service::sessions::Sandbox;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use serde_json::json;
use sqlx::PgPool;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Records of an organization; enough for a kill to hit in the middle.
const RECORDS: i64 = 400;
/// Rounds in one organization: its changes lie on top of each other.
const BATCH: usize = 6;

/// What is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Commit,
    Edit,
}

/// What is found afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Whole,
    Absent,
    /// A bulk edit that was taken back.
    Undone,
}

/// A sandbox and what it sets on every record.
#[derive(Debug, Clone)]
struct Work {
    sandbox: Sandbox,
    rate: i64,
}

impl Work {
    /// A sandbox; for a commit with all its drafts.
    async fn prepare(service: &PfaMirrorService, organization: String, round: usize, kind: Kind) -> Self {
        let session = service.open_session(&organization, "ana", None).await.unwrap().id;
        let rate = 1_000 + i64::try_from(round).unwrap();
        let work = Self { sandbox: Sandbox { organization, user: "ana".to_owned(), session }, rate };
        if kind == Kind::Commit {
            service.edit_records(&work.sandbox, &work.edit()).await.unwrap();
        }
        work
    }

    fn edit(&self) -> BulkEdit {
        let ids = (0..RECORDS).map(|number| number.to_string()).collect();
        let patch = json!({"monthlyRate": self.rate}).as_object().unwrap().clone();
        let (selection, operation) = (Selection::PfaIds(ids), Operation::Set(patch));
        BulkEdit { selection, operation, reason: None, is_atomic: false, is_preview: false }
    }

    fn commit(&self) -> Commit {
        Commit { mode: CommitMode::Atomic, is_dry_run: false, idempotency_key: Some(self.key()) }
    }

    fn key(&self) -> String {
        format!("commit of {}", self.rate)
    }

    /// What the database has of it: all of it, or nothing.
    async fn find(&self, pool: &PgPool, kind: Kind) -> Found {
        let counts: (String, i64, i64, i64, i64, i64, i64, i64, i64) = sqlx::query_as(
            "select status,
                    (select count(*) from pfa_modification where organization_id = $1 and session_id = $2 and sync_state = 'draft'),
                    (select count(*) from pfa_modification where organization_id = $1 and session_id = $2 and sync_state = 'committed'),
                    (select count(*) from pfa_mirror_history where organization_id = $1 and source_id = $2),
                    (select count(*) from pfa_merged_live where organization_id = $1 and monthly_rate = $3),
                    (select count(*) from pfa_merged($1, $2) where monthly_rate = $3),
                    (select coalesce(sum(records), 0)::bigint from pfa_edit_step where organization_id = $1 and session_id = $2 and not is_undone),
                    (select count(*) from pfa_edit_change where organization_id = $1 and session_id = $2),
                    (select count(*) from pfa_commit_answer where organization_id = $1 and session_id = $2)
               from pfa_session
              where organization_id = $1 and id = $2",
        )
        .bind(&self.sandbox.organization)
        .bind(self.sandbox.session)
        .bind(self.rate)
        .fetch_one(pool)
        .await
        .unwrap();
        let n = RECORDS;
        let (open, committed) = ("open".to_owned(), "committed".to_owned());
        match kind {
            _ if counts == (committed, 0, n, n, n, n, 0, 0, 1) => Found::Whole,
            Kind::Commit if counts == (open.clone(), n, 0, 0, 0, n, n, n, 0) => Found::Absent,
            Kind::Edit if counts == (open.clone(), n, 0, 0, 0, n, n, n, 0) => Found::Whole,
            Kind::Edit if counts == (open.clone(), 0, 0, 0, 0, 0, 0, 0, 0) => Found::Absent,
            Kind::Edit if counts == (open, 0, 0, 0, 0, 0, 0, n, 0) => Found::Undone,
            _ => panic!("{kind:?} of {} is neither whole nor absent: {counts:?}", self.rate),
        }
    }

    async fn change_number(&self, pool: &PgPool) -> i64 {
        let query = sqlx::query_scalar("select change_number from organizations where organization_id = $1");
        query.bind(&self.sandbox.organization).fetch_one(pool).await.unwrap()
    }

    /// What must hold of the organization at any moment.
    async fn check(&self, service: &PfaMirrorService, pool: &PgPool) {
        checks::check_overlay(pool, &self.sandbox.organization).await;
        let reader = Reader { organization: self.sandbox.organization.clone(), user: self.sandbox.user.clone(), session: None };
        checks::check_summaries(service, pool, &reader).await;
        checks::check_numbers(pool, &self.sandbox.organization).await;
    }
}

/// The organization of a round, loaded by the first round in it.
async fn organization(service: &PfaMirrorService, round: usize) -> String {
    let organization = format!("CRASH{}", round / BATCH);
    if round.is_multiple_of(BATCH) {
        service.save_organization(&organization, &organization).await.unwrap();
        let record = |number| json!({"pfaId": number, "monthlyRate": 1, "forecastStart": "2025-01-01", "forecastEnd": "2025-03-01"});
        let records: Vec<_> = (0..RECORDS).map(|number| canonicalise(record(number).as_object().unwrap().clone()).unwrap().0).collect();
        let mut load = service.begin_load(&[&organization]).await.unwrap();
        load.stage(&records).await.unwrap();
        load.apply(&Batch::import(&organization, Uuid::new_v4(), "test")).await.unwrap();
        load.commit(|_| ()).await.unwrap();
        let refreshed = service.refresh_views("test").await;
        // The process that runs beside may refresh them at this moment.
        assert!(matches!(refreshed, Ok(_) | Err(Error::RefreshRunning)), "{refreshed:?}");
    }
    organization
}

/// The kind of a round, and which part of the typical duration passes before the kill: every other
/// time any part, else one near the end. In the last rounds the kill waits for the answer.
fn plan(round: usize, rounds: usize) -> (Kind, Option<f64>) {
    let kind = if round.is_multiple_of(2) { Kind::Commit } else { Kind::Edit };
    let place = f64::from(u32::try_from(round).unwrap()) / f64::from(u32::try_from(rounds).unwrap());
    let part = if (round / 2).is_multiple_of(2) { place } else { 0.8 + 0.4 * place };
    (kind, (round + 2 < rounds).then_some(part))
}

/// How the rounds ended.
#[derive(Debug, Default)]
struct Tally {
    /// Calls that were not answered, by kind.
    cut: [usize; 2],
    /// Calls that were answered.
    finished: [usize; 2],
    /// Cut calls that had done everything.
    cut_whole: usize,
    /// Cut calls that left nothing.
    cut_absent: usize,
    /// Statements that were running or had just run when the kill came.
    places: BTreeSet<String>,
}

impl Tally {
    fn note(&mut self, kind: Kind, is_answered: bool, found: Found, place: Option<String>) {
        if is_answered {
            self.finished[kind as usize] += 1;
            assert_eq!(found, Found::Whole, "an answered {kind:?} is lost");
            return;
        }
        self.cut[kind as usize] += 1;
        self.cut_whole += usize::from(found == Found::Whole);
        self.cut_absent += usize::from(found == Found::Absent);
        self.places.extend(place);
    }

    fn report(&self, what: &str, rounds: usize) {
        eprintln!("crashes: {rounds} kills of {what}: {self:#?}");
        assert!(rounds < 10 || (self.cut.iter().all(|cut| *cut > 0) && self.finished.iter().all(|finished| *finished > 0)), "{self:?}");
        assert!(rounds < 10 || self.cut_absent > 0, "no kill came in the middle: {self:?}");
        assert!(rounds < 20 || self.places.len() >= 3, "the kills came at the same place: {self:?}");
    }
}

/// How many kills of each kind are asked for.
fn rounds() -> usize {
    std::env::var("PFA_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// What the service's transaction is doing at this moment.
async fn place(pool: &PgPool) -> Option<String> {
    sqlx::query_scalar(
        "select state || ': ' || substr(regexp_replace(query, '\\s+', ' ', 'g'), 1, 60)
           from pg_stat_activity
          where datname = current_database() and application_name = 'pfa-vanguard' and xact_start is not null
          limit 1",
    )
    .fetch_optional(pool)
    .await
    .unwrap()
}
