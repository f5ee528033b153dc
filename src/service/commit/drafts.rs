//! The drafts of a commit: compared with what is published, and published when the commit says so.

use super::{Commit, CommitConflict, CommitMode};
use crate::domain::conflict::{Comparison, ConflictingFields};
use crate::error::Result;
use crate::service::publication::Publication;
use crate::service::sessions::{Sandbox, Workspace};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::types::Json;
use uuid::Uuid;

/// The drafts of a session, compared with what was published until now.
pub(super) struct Compared {
    /// The records of clean drafts.
    pub clean: Vec<Uuid>,
    /// How many of them were merged with what others published meanwhile.
    pub merged: i64,
    /// Drafts in conflict.
    pub conflicts: Vec<CommitConflict>,
    /// The clean drafts are committed by it and stand in the history; nothing unless the commit publishes.
    pub publication: Option<Publication>,
}

/// Compares every draft of the session with what is published now, and publishes the clean ones unless
/// the commit is refused, tries only, or has none.
///
/// It is one statement, because the comparison is dear: to compare anew for the history, and to look up versions for the
/// states, was a tenth of a commit of 10,000 drafts.
pub(super) async fn publish_clean_drafts(workspace: &mut Workspace<'_>, sandbox: &Sandbox, commit: &Commit) -> Result<Compared> {
    workspace.expect_many(true).await?;
    let row = sqlx::query!(
        r#"
        with compared as (
            select c.id, c.mirror_id, c.pfa_id, c.version, c.change_reason, changed.before, changed.after, is_conflict,
                   case when is_conflict then
                       jsonb_build_object('id', c.id, 'pfaId', c.pfa_id, 'rules', c.broken_rules,
                                          'fields', pfa_comparison(c.delta, c.base, c.published)) end as conflict,
                   -- In the order of the index that serves it, which is taken then, whatever the statistics say.
                   coalesce((select true
                               from pfa_mirror_history h
                              where h.organization_id = $1
                                and h.mirror_id = c.mirror_id
                                and h.change_number > c.base_change
                                and h.after <> '{}'
                                and not h.is_arrival
                              order by h.changed_at desc, h.id
                              limit 1), false) as is_merge
              from pfa_compared($1) c
             cross join lateral (
                      -- Somebody else may have published the very same change.
                      select jsonb_object_agg(field, theirs) filter (where theirs <> ours) as before,
                             jsonb_object_agg(field, ours)   filter (where theirs <> ours) as after,
                             bool_or(way.is_conflict) as has_conflict
                        from pfa_three_way(c.delta, c.base, c.published) way
                      offset 0) changed
             cross join lateral (select changed.has_conflict or c.broken_rules <> '{}' as is_conflict offset 0) verdict
             where c.session_id = $2
               and (c.sync_state = 'draft' or c.conflict_stage = 'commit')
        ), publication as (
            update organizations
               set change_number = change_number + 1,
                   last_published_at = greatest(clock_timestamp(), last_published_at + interval '1 microsecond')
             where organization_id = $1
               and not $4
               and exists (select from compared where not is_conflict)
               and ($5 or not exists (select from compared where is_conflict))
            returning change_number as number, last_published_at as at
        ), told as (
            insert into pfa_mirror_history
                   (organization_id, mirror_id, version, change_number, changed_at, changed_by, source, source_id, reason, before, after)
            select $1, mirror_id, version, number, at, $3, 'session', $2, change_reason, before, after
              from compared cross join publication
             where not is_conflict
               and after is not null
        ), committed as (
            update pfa_modification d
               set sync_state = 'committed', conflict_stage = null, conflicted_at = null, committed_at = at, updated_at = at,
                   current_version = compared.version
              from publication cross join compared
             where d.organization_id = $1
               and d.session_id = $2
               and (d.sync_state = 'draft' or d.conflict_stage = 'commit')
               and d.id = compared.id
               and not compared.is_conflict
        )
        select array(select mirror_id from compared where not is_conflict order by mirror_id) as "clean!",
               (select count(*)       from compared where not is_conflict and is_merge)       as "merged!",
               (select coalesce(jsonb_agg(conflict order by pfa_id collate "C"), '[]')
                  from compared where is_conflict)                                            as "conflicts!: Json<Vec<ConflictRow>>",
               (select number from publication)                                               as number,
               (select at     from publication)                                               as "at: DateTime<Utc>"
        "#,
        sandbox.organization,
        sandbox.session,
        sandbox.user,
        commit.is_dry_run,
        commit.mode == CommitMode::Partial,
    )
    .fetch_one(workspace.connection())
    .await?;
    workspace.expect_many(false).await?;
    let conflicts = row.conflicts.0.into_iter().map(|ConflictRow { id, pfa_id, rules, fields }| {
        let ConflictingFields { fields, rules } = ConflictingFields::of(fields, &rules);
        CommitConflict { id, pfa_id, fields, rules }
    });
    Ok(Compared {
        clean: row.clean,
        merged: row.merged,
        conflicts: conflicts.collect(),
        publication: row.number.zip(row.at).map(|(number, at)| Publication { number, at }),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConflictRow {
    id: Uuid,
    pfa_id: String,
    rules: Vec<String>,
    fields: Vec<Comparison>,
}
