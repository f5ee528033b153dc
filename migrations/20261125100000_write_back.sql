-- Write-back: accepted changes on their way to PEMS.
--
-- A process takes an organization's turn (pfa_push_lock) and claims changes one record at a time, in
-- the order of their commits. A claim has an id and a lease: a process that was away so long that its
-- lease ran out finds another claim there, and leaves the change alone.

alter table organizations add column write_back_paused_at timestamptz;
comment on column organizations.write_back_paused_at is 'Since when nothing of it is written to PEMS, by somebody''s decision; null while it is.';
alter table organizations add column write_back_paused_by text;
comment on column organizations.write_back_paused_by is 'Who paused it.';
alter table organizations add column write_back_pause_reason text;
comment on column organizations.write_back_pause_reason is 'Why, if that was told.';
alter table organizations add constraint organizations_pause_has_user check ((write_back_paused_at is null) = (write_back_paused_by is null));

alter table pfa_modification add column claim_id uuid;
comment on column pfa_modification.claim_id is 'Who writes it to PEMS: only the holder of this claim may say what came of it.';
alter table pfa_modification_archive add column claim_id uuid;
alter table pfa_modification add column failed_at timestamptz;
comment on column pfa_modification.failed_at is 'When it was given up; a person retries or drops it.';
alter table pfa_modification_archive add column failed_at timestamptz;

update pfa_modification set failed_at = updated_at where sync_state = 'failed';

create index pfa_modification_dead_letters on pfa_modification (organization_id, coalesce(failed_at, updated_at), id) where sync_state = 'failed';
comment on index pfa_modification_dead_letters is 'Changes that PEMS would not take, oldest first: GET /orgs/{org}/sync/dead-letters.';

create or replace function pfa_in_flight(organization text, record uuid, since timestamptz) returns boolean
language sql stable parallel safe
return exists (
           select from pfa_modification d
            where d.organization_id = organization
              and d.mirror_id = record
              and (d.sync_state = 'syncing' or d.synced_at >= since))
    or exists (
           select from pfa_mirror m
            where m.organization_id = organization
              and m.id = record
              and m.last_synced_at >= since);
comment on function pfa_in_flight(text, uuid, timestamptz) is
    'Whether a change of this record is on its way to PEMS or arrived there since, or the record itself was read since: what was read before may not be applied over it.';

alter table pfa_mirror_history add column is_arrival boolean not null default false;
comment on column pfa_mirror_history.is_arrival is
    'A published change arrived in PEMS: the mirror changed, but everybody had been reading it so before.';

create function pfa_set_mirror(
    organization text, record uuid, new_data jsonb, stamp text, batch uuid,
    number bigint, at timestamptz, by_user text, why text, arrives boolean
) returns boolean
language plpgsql as $$
declare
    old_data constant jsonb := (select data from pfa_mirror where organization_id = organization and id = record);
    keys     constant text[] := pfa_changed_keys(old_data, new_data);
    set_version bigint;
begin
    if old_data = new_data then
        update pfa_mirror set pems_version = stamp
         where organization_id = organization and id = record and pems_version is distinct from stamp and stamp is not null;
        return false;
    end if;
    update pfa_mirror
       set data = new_data, version = version + 1, last_synced_at = clock_timestamp(), sync_batch_id = batch,
           pems_version = coalesce(stamp, pems_version)
     where organization_id = organization and id = record
    returning version into set_version;
    insert into pfa_mirror_history
           (organization_id, mirror_id, version, change_number, changed_at, changed_by, source, source_id, reason, before, after, is_arrival)
    values (organization, record, set_version, number, at, by_user, 'sync', batch, why, pfa_pick(old_data, keys), pfa_pick(new_data, keys), arrives);
    return true;
end $$;
comment on function pfa_set_mirror(text, uuid, jsonb, text, uuid, bigint, timestamptz, text, text, boolean) is
    'Brings one mirror row to what PEMS has, with its version and history; tells whether the data changed. Part of a publication.';

create function pfa_published(organization text, record uuid) returns jsonb
language sql stable parallel safe
return coalesce(
    (select data from pfa_overlay where organization_id = organization and id = record and session_id = pfa_everybody()),
    (select data from pfa_mirror where organization_id = organization and id = record));
comment on function pfa_published(text, uuid) is 'What everybody reads of one record.';

drop function pfa_recheck_published(text, uuid[]);

create function pfa_recheck_published(organization text, records uuid[], keeps_rules boolean default false) returns uuid[]
language plpgsql as $$
declare
    -- What lies under the next delta of a record: its earlier deltas that stand.
    standing    uuid[] := '{}';
    conflicting uuid[] := '{}';
    checked     record;
begin
    loop
        with next as (
            select distinct on (mirror_id) id, mirror_id, sync_state, delta, base
              from pfa_modification
             where organization_id = organization
               and mirror_id = any (records)
               and sync_state in ('committed', 'syncing')
               and not id = any (standing || conflicting)
             order by mirror_id, committed_at, id
        ), lower as (
            select mirror_id, pfa_merge(delta order by committed_at, id) as delta
              from pfa_modification
             where organization_id = organization
               and id = any (standing)
             group by mirror_id
        ), compared as (
            select next.id,
                   -- One that is on its way to PEMS is compared there by the write-back itself.
                   next.sync_state = 'committed'
                   and (exists (select from pfa_three_way(next.delta, next.base, below.published) where is_conflict)
                        or keeps_rules and pfa_broken_rules(below.published || next.delta, next.delta) <> '{}') as is_conflict
              from next
              join pfa_mirror m on m.organization_id = organization and m.id = next.mirror_id
              left join lower on lower.mirror_id = next.mirror_id
             cross join lateral (select m.data || coalesce(lower.delta, '{}') as published) below
        )
        select array_agg(id) filter (where not is_conflict) as clean, array_agg(id) filter (where is_conflict) as conflicts
          into checked
          from compared;
        exit when checked.clean is null and checked.conflicts is null;
        standing    := standing || checked.clean;
        conflicting := conflicting || checked.conflicts;
    end loop;

    update pfa_modification
       set sync_state = 'conflict', conflict_stage = 'writeBack', conflicted_at = clock_timestamp(), next_attempt_at = null
     where organization_id = organization
       and id = any (conflicting);
    return conflicting;
end $$;
comment on function pfa_recheck_published(text, uuid[], boolean) is
    'After what lies under the committed deltas of these records changed: those whose fields PEMS changed to something else become conflicts of the write-back, on demand also those that break a rule now. Returns them.';
