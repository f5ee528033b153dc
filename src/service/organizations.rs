//! Organizations and what an overview says of them.

use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};

/// An organization in the overview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Published records that are not discontinued, as of the last refresh.
    pub record_count: i64,
    /// When the last reading from PEMS, or import, ended well; a comparison or some records by hand are none.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// When its summaries were last refreshed.
    pub last_refresh_at: Option<DateTime<Utc>>,
}

impl PfaMirrorService {
    /// All organizations, by code.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_organizations(&self) -> Result<Vec<Organization>> {
        let organizations = sqlx::query_as!(
            Organization,
            r#"
            select o.organization_id            as "code!",
                   o.name                       as "name!",
                   coalesce(t.record_count, 0)  as "record_count!",
                   s.completed_at               as "last_sync_at?",
                   t.refreshed_at               as "last_refresh_at?"
              from organizations o
              left join pfa_timeline_bounds t on t.organization_id = o.organization_id
              left join lateral (
                       select completed_at
                         from pfa_sync_log l
                        where l.organization_id = o.organization_id
                          and l.sync_direction = 'read'
                          and l.sync_type not in ('manual', 'verify')
                          and l.status in ('completed', 'completed_with_errors')
                        order by started_at desc
                        limit 1) s on true
             order by o.organization_id
            "#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(organizations)
    }

    /// Whether an organization is there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_organization(&self, code: &str) -> Result<bool> {
        let exists = sqlx::query_scalar!(r#"select exists (select from organizations where organization_id = $1) as "exists!""#, code)
            .fetch_one(&self.pool)
            .await?;
        Ok(exists)
    }

    /// Makes sure that an organization is there.
    pub(super) async fn check_organization(&self, code: &str) -> Result<()> {
        if self.has_organization(code).await? { Ok(()) } else { Err(Error::OrganizationNotFound(code.to_owned())) }
    }

    /// Whether the mirror has any record of an organization.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_records(&self, code: &str) -> Result<bool> {
        let has = sqlx::query_scalar!(r#"select exists (select from pfa_mirror where organization_id = $1) as "has!""#, code)
            .fetch_one(&self.pool)
            .await?;
        Ok(has)
    }

    /// Whether the mirror holds exactly this record.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_record(&self, code: &str, pfa_id: &str, data: &serde_json::Value) -> Result<bool> {
        let has = sqlx::query_scalar!(
            r#"select exists (select from pfa_mirror where organization_id = $1 and pfa_id = $2 and data = $3) as "has!""#,
            code,
            pfa_id,
            data,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(has)
    }

    /// Makes sure that an organization exists; its name is set only when it is new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_organization(&self, code: &str, name: &str) -> Result<()> {
        sqlx::query!("insert into organizations (organization_id, name) values ($1, $2) on conflict do nothing", code, name)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
