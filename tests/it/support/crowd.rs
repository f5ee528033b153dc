//! Overlays of thousands of rows.

use sqlx::PgPool;
use uuid::Uuid;

/// Writes overlay rows of records that are not there.
pub async fn insert_overlay_rows(pool: &PgPool, organization: &str, session: Uuid, rows: i32) {
    sqlx::query(
        r#"insert into pfa_overlay
                  (organization_id, id, data, version, last_synced_at, session_id, sync_state, modified_fields, modified_by, modified_at)
           select $1, gen_random_uuid(), '{"pfaId": "X"}', 1, now(), $2, 'draft', '{}', 'ben', now() from generate_series(1, $3)"#,
    )
    .bind(organization)
    .bind(session)
    .bind(rows)
    .execute(pool)
    .await
    .unwrap();
}
