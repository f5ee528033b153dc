//! Measuring the promised readings on the data at hand.

use crate::error::Result;
use crate::service::PfaMirrorService;
use rust_decimal::Decimal;

/// What one reading took, against its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// Which reading.
    pub query: String,
    /// What it may take, in milliseconds.
    pub target_ms: Decimal,
    /// What planning took, in milliseconds.
    pub planning_ms: Decimal,
    /// What it took, in milliseconds.
    pub execution_ms: Decimal,
    /// Rows that it returned.
    pub rows: i64,
    /// Indexes that its plan used.
    pub indexes: Vec<String>,
    /// Whether it stayed within the target.
    pub within_target: bool,
}

impl PfaMirrorService {
    /// Runs `analyze_pfa_query_performance` for an organization, optionally for one category and source.
    ///
    /// # Errors
    /// When the organization does not exist or the database fails.
    pub async fn analyze_queries(&self, organization: &str, category: Option<&str>, source: Option<&str>) -> Result<Vec<Measurement>> {
        self.check_organization(organization).await?;
        let measurements = sqlx::query_as!(
            Measurement,
            r#"
            select query as "query!", target_ms as "target_ms!", planning_ms as "planning_ms!", execution_ms as "execution_ms!",
                   rows as "rows!", indexes as "indexes!", within_target as "within_target!"
              from analyze_pfa_query_performance($1, $2, $3)
            "#,
            organization,
            category,
            source,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(measurements)
    }
}
