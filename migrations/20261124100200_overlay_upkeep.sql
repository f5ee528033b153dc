-- Keeping the overlay: for one sandbox while it is edited, for everybody when something is
-- published, and a check that the whole of it is what the deltas say.

-- Every index that begins with the sandbox is partial. So a probe for one record can only take the
-- primary key, also when the planner knows nothing yet of ten thousand rows just written.
create index pfa_overlay_discontinued on pfa_overlay
    (organization_id, session_id, forecast_start, id) where is_discontinued;
comment on index pfa_overlay_discontinued is
    'isDiscontinued=true and status=discontinued, overlay branches; with pfa_overlay_timeline all rows of one sandbox.';

create function pfa_sandbox_records(organization text, session uuid) returns uuid[]
language sql stable parallel safe
return array(
    select id from pfa_overlay where organization_id = organization and session_id = session and not is_discontinued
    union all
    select id from pfa_overlay where organization_id = organization and session_id = session and is_discontinued);
comment on function pfa_sandbox_records(text, uuid) is 'The records that a sandbox sees otherwise than everybody does.';

drop function pfa_rebuild_overlay(text, uuid[]);

create function pfa_rebuild_overlay(organization text, records uuid[], only_reader uuid default null) returns bigint
language plpgsql as $$
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
      join pfa_mirror m on m.organization_id = organization and m.id = merged.mirror_id;
    get diagnostics rebuilt = row_count;
    return rebuilt;
end $$;
comment on function pfa_rebuild_overlay(text, uuid[], uuid) is
    'Derives the overlay rows of these records from the mirror and the deltas: for every reader, or for one sandbox alone. Returns their number.';

create function pfa_publish_overlay(organization text, session uuid, by_user text, at timestamptz, records uuid[]) returns void
language plpgsql as $$
declare
    -- Records with nothing on them but what this session has just committed: what it saw is now what everybody sees.
    plain constant uuid[] := array(
        select mirror_id
          from pfa_modification
         where organization_id = organization
           and mirror_id = any (records)
           and sync_state <> 'synced'
         group by mirror_id
        having count(*) = 1 and bool_and(session_id = session and sync_state = 'committed'));
begin
    delete from pfa_overlay
     where organization_id = organization
       and id = any (plain)
       and session_id <> session;

    -- Ten thousand rows are moved in a third of the time that deriving them anew takes.
    update pfa_overlay
       set session_id = pfa_everybody(), sync_state = 'committed', modified_by = by_user, modified_at = at
     where organization_id = organization
       and id = any (plain)
       and session_id = session;

    perform pfa_rebuild_overlay(organization, array(select unnest(records) except select unnest(plain)));
end $$;
comment on function pfa_publish_overlay(text, uuid, text, timestamptz, uuid[]) is
    'Brings the overlay to what it is after a user''s session committed its drafts on these records.';

create function pfa_stale_overlay(organization text) returns table (record uuid, reader uuid)
language plpgsql as $$
begin
    create temporary table pfa_overlay_before on commit drop as
        select id, session_id, data, version, sync_state, modified_fields, modified_by, modified_at
          from pfa_overlay where organization_id = organization;
    perform pfa_rebuild_overlay(organization);
    return query
        select coalesce(b.id, o.id), coalesce(b.session_id, o.session_id)
          from pfa_overlay_before b
          full join (select * from pfa_overlay where organization_id = organization) o using (id, session_id)
         where (b.data, b.version, b.sync_state, b.modified_fields, b.modified_by, b.modified_at)
               is distinct from (o.data, o.version, o.sync_state, o.modified_fields, o.modified_by, o.modified_at);
    drop table pfa_overlay_before;
end $$;
comment on function pfa_stale_overlay(text) is
    'Rebuilds the overlay of an organization and tells which rows were not what the deltas say; none unless there is a defect. Roll back to change nothing.';

create function pfa_recheck_published(organization text, records uuid[]) returns uuid[]
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
                   next.sync_state = 'committed' and exists (
                       select from pfa_three_way(next.delta, next.base, m.data || coalesce(lower.delta, '{}')) where is_conflict) as is_conflict
              from next
              join pfa_mirror m on m.organization_id = organization and m.id = next.mirror_id
              left join lower on lower.mirror_id = next.mirror_id
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
comment on function pfa_recheck_published(text, uuid[]) is
    'After the mirror of these records changed: committed deltas whose fields PEMS changed to something else become conflicts of the write-back. Returns them.';
