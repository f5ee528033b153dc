//! The whole circle on one machine: planners, the service, and a stand-in for PEMS with the same records.

use super::app::{TestApp, test_app};
use super::checks;
use super::model::Object;
use super::pems::TestPems;
use super::planner::{ORG, Planner};
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::error::Error;
use pfa_vanguard::service::Reader;
use pfa_vanguard::service::sync::runs::{Run, RunOutcome};
use pfa_vanguard::service::sync::{SyncRequest, SyncScope};
use pfa_vanguard::service::write_back::{WriteBackOptions, WriteRequest, WriteScope};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub struct Circuit {
    pub app: TestApp,
    pub pems: TestPems,
    pub options: WriteBackOptions,
    /// Whose circle it is.
    pub organization: String,
}

impl Circuit {
    /// So many rentals of an organization, in PEMS and in the mirror.
    pub async fn of(count: usize) -> Self {
        let records: Vec<Object> = (1..=count)
            .map(|n| {
                let value = json!({"pfaId": n.to_string(), "category": "Lifting", "class": "Crane", "source": "Rental", "dor": "PROJECT",
                    "monthlyRate": 3044, "originalStart": "2025-01-01", "originalEnd": "2025-01-11",
                    "forecastStart": "2025-01-01", "forecastEnd": "2025-01-11"});
                value.as_object().unwrap().clone()
            })
            .collect();
        Self::with(&records).await
    }

    /// These records, in PEMS and in the mirror.
    pub async fn with(records: &[Object]) -> Self {
        let mut circuit = Self::idle().await;
        circuit.pems.put(ORG, records);
        circuit.app = circuit.app.with_pems(circuit.pems.client());
        circuit.begin(ORG).await;
        circuit
    }

    /// Nobody's circle yet.
    pub async fn idle() -> Self {
        let (app, pems) = (test_app().await, TestPems::start().await);
        // Nothing waits longer than a test can.
        let options = WriteBackOptions {
            first_pause: Duration::ZERO,
            away_pause: Duration::ZERO,
            late_pause: Duration::ZERO,
            most_attempts: 3,
            ..WriteBackOptions::default()
        };
        Self { app, pems, options, organization: String::new() }
    }

    /// Goes on with an organization whose records are in PEMS; they are read.
    pub async fn begin(&mut self, organization: &str) {
        organization.clone_into(&mut self.organization);
        self.app.service.save_organization(organization, organization).await.unwrap();
        self.read().await.unwrap();
        self.pems.pems.reset();
    }

    /// A user of the organization.
    pub fn planner<'a>(&'a self, user: &'a str) -> Planner<'a> {
        self.app.planner(user).in_organization(&self.organization)
    }

    /// A full reading.
    pub async fn read(&self) -> Result<RunOutcome, Error> {
        self.read_scope(SyncScope::Full { most_vanished_percent: 100 }).await
    }

    pub async fn read_scope(&self, scope: SyncScope) -> Result<RunOutcome, Error> {
        let run = self.app.service.begin_read(SyncRequest { organization: self.organization.clone(), scope, requested_by: None }).await?;
        self.app.service.read_pems(&self.pems.client(), run, &CancellationToken::new()).await
    }

    /// A turn of what is due.
    pub async fn write(&self) -> Result<Option<RunOutcome>, Error> {
        self.write_scope(WriteScope::Due).await
    }

    pub async fn write_scope(&self, scope: WriteScope) -> Result<Option<RunOutcome>, Error> {
        let turn =
            self.app.service.begin_write(WriteRequest { organization: self.organization.clone(), scope, requested_by: None }).await?;
        self.app.service.write_back(&self.pems.client(), &self.options, turn).await
    }

    /// Turns until nothing is due; whatever happens in them.
    pub async fn write_until_done(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let _ = self.write().await;
            if !self.app.service.find_organizations_due().await.unwrap().contains(&self.organization) {
                return;
            }
        }
        panic!("the write-back does not end");
    }

    /// Tells when PEMS gets the request of this number.
    pub fn when_asked(&self, number: u64) -> oneshot::Receiver<()> {
        let (asked, wait) = oneshot::channel();
        let mut asked = Some(asked);
        self.pems.pems.before_requests(move |request, _| {
            if request.number == number
                && let Some(asked) = asked.take()
            {
                let _ = asked.send(());
            }
        });
        wait
    }

    /// Somebody changes a record in PEMS.
    pub fn edit(&self, id: &str, changes: &Value) {
        assert!(self.pems.pems.with_records(|records| records.edit(&self.organization, id, changes.as_object().unwrap())));
    }

    /// What PEMS shows in a field.
    pub fn in_pems(&self, id: &str, field: Field) -> String {
        self.pems.pems.with_records(|records| records.text(&self.organization, id, field).to_owned())
    }

    /// How often PEMS was written to.
    pub fn writes(&self) -> usize {
        self.pems.pems.requests().iter().filter(|request| request.is_write).count()
    }

    /// The states of all modifications with what was said of them, in the order of their commits.
    pub async fn states(&self) -> Vec<(String, i32, Option<String>)> {
        sqlx::query_as("select sync_state, attempts, last_error from pfa_modification where organization_id = $1 order by committed_at, id")
            .bind(&self.organization)
            .fetch_all(self.app.pool())
            .await
            .unwrap()
    }

    /// The only state that there is.
    pub async fn state(&self) -> String {
        let states = self.states().await;
        assert_eq!(states.len(), 1, "{states:?}");
        states[0].0.clone()
    }

    /// The last run, with its findings.
    pub async fn last_run(&self) -> Run {
        let run = self.app.service.list_runs(&self.organization, None, 1).await.unwrap().remove(0);
        self.app.service.find_run(&self.organization, run.id).await.unwrap()
    }

    /// The overlay, the summaries and the numbers are what the deltas say.
    pub async fn assert_sound(&self) {
        checks::check_overlay(self.app.pool(), &self.organization).await;
        checks::check_numbers(self.app.pool(), &self.organization).await;
        let reader = Reader { organization: self.organization.clone(), user: "ana".into(), session: None };
        checks::check_summaries(&self.app.service, self.app.pool(), &reader).await;
    }
}
