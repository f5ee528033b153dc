//! Reading PEMS into the mirror: page after page into the staging table, then one apply.
//!
//! A full run must have come whole: as many different records as PEMS counts. And a record that no
//! page brought, because pages move while PEMS goes on working, is asked for by its id before it is
//! said to have vanished.

use super::runs::{Run, RunDirection, RunOutcome, RunType, write_outcome};
use crate::domain::record::{Finding, canonicalise};
use crate::error::{Error, Result, in_one_line};
use crate::pems::{GridFilter, Head, IDS_OF_A_FILTER, PemsClient, PemsRecord};
use crate::service::PfaMirrorService;
use crate::service::ingest::{Batch, Load, Origin, Staged, Vanished};
use chrono::{DateTime, Duration, NaiveDateTime, SecondsFormat, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// An incremental run begins so long before the newest stamp that was read: clocks and long
/// transactions of PEMS let older stamps appear late.
const OVERLAP: Duration = Duration::minutes(10);

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncScope {
    /// Everything; what PEMS does not have any more is discontinued.
    Full {
        /// Unless it is more than so many per cent of the records.
        most_vanished_percent: u32,
    },
    /// What PEMS changed since the last good run.
    Incremental,
    /// These records.
    Records(Vec<String>),
    /// Everything, to compare it with the mirror and change nothing.
    Verify,
}

impl SyncScope {
    const fn run_type(&self) -> RunType {
        match self {
            Self::Full { .. } => RunType::Full,
            Self::Incremental => RunType::Incremental,
            Self::Records(_) => RunType::Manual,
            Self::Verify => RunType::Verify,
        }
    }

    /// How many per cent of the records the pages may lack, of a run that brings all of them.
    const fn most_missing_percent(&self) -> Option<u32> {
        match self {
            Self::Full { most_vanished_percent } => Some(*most_vanished_percent),
            // A comparison tells what is missing, however much that is.
            Self::Verify => Some(100),
            Self::Incremental | Self::Records(_) => None,
        }
    }
}

/// A run that is wanted.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// Code of the organization.
    pub organization: String,
    /// What is read.
    pub scope: SyncScope,
    /// Who wants it; nobody for the schedule and the command line.
    pub requested_by: Option<String>,
}

/// A run under way: it holds the organization's load.
#[derive(Debug)]
pub struct ReadRun {
    /// Its id in the log.
    pub id: Uuid,
    pub(super) load: Load,
    request: SyncRequest,
    pub(super) started_at: DateTime<Utc>,
}

impl ReadRun {
    pub(super) fn organization(&self) -> &str {
        &self.request.organization
    }
}

/// What the pages brought.
#[derive(Debug, Default)]
struct Brought {
    outcome: RunOutcome,
    staged: u64,
    newest: Option<(DateTime<Utc>, String)>,
}

impl PfaMirrorService {
    /// Begins a run: takes the organization's load and opens the log row.
    ///
    /// # Errors
    /// [`Error::LoadRunning`] when another run or import is under way; when the organization is not there;
    /// or the database fails.
    pub async fn begin_read(&self, request: SyncRequest) -> Result<ReadRun> {
        let organization = &request.organization;
        self.check_organization(organization).await?;
        let load = self.begin_load(&[organization]).await?;
        let id = self.begin_run(organization, request.scope.run_type(), RunDirection::Read, request.requested_by.as_deref()).await?;
        // By the clock that writes are stamped with.
        let started_at = sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(&self.pool).await?;
        Ok(ReadRun { id, load, request, started_at })
    }

    /// Begins a run that goes on by itself.
    ///
    /// # Errors
    /// As [`PfaMirrorService::begin_read`].
    pub async fn start_read(&self, pems: &PemsClient, request: SyncRequest) -> Result<Run> {
        let organization = request.organization.clone();
        let run = self.begin_read(request).await?;
        let id = run.id;
        let (service, pems) = (self.clone(), pems.clone());
        // The log tells how it ends.
        self.background.spawn(async move { service.read_pems_until_stopped(&pems, run).await.map(drop) });
        self.find_run(&organization, id).await
    }

    /// Does the run to its end, or until the service stops.
    ///
    /// # Errors
    /// As [`PfaMirrorService::read_pems`].
    pub async fn read_pems_until_stopped(&self, pems: &PemsClient, run: ReadRun) -> Result<RunOutcome> {
        self.read_pems(pems, run, &self.stopping).await
    }

    /// Does the run to its end, which the log tells in any case: completed, failed or cancelled.
    ///
    /// # Errors
    /// Why it failed; then the mirror is as it was before.
    pub async fn read_pems(&self, pems: &PemsClient, run: ReadRun, stop: &CancellationToken) -> Result<RunOutcome> {
        let (id, organization) = (run.id, run.request.organization.clone());
        let ended = stop.run_until_cancelled(self.read_and_apply(pems, run)).await;
        let error = match ended {
            Some(Ok(outcome)) => {
                if outcome.applied.inserted + outcome.applied.updated + outcome.applied.discontinued > 0 {
                    self.refresh_soon("sync");
                }
                return Ok(outcome);
            }
            Some(Err(error)) => error,
            None => Error::RunCancelled,
        };
        let outcome = RunOutcome {
            error: Some(if stop.is_cancelled() { "the service was stopped".to_owned() } else { error.told() }),
            is_cancelled: matches!(error, Error::RunCancelled) && !stop.is_cancelled(),
            ..RunOutcome::default()
        };
        tracing::warn!(organization, run = %id, error = in_one_line(&error), "a sync run did not end well");
        self.finish_run(&organization, id, &outcome).await?;
        Err(error)
    }

    async fn read_and_apply(&self, pems: &PemsClient, mut run: ReadRun) -> Result<RunOutcome> {
        let organization = run.request.organization.clone();
        let brought = match self.read_pages(pems, &mut run).await {
            Ok(brought) => brought,
            Err(error) => {
                run.load.abandon().await;
                return Err(error);
            }
        };
        let vanished = match run.request.scope {
            SyncScope::Full { most_vanished_percent } => Vanished::Discontinue { most_percent: most_vanished_percent },
            SyncScope::Verify => return self.compare_with_mirror(run, brought.outcome).await,
            SyncScope::Incremental | SyncScope::Records(_) => Vanished::Stay,
        };
        let batch = Batch {
            organization: organization.clone(),
            id: run.id,
            loaded_by: "PEMS".to_owned(),
            origin: Origin::Sync { since: run.started_at },
            vanished,
        };
        let mut outcome = brought.outcome;
        let applied = run.load.apply(&batch).await;
        match applied {
            Ok(applied) => {
                outcome.applied = applied;
                outcome.read_up_to = read_up_to(brought.newest, run.load.left_stamps());
            }
            Err(error) => {
                run.load.abandon().await;
                return Err(error);
            }
        }
        write_outcome(run.load.connection(), &organization, run.id, &outcome).await?;
        run.load.commit(|_| ()).await?;
        Ok(outcome)
    }

    /// Stages everything that the run asks for, and makes sure that it came whole.
    async fn read_pages(&self, pems: &PemsClient, run: &mut ReadRun) -> Result<Brought> {
        let organization = run.request.organization.clone();
        let head = pems.read_head(&organization).await?;
        let mut brought = Brought::default();
        for filter in &self.filters_of(&run.request).await? {
            let so_far = brought.different(run).await?;
            let counted = pems.count_records(&organization, filter).await?;
            self.read_filter(pems, &head, run, &mut brought, filter, so_far + counted).await?;
            let mut came = brought.different(run).await? - so_far;
            // PEMS goes on working meanwhile, so either count is right.
            let expected = if came < counted { counted.min(pems.count_records(&organization, filter).await?) } else { counted };
            if let Some(most_vanished_percent) = run.request.scope.most_missing_percent() {
                let missing = run.load.find_missing(&organization, most_vanished_percent).await;
                let missing = if came < expected { missing.map_err(|_| Error::PagesNotWhole { came, expected })? } else { missing? };
                came += self.ask_for_missing(pems, &head, run, &mut brought, &missing).await?;
            }
            if came < expected {
                return Err(Error::PagesNotWhole { came, expected });
            }
        }
        Ok(brought)
    }

    /// Stages all pages of a filter.
    async fn read_filter(
        &self,
        pems: &PemsClient,
        head: &Head,
        run: &mut ReadRun,
        brought: &mut Brought,
        filter: &GridFilter,
        total: u64,
    ) -> Result<()> {
        let organization = run.request.organization.clone();
        let mut next = Some(1);
        while let Some(cursor) = next {
            let page = pems.read_page(&organization, head, filter, cursor).await?;
            next = page.next;
            brought.take(page.records, &organization, &mut run.load).await?;
            self.report_progress(&organization, run.id, brought.staged, total).await?;
        }
        Ok(())
    }

    /// Asks for records by their ids: those that are there are staged, the others have vanished. Both are accounted for.
    async fn ask_for_missing(
        &self,
        pems: &PemsClient,
        head: &Head,
        run: &mut ReadRun,
        brought: &mut Brought,
        missing: &[String],
    ) -> Result<u64> {
        for ids in missing.chunks(IDS_OF_A_FILTER) {
            let (total, so_far) = (brought.staged, brought.different(run).await?);
            let filter = GridFilter::Ids(ids.to_vec());
            self.read_filter(pems, head, run, brought, &filter, total).await?;
            let came = brought.different(run).await? - so_far;
            let expected = pems.count_records(&run.request.organization, &filter).await?;
            if came < expected {
                return Err(Error::PagesNotWhole { came, expected });
            }
        }
        Ok(missing.len() as u64)
    }

    async fn filters_of(&self, request: &SyncRequest) -> Result<Vec<GridFilter>> {
        Ok(match &request.scope {
            SyncScope::Full { .. } | SyncScope::Verify => vec![GridFilter::All],
            SyncScope::Incremental => vec![self.since_the_last_run(&request.organization).await?],
            SyncScope::Records(ids) => ids.chunks(IDS_OF_A_FILTER).map(|ids| GridFilter::Ids(ids.to_vec())).collect(),
        })
    }

    /// What PEMS changed a little before the newest stamp that was ever read, or later; everything when nothing was read yet.
    async fn since_the_last_run(&self, organization: &str) -> Result<GridFilter> {
        let newest = sqlx::query_scalar!(
            r#"select read_up_to as "stamp!" from pfa_sync_log
                where organization_id = $1 and read_up_to is not null and status in ('completed', 'completed_with_errors')
                  and sync_type in ('full', 'incremental')
                order by started_at desc limit 1"#,
            organization
        )
        .fetch_optional(&self.pool)
        .await?;
        let newest = newest.and_then(|stamp| read_stamp(&stamp));
        Ok(newest.map_or(GridFilter::All, |newest| GridFilter::Since(write_stamp(newest - OVERLAP))))
    }
}

impl Brought {
    /// How many different records came so far, those that could not be taken included.
    async fn different(&self, run: &mut ReadRun) -> Result<u64> {
        Ok(run.load.drop_repeated().await? + self.outcome.errored)
    }

    /// Stages the records of a page; what is no record of the organization is counted and told.
    async fn take(&mut self, records: Vec<PemsRecord>, organization: &str, load: &mut Load) -> Result<()> {
        let mut good = Vec::with_capacity(records.len());
        for PemsRecord { data, organization: owner, stamp } in records {
            let id = data.get("pfaId").and_then(|id| id.as_str()).unwrap_or_default().to_owned();
            let finding = |field: &str, value: &str, problem: &str| Finding {
                pfa_id: id.clone(),
                field: field.to_owned(),
                value: value.chars().take(200).collect(),
                problem: problem.to_owned(),
            };
            if let Some(owner) = owner.filter(|owner| owner != organization) {
                self.outcome.errored += 1;
                self.outcome.add_finding(finding("organization", &owner, "belongs to another organization"));
                continue;
            }
            match stamp.as_deref().map(|stamp| (stamp, read_stamp(stamp))) {
                Some((stamp, Some(moment))) if self.newest.as_ref().is_none_or(|(newest, _)| moment > *newest) => {
                    self.newest = Some((moment, stamp.to_owned()));
                }
                Some((stamp, None)) => self.outcome.add_finding(finding("pemsVersion", stamp, "is no moment")),
                _ => {}
            }
            match canonicalise(data) {
                Ok((record, findings)) => {
                    for finding in findings {
                        self.outcome.add_finding(finding);
                    }
                    good.push((record, stamp));
                }
                Err(error) => {
                    self.outcome.errored += 1;
                    self.outcome.add_finding(finding("pfaId", &id, &error.to_string()));
                }
            }
        }
        self.staged += good.len() as u64;
        load.stage(good.iter().map(|(record, stamp)| Staged { record, stamp: stamp.as_deref() })).await
    }
}

/// Where the next incremental run begins: at the newest stamp, but not after any record that was left
/// to the write-back; nowhere new when one of them has no stamp.
fn read_up_to(newest: Option<(DateTime<Utc>, String)>, left: &[Option<String>]) -> Option<String> {
    let left = left.iter().map(|stamp| stamp.as_ref().and_then(|stamp| Some((read_stamp(stamp)?, stamp.clone()))));
    let all = left.chain([newest]).collect::<Option<Vec<_>>>()?;
    all.into_iter().min().map(|(_, stamp)| stamp)
}

/// A moment as PEMS writes it, with or without a zone; without one it is taken as UTC.
fn read_stamp(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc());
    }
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(|moment| moment.and_utc())
}

fn write_stamp(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_run_begins_before_what_was_left() {
        let stamp = |minute: u32| format!("2026-01-01T00:{minute:02}:00Z");
        let newest = || read_stamp(&stamp(30)).map(|moment| (moment, stamp(30)));
        assert_eq!(read_up_to(newest(), &[]), Some(stamp(30)));
        assert_eq!(read_up_to(newest(), &[Some(stamp(20)), Some(stamp(40))]), Some(stamp(20)));
        assert_eq!(read_up_to(newest(), &[Some(stamp(20)), None]), None);
        assert_eq!(read_up_to(None, &[]), None);
    }

    #[test]
    fn stamps_are_read_in_the_forms_of_pems() {
        let expected = read_stamp("2026-01-02T03:04:05Z");
        assert!(expected.is_some());
        for text in ["2026-01-02T03:04:05.000Z", "2026-01-02 03:04:05", " 2026-01-02T04:04:05+01:00"] {
            assert_eq!(read_stamp(text), expected, "{text}");
        }
        assert_eq!(read_stamp("yesterday"), None);
        assert_eq!(write_stamp(expected.expect("a moment")), "2026-01-02T03:04:05.000Z");
    }
}
