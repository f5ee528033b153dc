//! Claims: who writes which change, and until when.

use super::{WriteBackOptions, WriteScope};
use crate::error::Result;
use crate::service::PfaMirrorService;
use crate::service::publication::{Access, lock_organization, next_publication, rebuild_overlay};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

/// A change that this process writes to PEMS.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// The change.
    pub id: Uuid,
    /// Its `claim_id`: proves that the change is still this process's.
    pub key: Uuid,
    pub mirror_id: Uuid,
    pub pfa_id: String,
    pub delta: Map<String, Value>,
    pub base: Map<String, Value>,
    /// With this one.
    pub attempts: u32,
    pub user: String,
    pub reason: Option<String>,
}

impl PfaMirrorService {
    /// Claims changes in the order of their commits, the oldest of each record, unless the
    /// organization is paused. A turn that does not wait tries each change once.
    pub(super) async fn claim_changes(
        &self,
        organization: &str,
        scope: &WriteScope,
        tried: &[Uuid],
        most: usize,
        options: &WriteBackOptions,
    ) -> Result<Vec<Claim>> {
        let _place = self.writers.acquire().await;
        let mut transaction = self.pool.begin().await?;
        // Readers see that it is on its way, so a claim is a publication.
        lock_organization(&mut transaction, organization, Access::Exclusive).await?;
        let mut claims = sqlx::query!(
            r#"
            with due as (
                select d.id
                  from pfa_modification d
                  join organizations o on o.organization_id = d.organization_id and o.write_back_paused_at is null
                 where d.organization_id = $1
                   and d.sync_state = 'committed'
                   and ($2 and not d.id = any ($6) or d.next_attempt_at is null or d.next_attempt_at <= now())
                   and ($3::text[] = '{}' or d.mirror_id in (select id from pfa_mirror where organization_id = $1 and pfa_id = any ($3)))
                   -- The offset makes this a probe of the record's few changes whatever the statistics say:
                   -- after a commit of 20,000 they say that there is one.
                   and not exists (
                           select from pfa_modification earlier
                            where earlier.organization_id = $1
                              and earlier.mirror_id = d.mirror_id
                              and earlier.sync_state in ('committed', 'syncing', 'conflict', 'failed')
                              and (earlier.sync_state = 'syncing'
                                   or earlier.sync_state = 'committed' and (earlier.committed_at, earlier.id) < (d.committed_at, d.id))
                           offset 0)
                 order by d.committed_at, d.id
                 limit $4
                   for update of d skip locked
            )
            update pfa_modification d
               set sync_state = 'syncing', claim_id = gen_random_uuid(), lease_until = clock_timestamp() + $5::float8 * interval '1 second',
                   attempts = attempts + 1, next_attempt_at = null
              from due, pfa_mirror m
             where d.organization_id = $1
               and d.id = due.id
               and m.organization_id = $1
               and m.id = d.mirror_id
            returning d.id, d.claim_id as "key!", d.mirror_id, m.pfa_id as "pfa_id!", d.delta as "delta: Json<Map<String, Value>>",
                      d.base as "base: Json<Map<String, Value>>", d.attempts, d.user_id, d.change_reason, d.committed_at
            "#,
            organization,
            scope.ignores_pauses(),
            scope.records(),
            i64::try_from(most).unwrap_or(i64::MAX),
            options.lease.as_secs_f64(),
            tried,
        )
        .fetch_all(&mut *transaction)
        .await?;
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        // An update returns its rows in any order.
        claims.sort_unstable_by_key(|claim| (claim.committed_at, claim.id));
        let records: Vec<_> = claims.iter().map(|claim| claim.mirror_id).collect();
        next_publication(&mut transaction, organization).await?;
        rebuild_overlay(&mut transaction, organization, &records, None).await?;
        transaction.commit().await?;
        let claims = claims.into_iter().map(|row| Claim {
            id: row.id,
            key: row.key,
            mirror_id: row.mirror_id,
            pfa_id: row.pfa_id,
            delta: row.delta.0,
            base: row.base.0,
            attempts: u32::try_from(row.attempts).unwrap_or(0),
            user: row.user_id,
            reason: row.change_reason,
        });
        Ok(claims.collect())
    }

    /// Gives back what processes claimed and did not finish before their lease ran out.
    pub(super) async fn release_expired(&self, organization: &str) -> Result<u64> {
        let _place = self.writers.acquire().await;
        let mut transaction = self.pool.begin().await?;
        lock_organization(&mut transaction, organization, Access::Exclusive).await?;
        let records = sqlx::query_scalar!(
            "update pfa_modification
                set sync_state = 'committed', claim_id = null, lease_until = null, last_error = 'the process that wrote it did not finish'
              where organization_id = $1
                and sync_state = 'syncing'
                and (lease_until is null or lease_until < clock_timestamp())
             returning mirror_id",
            organization
        )
        .fetch_all(&mut *transaction)
        .await?;
        if records.is_empty() {
            return Ok(0);
        }
        next_publication(&mut transaction, organization).await?;
        rebuild_overlay(&mut transaction, organization, &records, None).await?;
        transaction.commit().await?;
        Ok(records.len() as u64)
    }

    /// Codes of organizations with something to write back now, or with claims that ran out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_organizations_due(&self) -> Result<Vec<String>> {
        // The order and the limit keep each look in its partial index: without them the planner, who
        // expects to find one at once, reads the whole table when there is none.
        let due = sqlx::query_scalar!(
            "select organization_id
               from organizations o
              where write_back_paused_at is null
                and exists (
                        select from pfa_modification d
                         where d.organization_id = o.organization_id
                           and d.sync_state = 'committed'
                           and (d.next_attempt_at is null or d.next_attempt_at <= now())
                         order by d.organization_id, d.committed_at, d.id
                         limit 1)
                 or exists (
                        select from pfa_modification d
                         where d.organization_id = o.organization_id
                           and d.sync_state = 'syncing'
                           and (d.lease_until is null or d.lease_until < now())
                         order by d.organization_id, d.lease_until
                         limit 1)
              order by organization_id"
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(due)
    }
}
