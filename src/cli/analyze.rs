//! `analyze`.

use super::CommandError;
use super::lines::say;
use crate::app::App;
use crate::config::Settings;
use clap::Args;

/// Options of `analyze`.
#[derive(Debug, Args)]
pub struct AnalyzeArgs {
    /// Code of the organization.
    #[arg(long = "org", value_name = "CODE")]
    organization: String,
    /// Only this category.
    #[arg(long)]
    category: Option<String>,
    /// Only this source.
    #[arg(long)]
    source: Option<String>,
}

pub(super) async fn run(settings: &Settings, args: &AnalyzeArgs) -> Result<(), CommandError> {
    let app = App::open(settings).await?;
    let outcome = app.service.analyze_queries(&args.organization, args.category.as_deref(), args.source.as_deref()).await;
    app.close().await;
    let measurements = outcome?;
    say(&format!("{:<30} {:>10} {:>10} {:>10} {:>8}  indexes", "reading", "target ms", "took ms", "plan ms", "rows"));
    for m in measurements {
        let mark = if m.within_target { ' ' } else { '!' };
        let indexes = m.indexes.join(", ");
        say(&format!("{:<30} {:>10} {:>9}{mark} {:>10} {:>8}  {indexes}", m.query, m.target_ms, m.execution_ms, m.planning_ms, m.rows));
    }
    Ok(())
}
