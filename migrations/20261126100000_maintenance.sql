-- Maintenance: what is done with is moved or dropped, in statements that are whole or absent.

create table pfa_maintenance_log (
    id           bigint generated always as identity,
    task         text        not null,
    requested_by text,
    -- Rows moved or dropped, tables vacuumed or indexed anew.
    affected     bigint      not null,
    started_at   timestamptz not null,
    completed_at timestamptz not null,
    duration_ms  numeric     not null generated always as (round(extract(epoch from completed_at - started_at) * 1000, 3)) stored,
    error        text,

    constraint pfa_maintenance_log_pkey primary key (id),
    constraint pfa_maintenance_log_task_is_known check (task in ('vacuum-analyze', 'archive', 'prune-logs', 'reindex'))
);
comment on table pfa_maintenance_log is 'Every run of a maintenance task in any process: what, by whom, how much, how it ended.';
comment on column pfa_maintenance_log.requested_by is 'The user who started it; null for the schedule.';
create index pfa_maintenance_log_newest_first on pfa_maintenance_log (task, started_at desc, id desc);
comment on index pfa_maintenance_log_newest_first is 'The last run of each task: GET /ops/database.';

create function pfa_archive_synced(older_than interval, most bigint) returns bigint
language sql as $$
    with moved as (
        delete from pfa_modification d
         using (select due.organization_id, due.id
                  from organizations o
                  -- A range of the index in each organization: what is not due is not looked at.
                  join lateral (
                           select organization_id, id
                             from pfa_modification
                            where organization_id = o.organization_id
                              and sync_state = 'synced'
                              and synced_at < now() - older_than
                            order by synced_at
                            limit most
                              for update skip locked) due on true
                 limit most) due
         where d.organization_id = due.organization_id
           and d.id = due.id
        returning d.*
    ), archived as (
        insert into pfa_modification_archive
               (organization_id, id, session_id, mirror_id, user_id, sync_state, conflict_stage, delta, modified_fields, base, base_version,
                current_version, change_reason, created_at, updated_at, committed_at, synced_at, attempts, next_attempt_at, lease_until,
                last_error, base_change, conflicted_at, claim_id, failed_at)
        select organization_id, id, session_id, mirror_id, user_id, sync_state, conflict_stage, delta, modified_fields, base, base_version,
               current_version, change_reason, created_at, updated_at, committed_at, synced_at, attempts, next_attempt_at, lease_until,
               last_error, base_change, conflicted_at, claim_id, failed_at
          from moved
        returning 1
    )
    select count(*) from archived;
$$;
comment on function pfa_archive_synced(interval, bigint) is
    'Moves changes that arrived in PEMS so long ago to the archive, at most so many; returns how many. One statement: none is lost or doubled.';

create function pfa_prune_logs(older_than interval) returns bigint
language sql as $$
    with syncs as (
        -- A later good run of the same kind knows all that this one does: where to begin, and when all was well.
        delete from pfa_sync_log l
         where l.completed_at < now() - older_than
           and exists (
                   select from pfa_sync_log later
                    where later.organization_id = l.organization_id
                      and later.sync_direction = l.sync_direction
                      and later.started_at > l.started_at
                      and later.status in ('completed', 'completed_with_errors')
                      and later.sync_type not in ('manual', 'verify')
                      and (l.read_up_to is null or later.read_up_to is not null))
        returning 1
    ), refreshes as (
        delete from pfa_refresh_log l
         where l.completed_at < now() - older_than
           and exists (select from pfa_refresh_log later where later.started_at > l.started_at and later.outcome = 'completed')
        returning 1
    ), tasks as (
        delete from pfa_maintenance_log l
         where l.completed_at < now() - older_than
           and exists (select from pfa_maintenance_log later where later.task = l.task and later.started_at > l.started_at)
        returning 1
    ), answers as (
        delete from pfa_commit_answer where created_at < now() - greatest(older_than, interval '7 days') returning 1
    )
    select (select count(*) from syncs) + (select count(*) from refreshes) + (select count(*) from tasks) + (select count(*) from answers);
$$;
comment on function pfa_prune_logs(interval) is
    'Drops log rows that are older and that nobody needs any more: each organization keeps its last good runs, whatever their age. Returns how many.';
