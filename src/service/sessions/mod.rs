//! Sandbox sessions: opening, listing, looking, discarding.

mod idle;
mod workspace;

pub use idle::IdleSessions;
pub(super) use workspace::Workspace;

use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Whose sandbox, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Code of the organization.
    pub organization: String,
    /// The caller; a sandbox of somebody else does not exist.
    pub user: String,
    /// The session.
    pub session: Uuid,
}

/// A session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Code of the organization.
    pub organization: String,
    /// Its owner.
    pub user_id: String,
    /// open, committed or discarded.
    pub status: String,
    /// Records with a draft that is in no conflict.
    pub draft_count: i64,
    /// Changes of the session that wait for a decision.
    pub conflict_count: i64,
    /// Steps that can be undone.
    pub undo_depth: i64,
    /// Steps that can be redone.
    pub redo_depth: i64,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub last_edited_at: Option<DateTime<Utc>>,
    /// When it was committed.
    pub closed_at: Option<DateTime<Utc>>,
    /// The organization's change number when it was opened.
    pub base_change: i64,
    /// Publications of the organization since.
    pub published_since: i64,
}

/// Which sessions a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionQuery {
    /// Only these statuses; empty = open and committed.
    pub statuses: Vec<String>,
    /// After this place of the list, newest first.
    pub after: Option<(DateTime<Utc>, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

impl PfaMirrorService {
    /// Opens a sandbox.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn open_session(&self, organization: &str, user: &str, name: Option<&str>) -> Result<Session> {
        let id = sqlx::query_scalar!(
            "insert into pfa_session (organization_id, user_id, name, base_change)
             select organization_id, $2, $3, change_number from organizations where organization_id = $1
             returning id",
            organization,
            user,
            name,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::OrganizationNotFound(organization.to_owned()))?;
        self.find_session(&Sandbox { organization: organization.to_owned(), user: user.to_owned(), session: id }).await
    }

    /// One session of the caller.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn find_session(&self, sandbox: &Sandbox) -> Result<Session> {
        let query = SessionQuery { limit: 1, ..SessionQuery::default() };
        self.select_sessions(&sandbox.organization, &sandbox.user, Some(sandbox.session), &query).await?.pop().ok_or(Error::SessionNotFound)
    }

    /// The caller's sessions, newest first.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn list_sessions(&self, organization: &str, user: &str, query: &SessionQuery) -> Result<Vec<Session>> {
        self.select_sessions(organization, user, None, query).await
    }

    async fn select_sessions(&self, organization: &str, user: &str, id: Option<Uuid>, query: &SessionQuery) -> Result<Vec<Session>> {
        let (after_at, after_id) = query.after.unzip();
        let sessions = sqlx::query_as!(
            Session,
            r#"
            select s.id, s.name, s.organization_id as organization, s.user_id, s.status, s.created_at, s.last_edited_at, s.closed_at,
                   s.base_change, o.change_number - s.base_change as "published_since!",
                   (select count(*) from pfa_modification d
                     where d.organization_id = s.organization_id and d.session_id = s.id and d.sync_state = 'draft') as "draft_count!",
                   (select count(*) from pfa_modification d
                     where d.organization_id = s.organization_id and d.session_id = s.id and d.sync_state = 'conflict') as "conflict_count!",
                   (select count(*) from pfa_edit_step e
                     where e.organization_id = s.organization_id and e.session_id = s.id and not e.is_undone) as "undo_depth!",
                   (select count(*) from pfa_edit_step e
                     where e.organization_id = s.organization_id and e.session_id = s.id and e.is_undone) as "redo_depth!"
              from pfa_session s
              join organizations o on o.organization_id = s.organization_id
             where s.organization_id = $1
               and s.user_id = $2
               and ($3::uuid is null or s.id = $3)
               and s.status <> 'discarded'
               and ($4::text[] = '{}' or s.status = any ($4))
               and ($5::timestamptz is null or s.created_at <= $5 and (s.created_at < $5 or s.id > $6))
             order by s.created_at desc, s.id
             limit $7
            "#,
            organization,
            user,
            id,
            &query.statuses,
            after_at,
            after_id,
            i64::from(query.limit),
        )
        .fetch_all(&self.pool)
        .await?;
        if sessions.is_empty() {
            self.check_organization(organization).await?;
        }
        Ok(sessions)
    }

    /// Discards a session with all its drafts and steps. What it published before stays published.
    ///
    /// # Errors
    /// When the session is not there or was committed, or the database fails.
    pub async fn discard_session(&self, sandbox: &Sandbox) -> Result<()> {
        Workspace::open(&self.pool, sandbox).await?.discard().await
    }
}
