//! Overlays of thousands of rows.

use sqlx::PgPool;
use uuid::Uuid;

/// Writes overlay rows of records that are not there, in a sandbox or, without one, for everybody.
pub async fn insert_overlay_rows(pool: &PgPool, organization: &str, session: Option<Uuid>, rows: i32) {
    sqlx::query(
        r#"insert into pfa_overlay
                  (organization_id, id, data, version, last_synced_at, session_id, sync_state, modified_fields, modified_by, modified_at)
           select $1, gen_random_uuid(), '{"pfaId": "X"}', 1, now(), coalesce($2, pfa_everybody()),
                  case when $2 is null then 'committed' else 'draft' end, '{}', 'ben', now()
             from generate_series(1, $3)"#,
    )
    .bind(organization)
    .bind(session)
    .bind(rows)
    .execute(pool)
    .await
    .unwrap();
}
