//! One try of an import: a file, one transaction, a log row for each organization.

use super::report::{Report, Told, tell_differences};
use super::source::{Chunk, Source};
use super::{Format, ImportArgs};
use crate::cli::CommandError;
use crate::cli::progress::Progress;
use crate::service::PfaMirrorService;
use crate::service::ingest::{Batch, Expected, Load, Staged};
use crate::service::sync::runs::{RunDirection, RunOutcome, RunType};
use tokio::sync::mpsc;
use uuid::Uuid;

/// What becomes of one organization.
#[derive(Debug)]
pub(super) struct OrganizationRun {
    /// Its code.
    pub code: String,
    /// The run in the log.
    pub id: Uuid,
    /// What came of it.
    pub outcome: RunOutcome,
}

/// Loads all good lines, or none, and holds the mirror against them before anybody sees it.
///
/// # Errors
/// Why nothing was loaded; the log has it.
pub(super) async fn load_file(service: &PfaMirrorService, args: &ImportArgs, source: Source) -> Result<Report, CommandError> {
    let organizations = source.organizations();
    for organization in &organizations {
        service.save_organization(organization, organization).await?;
    }
    let codes: Vec<_> = organizations.iter().map(String::as_str).collect();
    let mut load = service.begin_load(&codes).await?;
    let mut runs = Vec::new();
    for code in organizations {
        let id = service.begin_run(&code, RunType::Import, RunDirection::Read, None).await?;
        runs.push(OrganizationRun { code, id, outcome: RunOutcome::default() });
    }
    let mut import = Import { args, report: Report::new(runs), told: Told::default(), expected: Expected::default() };
    let mut progress = Progress::begin("Importing", source.size());
    let filled = import.fill(&mut load, source, &mut progress).await;
    let ended = match filled {
        Ok(Ending::Good) => load.commit(|index| progress.step(&format!("building {index}"))).await.map_err(CommandError::from),
        Ok(Ending::Refused(reason)) => {
            load.abandon().await;
            import.report.fail(reason);
            Ok(())
        }
        Err(error) => {
            load.abandon().await;
            Err(error)
        }
    };
    progress.end();
    if let Err(error) = &ended {
        import.report.fail(error.told());
    }
    if import.report.failure.is_some() {
        import.report.log_failure(service).await;
    }
    ended.map(|()| import.report)
}

/// Writes a failed run into the log of an organization, for a file that is none.
pub(super) async fn log_refusal(service: &PfaMirrorService, organization: &str, reason: &str) -> crate::error::Result<()> {
    service.save_organization(organization, organization).await?;
    let load = service.begin_load(&[organization]).await?;
    let id = service.begin_run(organization, RunType::Import, RunDirection::Read, None).await?;
    service.finish_run(organization, id, &RunOutcome { error: Some(reason.to_owned()), ..RunOutcome::default() }).await?;
    load.abandon().await;
    Ok(())
}

/// How filling the mirror ended.
enum Ending {
    /// It can be committed.
    Good,
    /// It must not be committed: why.
    Refused(String),
}

struct Import<'a> {
    args: &'a ImportArgs,
    report: Report,
    told: Told,
    /// Of the organization whose lines come.
    expected: Expected,
}

impl Import<'_> {
    /// Stages and applies everything; all but the commit.
    async fn fill(&mut self, load: &mut Load, source: Source, progress: &mut Progress) -> Result<Ending, CommandError> {
        // Reading takes a core of its own while the database copies.
        let (sender, mut receiver) = mpsc::channel::<Chunk>(2);
        let reading = tokio::task::spawn_blocking(move || source.read_chunks(|chunk| sender.blocking_send(chunk).is_ok()));
        let mut current: Option<usize> = None;
        while let Some(chunk) = receiver.recv().await {
            progress.add(chunk.lines.iter().map(|line| Source::size_of(self.args.format, line)).sum());
            let index = self.report.runs.iter().position(|run| Some(&run.code) == chunk.organization.as_ref());
            if current != index
                && let Ending::Refused(reason) = self.apply(load, current, progress).await?
            {
                return Ok(Ending::Refused(reason));
            }
            current = index;
            self.stage(load, index, chunk).await?;
        }
        let read = reading.await.map_err(|error| CommandError::Incomplete(format!("reading failed: {error}")))?;
        read.map_err(|source| CommandError::File { path: self.args.file.display().to_string(), source })?;
        if let Ending::Refused(reason) = self.apply(load, current, progress).await? {
            return Ok(Ending::Refused(reason));
        }
        if self.args.strict && self.report.has_trouble() {
            return Ok(Ending::Refused("strict: nothing was loaded because of bad lines or unreadable values".to_owned()));
        }
        for run in &self.report.runs {
            load.finish_run(&run.code, run.id, &run.outcome).await?;
        }
        Ok(Ending::Good)
    }

    /// Stages the good lines; bad ones are told and counted, findings kept.
    async fn stage(&mut self, load: &mut Load, index: Option<usize>, chunk: Chunk) -> Result<(), CommandError> {
        let mut records = Vec::with_capacity(chunk.lines.len());
        let Some(run) = index.map(|index| &mut self.report.runs[index]) else {
            for line in chunk.lines {
                self.report.errored_of_nobody += 1;
                self.told.tell_bad_line(self.args.format, &line, line.record.as_ref().err().map_or("belongs to nobody", String::as_str));
            }
            return Ok(());
        };
        for mut line in chunk.lines {
            let reason = match &mut line.record {
                Ok((record, findings)) if self.expected.note(record) => {
                    for finding in std::mem::take(findings) {
                        self.told.tell_finding(self.args.format, line.number, &finding);
                        run.outcome.add_finding(finding);
                    }
                    records.push(line);
                    continue;
                }
                Ok((record, _)) => format!("pfaId {:?} stands in the file before", record.pfa_id),
                Err(reason) => reason.clone(),
            };
            run.outcome.errored += 1;
            self.told.tell_bad_line(self.args.format, &line, &reason);
        }
        let staged = records.iter().filter_map(|line| {
            let (record, _) = line.record.as_ref().ok()?;
            Some(Staged { record, stamp: line.stamp.as_deref() })
        });
        load.stage(staged).await?;
        Ok(())
    }

    /// Applies an organization whose lines have all come.
    async fn apply(&mut self, load: &mut Load, index: Option<usize>, progress: &mut Progress) -> Result<Ending, CommandError> {
        let Some(index) = index else { return Ok(Ending::Good) };
        let expected = std::mem::take(&mut self.expected);
        if self.args.strict && self.report.has_trouble() {
            // Nothing will be loaded, but whatever else is wrong with the file is told as well.
            return Ok(Ending::Good);
        }
        let run = &mut self.report.runs[index];
        progress.step(&format!("applying {}", run.code));
        let (applied, verification) = load.apply_and_verify(&Batch::import(&run.code, run.id, "import"), &expected).await?;
        run.outcome.applied += applied;
        self.report.verified += verification.same;
        if verification.different == 0 {
            return Ok(Ending::Good);
        }
        tell_differences(&run.code, &verification);
        Ok(Ending::Refused(format!(
            "verification: {} of {} records of {} are not in the mirror as they are in the file; nothing was loaded",
            verification.different,
            expected.count(),
            run.code
        )))
    }
}

impl Format {
    /// What the file consists of.
    pub(super) const fn line_word(self) -> &'static str {
        match self {
            Self::Ndjson | Self::Csv => "line",
            Self::Sqlite => "row",
        }
    }
}
