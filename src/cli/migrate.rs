//! `migrate`.

use super::CommandError;
use super::lines::say;
use crate::app::AppError;
use crate::config::Settings;
use crate::db::{Database, migrate};

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    let database = Database::open(settings).await.map_err(AppError::from)?;
    let outcome = async {
        let waiting = migrate::count_pending(&database.pool).await?;
        migrate::migrate(&database.pool).await?;
        Ok(waiting)
    }
    .await;
    database.close().await;
    match outcome {
        Ok(0) => say("The schema is up to date."),
        Ok(1) => say("Applied 1 migration."),
        Ok(applied) => say(&format!("Applied {applied} migrations.")),
        Err(error) => return Err(error),
    }
    Ok(())
}
