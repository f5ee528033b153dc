//! Random rounds: a scene, its calls at nearly the same moment, and what came of them.

use super::arena::{Arena, Services};
use super::dice::Dice;
use super::scenes::{Scene, records};
use super::serial::Call;
use super::{explain, unexplained};
use crate::support::server::TestDatabase;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Organizations that are raced in side by side.
const LANES: usize = 3;
/// Rounds of one organization.
const BATCH: usize = 16;
/// Rounds when nobody asks for a number; a busy machine does as many as it can in this time.
const ROUNDS: u64 = 2_000;
const MOST_TIME: Duration = Duration::from_secs(75);
/// But no fewer than these.
const LEAST_ROUNDS: usize = 600;

/// How the rounds of a scene ended: all of them, and those in which its first call surely came before
/// the second, and surely after it.
type Tally = BTreeMap<Scene, [usize; 3]>;

#[test]
fn calls_that_race_end_as_they_do_one_after_the_other() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let asked = number("PFA_RACE_ROUNDS");
    let rounds = asked.unwrap_or(ROUNDS);
    let seed = number("PFA_RACE_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 >> 1);
    eprintln!("races: {rounds} rounds, PFA_RACE_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let started = Instant::now();
    let deadline = asked.is_none().then(|| started + MOST_TIME);
    let tally = runtime.block_on(async {
        let database = TestDatabase::migrated().await;
        let services = Services::start(&database.url()).await;
        let share = usize::try_from(rounds).unwrap().div_ceil(LANES);
        let lanes: Vec<_> =
            (0..LANES).map(|lane| tokio::spawn(run(lane, services.clone(), seed.wrapping_add(lane as u64), share, deadline))).collect();
        let mut tally = Tally::new();
        for lane in lanes {
            for (scene, counts) in lane.await.unwrap() {
                tally.entry(scene).or_default().iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        tally
    });
    for (scene, [rounds, before, after]) in &tally {
        eprintln!("races: {scene:?}: {rounds} rounds; the first call came first in {before} or more, second in {after} or more");
        // Calls that never overtake each other do not race. Of one request that is sent twice none can be told.
        let is_race = (*before > 0 && *after > 0) || *scene == Scene::SameKey;
        assert!(*rounds < 60 || is_race, "{scene:?} always went the same way");
    }
    eprintln!("races: {:.1} s", started.elapsed().as_secs_f64());
}

async fn run(lane: usize, services: Services, seed: u64, rounds: usize, deadline: Option<Instant>) -> Tally {
    let mut dice = Dice(seed);
    let mut tally = Tally::new();
    for first in (0..rounds).step_by(BATCH) {
        if first * LANES >= LEAST_ROUNDS && deadline.is_some_and(|deadline| Instant::now() > deadline) {
            break;
        }
        let (arena, mut world) = Arena::open(&services, &format!("LANE{lane}FROM{first}"), records()).await;
        // Without a refresh, or while another one runs, KPIs are summed up anew; that must do, too.
        let _ = services.pair[lane % 2].refresh_views("test").await;
        for round in first..rounds.min(first + BATCH) {
            let scene = dice.pick(&Scene::ALL);
            let calls = scene.set(&arena, &mut world, &mut dice).await;
            // A load comes to the lock later than others, and a resolution, which looks for its conflict first.
            let is_late = |call: &Call| matches!(call, Call::Load { .. } | Call::Resolve { .. });
            let longest = match calls.iter().find(|call| is_late(call)) {
                Some(Call::Load { .. }) => 60,
                Some(_) => 16,
                None => 6,
            };
            let racing: Vec<_> = calls
                .iter()
                .enumerate()
                .map(|(index, call)| {
                    let (arena, world, call) = (arena.clone(), world.clone(), call.clone());
                    let is_prompt = dice.once_in(2) || is_late(&call);
                    let delay = Duration::from_millis(if is_prompt { 0 } else { 1 + dice.below(longest) as u64 });
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        arena.call(&arena.services.pair[index % 2], &world, &call).await
                    })
                })
                .collect();
            let mut answers = Vec::new();
            for call in racing {
                answers.push(call.await.unwrap());
            }
            let found = arena.observe().await;
            let mut explained = explain(&world, &calls, &answers, &found);
            assert!(
                !explained.is_empty(),
                "lane {lane}, round {round}, {scene:?}: no order explains it\n{}",
                unexplained(&world, &calls, &answers, &found)
            );
            let is_before = |order: &[usize]| order.iter().position(|call| *call == 0) < order.iter().position(|call| *call == 1);
            let [count, before, after] = tally.entry(scene).or_default();
            *count += 1;
            *before += usize::from(explained.iter().all(|(order, _)| is_before(order)));
            *after += usize::from(!explained.iter().any(|(order, _)| is_before(order)));
            world = explained.swap_remove(0).1;
            arena.check(&world).await;
        }
    }
    tally
}
