//! Comparing the mirror with PEMS, record by record and field by field; nothing is changed.
//!
//! All pages are staged beside the mirror, so the database itself compares them: no hashes of key
//! ranges are needed to find where to look.

use super::read::ReadRun;
use super::runs::{KEPT_FINDINGS, RunOutcome, write_outcome};
use crate::domain::record::Finding;
use crate::error::Result;
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

/// One difference.
#[derive(Debug, FromRow)]
struct Drift {
    pfa_id: String,
    field: String,
    mirror: Option<String>,
    pems: Option<String>,
    problem: String,
}

/// How much there is of it.
#[derive(Debug, Default, FromRow)]
struct DriftCounts {
    staged: i64,
    /// Differences, field by field.
    differences: i64,
    /// Records that differ or that only PEMS has.
    records_of_pems: i64,
}

impl PfaMirrorService {
    /// Ends a run that compares: every difference is a finding.
    pub(super) async fn compare_with_mirror(&self, mut run: ReadRun, mut outcome: RunOutcome) -> Result<RunOutcome> {
        let organization = run.organization().to_owned();
        let (id, since) = (run.id, run.started_at);
        let found = find_drift(run.load.connection(), &organization, since).await;
        let (counts, drift) = match found {
            Ok(found) => found,
            Err(error) => {
                run.load.abandon().await;
                return Err(error);
            }
        };
        if outcome.errored == 0 {
            // A value that nobody can read is null in the mirror and null now: readings tell it, it is no difference.
            (outcome.findings, outcome.findings_total) = (Vec::new(), 0);
        }
        outcome.applied.unchanged = u64::try_from(counts.staged - counts.records_of_pems).unwrap_or(0);
        outcome.errored += u64::try_from(counts.records_of_pems).unwrap_or(0);
        outcome.findings_total += u64::try_from(counts.differences).unwrap_or(0);
        let room = KEPT_FINDINGS.saturating_sub(outcome.findings.len());
        outcome.findings.extend(drift.into_iter().take(room).map(Drift::into_finding));
        write_outcome(run.load.connection(), &organization, id, &outcome).await?;
        run.load.abandon().await;
        Ok(outcome)
    }
}

impl Drift {
    fn into_finding(self) -> Finding {
        let mirror = self.mirror.map_or_else(String::new, |value| format!("; the mirror has {value}"));
        Finding {
            pfa_id: self.pfa_id,
            field: self.field,
            value: self.pems.unwrap_or_default().chars().take(200).collect(),
            problem: format!("{}{}", self.problem, mirror.chars().take(200).collect::<String>()),
        }
    }
}

async fn find_drift(connection: &mut PgConnection, organization: &str, since: DateTime<Utc>) -> Result<(DriftCounts, Vec<Drift>)> {
    sqlx::query("analyze pfa_staging").execute(&mut *connection).await?;
    sqlx::query("drop table if exists pfa_drift").execute(&mut *connection).await?;
    sqlx::query(KEEP_DRIFT).bind(organization).bind(since).execute(&mut *connection).await?;
    let counts = sqlx::query_as(COUNT_DRIFT).fetch_one(&mut *connection).await?;
    let drift = sqlx::query_as(TELL_DRIFT).bind(i64::try_from(KEPT_FINDINGS).unwrap_or(i64::MAX)).fetch_all(&mut *connection).await?;
    sqlx::query("drop table pfa_drift").execute(connection).await?;
    Ok((counts, drift))
}

/// Records that are not the same on both sides. What PEMS lacks and the mirror has as discontinued is
/// as it should be; what is on its way to PEMS, or arrived there since, was read too early.
const KEEP_DRIFT: &str = "
    create temporary table pfa_drift as
    select coalesce(m.pfa_id, s.pfa_id) as pfa_id, m.data as mirror, s.data as pems
      from (select id, pfa_id, data, is_discontinued from pfa_mirror where organization_id = $1) m
      full join (select data->>'pfaId' as pfa_id, data from pfa_staging) s on s.pfa_id = m.pfa_id
     where m.data is distinct from s.data
       and not (s.data is null and m.is_discontinued)
       and (m.id is null or not pfa_in_flight($1, m.id, $2))";

const COUNT_DRIFT: &str = "
    select (select count(*) from pfa_staging)                                as staged,
           coalesce(sum(cardinality(case when mirror is null or pems is null then '{id}'
                                         else pfa_changed_keys(mirror, pems) end)), 0)::bigint as differences,
           count(*) filter (where pems is not null)                          as records_of_pems
      from pfa_drift";

const TELL_DRIFT: &str = "
    select pfa_id, coalesce(key, '') as field, mirror->>key as mirror, pems->>key as pems,
           case when mirror is null then 'the mirror lacks this record'
                when pems is null   then 'PEMS lacks this record'
                else 'PEMS has another value' end as problem
      from pfa_drift
      left join lateral unnest(case when mirror is not null and pems is not null then pfa_changed_keys(mirror, pems) end) key on true
     order by pfa_id collate \"C\", key
     limit $1";
