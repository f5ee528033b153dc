//! The transaction in which a sandbox is changed: locked, open, and the caller's own.

use super::Sandbox;
use crate::error::{Error, Result};
use crate::service::publication::{Access, expect_many, lock_organization, next_publication, rebuild_overlay};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

/// Steps of a session that are kept; older ones cannot be undone any more.
const KEPT_STEPS: i64 = 50;

/// An open sandbox, locked until the transaction ends.
#[derive(Debug)]
pub(in crate::service) struct Workspace<'a> {
    sandbox: &'a Sandbox,
    transaction: Transaction<'static, Postgres>,
    access: Access,
    change_number: i64,
}

impl<'a> Workspace<'a> {
    /// Locks an open sandbox of the caller. A sandbox with refused drafts, which everybody sees as
    /// conflicts, is changed like a publication; any other leaves the organization to others.
    ///
    /// # Errors
    /// When the organization or session is not there, was discarded or committed.
    pub async fn open(pool: &PgPool, sandbox: &'a Sandbox) -> Result<Self> {
        let workspace = Self::open_with(pool, sandbox, Access::Shared).await?;
        match workspace {
            (workspace, false) => Ok(workspace),
            (workspace, true) => {
                // Conflicts come from the session's own commit: having none may change, having some may not
                // be seen wrongly. So the second time is the last.
                workspace.transaction.rollback().await?;
                Ok(Self::open_with(pool, sandbox, Access::Exclusive).await?.0)
            }
        }
    }

    /// Locks an open sandbox and, with it, everything that is published.
    ///
    /// # Errors
    /// As [`Workspace::open`].
    pub async fn open_exclusively(pool: &PgPool, sandbox: &'a Sandbox) -> Result<Self> {
        Ok(Self::open_with(pool, sandbox, Access::Exclusive).await?.0)
    }

    async fn open_with(pool: &PgPool, sandbox: &'a Sandbox, access: Access) -> Result<(Self, bool)> {
        let mut transaction = pool.begin().await?;
        let change_number = lock_organization(&mut transaction, &sandbox.organization, access).await?;
        let mut workspace = Self { sandbox, transaction, access, change_number };
        workspace.lock_session().await?;
        let has_conflicts = sqlx::query_scalar!(
            r#"select exists (select from pfa_modification
                               where organization_id = $1 and session_id = $2 and conflict_stage = 'commit') as "has!""#,
            sandbox.organization,
            sandbox.session,
        )
        .fetch_one(workspace.connection())
        .await?;
        Ok((workspace, has_conflicts))
    }

    async fn lock_session(&mut self) -> Result<()> {
        let status = sqlx::query_scalar!(
            "select status from pfa_session where organization_id = $1 and id = $2 and user_id = $3 for no key update",
            self.sandbox.organization,
            self.sandbox.session,
            self.sandbox.user,
        )
        .fetch_optional(&mut *self.transaction)
        .await?;
        match status.as_deref() {
            None | Some("discarded") => Err(Error::SessionNotFound),
            Some("committed") => Err(Error::SessionCommitted),
            Some(_) => Ok(()),
        }
    }

    /// The connection of the transaction.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Whether statements are planned for thousands of rows ([`expect_many`]).
    pub async fn expect_many(&mut self, many: bool) -> Result<()> {
        expect_many(self.connection(), many).await
    }

    /// The organization's change number when the lock was taken.
    pub fn change_number(&self) -> i64 {
        self.change_number
    }

    /// The number of the next step.
    pub async fn next_step(&mut self) -> Result<i64> {
        let step = sqlx::query_scalar!(
            r#"select coalesce(max(step), 0) + 1 as "step!" from pfa_edit_step where organization_id = $1 and session_id = $2"#,
            self.sandbox.organization,
            self.sandbox.session,
        )
        .fetch_one(self.connection())
        .await?;
        Ok(step)
    }

    /// Ends an edit that changed the drafts of these records: the overlay, the steps, the time.
    /// After a new step, undone ones cannot be redone any more.
    pub async fn settle(&mut self, records: &[Uuid], wrote_step: bool) -> Result<()> {
        let (organization, session) = (&self.sandbox.organization, self.sandbox.session);
        if self.access == Access::Exclusive {
            self.settle_conflicts(records).await?;
        }
        let reader = (self.access == Access::Shared).then_some(session);
        rebuild_overlay(&mut self.transaction, organization, records, reader).await?;
        if wrote_step {
            sqlx::query!(
                "delete from pfa_edit_step
                  where organization_id = $1 and session_id = $2
                    and (is_undone or step <= (select step from pfa_edit_step
                                                where organization_id = $1 and session_id = $2 and not is_undone
                                                order by step desc offset $3 limit 1))",
                organization,
                session,
                KEPT_STEPS,
            )
            .execute(&mut *self.transaction)
            .await?;
        }
        sqlx::query!(
            "update pfa_session set last_edited_at = now(), edit_count = edit_count + 1 where organization_id = $1 and id = $2",
            organization,
            session
        )
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Refused drafts that are in no conflict any more are drafts again.
    async fn settle_conflicts(&mut self, records: &[Uuid]) -> Result<()> {
        next_publication(&mut self.transaction, &self.sandbox.organization).await?;
        self.expect_many(true).await?;
        sqlx::query!(
            "update pfa_modification d
                set sync_state = 'draft', conflict_stage = null
               from pfa_compared($1) c
              where d.organization_id = $1
                and d.session_id = $2
                and d.conflict_stage = 'commit'
                and d.mirror_id = any ($3)
                and d.id = c.id
                and c.session_id = $2
                and c.conflict_stage = 'commit'
                and c.mirror_id = any ($3)
                and not c.has_conflict
                and c.broken_rules = '{}'",
            self.sandbox.organization,
            self.sandbox.session,
            records,
        )
        .execute(&mut *self.transaction)
        .await?;
        self.expect_many(false).await
    }

    /// Drops all steps: what they changed is committed or discarded.
    pub async fn forget_steps(&mut self) -> Result<()> {
        sqlx::query!(
            "delete from pfa_edit_step where organization_id = $1 and session_id = $2",
            self.sandbox.organization,
            self.sandbox.session,
        )
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Discards the session with all its drafts and steps.
    pub async fn discard(mut self) -> Result<()> {
        let records = sqlx::query_scalar!(
            "delete from pfa_modification
              where organization_id = $1 and session_id = $2 and (sync_state = 'draft' or conflict_stage = 'commit')
             returning mirror_id",
            self.sandbox.organization,
            self.sandbox.session,
        )
        .fetch_all(self.connection())
        .await?;
        self.forget_steps().await?;
        self.settle(&records, false).await?;
        sqlx::query!(
            "update pfa_session set status = 'discarded', closed_at = now() where organization_id = $1 and id = $2",
            self.sandbox.organization,
            self.sandbox.session,
        )
        .execute(self.connection())
        .await?;
        self.finish().await
    }

    /// Makes the changes last.
    pub async fn finish(self) -> Result<()> {
        self.transaction.commit().await?;
        Ok(())
    }

    /// Takes the changes back.
    pub async fn abandon(self) -> Result<()> {
        self.transaction.rollback().await?;
        Ok(())
    }
}
