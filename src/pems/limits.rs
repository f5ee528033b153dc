//! How hard PEMS is asked: so many requests a second for each organization, and none for a while
//! when it fails and fails.

use super::error::PemsError;
use governor::{DefaultKeyedRateLimiter, Quota};
use recloser::{AsyncRecloser, Error as BreakerError, Recloser};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The breaker looks at so many of the last requests, and opens when half of them failed.
const WATCHED_REQUESTS: usize = 20;
/// So many requests try whether PEMS is well again.
const TRIAL_REQUESTS: usize = 3;

/// However long PEMS says to wait, it is asked again after a day.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The limits of one PEMS.
#[derive(Debug)]
pub(super) struct Limits {
    tokens: DefaultKeyedRateLimiter<String>,
    breaker: AsyncRecloser,
    /// When organizations may ask again that PEMS has told to wait.
    not_before: Mutex<HashMap<String, Instant>>,
}

impl Limits {
    /// So many requests a second for each organization; this long no request after too many failures.
    pub fn new(per_second: NonZeroU32, rest: Duration) -> Self {
        let breaker = Recloser::custom().error_rate(0.5).closed_len(WATCHED_REQUESTS).half_open_len(TRIAL_REQUESTS).open_wait(rest).build();
        // One token at a time: PEMS counts requests, and a burst after a pause is one request too many for it.
        let quota = Quota::per_second(per_second).allow_burst(NonZeroU32::MIN);
        Self { tokens: DefaultKeyedRateLimiter::keyed(quota), breaker: breaker.into(), not_before: Mutex::default() }
    }

    /// Sends one request when the organization has a turn.
    pub async fn run<T>(&self, organization: &str, request: impl Future<Output = Result<T, PemsError>>) -> Result<T, PemsError> {
        self.tokens.until_key_ready(&organization.to_owned()).await;
        self.check_wait(organization)?;
        let answer = self.breaker.call_with(PemsError::is_trouble, request).await.map_err(|error| match error {
            BreakerError::Inner(error) => error,
            BreakerError::Rejected => PemsError::Resting,
        });
        if let Err(PemsError::TooManyRequests { retry_after: Some(wait) }) = &answer {
            self.waits().insert(organization.to_owned(), Instant::now() + (*wait).min(LONGEST_WAIT));
        }
        answer
    }

    /// PEMS is not asked again before the time that it has said.
    fn check_wait(&self, organization: &str) -> Result<(), PemsError> {
        let mut waits = self.waits();
        let wait = waits.get(organization).and_then(|until| until.checked_duration_since(Instant::now())).filter(|wait| !wait.is_zero());
        if wait.is_some() {
            return Err(PemsError::TooManyRequests { retry_after: wait });
        }
        waits.remove(organization);
        Ok(())
    }

    fn waits(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail() -> impl Future<Output = Result<(), PemsError>> {
        std::future::ready(Err(PemsError::Unreachable("gone".into())))
    }

    #[tokio::test]
    async fn after_many_failures_pems_is_left_alone_and_tried_again_later() {
        let limits = Limits::new(NonZeroU32::new(100_000).expect("a number"), Duration::from_secs(1));
        for _ in 0..WATCHED_REQUESTS * 2 {
            let _ = limits.run("A", fail()).await;
        }
        assert_eq!(limits.run("A", async { Ok(()) }).await, Err(PemsError::Resting));
        let deadline = Instant::now() + Duration::from_mins(1);
        while limits.run("A", async { Ok(()) }).await == Err(PemsError::Resting) {
            assert!(Instant::now() < deadline, "it rests for ever");
            tokio::task::yield_now().await;
        }
        for _ in 1..TRIAL_REQUESTS * 2 {
            assert_eq!(limits.run("A", async { Ok(()) }).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn what_a_client_did_wrong_does_not_speak_against_pems() {
        let limits = Limits::new(NonZeroU32::new(100_000).expect("a number"), Duration::from_mins(1));
        for _ in 0..100 {
            let refused = limits.run("A", async { Err::<(), _>(PemsError::refused("Record not found")) }).await;
            assert!(matches!(refused, Err(PemsError::Refused { .. })));
        }
    }

    #[tokio::test]
    async fn organizations_have_tokens_of_their_own() {
        let limits = Limits::new(NonZeroU32::new(50).expect("a number"), Duration::from_mins(1));
        let started = Instant::now();
        for _ in 0..11 {
            limits.run("A", async { Ok(()) }).await.expect("a turn");
            limits.run("B", async { Ok(()) }).await.expect("a turn");
        }
        // Ten intervals of 20 ms, in which both took their turns.
        assert!(started.elapsed() >= Duration::from_millis(190), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn nothing_is_asked_before_the_time_that_pems_has_said() {
        let limits = Limits::new(NonZeroU32::new(100_000).expect("a number"), Duration::from_mins(1));
        let wait = |seconds| async move { Err::<(), _>(PemsError::TooManyRequests { retry_after: Some(Duration::from_secs(seconds)) }) };
        assert!(limits.run("A", wait(3_600)).await.is_err());
        let asked = limits.run("A", async { Ok(()) }).await;
        assert!(
            matches!(asked, Err(PemsError::TooManyRequests { retry_after: Some(left) }) if left > Duration::from_mins(59)),
            "{asked:?}"
        );
        assert_eq!(limits.run("B", async { Ok(()) }).await, Ok(()), "others are not told to wait");
        assert!(limits.run("C", wait(0)).await.is_err());
        assert_eq!(limits.run("C", async { Ok(()) }).await, Ok(()));
        assert!(limits.run("D", wait(u64::MAX)).await.is_err());
    }
}
