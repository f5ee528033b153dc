-- Modifications: the fields that a user changed on one mirror row, in one sandbox.

create aggregate pfa_merge(jsonb) (
    sfunc     = jsonb_concat,
    stype     = jsonb,
    initcond  = '{}',
    parallel  = safe
);
comment on aggregate pfa_merge(jsonb) is
    'Deltas laid over each other by top-level key; the last one wins, also with null. Give it an ORDER BY.';

create function pfa_keys(object jsonb) returns text[]
language sql immutable parallel safe
return (select coalesce(array_agg(key order by key collate "C"), '{}') from jsonb_object_keys(object) key);
comment on function pfa_keys(jsonb) is 'The top-level keys of an object, sorted.';

create table pfa_modification (
    organization_id text collate "C" not null,
    id              uuid   not null default gen_random_uuid(),
    session_id      uuid   not null,
    mirror_id       uuid   not null,
    user_id         text   not null,
    sync_state      text   not null default 'draft',
    -- Who found the conflict: the commit or the write-back. Set exactly in state conflict.
    conflict_stage  text,
    delta           jsonb  not null,
    modified_fields text[] not null generated always as (pfa_keys(delta)) stored,
    -- The values that the changed fields had, and the mirror's version, when this was first touched;
    -- and the version that it was last checked against.
    base            jsonb  not null default '{}',
    base_version    bigint not null default 1,
    current_version bigint,
    change_reason   text,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    committed_at    timestamptz,
    synced_at       timestamptz,
    attempts        int    not null default 0,
    next_attempt_at timestamptz,
    lease_until     timestamptz,
    last_error      text,

    constraint pfa_modification_pkey primary key (organization_id, id),
    constraint pfa_modification_session_fkey foreign key (organization_id, session_id) references pfa_session (organization_id, id),
    constraint pfa_modification_mirror_fkey foreign key (organization_id, mirror_id) references pfa_mirror (organization_id, id),
    constraint pfa_modification_state_is_known check (sync_state in ('draft', 'committed', 'syncing', 'synced', 'conflict', 'failed')),
    constraint pfa_modification_conflict_has_stage check (
        (sync_state = 'conflict') = (conflict_stage is not null)
        and (conflict_stage is null or conflict_stage in ('commit', 'writeBack'))
    ),
    constraint pfa_modification_published_has_time check (sync_state in ('draft', 'conflict') or committed_at is not null),
    constraint pfa_modification_delta_is_object check (
        jsonb_typeof(delta) = 'object' and delta <> '{}' and not delta ?| array['pfaId', '_meta']
    ),
    constraint pfa_modification_base_is_object check (jsonb_typeof(base) = 'object')
);
comment on table pfa_modification is
    'Deltas of the sandboxes and their way to PEMS: draft, committed, syncing, synced; conflict and failed wait for a person.';

create unique index pfa_modification_one_open_per_record
    on pfa_modification (organization_id, session_id, mirror_id) where sync_state = 'draft' or conflict_stage = 'commit';
comment on index pfa_modification_one_open_per_record is
    'One open delta per session and record; serves the merged reading inside a sandbox (pfa_touched).';

create index pfa_modification_published
    on pfa_modification (organization_id, mirror_id) where sync_state in ('committed', 'syncing', 'conflict', 'failed');
comment on index pfa_modification_published is
    'The merged reading for everybody: which records carry published, conflicting or failed deltas (pfa_touched, pfa_merged_live).';

create index pfa_modification_pending
    on pfa_modification (organization_id, committed_at, id) where sync_state = 'committed';
comment on index pfa_modification_pending is 'Waiting write-backs in commit order: GET /orgs/{org}/sync/pending.';

create index pfa_modification_unfinished
    on pfa_modification (organization_id, updated_at, id) where sync_state in ('conflict', 'failed');
comment on index pfa_modification_unfinished is 'Conflicts and failures that wait for a person: GET /orgs/{org}/conflicts.';

create index pfa_modification_leases
    on pfa_modification (organization_id, lease_until) where sync_state = 'syncing';
comment on index pfa_modification_leases is 'Write-backs whose lease has run out go back to committed.';

create index pfa_modification_archivable
    on pfa_modification (organization_id, synced_at) where sync_state = 'synced';
comment on index pfa_modification_archivable is 'Synced deltas older than 30 days move to pfa_modification_archive.';

create index pfa_modification_of_record
    on pfa_modification (organization_id, mirror_id, committed_at);
comment on index pfa_modification_of_record is 'All deltas of one record, for its history and for the foreign key.';

create table pfa_modification_archive (
    like pfa_modification including comments,
    archived_at timestamptz not null default now(),
    constraint pfa_modification_archive_pkey primary key (organization_id, id)
);
comment on table pfa_modification_archive is 'Synced modifications, moved here in one statement after 30 days.';
create index pfa_modification_archive_of_record on pfa_modification_archive (organization_id, mirror_id, committed_at);
comment on index pfa_modification_archive_of_record is 'The archived deltas of one record, for its history.';
