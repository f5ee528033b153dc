//! What comes of a claimed change, one transaction each: it meets what PEMS has, it arrived, it waits
//! for another attempt, or it is given up.

use super::claim::Claim;
use crate::domain::conflict::{same, three_way};
use crate::domain::delta::{Draft, merge};
use crate::domain::record::Record;
use crate::domain::rules::broken_rules;
use crate::error::Result;
use crate::service::PfaMirrorService;
use crate::service::publication::{Access, Publication, Seen, lock_organization, next_publication, rebuild_overlay};
use serde_json::{Map, Value};
use sqlx::types::Json;
use sqlx::{Postgres, Transaction};
use std::time::{Duration, Instant};
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

/// What PEMS writes its changes as, in the history.
const PEMS: &str = "PEMS";

/// Why a change is withdrawn that nothing else is said of.
const IN_CONFLICT: &str = "in conflict with PEMS";

/// A record as PEMS has it now.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub record: Record,
    /// Fields whose values cannot be read.
    pub unreadable: Vec<String>,
    pub stamp: Option<String>,
    /// When its answer came.
    pub answered_at: Instant,
}

/// What a comparison with PEMS says.
#[derive(Debug, PartialEq)]
pub(super) enum Compared {
    /// These fields are to be written.
    Write(Map<String, Value>),
    /// PEMS has all of it; the change has arrived.
    Arrived,
    /// PEMS changed one of its fields to something else, or the result would break a rule.
    Conflict(String),
    /// Somebody else holds the change.
    Lost,
}

/// What a change that was written met.
#[derive(Debug, PartialEq)]
pub(super) enum Settled {
    /// It arrived.
    Arrived,
    /// PEMS took it and does not have it; the claim goes on.
    NotKept(String),
    /// Somebody else holds the change.
    Lost,
}

/// How a claim ends.
enum End<'a> {
    Arrived,
    Conflict,
    Failed(&'a str),
    Waits { error: &'a str, pause: Duration, is_counted: bool },
}

impl PfaMirrorService {
    /// Takes what PEMS has into the mirror and compares the change with it.
    pub(super) async fn compare_change(
        &self,
        organization: &str,
        run: Uuid,
        claim: &Claim,
        current: &Current,
        lease: Duration,
    ) -> Result<Compared> {
        let Some(mut settling) = Settling::begin(self, organization, run, claim).await? else { return Ok(Compared::Lost) };
        let draft = Draft { delta: claim.delta.clone(), base: claim.base.clone() };
        let theirs = &current.record.data;
        let differs = |field: &str, ours: &Value| !same(theirs.get(field).unwrap_or(&Value::Null), ours);
        let to_write: Map<_, _> =
            claim.delta.iter().filter(|(field, ours)| differs(field, ours)).map(|(field, ours)| (field.clone(), ours.clone())).collect();
        if to_write.is_empty() {
            // An attempt before this one wrote it, and its answer was lost; or somebody made the same change there.
            settling.write(&claim.delta).await?;
            settling.take(current).await?;
            settling.end(End::Arrived).await?;
            return Ok(Compared::Arrived);
        }
        settling.take(current).await?;
        let conflicts = three_way(&draft, theirs).into_iter().filter(|comparison| comparison.conflict).map(|comparison| comparison.field);
        let rules = broken_rules(&merge(theirs, [&claim.delta]), &claim.delta);
        let problems: Vec<_> = conflicts
            .map(|field| format!("{field} was changed in PEMS"))
            .chain(rules.iter().map(|rule| format!("with what PEMS has, {}", rule.message())))
            .collect();
        if !problems.is_empty() {
            settling.end(End::Conflict).await?;
            return Ok(Compared::Conflict(problems.join("; ")));
        }
        settling.renew(lease).await?;
        Ok(Compared::Write(to_write))
    }

    /// Ends a change that was written, with what PEMS had before and has now.
    pub(super) async fn settle_change(
        &self,
        organization: &str,
        run: Uuid,
        claim: &Claim,
        written: &Map<String, Value>,
        before: &Current,
        now: &Current,
    ) -> Result<Settled> {
        let Some(mut settling) = Settling::begin(self, organization, run, claim).await? else { return Ok(Settled::Lost) };
        let value = |current: &Current, field: &str| current.record.data.get(field).cloned().unwrap_or_default();
        let is_kept = |field: &str, ours: &Value| same(&value(now, field), ours) || !same(&value(now, field), &value(before, field));
        let dropped: Vec<_> = written.iter().filter(|(field, ours)| !is_kept(field, ours)).map(|(field, _)| field.as_str()).collect();
        if dropped.is_empty() {
            // First what was written; then what somebody made of it in PEMS since, if anybody did.
            settling.write(written).await?;
            settling.take(now).await?;
            settling.end(End::Arrived).await?;
            return Ok(Settled::Arrived);
        }
        let error = format!("PEMS took the change and did not keep {}", dropped.join(", "));
        settling.take(now).await?;
        settling.finish(IN_CONFLICT).await?;
        Ok(Settled::NotKept(error))
    }

    /// Gives a change up; a person retries or drops it.
    pub(super) async fn fail_change(&self, organization: &str, run: Uuid, claim: &Claim, error: &str) -> Result<()> {
        match Settling::begin(self, organization, run, claim).await? {
            Some(settling) => settling.end(End::Failed(error)).await,
            None => Ok(()),
        }
    }

    /// Gives a change back for a later attempt.
    pub(super) async fn release_change(
        &self,
        organization: &str,
        run: Uuid,
        claim: &Claim,
        error: &str,
        pause: Duration,
        is_counted: bool,
    ) -> Result<()> {
        match Settling::begin(self, organization, run, claim).await? {
            Some(settling) => settling.end(End::Waits { error, pause, is_counted }).await,
            None => Ok(()),
        }
    }
}

/// A transaction on one claimed change, under the organization's lock.
struct Settling<'a> {
    _place: Option<SemaphorePermit<'a>>,
    transaction: Transaction<'static, Postgres>,
    organization: &'a str,
    run: Uuid,
    claim: &'a Claim,
    /// The mirror's data as it is within the transaction.
    mirror: Map<String, Value>,
    publication: Option<(Publication, Seen)>,
    /// Whether its number stands in the history already.
    is_told: bool,
}

impl<'a> Settling<'a> {
    /// Locks the organization and makes sure that the claim still holds; none when it does not.
    async fn begin(service: &'a PfaMirrorService, organization: &'a str, run: Uuid, claim: &'a Claim) -> Result<Option<Self>> {
        let place = service.writers.acquire().await.ok();
        let mut transaction = service.pool.begin().await?;
        lock_organization(&mut transaction, organization, Access::Exclusive).await?;
        let mirror = sqlx::query_scalar!(
            r#"select m.data as "data: Json<Map<String, Value>>"
                 from pfa_modification d
                 join pfa_mirror m on m.organization_id = d.organization_id and m.id = d.mirror_id
                where d.organization_id = $1 and d.id = $2 and d.claim_id = $3 and d.sync_state = 'syncing'"#,
            organization,
            claim.id,
            claim.key,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(Json(mirror)) = mirror else {
            tracing::warn!(organization, pfa_id = claim.pfa_id, "the claim of a change had run out; somebody else has it");
            return Ok(None);
        };
        Ok(Some(Self { _place: place, transaction, organization, run, claim, mirror, publication: None, is_told: false }))
    }

    /// The publication of this transaction, begun when it is first needed.
    async fn publication(&mut self) -> Result<Publication> {
        if let Some((publication, _)) = &self.publication {
            return Ok(*publication);
        }
        let records = [self.claim.mirror_id];
        let publication = next_publication(&mut self.transaction, self.organization).await?;
        let seen = Seen::look(&mut self.transaction, self.organization, publication, &records).await?;
        self.publication = Some((publication, seen));
        Ok(publication)
    }

    /// The number and the moment of a change of the mirror: of two in a transaction each has its own, in their order.
    async fn next_change(&mut self) -> Result<Publication> {
        let mut publication = self.publication().await?;
        if self.is_told {
            publication = next_publication(&mut self.transaction, self.organization).await?;
            if let Some((newest, _)) = &mut self.publication {
                *newest = publication;
            }
        }
        self.is_told = true;
        Ok(publication)
    }

    /// Brings the mirror to what PEMS has.
    async fn take(&mut self, current: &Current) -> Result<()> {
        let data = self.readable(current);
        self.set_mirror(&data, current.stamp.as_deref(), PEMS, None).await
    }

    /// What PEMS has, where it can be read: what cannot is left to the next reading, which reports it.
    fn readable(&self, current: &Current) -> Map<String, Value> {
        let kept = current.unreadable.iter().filter_map(|field| self.mirror.get(field).map(|value| (field.clone(), value.clone())));
        let kept: Map<_, _> = kept.collect();
        merge(&current.record.data, [&kept])
    }

    /// Brings the mirror to what was written to PEMS, in the name of its author.
    async fn write(&mut self, fields: &Map<String, Value>) -> Result<()> {
        let (data, user, reason) = (merge(&self.mirror, [fields]), self.claim.user.clone(), self.claim.reason.clone());
        self.set_mirror(&data, None, &user, reason.as_deref()).await
    }

    async fn set_mirror(&mut self, data: &Map<String, Value>, stamp: Option<&str>, by: &str, reason: Option<&str>) -> Result<()> {
        let is_same = self.mirror == *data;
        if is_same && stamp.is_none() {
            return Ok(());
        }
        // A new stamp alone is not published: nobody reads it.
        let publication = if is_same { None } else { Some(self.next_change().await?) };
        sqlx::query!(
            "select pfa_set_mirror($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            self.organization,
            self.claim.mirror_id,
            Value::Object(data.clone()),
            stamp,
            self.run,
            publication.map(|publication| publication.number),
            publication.map(|publication| publication.at),
            by,
            reason,
            by != PEMS,
        )
        .fetch_one(&mut *self.transaction)
        .await?;
        data.clone_into(&mut self.mirror);
        Ok(())
    }

    /// Goes on with the claim.
    async fn renew(mut self, lease: Duration) -> Result<()> {
        sqlx::query!(
            "update pfa_modification set lease_until = clock_timestamp() + $3::float8 * interval '1 second'
              where organization_id = $1 and id = $2",
            self.organization,
            self.claim.id,
            lease.as_secs_f64(),
        )
        .execute(&mut *self.transaction)
        .await?;
        self.finish(IN_CONFLICT).await
    }

    /// Ends the claim.
    async fn end(mut self, end: End<'_>) -> Result<()> {
        self.publication().await?;
        let (state, error, pause, is_counted) = match end {
            End::Arrived => ("synced", None, Duration::ZERO, true),
            End::Conflict => ("conflict", None, Duration::ZERO, true),
            End::Failed(error) => ("failed", Some(error), Duration::ZERO, true),
            End::Waits { error, pause, is_counted } => ("committed", Some(error), pause, is_counted),
        };
        sqlx::query!(
            "update pfa_modification
                set sync_state      = $3,
                    conflict_stage  = case $3 when 'conflict' then 'writeBack' end,
                    conflicted_at   = case $3 when 'conflict' then clock_timestamp() end,
                    synced_at       = case $3 when 'synced' then clock_timestamp() end,
                    failed_at       = case $3 when 'failed' then clock_timestamp() end,
                    next_attempt_at = case $3 when 'committed' then clock_timestamp() + $5::float8 * (0.8 + 0.4 * random()) * interval '1 second' end,
                    attempts        = attempts - case when $6 then 0 else 1 end,
                    last_error      = $4,
                    claim_id        = null,
                    lease_until     = null
              where organization_id = $1 and id = $2",
            self.organization,
            self.claim.id,
            state,
            error,
            pause.as_secs_f64(),
            is_counted,
        )
        .execute(&mut *self.transaction)
        .await?;
        let why = match end {
            End::Failed(error) => error,
            End::Conflict | End::Arrived | End::Waits { .. } => IN_CONFLICT,
        };
        self.finish(why).await
    }

    /// Brings everything that follows up to date. Where everybody reads something else now, though
    /// nothing has told it yet, a change was withdrawn.
    async fn finish(mut self, why: &str) -> Result<()> {
        let connection = &mut *self.transaction;
        if let Some((publication, seen)) = self.publication.take() {
            let records = [self.claim.mirror_id];
            sqlx::query!("select pfa_recheck_published($1, $2, true)", self.organization, &records).fetch_one(&mut *connection).await?;
            rebuild_overlay(connection, self.organization, &records, None).await?;
            seen.note_after(connection, self.organization, publication).await?;
            seen.tell(connection, self.organization, publication, PEMS, ("sync", Some(self.run)), Some(why)).await?;
        }
        self.transaction.commit().await?;
        Ok(())
    }
}
