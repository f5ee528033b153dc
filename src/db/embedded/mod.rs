//! A private PostgreSQL server for machines where nobody has set one up.
//!
//! [`EmbeddedServer::start`] finds PostgreSQL (or downloads it), makes a cluster in the data directory, and
//! starts a server that only a Unix socket in a private directory leads to. The module promises:
//!
//! - One process for each data directory; a second one learns the id of the first.
//! - However our process ends, kill -9 included, the server is shut down (`watchdog.rs`).
//! - Whatever was cut off, the next start recovers: a running orphan is stopped (`previous.rs`) and waited for
//!   (`log.rs`), an unfinished cluster is made again, a finished one is never touched (`cluster.rs`).
//! - Root is no obstacle: PostgreSQL then runs as another account (`account.rs`), if need be in another place
//!   (`home.rs`).
//! - The password is random, in a file with mode 600, and in no log.
//!
//! It reads `PATH` and the temporary directory from the environment, to find programs and a place
//! for the socket, and nothing else. It needs Unix.

mod account;
mod binaries;
mod cluster;
mod connection;
mod download;
mod error;
mod home;
mod lock;
mod log;
mod places;
mod previous;
mod ready;
mod server;
mod settings;
mod socket;
mod watchdog;

use std::path::PathBuf;

pub use connection::Connection;
pub use error::EmbeddedError;
pub use server::EmbeddedServer;

/// The superuser of a private cluster.
const SUPERUSER: &str = "postgres";

/// What to start.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Belongs to the server alone; is created if absent.
    pub data_dir: PathBuf,
    /// The database of the service; is created if absent.
    pub database: String,
    /// Whether data must survive a crash.
    pub durability: Durability,
    /// Further PostgreSQL settings; they win over ours, except for the place of the socket.
    pub settings: Vec<(String, String)>,
}

impl EmbeddedOptions {
    /// A durable server with the database `pfa_vanguard` and no further settings.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), database: "pfa_vanguard".to_owned(), durability: Durability::Durable, settings: Vec::new() }
    }
}

/// What a crash of the machine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing that was committed.
    #[default]
    Durable,
    /// Everything. For tests: no waiting for disks.
    Throwaway,
}
