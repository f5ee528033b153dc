//! The database: a server of our own or somebody's URL, the pool, and the migrations.

pub mod embedded;
pub mod migrate;
pub mod pool;
pub mod ready;

use crate::config::Settings;
use crate::error::Error;
use embedded::{Durability, EmbeddedError, EmbeddedOptions, EmbeddedServer};
use secrecy::ExposeSecret as _;
use sqlx::PgPool;
use std::time::Duration;

/// Name of the database inside the private server.
const EMBEDDED_DATABASE: &str = "pfa_vanguard";

/// An open database; drop or [`Database::close`] ends the private server, if there is one.
#[derive(Debug)]
pub struct Database {
    /// The pool.
    pub pool: PgPool,
    /// The private server, when no URL was given.
    pub embedded: Option<EmbeddedServer>,
}

/// Why no database could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The private server does not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The database does not answer or cannot be migrated.
    #[error(transparent)]
    Database(#[from] Error),
}

impl Database {
    /// Opens the database of the settings: their URL, else the private server.
    ///
    /// # Errors
    /// When there is none to be had, or it does not answer.
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        if let Some(url) = &settings.database_url {
            return Ok(Self { pool: pool::open(url.expose_secret(), settings).await?, embedded: None });
        }
        // The pool, a quarter more for summaries, and some for people with psql.
        let max_connections = (settings.pool_size + settings.pool_size / 4 + 20).max(50);
        let options = EmbeddedOptions {
            data_dir: settings.data_dir.clone(),
            database: EMBEDDED_DATABASE.to_owned(),
            durability: Durability::Durable,
            settings: vec![("max_connections".to_owned(), max_connections.to_string())],
        };
        let server = EmbeddedServer::start(options, |step| tracing::info!("{step}")).await?;
        match pool::open(server.url().expose_secret(), settings).await {
            Ok(pool) => Ok(Self { pool, embedded: Some(server) }),
            Err(error) => {
                server.stop().await?;
                Err(error.into())
            }
        }
    }

    /// Closes the pool and stops the private server.
    pub async fn close(self) {
        if tokio::time::timeout(Duration::from_secs(3), self.pool.close()).await.is_err() {
            tracing::warn!("the pool still has statements under way");
        }
        if let Some(server) = self.embedded
            && let Err(error) = server.stop().await
        {
            tracing::error!(%error, "the private PostgreSQL did not stop cleanly");
        }
    }
}
