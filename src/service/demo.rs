//! What `demo` shows beside generated records: a few sandboxes with drafts, committed changes, a
//! conflict and a failed write-back. Written once; a second call finds them there.

use crate::error::Result;
use crate::service::PfaMirrorService;
use crate::service::publication::{Access, Sign, lock_organization, next_publication, note_amounts, rebuild_overlay};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::{Uuid, uuid};

/// The caller that owns the demo's sandboxes: the default without a header.
pub const DEMO_USER: &str = "dev";
/// Sandbox in HOLNG with drafts that start lifting equipment 30 days later and keep it 15 days longer.
pub const LATER_LIFTING: Uuid = uuid!("00000000-0000-4000-8000-000000000001");
const CHEAPER_RATES: Uuid = uuid!("00000000-0000-4000-8000-000000000002");
const CANCELLED_STANDBY: Uuid = uuid!("00000000-0000-4000-8000-000000000003");
const TROUBLED: Uuid = uuid!("00000000-0000-4000-8000-000000000004");

impl PfaMirrorService {
    /// Whether the demo's sandboxes are there: whatever happened to its records since, this is the demo's database.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_demo_sandboxes(&self) -> Result<bool> {
        let query = sqlx::query_scalar!(
            r#"select exists (select from pfa_session where organization_id = 'HOLNG' and id = $1) as "has!""#,
            LATER_LIFTING
        );
        Ok(query.fetch_one(&self.pool).await?)
    }

    /// What the mirror has of an organization, for a stand-in that is as PEMS was when it was read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_mirror(&self, organization: &str) -> Result<Vec<Map<String, Value>>> {
        let query = sqlx::query_scalar!(
            r#"select data as "data: Json<Map<String, Value>>" from pfa_mirror where organization_id = $1 order by pfa_id"#,
            organization
        );
        Ok(query.fetch_all(&self.pool).await?.into_iter().map(|Json(record)| record).collect())
    }

    /// Writes the demo's sandboxes, unless they are there; tells whether it did. HOLNG and RIO must exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_demo_sandboxes(&self) -> Result<bool> {
        let mut transaction = self.pool.begin().await?;
        for organization in ["HOLNG", "RIO"] {
            lock_organization(&mut transaction, organization, Access::Exclusive).await?;
        }
        let written = sqlx::query!(
            r#"
            insert into pfa_session (organization_id, id, user_id, name, status, last_edited_at, closed_at)
            values ('HOLNG', $1, $5, 'Start lifting 30 days later and stay 15 longer', 'open', now(), null),
                   ('HOLNG', $2, $5, 'Cheaper earthmoving rates', 'committed', now(), now()),
                   ('RIO',   $3, $5, 'Cancel the standby cranes', 'open', now(), null),
                   ('RIO',   $4, $5, 'Extend generators', 'committed', now(), now())
            on conflict do nothing
            "#,
            LATER_LIFTING,
            CHEAPER_RATES,
            CANCELLED_STANDBY,
            TROUBLED,
            DEMO_USER,
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if written == 0 {
            return Ok(false);
        }
        sqlx::query!(
            r#"
            with chosen as (
                (select m.organization_id, m.id, m.data, m.version, $1::uuid as session_id, 'draft' as sync_state, null as stage,
                        jsonb_build_object('forecastStart', forecast_start + 30, 'forecastEnd', forecast_end + 45) as delta
                   from pfa_mirror m
                  where organization_id = 'HOLNG' and category = 'Lifting' and source = 'Rental'
                    and forecast_start is not null and forecast_end is not null and not is_actualized and not is_discontinued
                  order by pfa_id limit 40)
                union all
                (select m.organization_id, m.id, m.data, m.version, $2, 'committed', null,
                        jsonb_build_object('monthlyRate', round(monthly_rate * 0.95, 2))
                   from pfa_mirror m
                  where organization_id = 'HOLNG' and category = 'Earthmoving' and source = 'Rental' and monthly_rate > 0
                  order by pfa_id limit 25)
                union all
                (select m.organization_id, m.id, m.data, m.version, $3, 'draft', null, jsonb_build_object('isDiscontinued', true)
                   from pfa_mirror m
                  where organization_id = 'RIO' and category = 'Lifting' and not is_discontinued and not is_actualized
                  order by pfa_id limit 10)
                union all
                (select m.organization_id, m.id, m.data, m.version, $4, state, case state when 'conflict' then 'writeBack' end,
                        jsonb_build_object('forecastEnd', forecast_end + 60)
                   from (select row_number() over (order by pfa_id) as place, * from pfa_mirror
                          where organization_id = 'RIO' and forecast_end is not null and not is_discontinued and not is_actualized) m
                   join (values (1, 'conflict'), (2, 'failed'), (3, 'syncing'), (4, 'committed')) states (place, state) using (place))
            )
            insert into pfa_modification
                   (organization_id, session_id, mirror_id, user_id, sync_state, conflict_stage, delta, base, base_version, change_reason,
                    committed_at, attempts, last_error)
            select organization_id, session_id, id, $5, sync_state, stage, delta, pfa_pick(data, pfa_keys(delta)), version, 'demo',
                   case when sync_state <> 'draft' then now() end,
                   case when sync_state = 'failed' then 5 else 0 end,
                   case when sync_state = 'failed' then 'PEMS refused the value' end
              from chosen
            "#,
            LATER_LIFTING,
            CHEAPER_RATES,
            CANCELLED_STANDBY,
            TROUBLED,
            DEMO_USER,
        )
        .execute(&mut *transaction)
        .await?;
        for organization in ["HOLNG", "RIO"] {
            let records = sqlx::query_scalar!("select distinct mirror_id from pfa_modification where organization_id = $1", organization)
                .fetch_all(&mut *transaction)
                .await?;
            let publication = next_publication(&mut transaction, organization).await?;
            // What is read comes from the overlay, which does not know these modifications yet.
            note_amounts(&mut transaction, organization, publication, Sign::Before, &records).await?;
            rebuild_overlay(&mut transaction, organization, &records, None).await?;
            note_amounts(&mut transaction, organization, publication, Sign::After, &records).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}
