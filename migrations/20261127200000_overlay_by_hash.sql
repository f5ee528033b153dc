-- The overlay of ten thousand records is joined by hashes, whatever the statistics say. They may be those of a moment at which no sandbox had a
-- draft, or after a preview, whose drafts are gone: then each record was compared with each draft, which took 16 s instead of half a second.
-- The records of the mirror are named, so that the hash is made of them alone.

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
      join pfa_mirror m on m.organization_id = organization and m.id = any (records) and m.id = merged.mirror_id;
    get diagnostics rebuilt = row_count;
    return rebuilt;
end $$;
