//! Forward-only migrations, embedded in the binary and run under the driver's lock.

use crate::error::Result;
use sqlx::PgPool;
use sqlx::migrate::Migrator;

/// Every migration of this build.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// Brings the schema up to date.
///
/// # Errors
/// When a migration fails, was edited after it landed, or the database is ahead of this build.
pub async fn migrate(pool: &PgPool) -> Result<()> {
    MIGRATOR.run(pool).await?;
    Ok(())
}

/// The newest migration of this build.
#[must_use]
pub fn newest() -> Option<i64> {
    MIGRATOR.iter().map(|migration| migration.version).max()
}

/// How many migrations of this build the database has not seen; an empty database lacks all.
///
/// # Errors
/// When the database fails.
pub async fn count_pending(pool: &PgPool) -> Result<usize> {
    let has_table = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "has!""#).fetch_one(pool).await?;
    let applied: Vec<i64> = if has_table {
        sqlx::query_scalar("select version from _sqlx_migrations where success").fetch_all(pool).await?
    } else {
        Vec::new()
    };
    Ok(MIGRATOR.iter().filter(|migration| !applied.contains(&migration.version)).count())
}
