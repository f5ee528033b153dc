//! The connection pool and what every connection is set to.

use crate::config::Settings;
use crate::db::ready::ReadyConnections;
use crate::error::Result;
use log::LevelFilter;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool};
use std::str::FromStr;
use std::time::Duration;

/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was used so recently is taken to be alive.
const TRUSTED_IDLE_TIME: Duration = Duration::from_secs(1);

/// Opens the pool and makes sure that the database answers.
///
/// # Errors
/// When the URL is wrong or the database does not answer within ten seconds.
pub async fn open(url: &str, settings: &Settings) -> Result<PgPool> {
    let options = connect_options(url, settings.statement_timeout())?;
    // The pool would try until its time is up and then tell of the time only; one connection tells the cause.
    tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await?;
    Ok(pool_options(settings.pool_size).min_connections(1).connect_with(options).await?)
}

/// How the pool of the service is set.
#[must_use]
pub fn pool_options(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping before every use costs a small reading a third of its time; one after a pause finds
        // connections that a restart of the server has cut.
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > TRUSTED_IDLE_TIME {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

/// A small pool beside another, on the same database, for statements whose plan does not depend
/// on their values: they are planned once a connection, which takes a fifth off a small reading,
/// and they do not queue behind large ones.
#[must_use]
pub fn summaries_beside(pool: &PgPool) -> ReadyConnections {
    let options = pool.connect_options().as_ref().clone().options([("plan_cache_mode", "force_generic_plan")]);
    ReadyConnections::open(pool_options((pool.options().get_max_connections() / 4).max(1)), options)
}

/// How every connection of the service is set.
///
/// # Errors
/// When the URL is wrong.
pub fn connect_options(url: &str, statement_timeout: Duration) -> Result<PgConnectOptions> {
    let mut options = PgConnectOptions::from_str(url)?.application_name("pfa-vanguard").statement_cache_capacity(256).options([
        // A generic plan for the grid query ignores how selective its values are: 200 times slower in a test.
        ("plan_cache_mode", "force_custom_plan".to_owned()),
        // Compiling takes longer than any of our queries.
        ("jit", "off".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("statement_timeout", statement_timeout.as_millis().to_string()),
        // A client that vanished in the middle of a transaction must not keep its locks.
        ("idle_in_transaction_session_timeout", "60000".to_owned()),
    ]);
    // Loads and refreshes are slow on purpose; requests have their time-out.
    options = options.log_slow_statements(LevelFilter::Debug, Duration::from_secs(1));
    Ok(options)
}
