//! `serve`.

use super::CommandError;
use crate::app::{self, App};
use crate::config::Settings;
use clap::Args;

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Refuse to start when migrations are waiting, instead of applying them.
    #[arg(long)]
    no_migrate: bool,
}

pub(super) async fn run(settings: &Settings, args: &ServeArgs) -> Result<(), CommandError> {
    settings.check_for_serving()?;
    let listener = app::listen(settings).await?;
    let app = if args.no_migrate { App::open_without_migrating(settings).await? } else { App::open(settings).await? };
    Ok(app.serve(settings, listener, || ()).await?)
}
