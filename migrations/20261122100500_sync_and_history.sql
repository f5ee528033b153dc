-- What came from where: sync and import runs, and the history of published changes.

create table pfa_sync_log (
    organization_id      text collate "C" not null,
    id                   uuid not null default gen_random_uuid(),
    sync_type            text not null,
    sync_direction       text not null,
    status               text not null default 'running',
    records_total        bigint not null default 0,
    records_processed    bigint not null default 0,
    records_inserted     bigint not null default 0,
    records_updated      bigint not null default 0,
    records_unchanged    bigint not null default 0,
    records_discontinued bigint not null default 0,
    records_errored      bigint not null default 0,
    -- What was unreadable: [{"pfaId", "field", "value", "problem"}], the first thousand.
    findings             jsonb  not null default '[]',
    error                text,
    started_at           timestamptz not null default now(),
    completed_at         timestamptz,

    constraint pfa_sync_log_pkey primary key (organization_id, id),
    constraint pfa_sync_log_organization_fkey foreign key (organization_id) references organizations (organization_id),
    constraint pfa_sync_log_type_is_known check (sync_type in ('full', 'incremental', 'manual', 'import')),
    constraint pfa_sync_log_direction_is_known check (sync_direction in ('read', 'write')),
    constraint pfa_sync_log_status_is_known check (status in ('running', 'completed', 'completed_with_errors', 'failed', 'cancelled')),
    constraint pfa_sync_log_running_is_open check ((status = 'running') = (completed_at is null))
);
comment on table pfa_sync_log is 'Every sync and import run: counts, what was unreadable, how it ended.';

create index pfa_sync_log_newest_first on pfa_sync_log (organization_id, started_at desc, id);
comment on index pfa_sync_log_newest_first is 'The last runs and the last good one of an organization: GET /orgs, GET /orgs/{org}/sync/runs.';

create unique index pfa_sync_log_one_running on pfa_sync_log (organization_id, sync_direction) where status = 'running';
comment on index pfa_sync_log_one_running is 'One run per organization and direction at a time, across processes.';

create function pfa_load_lock(organization text) returns bigint
language sql immutable parallel safe
return hashtextextended('pfa load of ' || organization, 0);
comment on function pfa_load_lock(text) is
    'Key of the advisory lock that a load of the organization holds; a running row of pfa_sync_log whose lock is free belongs to a process that has ended.';

create table pfa_mirror_history (
    organization_id text collate "C" not null,
    id              uuid   not null default gen_random_uuid(),
    mirror_id       uuid   not null,
    version         bigint not null,
    -- The organization's change number of the transaction that published the change.
    change_number   bigint not null,
    changed_at      timestamptz not null default now(),
    changed_by      text   not null,
    source          text   not null,
    source_id       uuid,
    reason          text,
    -- The changed keys only: what they were and what they became.
    before          jsonb  not null,
    after           jsonb  not null,

    constraint pfa_mirror_history_pkey primary key (organization_id, id),
    constraint pfa_mirror_history_mirror_fkey foreign key (organization_id, mirror_id) references pfa_mirror (organization_id, id),
    constraint pfa_mirror_history_source_is_known check (source in ('session', 'sync', 'import'))
);
comment on table pfa_mirror_history is 'Every published change of a record: who, when, why, from what to what.';

create index pfa_mirror_history_of_record on pfa_mirror_history (organization_id, mirror_id, changed_at desc, id);
comment on index pfa_mirror_history_of_record is 'The history of one record, newest first: GET /orgs/{org}/records/{pfaId}/history.';

create function pfa_changed_keys(before jsonb, after jsonb) returns text[]
language sql immutable parallel safe
return (
    select coalesce(array_agg(key order by key collate "C"), '{}')
      from (select jsonb_object_keys(before) union select jsonb_object_keys(after)) keys (key)
     where before->key is distinct from after->key);
comment on function pfa_changed_keys(jsonb, jsonb) is 'The top-level keys in which two records differ, by meaning: 1.0 equals 1.';

create function pfa_pick(record jsonb, keys text[]) returns jsonb
language sql immutable parallel safe
return (select coalesce(jsonb_object_agg(key, record->key), '{}') from unnest(keys) key where record ? key);
comment on function pfa_pick(jsonb, text[]) is 'The record reduced to these top-level keys.';
