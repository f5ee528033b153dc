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
    with good as (
        -- Where the next reading begins, and when all was well: the newest runs that know it.
        select organization_id, sync_direction, max(started_at) as newest, max(started_at) filter (where read_up_to is not null) as newest_known
          from pfa_sync_log
         where status in ('completed', 'completed_with_errors')
           and (sync_direction = 'write' or sync_type not in ('manual', 'verify'))
         group by organization_id, sync_direction
    ), syncs as (
        delete from pfa_sync_log l
         where l.completed_at < now() - older_than
           and not exists (
                   select from good
                    where good.organization_id = l.organization_id
                      and good.sync_direction = l.sync_direction
                      and l.started_at in (good.newest, good.newest_known))
        returning 1
    ), refreshes as (
        delete from pfa_refresh_log
         where completed_at < now() - older_than
           and started_at < (select max(started_at) from pfa_refresh_log where outcome = 'completed')
        returning 1
    ), tasks as (
        delete from pfa_maintenance_log l
         where l.completed_at < now() - older_than
           and l.started_at < (select max(started_at) from pfa_maintenance_log later where later.task = l.task and later.error is null)
        returning 1
    ), answers as (
        delete from pfa_commit_answer where created_at < now() - greatest(older_than, interval '7 days') returning 1
    )
    select (select count(*) from syncs) + (select count(*) from refreshes) + (select count(*) from tasks) + (select count(*) from answers);
$$;
comment on function pfa_prune_logs(interval) is
    'Drops log rows that are older, but of each organization, task and direction the last good ones. Returns how many.';
