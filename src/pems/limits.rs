//! How hard PEMS is asked: so many requests a second for each organization, and none for a while
//! when it fails and fails.

use super::error::PemsError;
use governor::{DefaultKeyedRateLimiter, Quota};
use recloser::{AsyncRecloser, Error as BreakerError, Recloser};
use std::num::NonZeroU32;
use std::time::Duration;

/// The breaker looks at so many of the last requests, and opens when half of them failed.
const WATCHED_REQUESTS: usize = 20;
/// So many requests try whether PEMS is well again.
const TRIAL_REQUESTS: usize = 3;

/// The limits of one PEMS.
#[derive(Debug)]
pub(super) struct Limits {
    tokens: DefaultKeyedRateLimiter<String>,
    breaker: AsyncRecloser,
}

impl Limits {
    /// So many requests a second for each organization; this long no request after too many failures.
    pub fn new(per_second: NonZeroU32, rest: Duration) -> Self {
        let breaker = Recloser::custom().error_rate(0.5).closed_len(WATCHED_REQUESTS).half_open_len(TRIAL_REQUESTS).open_wait(rest).build();
        // One token at a time: PEMS counts requests, and a burst after a pause is one request too many for it.
        let quota = Quota::per_second(per_second).allow_burst(NonZeroU32::MIN);
        Self { tokens: DefaultKeyedRateLimiter::keyed(quota), breaker: breaker.into() }
    }

    /// Sends one request when the organization has a turn.
    pub async fn run<T>(&self, organization: &str, request: impl Future<Output = Result<T, PemsError>>) -> Result<T, PemsError> {
        self.tokens.until_key_ready(&organization.to_owned()).await;
        self.breaker.call_with(PemsError::is_trouble, request).await.map_err(|error| match error {
            BreakerError::Inner(error) => error,
            BreakerError::Rejected => PemsError::Resting,
        })
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
        let limits = Limits::new(NonZeroU32::new(100_000).expect("a number"), Duration::from_millis(100));
        for _ in 0..WATCHED_REQUESTS * 2 {
            let _ = limits.run("A", fail()).await;
        }
        assert_eq!(limits.run("A", async { Ok(()) }).await, Err(PemsError::Resting));
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..TRIAL_REQUESTS * 2 {
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
        let started = std::time::Instant::now();
        for _ in 0..11 {
            limits.run("A", async { Ok(()) }).await.expect("a turn");
            limits.run("B", async { Ok(()) }).await.expect("a turn");
        }
        // Ten intervals of 20 ms, in which both took their turns.
        assert!(started.elapsed() >= Duration::from_millis(190), "{:?}", started.elapsed());
    }
}
