//! Connections that stay at hand between small readings.
//!
//! A connection that comes back to sqlx's pool is pinged every time, in the way of the next reading: a third of the time of one
//! that takes a fifth of a millisecond. Here it comes back as it is after a reading that went well; after any other, and after a
//! pause, the pool looks at it first.

use crate::error::Result;
use deadpool::managed::{Manager, Metrics, Pool, PoolError, QueueMode, RecycleError, RecycleResult};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use std::time::Duration;
use tokio::time::timeout;

/// So long after it was lent, a connection is trusted to be alive.
const TRUSTED_PAUSE: Duration = Duration::from_secs(1);
/// So long it stays at hand, before the pool looks at its age.
const MOST_TIME: Duration = Duration::from_mins(1);
/// One that gives no sign of life for so long is given up: the network has lost it, or nobody waits any more for what it still does.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);

/// The connections of a pool, at hand.
#[derive(Debug, Clone)]
pub struct ReadyConnections {
    at_hand: Pool<Lender>,
    pool: PgPool,
}

impl ReadyConnections {
    /// Opens them when they are needed. Call it within a runtime.
    #[must_use]
    #[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "only one that has time-outs and no runtime is not built")]
    pub fn open(options: PgPoolOptions, to: PgConnectOptions) -> Self {
        let options = options.after_release(|connection, _| {
            Box::pin(async move {
                let sign = timeout(LONGEST_SILENCE, connection.ping()).await;
                sign.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
            })
        });
        let places = options.get_max_connections() as usize;
        let pool = options.connect_lazy_with(to);
        // The one that came back last goes first: as long as there are readings, those that few of them need at once are let go.
        let at_hand = Pool::builder(Lender(pool.clone())).max_size(places).queue_mode(QueueMode::Lifo);
        Self { at_hand: at_hand.build().expect("it has no time-outs"), pool }
    }

    /// Reads on one of them, without a transaction.
    ///
    /// # Errors
    /// When none is to be had in time, or the reading fails.
    pub async fn read<T>(&self, reading: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        let lent = timeout(self.pool.options().get_acquire_timeout(), self.at_hand.get()).await;
        let mut lent = lent.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(cause)?;
        let found = reading(&mut lent.connection).await?;
        lent.is_sound = true;
        Ok(found)
    }

    /// How many are open.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.pool.size()
    }

    /// How many of them nobody uses.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.pool.num_idle() + self.at_hand.status().available
    }

    /// How many there may be.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    /// Closes them; readings under way are waited for.
    pub async fn close(&self) {
        self.at_hand.close();
        // One that came back at that very moment.
        drop(self.at_hand.retain(|_, _| false));
        self.pool.close().await;
    }
}

fn cause(error: PoolError<sqlx::Error>) -> sqlx::Error {
    match error {
        PoolError::Backend(error) => error,
        PoolError::Closed => sqlx::Error::PoolClosed,
        PoolError::Timeout(_) | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => sqlx::Error::PoolTimedOut,
    }
}

/// Takes connections from the pool, and lets go those that it should look at.
#[derive(Debug)]
struct Lender(PgPool);

/// A connection of the pool.
#[derive(Debug)]
struct AtHand {
    connection: PoolConnection<Postgres>,
    /// Whether the last reading on it went well: it has read its whole answer, and nothing is on its way.
    is_sound: bool,
}

impl Manager for Lender {
    type Type = AtHand;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<AtHand> {
        // In a box, which is seldom made: what it takes to connect, 12 kB, would be moved about in every reading.
        Ok(AtHand { connection: Box::pin(self.0.acquire()).await?, is_sound: false })
    }

    async fn recycle(&self, at_hand: &mut AtHand, used: &Metrics) -> RecycleResult<sqlx::Error> {
        // Until the next reading has gone well.
        let is_sound = std::mem::take(&mut at_hand.is_sound);
        if is_sound && used.last_used() < TRUSTED_PAUSE && used.age() < MOST_TIME {
            Ok(())
        } else {
            Err(RecycleError::message("the pool looks at it"))
        }
    }
}
