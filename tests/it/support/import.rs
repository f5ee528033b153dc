//! The command line as a user has it: the real binary on a database and in a directory of its own.

use super::server::TestDatabase;
use std::path::PathBuf;
use std::process::{Command, Output};

pub struct Import {
    pub database: TestDatabase,
    pub dir: tempfile::TempDir,
}

impl Import {
    pub async fn new() -> Self {
        Self::on(TestDatabase::migrated().await)
    }

    pub fn on(database: TestDatabase) -> Self {
        Self { database, dir: tempfile::tempdir().unwrap() }
    }

    /// Exit code, standard output, standard error.
    pub async fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pfa-vanguard"));
        command.args(arguments);
        self.run_command(command).await
    }

    /// The same with so much memory to write to and no more.
    pub async fn run_within_kib(&self, kib: u32, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -d {kib} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_pfa-vanguard")]).args(arguments);
        self.run_command(command).await
    }

    async fn run_command(&self, mut command: Command) -> (Option<i32>, String, String) {
        command.env("DATABASE_URL", self.database.url()).env("PFA_LOG", "error").current_dir(self.dir.path());
        let Output { status, stdout, stderr } = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    pub async fn import(&self, format: &str, content: &str, more: &[&str]) -> (Option<i32>, String, String) {
        std::fs::write(self.path("file"), content).unwrap();
        self.run(&[&["import", "--org", "ORG", "--format", format], more, &["file"]].concat()).await
    }

    /// Imports the file `former.db`.
    pub async fn import_sqlite(&self, more: &[&str]) -> (Option<i32>, String, String) {
        self.run(&[&["import", "--format", "sqlite"], more, &["former.db"]].concat()).await
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.database.pool).await.unwrap()
    }

    /// How the runs of the log ended: organization, status, error; oldest first.
    pub async fn log(&self) -> Vec<(String, String, Option<String>)> {
        let statement = "select organization_id, status, error from pfa_sync_log order by started_at, organization_id";
        sqlx::query_as(statement).fetch_all(&self.database.pool).await.unwrap()
    }

    /// Runs statements on the database.
    pub async fn execute(&self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(&self.database.pool).await.unwrap();
    }
}
