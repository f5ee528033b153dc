//! The life of the private server: start, watch, end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::binaries::{self, Binaries};
use super::connection::Connection;
use super::error::EmbeddedError;
use super::home::Home;
use super::log::Log;
use super::previous::stop_previous;
use super::ready::prepare;
use super::settings::server_settings;
use super::socket::{PORT, SocketDir, remove_left_over};
use super::watchdog::{Plan, Watched};
use super::{EmbeddedOptions, SUPERUSER, cluster};

const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// A running private server.
///
/// Call [`Self::stop`] to end it in order. Dropping the value, or ending the process in any way, ends the
/// server as well, but a moment later and in the background.
#[derive(Debug)]
pub struct EmbeddedServer {
    // The order matters: the server is let go before the lock of the home is.
    watched: Watched,
    connection: Connection,
    bin_dir: PathBuf,
    log: Log,
    log_mark: u64,
    home: Home,
}

impl EmbeddedServer {
    /// Starts the server, after making its cluster and its database where they do not exist yet.
    ///
    /// `progress` gets a short sentence before each step that may take seconds.
    ///
    /// # Errors
    /// See [`EmbeddedError`]; nothing is left running.
    pub async fn start(options: EmbeddedOptions, progress: impl Fn(&str)) -> Result<Self, EmbeddedError> {
        let home = Home::open(&options.data_dir).await?;
        stop_previous(&home.cluster()).await?;
        let log = Log::open(home.log_file()).await?;
        cluster::remove_unfinished(&home)?;
        let made_by = cluster::read_major(&home)?;
        let binaries = binaries::find(&home, made_by, &progress).await?;
        tracing::info!(major = binaries.major, dir = %binaries.dir.display(), "using PostgreSQL");
        if made_by.is_none() {
            progress("Creating a private PostgreSQL database, once");
            cluster::create(&home, &binaries, options.durability, &log).await?;
        }
        let password = cluster::read_password(&home)?;

        progress("Starting the private PostgreSQL server");
        let log_mark = log.len();
        let socket = SocketDir::create(&home)?;
        let connection = Connection {
            socket_dir: socket.path.clone(),
            port: PORT,
            user: SUPERUSER.to_owned(),
            password,
            database: options.database.clone(),
        };
        let watched = launch(&home, &binaries, &log, &socket, &options)?;
        if let Err(problem) = prepare(&watched, &home.cluster(), &connection, &progress).await {
            let problem = problem.explain(&log, log_mark, &options.database);
            // The reason for the failed start matters more than a failed stop.
            let _ = watched.stop().await;
            return Err(problem);
        }
        tracing::info!(socket_dir = %connection.socket_dir.display(), "the private PostgreSQL server is ready");
        Ok(Self { watched, connection, bin_dir: binaries.dir, log, log_mark, home })
    }

    /// How to reach the server.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The database of the service as a URL that sqlx and psql accept.
    #[must_use]
    pub fn url(&self) -> SecretString {
        self.connection.url()
    }

    /// The directory of `psql`, `pg_dump` and so on of the same version.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// Waits until the server ends although nobody stopped it, and says why. Cancel-safe.
    pub async fn wait_for_exit(&self) -> EmbeddedError {
        let status = self.watched.wait().await.to_string();
        EmbeddedError::Ended { status, log_tail: self.log.tail(self.log_mark) }
    }

    /// Stops the server: a fast shutdown, which ends open connections, then after 20 seconds an immediate one.
    ///
    /// # Errors
    /// [`EmbeddedError::StopTimedOut`] when it had to be killed.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        self.end().await.map(drop)
    }

    /// Stops the server and deletes its database, wherever that is. For tests and demonstrations.
    ///
    /// # Errors
    /// As [`Self::stop`], and [`EmbeddedError::Io`] when something cannot be deleted.
    pub async fn stop_and_delete(self) -> Result<(), EmbeddedError> {
        self.end().await?.delete()
    }

    async fn end(self) -> Result<Home, EmbeddedError> {
        let status = self.watched.stop().await?;
        // Does nothing unless the watchdog was killed and so could not wait for the server.
        stop_previous(&self.home.cluster()).await?;
        remove_left_over(&self.connection.socket_dir);
        tracing::info!(%status, "the private PostgreSQL server has stopped");
        Ok(self.home)
    }
}

/// Starts the server process below its watchdog.
fn launch(home: &Home, binaries: &Binaries, log: &Log, socket: &SocketDir, options: &EmbeddedOptions) -> Result<Watched, EmbeddedError> {
    let mut args: Vec<OsString> = vec!["-D".into(), home.cluster().into()];
    let place = [
        ("listen_addresses", String::new()),
        ("port", PORT.to_string()),
        ("unix_socket_directories", socket.path.to_string_lossy().into_owned()),
        ("unix_socket_permissions", "0700".to_owned()),
    ];
    let place = place.map(|(name, value)| (name.to_owned(), value));
    for (name, value) in server_settings(options).into_iter().chain(place) {
        args.extend(["-c".into(), format!("{name}={value}").into()]);
    }
    Watched::spawn(Plan {
        account: home.account,
        dir: &home.dir,
        log: log.file(),
        patience: STOP_PATIENCE,
        remove: socket.temporary.then_some(&socket.path),
        program: &binaries.dir.join("postgres"),
        args,
    })
    .inspect_err(|_| remove_left_over(&socket.path))
}
