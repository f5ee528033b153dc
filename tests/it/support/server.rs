//! The PostgreSQL server of a test run, and one database a test.
//!
//! `TEST_DATABASE_URL`, else a container when an engine answers, else local binaries. The server
//! lives in a thread of its own for as long as the test process does, and ends with it.

use pfa_vanguard::db::embedded::{Durability, EmbeddedOptions, EmbeddedServer};
use pfa_vanguard::db::migrate::MIGRATOR;
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool};
use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// A database of one test; dropped with it.
pub struct TestDatabase {
    pub pool: PgPool,
    name: String,
}

impl TestDatabase {
    /// A fresh database with the current schema.
    pub async fn migrated() -> Self {
        Self::create(Some(server().template.clone())).await
    }

    /// A fresh database without anything in it.
    pub async fn empty() -> Self {
        Self::create(None).await
    }

    async fn create(template: Option<String>) -> Self {
        let name = format!("pfa_test_{}", Uuid::new_v4().simple());
        let template = template.unwrap_or_else(|| "template0".to_owned());
        run_on_server(Job::Execute(format!("create database {name} template {template}"))).await;
        let options = options_for(&name);
        let pool = pfa_vanguard::db::pool::pool_options(6).connect_with(options).await.unwrap();
        Self { pool, name }
    }

    /// Connections of their own, as another process has them.
    pub async fn another_pool(&self) -> PgPool {
        pfa_vanguard::db::pool::pool_options(6).connect_with(options_for(&self.name)).await.unwrap()
    }

    /// An URL of this database, for processes that tests start.
    pub fn url(&self) -> String {
        url_for(&self.name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (done, wait) = mpsc::channel();
        let drop = Job::Execute(format!("drop database if exists {} with (force)", self.name));
        if server().jobs.send((drop, done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(30));
        }
    }
}

enum Job {
    Execute(String),
}

struct Server {
    url: String,
    template: String,
    jobs: tokio::sync::mpsc::UnboundedSender<(Job, mpsc::Sender<()>)>,
}

async fn run_on_server(job: Job) {
    let (done, wait) = mpsc::channel();
    server().jobs.send((job, done)).unwrap();
    tokio::task::spawn_blocking(move || wait.recv_timeout(Duration::from_mins(2)).expect("the test server answers")).await.unwrap();
}

/// Settings of the service for a database of the server.
fn options_for(database: &str) -> PgConnectOptions {
    pfa_vanguard::db::pool::connect_options(&url_for(database), Duration::from_secs(30)).unwrap()
}

fn url_for(database: &str) -> String {
    let url = &server().url;
    let (base, _) = url.rsplit_once('/').expect("a URL with a database");
    format!("{base}/{database}")
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (started, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(&started));
        });
        wait.recv().expect("a test server starts")
    })
}

async fn run(started: &mpsc::Sender<Server>) {
    let (url, _keep) = choose().await;
    let mut admin = PgConnectOptions::from_str(&url).unwrap().connect().await.unwrap();
    let template = make_template(&mut admin, &url).await;
    let (jobs, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    started.send(Server { url, template, jobs }).unwrap();
    while let Some((Job::Execute(statement), done)) = inbox.recv().await {
        if let Err(error) = sqlx::query(AssertSqlSafe(statement.as_str())).execute(&mut admin).await {
            eprintln!("test server: {statement}: {error}");
        }
        let _ = done.send(());
    }
}

/// Something that the server's life depends on.
type Keep = Box<dyn std::any::Any>;

async fn choose() -> (String, Keep) {
    if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
        eprintln!("test server: TEST_DATABASE_URL");
        return (url, Box::new(()));
    }
    match super::container::start().await {
        Ok(container) => {
            eprintln!("test server: a postgres:15 container");
            (container.url.clone(), Box::new(container))
        }
        Err(reason) => {
            eprintln!("test server: local binaries ({reason})");
            local().await
        }
    }
}

/// A private server in a directory below `target`, which the next run uses again. Test processes
/// that run side by side take the first directory that is free.
async fn local() -> (String, Keep) {
    let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (slot, lock) = (0..64)
        .find_map(|number| {
            let lock = File::create(base.join(format!("postgres-{number}.lock"))).unwrap();
            lock.try_lock().ok().map(|()| (number, lock))
        })
        .expect("a free directory");
    let options = EmbeddedOptions {
        data_dir: base.join(format!("postgres-{slot}")),
        database: "postgres".to_owned(),
        durability: Durability::Throwaway,
        settings: vec![("shared_buffers".into(), "128MB".into()), ("max_connections".into(), "200".into())],
    };
    let server = EmbeddedServer::start(options, |_| ()).await.unwrap();
    let url = server.url().expose_secret().to_owned();
    // What a killed run left behind.
    let mut admin = PgConnectOptions::from_str(&url).unwrap().connect().await.unwrap();
    let stale: Vec<String> =
        sqlx::query_scalar("select datname from pg_database where datname like 'pfa_test_%'").fetch_all(&mut admin).await.unwrap();
    for name in stale {
        sqlx::query(AssertSqlSafe(format!("drop database {name} with (force)"))).execute(&mut admin).await.unwrap();
    }
    (url, Box::new((server, lock)))
}

/// A migrated database to copy, made once for each set of migrations.
async fn make_template(admin: &mut PgConnection, url: &str) -> String {
    let sums: Vec<u8> = MIGRATOR.iter().flat_map(|migration| migration.checksum.to_vec()).collect();
    let name = format!("pfa_template_{:016x}", xxh3_64(&sums));
    sqlx::query("select pg_advisory_lock(4711)").execute(&mut *admin).await.unwrap();
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1 and datistemplate)")
        .bind(&name)
        .fetch_one(&mut *admin)
        .await
        .unwrap();
    if !exists {
        for statement in [format!("drop database if exists {name} with (force)"), format!("create database {name} template template0")] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *admin).await.unwrap();
        }
        let (base, _) = url.rsplit_once('/').unwrap();
        let mut connection = PgConnectOptions::from_str(&format!("{base}/{name}")).unwrap().connect().await.unwrap();
        MIGRATOR.run(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        sqlx::query(AssertSqlSafe(format!("alter database {name} is_template true"))).execute(&mut *admin).await.unwrap();
    }
    sqlx::query("select pg_advisory_unlock(4711)").execute(&mut *admin).await.unwrap();
    name
}
