//! Conflicts that wait for a person: drafts that a commit refused, and committed changes that met
//! another one in PEMS.

mod resolve;

pub use resolve::{Outcome, RefusedResolution, Resolved, ResolvedMany};

use crate::domain::conflict::{Comparison, ConflictingFields};
use crate::error::Result;
use crate::service::{PfaMirrorService, Reader};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

/// Where a conflict was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// By a commit; the draft is its owner's alone.
    Commit,
    /// On the way to PEMS; the change had been published, so everybody may decide.
    WriteBack,
}

impl Stage {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Commit, Self::WriteBack];

    /// The word in parameters, answers and the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::WriteBack => "writeBack",
        }
    }
}

/// A conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Its id.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// The session whose change it is.
    pub session_id: Uuid,
    /// Who made the change.
    pub user_id: String,
    /// commit or writeBack.
    pub stage: String,
    /// What it is about.
    pub conflicting: ConflictingFields,
    /// When it was found.
    pub created_at: DateTime<Utc>,
}

/// Which conflicts, of those that the caller may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConflictFilter {
    /// Only these; empty = all.
    pub ids: Vec<Uuid>,
    /// Only on these records; empty = all.
    pub pfa_ids: Vec<String>,
    /// Only of this session.
    pub session: Option<Uuid>,
    /// Only found at this stage.
    pub stage: Option<Stage>,
}

impl ConflictFilter {
    /// Who reads what the filter names.
    fn reader(&self, organization: &str, user: &str) -> Reader {
        Reader { organization: organization.to_owned(), user: user.to_owned(), session: self.session }
    }
}

impl PfaMirrorService {
    /// Conflicts that the caller may decide, oldest first, after a place of the list: those of the
    /// caller's own sandboxes, and everybody's on the way to PEMS.
    ///
    /// # Errors
    /// When the organization is not there, the filter names a session of somebody else that has none of them, or the
    /// database fails.
    pub async fn list_conflicts(
        &self,
        organization: &str,
        user: &str,
        filter: &ConflictFilter,
        after: Option<(DateTime<Utc>, Uuid)>,
        limit: u32,
    ) -> Result<Vec<Conflict>> {
        let (after_at, after_id) = after.unzip();
        let rows = sqlx::query!(
            r#"
            select id as "id!", session_id as "session_id!", pfa_id as "pfa_id!", user_id as "user_id!", conflict_stage as "stage!",
                   conflicted_at as "at!", broken_rules as "rules!", pfa_comparison(delta, base, published) as "fields!: Json<Vec<Comparison>>"
              from pfa_compared($1)
             where sync_state = 'conflict'
               and (conflict_stage = 'writeBack' or user_id = $2)
               and ($3::uuid[] = '{}' or id = any ($3))
               and ($4::text[] = '{}' or mirror_id = any (array(select m.id from pfa_mirror m where m.organization_id = $1 and m.pfa_id = any ($4))))
               and ($5::uuid is null or session_id = $5)
               and ($6::text is null or conflict_stage = $6)
               and ($7::timestamptz is null or (conflicted_at, id) > ($7, $8))
             order by conflicted_at, id
             limit $9
            "#,
            organization,
            user,
            &filter.ids,
            &filter.pfa_ids,
            filter.session as _,
            filter.stage.map(Stage::word) as _,
            after_at as _,
            after_id as _,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() {
            self.check_reader(&filter.reader(organization, user)).await?;
        }
        let conflicts = rows.into_iter().map(|row| Conflict {
            id: row.id,
            pfa_id: row.pfa_id,
            session_id: row.session_id,
            user_id: row.user_id,
            stage: row.stage,
            conflicting: ConflictingFields::of(row.fields.0, &row.rules),
            created_at: row.at,
        });
        Ok(conflicts.collect())
    }
}
