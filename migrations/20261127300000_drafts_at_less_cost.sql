-- Of ten thousand records whose drafts are gone the overlay reads nothing of the mirror any more: the records are looked up by their key, one
-- by one, where something is left of them. An undo took three times as long with a hash of all of them. The offset keeps this a probe of the
-- key, however the rest is joined.

create or replace function pfa_rebuild_overlay(organization text, records uuid[], only_reader uuid default null) returns bigint
language plpgsql set enable_nestloop = off as $$
declare
    rebuilt bigint;
begin
    delete from pfa_overlay
     where organization_id = organization
       and id = any (records)
       and (only_reader is null or session_id = only_reader);

    with modification as (
        select id, session_id, mirror_id, user_id, sync_state, delta, modified_fields, committed_at, updated_at
          from pfa_modification
         where organization_id = organization
           and mirror_id = any (records)
           and sync_state <> 'synced'
    ), reader as (
        select mirror_id, pfa_everybody() as session_id from modification where sync_state <> 'draft' and only_reader is null
        union
        select mirror_id, session_id
          from modification
         where sync_state in ('draft', 'conflict')
           and (only_reader is null or session_id = only_reader)
    ), relevant as (
        -- What a reader sees on a record. Own drafts and conflicts apply, on top of what is published;
        -- others' conflicts and failures are shown but do not apply.
        select reader.session_id as reader_id, d.*,
               d.session_id = reader.session_id as is_own,
               d.sync_state in ('committed', 'syncing') or (d.session_id = reader.session_id and d.sync_state <> 'failed') as is_applied
          from reader
          join modification d on d.mirror_id = reader.mirror_id
           and (d.sync_state <> 'draft' or d.session_id = reader.session_id)
    ), ranked as (
        -- The modification that gives the record its state: one's own open one first, then what needs a person, then the newest.
        select *, row_number() over (
                   partition by reader_id, mirror_id
                   order by is_own and sync_state in ('draft', 'conflict') desc,
                            array_position(array['conflict', 'failed', 'draft', 'syncing', 'committed'], sync_state),
                            updated_at desc, id) = 1 as is_deciding
          from relevant
    ), merged as (
        select reader_id, mirror_id,
               pfa_merge(delta order by is_own and sync_state in ('draft', 'conflict'), committed_at, id) filter (where is_applied) as delta,
               -- Most records carry one modification, which knows its keys already.
               case when count(*) = 1 then min(modified_fields) else pfa_keys(pfa_merge(delta)) end as modified_fields,
               min(sync_state) filter (where is_deciding) as sync_state,
               min(user_id)    filter (where is_deciding) as modified_by,
               min(updated_at) filter (where is_deciding) as modified_at
          from ranked
         group by reader_id, mirror_id
    )
    insert into pfa_overlay
           (organization_id, id, session_id, data, version, pems_version, last_synced_at, sync_batch_id,
            sync_state, modified_fields, modified_by, modified_at)
    select organization, m.id, merged.reader_id, m.data || merged.delta, m.version, m.pems_version, m.last_synced_at, m.sync_batch_id,
           merged.sync_state, merged.modified_fields, merged.modified_by, merged.modified_at
      from merged
     cross join lateral (
              select * from pfa_mirror where organization_id = organization and id = merged.mirror_id offset 0) m;
    get diagnostics rebuilt = row_count;
    return rebuilt;
end $$;

-- What calls a stable function is not immutable; said so, it is part of the statement that calls it and not a statement of its own for each
-- record, which took 7 us.
alter function pfa_draft_image(jsonb, jsonb, bigint, bigint, text) stable;

-- Connections plan each statement for its own values (plan_cache_mode = force_custom_plan), and the checks of foreign keys are statements, one for
-- each row: to plan them took two thirds of their time, 0.2 s of 10,000 drafts and as long for their step, 20 s of a million new records.
-- A statement that calls this has been planned already; its checks, which come at its end, keep their plans.
create function pfa_keep_plans_of_checks() returns boolean
language sql volatile
return set_config('plan_cache_mode', 'auto', true) is not null;
comment on function pfa_keep_plans_of_checks() is
    'For statements that write many rows with foreign keys: from here to the end of the transaction plans are kept, so that the checks are not planned for each row. True.';
