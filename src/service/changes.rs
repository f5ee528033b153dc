//! What a sandbox would change: every changed field with base, ours and theirs, and what it costs.

use crate::domain::conflict::Comparison;
use crate::domain::cost::Payment;
use crate::domain::fault::Fault;
use crate::domain::rules::Rule;
use crate::error::Result;
use crate::service::PfaMirrorService;
use crate::service::sessions::Sandbox;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::types::Json;

/// The change of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The record.
    pub pfa_id: String,
    /// draft or conflict.
    pub sync_state: String,
    /// Why it was made.
    pub reason: Option<String>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Every changed field.
    pub fields: Vec<Comparison>,
    /// Rules that the merge with what is published would break.
    pub faults: Vec<Fault>,
    /// Costs as published.
    pub before: Costs,
    /// Costs with the change.
    pub after: Costs,
}

/// What one record costs by each layer of dates; nothing when it is discontinued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Costs {
    /// By original dates.
    pub plan: Decimal,
    /// By forecast dates.
    pub forecast: Decimal,
    /// By actual dates.
    pub actual: Decimal,
}

impl Costs {
    fn of(source: Option<&str>, [plan, forecast, actual]: [Option<Decimal>; 3]) -> Self {
        let cost = |amount: Option<Decimal>| Payment::of(source).cost(amount.unwrap_or_default());
        Self { plan: cost(plan), forecast: cost(forecast), actual: cost(actual) }
    }
}

impl PfaMirrorService {
    /// The changes of a sandbox by pfaId, after a place of the list.
    ///
    /// # Errors
    /// When the session is not there, or the database fails.
    pub async fn list_changes(&self, sandbox: &Sandbox, after: Option<&str>, limit: u32) -> Result<Vec<Change>> {
        self.find_session(sandbox).await?;
        let rows = sqlx::query!(
            r#"
            with change as (
                -- The page first: only its drafts are compared.
                select *
                  from pfa_compared($1)
                 where id = any (array(
                           select d.id
                             from pfa_modification d
                             join pfa_mirror m on m.organization_id = d.organization_id and m.id = d.mirror_id
                            where d.organization_id = $1
                              and d.session_id = $2
                              and (d.sync_state = 'draft' or d.conflict_stage = 'commit')
                              and ($3::text is null or m.pfa_id > $3)
                            order by m.pfa_id
                            limit $4))
            ), priced as (
                select change.*, before.source as source_before, after.source as source_after,
                       before.amounts as amounts_before, after.amounts as amounts_after
                  from change
                 cross join lateral pfa_record_amounts(published) before
                 cross join lateral pfa_record_amounts(published || delta) after
            )
            select pfa_id as "pfa_id!", sync_state as "sync_state!", change_reason as reason, updated_at as "updated_at!",
                   pfa_comparison(delta, base, published) as "fields!: Json<Vec<Comparison>>",
                   broken_rules as "broken_rules!", pfa_keys(delta) as "keys!",
                   source_before, source_after, amounts_before as "amounts_before!: Vec<Decimal>", amounts_after as "amounts_after!: Vec<Decimal>"
              from priced
             order by pfa_id collate "C"
            "#,
            sandbox.organization,
            sandbox.session,
            after,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let costs = |source: Option<&str>, amounts: &[Decimal]| Costs::of(source, [0, 1, 2].map(|index| amounts.get(index).copied()));
        let changes = rows.into_iter().map(|row| Change {
            faults: row.broken_rules.iter().filter_map(|code| Rule::from_code(code)).flat_map(|rule| rule.faults(&row.keys)).collect(),
            before: costs(row.source_before.as_deref(), &row.amounts_before),
            after: costs(row.source_after.as_deref(), &row.amounts_after),
            pfa_id: row.pfa_id,
            sync_state: row.sync_state,
            reason: row.reason,
            updated_at: row.updated_at,
            fields: row.fields.0,
        });
        Ok(changes.collect())
    }
}
