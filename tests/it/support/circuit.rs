//! The whole circle on one machine: planners, the service, and a stand-in for PEMS with the same records.

use super::app::{TestApp, test_app};
use super::checks;
use super::model::Object;
use super::pems::TestPems;
use super::planner::ORG;
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::error::Error;
use pfa_vanguard::service::Reader;
use pfa_vanguard::service::sync::runs::{Run, RunOutcome};
use pfa_vanguard::service::sync::{SyncRequest, SyncScope};
use pfa_vanguard::service::write_back::{WriteBackOptions, WriteRequest, WriteScope};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub struct Circuit {
    pub app: TestApp,
    pub pems: TestPems,
    pub options: WriteBackOptions,
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
        let (app, pems) = (test_app().await, TestPems::start().await);
        app.service.save_organization(ORG, ORG).await.unwrap();
        pems.put(ORG, records);
        let app = app.with_pems(pems.client());
        // Nothing waits longer than a test can.
        let options = WriteBackOptions {
            first_pause: Duration::ZERO,
            away_pause: Duration::ZERO,
            late_pause: Duration::ZERO,
            most_attempts: 3,
            ..WriteBackOptions::default()
        };
        let circuit = Self { app, pems, options };
        circuit.read().await.unwrap();
        circuit.pems.pems.reset();
        circuit
    }

    /// A full reading.
    pub async fn read(&self) -> Result<RunOutcome, Error> {
        self.read_scope(SyncScope::Full { most_vanished_percent: 100 }).await
    }

    pub async fn read_scope(&self, scope: SyncScope) -> Result<RunOutcome, Error> {
        let run = self.app.service.begin_read(SyncRequest { organization: ORG.into(), scope, requested_by: None }).await?;
        self.app.service.read_pems(&self.pems.client(), run, &CancellationToken::new()).await
    }

    /// A turn of what is due.
    pub async fn write(&self) -> Result<Option<RunOutcome>, Error> {
        self.write_scope(WriteScope::Due).await
    }

    pub async fn write_scope(&self, scope: WriteScope) -> Result<Option<RunOutcome>, Error> {
        let turn = self.app.service.begin_write(WriteRequest { organization: ORG.into(), scope, requested_by: None }).await?;
        self.app.service.write_back(&self.pems.client(), &self.options, turn).await
    }

    /// Turns until nothing is due; whatever happens in them.
    pub async fn write_until_done(&self) {
        for _ in 0..50 {
            let _ = self.write().await;
            if self.app.service.find_organizations_due().await.unwrap().is_empty() {
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
        assert!(self.pems.pems.with_records(|records| records.edit(ORG, id, changes.as_object().unwrap())));
    }

    /// What PEMS shows in a field.
    pub fn in_pems(&self, id: &str, field: Field) -> String {
        self.pems.pems.with_records(|records| records.text(ORG, id, field).to_owned())
    }

    /// How often PEMS was written to.
    pub fn writes(&self) -> usize {
        self.pems.pems.requests().iter().filter(|request| request.is_write).count()
    }

    /// The states of all modifications with what was said of them, in the order of their commits.
    pub async fn states(&self) -> Vec<(String, i32, Option<String>)> {
        sqlx::query_as("select sync_state, attempts, last_error from pfa_modification order by committed_at, id")
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
        let run = self.app.service.list_runs(ORG, None, 1).await.unwrap().remove(0);
        self.app.service.find_run(ORG, run.id).await.unwrap()
    }

    /// The overlay, the summaries and the numbers are what the deltas say.
    pub async fn assert_sound(&self) {
        checks::check_overlay(self.app.pool(), ORG).await;
        checks::check_numbers(self.app.pool(), ORG).await;
        let reader = Reader { organization: ORG.into(), user: "ana".into(), session: None };
        checks::check_kpis(&self.app.service, self.app.pool(), &reader).await;
    }
}
