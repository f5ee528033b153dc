//! Summaries that were computed already: dashboards ask again and again, and what twenty thousand drafts amount to takes a
//! fifth of a second. The database is asked which edition is the current one; what is kept of that one is the answer.

use crate::error::{Result, refusal};
use crate::service::records::ReadingState;
use crate::service::{PfaMirrorService, Reader};
use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use std::sync::Arc;
use uuid::Uuid;

/// So many summaries of a kind are kept, of organizations and sandboxes that are asked for. One has a hundred groups, which are
/// 20 kB, and some thousands only where categories are as people typed them.
const KEPT: usize = 200;

/// What a summary is of: while this is the same, so is the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edition {
    /// What is read.
    pub state: ReadingState,
    /// When the views were refreshed last.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// When the sandbox was edited: a restored database counts the same edits again, at other times.
    edited_at: Option<DateTime<Utc>>,
}

/// The last summary of each organization and sandbox, with its edition.
#[derive(Debug)]
pub(super) struct Editions<T>(Cache<(String, Option<Uuid>), (Edition, Arc<T>)>);

impl<T> Default for Editions<T> {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl<T> Editions<T> {
    fn find(&self, reader: &Reader, edition: Edition) -> Option<Arc<T>> {
        let (kept, summary) = self.0.get(&(reader.organization.clone(), reader.session))?;
        (kept == edition).then_some(summary)
    }

    fn keep(&self, reader: &Reader, edition: Edition, summary: &Arc<T>) {
        self.0.insert((reader.organization.clone(), reader.session), (edition, Arc::clone(summary)));
    }
}

impl PfaMirrorService {
    /// The summary of the current edition: as it was kept, or computed.
    pub(super) async fn read_edition<T>(
        &self,
        editions: &Editions<T>,
        reader: &Reader,
        compute: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let edition = self.find_edition(reader).await?;
        if let Some(summary) = editions.find(reader, edition) {
            return Ok(summary);
        }
        let summary = Arc::new(compute().await?);
        // Nothing has changed between the edition and its figures: they belong together.
        if self.find_edition(reader).await? == edition {
            editions.keep(reader, edition, &summary);
        }
        Ok(summary)
    }

    /// The edition that a reader would get now.
    pub(super) async fn find_edition(&self, reader: &Reader) -> Result<Edition> {
        let edition = sqlx::query!(
            r#"
            select case when o.organization_id is null then 'organization' when $2::uuid is not null and s.id is null then 'session' end as refusal,
                   o.change_number as "change_number?", o.last_published_at as "published_at?", s.edit_count as "edit_count?",
                   s.last_edited_at as "edited_at?", t.refreshed_at as "refreshed_at?"
              from (values (1)) one
              left join organizations o on o.organization_id = $1
              left join pfa_session s on s.organization_id = $1 and s.id = $2 and s.user_id = $3 and s.status <> 'discarded'
              left join pfa_timeline_bounds t on t.organization_id = $1
            "#,
            reader.organization,
            reader.session,
            reader.user,
        );
        let found = self.summaries.read(async |connection| edition.fetch_one(connection).await).await?;
        refusal(found.refusal.as_deref(), &reader.organization)?;
        let state = ReadingState {
            change_number: found.change_number.unwrap_or_default(),
            published_at: found.published_at.unwrap_or_default(),
            edit_count: found.edit_count,
        };
        Ok(Edition { state, refreshed_at: found.refreshed_at, edited_at: found.edited_at })
    }
}
