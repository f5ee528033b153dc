//! What an import tells: bad lines and unreadable values while it reads, figures at the end.

use super::load::OrganizationRun;
use super::source::Line;
use super::{Format, ImportArgs};
use crate::cli::CommandError;
use crate::cli::lines::say;
use crate::domain::record::Finding;
use crate::error::in_one_line;
use crate::service::PfaMirrorService;
use crate::service::ingest::{Applied, Verification};
use crate::service::sync::runs::KEPT_FINDINGS;
use indicatif::HumanCount;

/// So many bad lines are told one by one.
const TOLD_LINES: u64 = 100;
/// So many unreadable values are told one by one.
const TOLD_FINDINGS: u64 = 20;
/// So many differences are told one by one.
const TOLD_DIFFERENCES: usize = 20;

/// How much was told one by one.
#[derive(Debug, Default)]
pub(super) struct Told {
    lines: u64,
    findings: u64,
}

impl Told {
    pub(super) fn tell_bad_line(&mut self, format: Format, line: &Line, reason: &str) {
        self.lines += 1;
        if self.lines <= TOLD_LINES {
            let id = line.former_id.as_ref().map(|id| format!(" (id {id})")).unwrap_or_default();
            eprintln!("{} {}{id}: {reason}", format.line_word(), line.number);
        } else if self.lines == TOLD_LINES + 1 {
            eprintln!("more bad {}s follow", format.line_word());
        }
    }

    pub(super) fn tell_finding(&mut self, format: Format, number: u64, finding: &Finding) {
        self.findings += 1;
        if self.findings <= TOLD_FINDINGS {
            let Finding { pfa_id, field, value, problem } = finding;
            eprintln!("{} {number}: {field} {value:?} of record {pfa_id} {problem}; null stands for it", format.line_word());
        } else if self.findings == TOLD_FINDINGS + 1 {
            eprintln!("more unreadable values follow; the log of the run has the first {}", HumanCount(KEPT_FINDINGS as u64));
        }
    }
}

pub(super) fn tell_differences(organization: &str, verification: &Verification) {
    for difference in verification.differences.iter().take(TOLD_DIFFERENCES) {
        eprintln!("{organization}: {difference}");
    }
    if verification.differences.len() > TOLD_DIFFERENCES {
        eprintln!("more records are different");
    }
}

/// What came of an import.
#[derive(Debug)]
pub(super) struct Report {
    /// Each organization of the file.
    pub runs: Vec<OrganizationRun>,
    /// Bad lines that no organization can be told of.
    pub errored_of_nobody: u64,
    /// Records that are in the mirror as they are in the file.
    pub verified: u64,
    /// Why nothing was loaded, when nothing was.
    pub failure: Option<String>,
}

impl Report {
    pub(super) const fn new(runs: Vec<OrganizationRun>) -> Self {
        Self { runs, errored_of_nobody: 0, verified: 0, failure: None }
    }

    fn errored(&self) -> u64 {
        self.errored_of_nobody + self.runs.iter().map(|run| run.outcome.errored).sum::<u64>()
    }

    fn unreadable(&self) -> u64 {
        self.runs.iter().map(|run| run.outcome.findings_total).sum()
    }

    /// Whether anything of the file cannot be loaded as it stands.
    pub(super) fn has_trouble(&self) -> bool {
        self.errored() + self.unreadable() > 0
    }

    /// How many records of the mirror are other ones now.
    pub(super) fn written(&self) -> u64 {
        self.runs.iter().map(|run| run.outcome.applied.inserted + run.outcome.applied.updated).sum()
    }

    /// Nothing was loaded.
    pub(super) fn fail(&mut self, reason: String) {
        for run in &mut self.runs {
            run.outcome.applied = Applied::default();
            run.outcome.error = Some(reason.clone());
        }
        self.failure = Some(reason);
    }

    /// Writes the failure into the log. Without a database that cannot be done; then the next run closes the rows.
    pub(super) async fn log_failure(&self, service: &PfaMirrorService) {
        for OrganizationRun { code, id, outcome } in &self.runs {
            if let Err(error) = service.finish_run(code, *id, outcome).await {
                tracing::debug!(error = in_one_line(&error), "the log of a failed import could not be written");
            }
        }
    }

    /// Tells the figures.
    ///
    /// # Errors
    /// When the mirror has not got everything that stands in the file.
    pub(super) fn tell(&self, args: &ImportArgs, seconds: f64) -> Result<(), CommandError> {
        let lines = args.format.line_word();
        for OrganizationRun { code, outcome, .. } in &self.runs {
            let Applied { inserted, updated, unchanged, .. } = outcome.applied;
            say(&format!(
                "{code}: {inserted} records inserted, {updated} updated, {unchanged} unchanged; bad {lines}s: {}; unreadable values: {}.",
                outcome.errored, outcome.findings_total
            ));
        }
        if let Some(failure) = &self.failure {
            return Err(CommandError::Incomplete(failure.clone()));
        }
        let (errored, unreadable) = (self.errored(), self.unreadable());
        let exception = if unreadable > 0 { " except for unreadable values" } else { "" };
        say(&format!("verified: {} records, all as in the file{exception}; {seconds:.1} s.", HumanCount(self.verified)));
        match (errored, unreadable) {
            (0, 0) => Ok(()),
            (0, _) => Err(CommandError::Incomplete(format!("unreadable values: {unreadable}; null stands for them, the rest is loaded"))),
            (_, 0) => Err(CommandError::Incomplete(format!("bad {lines}s: {errored}; the others are loaded"))),
            _ => Err(CommandError::Incomplete(format!(
                "bad {lines}s: {errored}, unreadable values: {unreadable}; null stands for these, the other {lines}s are loaded"
            ))),
        }
    }
}
