//! Dead letters: changes that PEMS would not take. A person sends them again or drops them.

use crate::domain::conflict::Comparison;
use crate::error::Result;
use crate::service::PfaMirrorService;
use crate::service::publication::{Access, Seen, lock_organization, next_publication, rebuild_overlay};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

/// A change that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its id.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// The session whose change it is.
    pub session_id: Uuid,
    /// Who made the change.
    pub user_id: String,
    /// The changed fields.
    pub delta: Map<String, Value>,
    /// Each beside what it was and what is published now.
    pub fields: Vec<Comparison>,
    /// When it was committed.
    pub committed_at: Option<DateTime<Utc>>,
    /// When it was given up.
    pub failed_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: i32,
    /// Why it was given up.
    pub error: Option<String>,
}

/// Which dead letters; without ids all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only these.
    pub ids: Vec<Uuid>,
    /// Only on these records.
    pub pfa_ids: Vec<String>,
}

/// What became of dead letters that were sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetriedLetters {
    /// Committed again.
    pub committed: u64,
    /// Others changed the same meanwhile: a person decides.
    pub conflicts: u64,
}

impl PfaMirrorService {
    /// Dead letters, oldest first, after a place of the list.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn list_dead_letters(
        &self,
        organization: &str,
        filter: &DeadLetterFilter,
        after: Option<(DateTime<Utc>, Uuid)>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>> {
        self.check_organization(organization).await?;
        let (after_at, after_id) = after.unzip();
        let letters = sqlx::query!(
            r#"
            select d.id, m.pfa_id as "pfa_id!", d.session_id, d.user_id, d.delta as "delta: Json<Map<String, Value>>",
                   pfa_comparison(d.delta, d.base, pfa_published($1, d.mirror_id)) as "fields!: Json<Vec<Comparison>>",
                   d.committed_at, coalesce(d.failed_at, d.updated_at) as "failed_at!", d.attempts, d.last_error
              from pfa_modification d
              join pfa_mirror m on m.organization_id = d.organization_id and m.id = d.mirror_id
             where d.organization_id = $1
               and d.sync_state = 'failed'
               and ($2::uuid[] = '{}' or d.id = any ($2))
               and ($3::text[] = '{}' or m.pfa_id = any ($3))
               and ($4::timestamptz is null or (coalesce(d.failed_at, d.updated_at), d.id) > ($4, $5))
             order by coalesce(d.failed_at, d.updated_at), d.id
             limit $6
            "#,
            organization,
            &filter.ids,
            &filter.pfa_ids,
            after_at as _,
            after_id as _,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let letters = letters.into_iter().map(|row| DeadLetter {
            id: row.id,
            pfa_id: row.pfa_id,
            session_id: row.session_id,
            user_id: row.user_id,
            delta: row.delta.0,
            fields: row.fields.0,
            committed_at: row.committed_at,
            failed_at: row.failed_at,
            attempts: row.attempts,
            error: row.last_error,
        });
        Ok(letters.collect())
    }

    /// Commits dead letters again, on top of what was published meanwhile; those that others' changes
    /// stand against become conflicts.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn retry_dead_letters(
        &self,
        organization: &str,
        user: &str,
        filter: &DeadLetterFilter,
        reason: Option<&str>,
    ) -> Result<RetriedLetters> {
        let mut transaction = self.pool.begin().await?;
        lock_organization(&mut transaction, organization, Access::Exclusive).await?;
        let letters = sqlx::query!(
            "select d.id, d.mirror_id
               from pfa_modification d
               join pfa_mirror m on m.organization_id = d.organization_id and m.id = d.mirror_id
              where d.organization_id = $1
                and d.sync_state = 'failed'
                and ($2::uuid[] = '{}' or d.id = any ($2))
                and ($3::text[] = '{}' or m.pfa_id = any ($3))
              order by d.committed_at, d.id",
            organization,
            &filter.ids,
            &filter.pfa_ids,
        )
        .fetch_all(&mut *transaction)
        .await?;
        if letters.is_empty() {
            return Ok(RetriedLetters { committed: 0, conflicts: 0 });
        }
        let (ids, mut records): (Vec<_>, Vec<_>) = letters.into_iter().map(|letter| (letter.id, letter.mirror_id)).unzip();
        records.sort_unstable();
        records.dedup();
        let publication = next_publication(&mut transaction, organization).await?;
        let seen = Seen::look(&mut transaction, organization, publication, &records).await?;
        sqlx::query!(
            "update pfa_modification d
                set sync_state = 'committed', attempts = 0, next_attempt_at = null, failed_at = null, last_error = null,
                    -- In the order in which they were committed first.
                    committed_at = $3::timestamptz + n.place * interval '1 microsecond',
                    change_reason = coalesce($4, change_reason)
               from unnest($2::uuid[]) with ordinality n (id, place)
              where d.organization_id = $1 and d.id = n.id",
            organization,
            &ids,
            publication.at,
            reason,
        )
        .execute(&mut *transaction)
        .await?;
        let conflicts = sqlx::query_scalar!(
            r#"select (select count(*) from unnest(pfa_recheck_published($1, $2, true)) found where found = any ($3)) as "count!""#,
            organization,
            &records,
            &ids,
        )
        .fetch_one(&mut *transaction)
        .await?;
        rebuild_overlay(&mut transaction, organization, &records, None).await?;
        seen.note_after(&mut transaction, organization, publication).await?;
        seen.tell(&mut transaction, organization, publication, user, ("session", None), reason).await?;
        transaction.commit().await?;
        let conflicts = u64::try_from(conflicts).unwrap_or(0);
        Ok(RetriedLetters { committed: ids.len() as u64 - conflicts, conflicts })
    }

    /// Drops dead letters for good; the history tells who and why. Gives their number.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn drop_dead_letters(&self, organization: &str, user: &str, filter: &DeadLetterFilter, reason: &str) -> Result<u64> {
        let mut transaction = self.pool.begin().await?;
        lock_organization(&mut transaction, organization, Access::Exclusive).await?;
        let publication = next_publication(&mut transaction, organization).await?;
        let records = sqlx::query_scalar!(
            "with dropped as (
                 delete from pfa_modification d
                  using pfa_mirror m
                  where d.organization_id = $1
                    and d.sync_state = 'failed'
                    and m.organization_id = $1
                    and m.id = d.mirror_id
                    and ($2::uuid[] = '{}' or d.id = any ($2))
                    and ($3::text[] = '{}' or m.pfa_id = any ($3))
                 returning d.mirror_id, d.session_id, d.modified_fields, m.version
             )
             insert into pfa_mirror_history
                    (organization_id, mirror_id, version, change_number, changed_at, changed_by, source, source_id, reason,
                     before, after, resolution)
             select $1, mirror_id, version, $4, $5, $6, 'session', session_id, $7, '{}', '{}',
                    (select jsonb_object_agg(field, 'theirs') from unnest(modified_fields) field)
               from dropped
             returning mirror_id",
            organization,
            &filter.ids,
            &filter.pfa_ids,
            publication.number,
            publication.at,
            user,
            reason,
        )
        .fetch_all(&mut *transaction)
        .await?;
        if records.is_empty() {
            return Ok(0);
        }
        rebuild_overlay(&mut transaction, organization, &records, None).await?;
        transaction.commit().await?;
        Ok(records.len() as u64)
    }
}
