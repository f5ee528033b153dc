//! Random scenes of several users in several sandboxes: after every step the service's tables and
//! readings are what a plain model of the contract says. `PFA_TEST_CASES` is the number of scenes.

mod compare;
mod decisions;
mod drive;
mod generate;
mod model;
mod readings;
pub mod rules;
mod scene;
mod scenes;
mod translate;

use crate::support::TestApp;
use crate::support::server::TestDatabase;
use drive::{Difference, Play, Tally};
use pfa_vanguard::db::pool::pool_options;
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::service::ingest::Batch;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, TestRunner};
use scene::Scene;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Scenes that begin together: one load, one refresh.
const BATCH: usize = 48;
/// Scenes that are played side by side, in organizations of their own.
const SIDE_BY_SIDE: usize = 4;

/// What scenes must lead to.
const HAPPENS: [&str; 19] = [
    "edit",
    "refused edit",
    "bulk edit",
    "refused bulk edit",
    "undo",
    "redo",
    "no step",
    "committed",
    "merged",
    "conflict",
    "conflict of rules",
    "commit conflict draft",
    "commit conflict dropped",
    "commit conflict refused",
    "commit conflict settled",
    "writeBack conflict committed",
    "writeBack conflict dropped",
    "writeBack conflict refused",
    "writeBack conflict settled",
];

#[test]
fn sandboxes_agree_with_the_model() {
    let cases: usize = std::env::var("PFA_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let stage = Stage::new();
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let (mut played, mut failed, mut tally) = (0, None, Tally::new());
    while played < cases && failed.is_none() {
        let scenes: Vec<_> = (0..BATCH.min(cases - played)).map(|_| generate::scene().new_tree(&mut runner).unwrap().current()).collect();
        played += scenes.len();
        if let Err((number, difference)) = stage.play(scenes.clone(), &mut tally) {
            failed = Some(stage.make_smaller(scenes[number].clone(), difference));
        }
    }
    stage.close();
    if let Some((scene, difference)) = failed {
        // Its own Rust code, for scenes.rs.
        panic!("{difference}\nin the scene\n{}", format!("{scene:?}").replace('[', "vec!["));
    }
    eprintln!("sandboxes: {played} scenes: {tally:?}");
    // A few scenes need not lead to everything; the rarest comes about fourteen times in two thousand.
    for what in HAPPENS.iter().filter(|_| cases >= 2_000) {
        let times = tally.get(*what).copied().unwrap_or_default();
        assert!(times * 1_000 >= cases, "{what}: {times} times in {cases} scenes, of {tally:?}");
    }
}

/// A database on which scenes are played.
struct Stage {
    runtime: Runtime,
    app: Arc<TestApp>,
    /// Scenes so far.
    played: AtomicUsize,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let app = runtime.block_on(async {
            let mut database = TestDatabase::migrated().await;
            // The same few statements on few rows, ten thousand times: planning each anew takes longer than all the rest.
            let options = database.pool.connect_options().as_ref().clone().options([("plan_cache_mode", "auto")]);
            database.pool = pool_options(6).connect_with(options).await.unwrap();
            Arc::new(TestApp::on(database))
        });
        Self { runtime, app, played: AtomicUsize::new(0) }
    }

    /// Plays scenes, counting what happens; gives the number of one that fails, and how.
    fn play(&self, scenes: Vec<Scene>, tally: &mut Tally) -> Result<(), (usize, Difference)> {
        self.runtime.block_on(async {
            self.set_up(&scenes).await;
            let mut running = JoinSet::new();
            for (number, scene) in scenes.into_iter().enumerate() {
                let app = Arc::clone(&self.app);
                let organization = self.code(number);
                running.spawn(async move { (number, Play::new(&app, organization, scene).run().await) });
                if running.len() == SIDE_BY_SIDE {
                    finish_one(&mut running, tally).await?;
                }
            }
            while !running.is_empty() {
                finish_one(&mut running, tally).await?;
            }
            Ok(())
        })
    }

    /// A mirror with the first records of every scene, and summaries that know most of them.
    async fn set_up(&self, scenes: &[Scene]) {
        // The organizations of the scenes before are noise that must not show; too many of them are slow.
        let first = self.played.fetch_add(scenes.len(), Ordering::Relaxed) + scenes.len();
        if first / BATCH != (first - scenes.len()) / BATCH {
            sqlx::query("truncate organizations, pfa_overlay, pfa_mirror_history cascade").execute(self.app.pool()).await.unwrap();
        }
        let is_late = |number: usize| number % 8 == 7;
        for late in [false, true] {
            let numbers: Vec<_> = (0..scenes.len()).filter(|number| is_late(*number) == late).collect();
            let codes: Vec<_> = numbers.iter().map(|number| self.code(*number)).collect();
            for code in &codes {
                self.app.service.save_organization(code, code).await.unwrap();
            }
            let mut load = self.app.service.begin_load(&codes.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
            for (number, code) in numbers.iter().zip(codes) {
                let raw = Play::new(&self.app, code.clone(), scenes[*number].clone()).first_records();
                let records: Vec<_> = raw.into_iter().map(|raw| canonicalise(raw).unwrap().0).collect();
                load.stage(&records).await.unwrap();
                load.apply(&Batch::import(&code, Uuid::new_v4(), "test")).await.unwrap();
            }
            load.commit(|_| ()).await.unwrap();
            if !late {
                self.app.service.refresh_views("test").await.unwrap();
            }
        }
    }

    /// The organization of a scene, of those that were set up last.
    fn code(&self, number: usize) -> String {
        format!("ORG{}.{number}", self.played.load(Ordering::Relaxed))
    }

    /// The smallest scene found that still fails, one part less at a time.
    fn make_smaller(&self, mut scene: Scene, mut difference: Difference) -> (Scene, Difference) {
        let mut part = 0;
        while let Some(smaller) = scene.without(part) {
            match self.play(vec![smaller.clone()], &mut Tally::new()) {
                Err((_, other)) => (scene, difference) = (smaller, other),
                Ok(()) => part += 1,
            }
        }
        (scene, difference)
    }

    /// The database goes before the runtime that it needs.
    fn close(self) {
        self.runtime.block_on(async { drop(self.app) });
    }
}

/// Waits for a scene.
async fn finish_one(running: &mut JoinSet<(usize, Result<Tally, Difference>)>, tally: &mut Tally) -> Result<(), (usize, Difference)> {
    let Some(done) = running.join_next().await else { return Ok(()) };
    let (number, outcome) = done.unwrap();
    for (what, times) in outcome.map_err(|difference| (number, difference))? {
        *tally.entry(what).or_default() += times;
    }
    Ok(())
}
