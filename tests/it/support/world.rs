//! Writing sessions and modifications into the tables, and reading the mirror back for the model.

use super::app::TestApp;
use super::model::{Modification, Object, Row};
use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

/// The moment that orders of modifications count from.
fn moment(order: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000, 0).unwrap() + Duration::milliseconds(order)
}

/// A moment as answers show it.
pub fn shown(order: i64) -> String {
    moment(order).to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl TestApp {
    /// A sandbox of a user.
    pub async fn open_session(&self, organization: &str, user: &str) -> Uuid {
        sqlx::query_scalar("insert into pfa_session (organization_id, user_id) values ($1, $2) returning id")
            .bind(organization)
            .bind(user)
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// The mirror rows of an organization.
    pub async fn mirror_rows(&self, organization: &str) -> Vec<Row> {
        let rows: Vec<(Uuid, i64, Json<Object>)> =
            sqlx::query_as("select id, version, data from pfa_mirror where organization_id = $1 order by pfa_id")
                .bind(organization)
                .fetch_all(self.pool())
                .await
                .unwrap();
        rows.into_iter().map(|(id, version, Json(data))| Row { id, version, data }).collect()
    }

    /// Writes modifications as the service's own writers do: the rows, the overlay, the change number.
    pub async fn write_modifications(&self, organization: &str, modifications: &[Modification]) {
        let mut transaction = self.pool().begin().await.unwrap();
        for m in modifications {
            let at = moment(m.order);
            sqlx::query(
                "insert into pfa_modification
                        (organization_id, session_id, mirror_id, user_id, sync_state, conflict_stage, delta, base, base_version,
                         committed_at, synced_at, updated_at)
                 select $1, $2, $3, $4, $5, $8, $6, pfa_pick(data, pfa_keys($6)), version,
                        case when $5 <> 'draft' and $8 is distinct from 'commit' then $7 end, case when $5 = 'synced' then $7 end, $7
                   from pfa_mirror where organization_id = $1 and id = $3",
            )
            .bind(organization)
            .bind(m.session)
            .bind(m.mirror_id)
            .bind(&m.user)
            .bind(m.state)
            .bind(Value::Object(m.delta.clone()))
            .bind(at)
            .bind(m.stage)
            .execute(&mut *transaction)
            .await
            .unwrap();
        }
        for statement in [
            "update organizations set change_number = change_number + 1 where organization_id = $1",
            "select pfa_note_amounts($1, change_number, -1, array(select id from pfa_mirror where organization_id = $1)) from organizations where organization_id = $1",
            "select pfa_rebuild_overlay($1)",
            "select pfa_note_amounts($1, change_number, 1, array(select id from pfa_mirror where organization_id = $1)) from organizations where organization_id = $1",
        ] {
            sqlx::query(statement).bind(organization).execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }
}
