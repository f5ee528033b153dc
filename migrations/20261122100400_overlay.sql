-- The overlay: the merged record of every touched row, kept beside the deltas.
--
-- A record is *touched* for a reader when a modification applies to it or must be shown on it. Its
-- merged values are stored here with the same columns as the mirror, once for everybody (session
-- `pfa_everybody()`) and once for each sandbox that has its own open changes on it. So every merged
-- reading is a union of ordered, indexed scans:
--     the sandbox's overlay  ∪  the published overlay without it  ∪  the mirror without both.
-- The deltas stay the truth: pfa_rebuild_overlay() derives the overlay from them, and whoever
-- changes deltas or mirror rows calls it for those records in the same transaction.

create function pfa_everybody() returns uuid
language sql immutable parallel safe
return '00000000-0000-0000-0000-000000000000'::uuid;
comment on function pfa_everybody() is 'The session id that stands for readers without a sandbox.';

create table pfa_overlay (
    like pfa_mirror including generated,
    session_id      uuid   not null,
    sync_state      text   not null,
    modified_fields text[] not null,
    modified_by     text   not null,
    modified_at     timestamptz not null,

    constraint pfa_overlay_pkey primary key (organization_id, id, session_id),
    constraint pfa_overlay_mirror_fkey foreign key (organization_id, id) references pfa_mirror (organization_id, id)
);
comment on table pfa_overlay is
    'Merged records of touched rows, derived from pfa_mirror and pfa_modification by pfa_rebuild_overlay().';

create index pfa_overlay_grid on pfa_overlay
    (organization_id, session_id, category, source, forecast_start, id, forecast_end) where not is_discontinued;
comment on index pfa_overlay_grid is 'The grid page by category and source, overlay branches: GET /orgs/{org}/records.';

create index pfa_overlay_timeline on pfa_overlay
    (organization_id, session_id, forecast_start, id, forecast_end) where not is_discontinued;
comment on index pfa_overlay_timeline is 'The unfiltered grid page and the timeline viewport, overlay branches.';

create function pfa_rebuild_overlay(organization text, records uuid[]) returns bigint
language plpgsql as $$
declare
    rebuilt bigint;
begin
    delete from pfa_overlay where organization_id = organization and id = any (records);

    with modification as (
        select *
          from pfa_modification
         where organization_id = organization
           and mirror_id = any (records)
           and sync_state <> 'synced'
    ), reader as (
        select mirror_id, pfa_everybody() as session_id from modification where sync_state <> 'draft'
        union
        select mirror_id, session_id from modification where sync_state in ('draft', 'conflict')
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
               pfa_keys(pfa_merge(delta)) as modified_fields,
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
comment on function pfa_rebuild_overlay(text, uuid[]) is
    'Derives the overlay rows of these records, for every reader, from the mirror and the deltas. Returns their number.';

create function pfa_rebuild_overlay(organization text) returns bigint
language sql as $$
    select pfa_rebuild_overlay(organization, array(
        select mirror_id from pfa_modification where organization_id = organization and sync_state <> 'synced'
        union
        select id from pfa_overlay where organization_id = organization));
$$;
comment on function pfa_rebuild_overlay(text) is 'Derives the whole overlay of an organization anew.';

create view pfa_merged_live as
select organization_id, id as mirror_id, version, data,
       pfa_id, area_silo, category, class, source, dor,
       is_actualized, is_discontinued, is_funds_transferable, has_plan, has_actuals,
       monthly_rate, purchase_price, manufacturer, model, contract, equipment,
       original_start, original_end, forecast_start, forecast_end, actual_start, actual_end,
       'pristine' as sync_state, '{}'::text[] as modified_fields, null::text as modified_by, null::timestamptz as modified_at
  from pfa_mirror m
 where not exists (
           select from pfa_overlay o
            where o.organization_id = m.organization_id
              and o.id = m.id
              and o.session_id = pfa_everybody())
union all
select organization_id, id, version, data,
       pfa_id, area_silo, category, class, source, dor,
       is_actualized, is_discontinued, is_funds_transferable, has_plan, has_actuals,
       monthly_rate, purchase_price, manufacturer, model, contract, equipment,
       original_start, original_end, forecast_start, forecast_end, actual_start, actual_end,
       sync_state, modified_fields, modified_by, modified_at
  from pfa_overlay
 where session_id = pfa_everybody();
comment on view pfa_merged_live is
    'The published reading for everybody: exactly one row per record, mirror ⊕ committed and syncing deltas, nobody''s drafts.';

create function pfa_merged(organization text, session uuid)
returns table (
    id uuid, version bigint, data jsonb,
    pfa_id text, area_silo text, category text, class text, source text, dor text,
    is_actualized boolean, is_discontinued boolean, is_funds_transferable boolean, has_plan boolean, has_actuals boolean,
    monthly_rate numeric, purchase_price numeric,
    manufacturer text, model text, contract text, equipment text,
    original_start date, original_end date, forecast_start date, forecast_end date, actual_start date, actual_end date,
    sync_state text, modified_fields text[], modified_by text, modified_at timestamptz
)
language sql stable parallel safe
begin atomic
    select r.mirror_id, r.version, r.data,
           r.pfa_id, r.area_silo, r.category, r.class, r.source, r.dor,
           r.is_actualized, r.is_discontinued, r.is_funds_transferable, r.has_plan, r.has_actuals,
           r.monthly_rate, r.purchase_price, r.manufacturer, r.model, r.contract, r.equipment,
           r.original_start, r.original_end, r.forecast_start, r.forecast_end, r.actual_start, r.actual_end,
           r.sync_state, r.modified_fields, r.modified_by, r.modified_at
      from pfa_merged_live r
     where r.organization_id = organization
       and not exists (
               select from pfa_overlay o
                where o.organization_id = organization
                  and o.id = r.mirror_id
                  and o.session_id = session)
    union all
    select r.id, r.version, r.data,
           r.pfa_id, r.area_silo, r.category, r.class, r.source, r.dor,
           r.is_actualized, r.is_discontinued, r.is_funds_transferable, r.has_plan, r.has_actuals,
           r.monthly_rate, r.purchase_price, r.manufacturer, r.model, r.contract, r.equipment,
           r.original_start, r.original_end, r.forecast_start, r.forecast_end, r.actual_start, r.actual_end,
           r.sync_state, r.modified_fields, r.modified_by, r.modified_at
      from pfa_overlay r
     where r.organization_id = organization
       and r.session_id = session;
end;
comment on function pfa_merged(text, uuid) is
    'The reading inside a sandbox: published records, with the sandbox''s own drafts on top. A null session reads what is published.';

create function pfa_meta(
    id uuid, version bigint, sync_state text, modified_fields text[], modified_by text, modified_at timestamptz
) returns text
language sql stable parallel safe
return concat(
    '{"id": "', id, '", "version": ', version,
    case when sync_state = 'pristine' then ', "syncState": "pristine", "modifiedFields": [], "modifiedBy": null, "modifiedAt": null}'
         else concat(
             ', "syncState": "', sync_state,
             '", "modifiedFields": ', to_json(modified_fields),
             ', "modifiedBy": ', to_json(modified_by),
             ', "modifiedAt": "', to_char(modified_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '"}')
    end);
comment on function pfa_meta(uuid, bigint, text, text[], text, timestamptz) is 'The _meta object of a row, as JSON text.';

create function pfa_refusal(organization text, session uuid, reader text) returns text
language sql stable parallel safe
return case
    when not exists (select from organizations o where o.organization_id = organization) then 'organization'
    when session is not null and not exists (
             select from pfa_session s
              where s.organization_id = organization
                and s.id = session
                and s.user_id = reader
                and s.status <> 'discarded') then 'session'
end;
comment on function pfa_refusal(text, uuid, text) is
    'What a reader asked for that is not there or not theirs: organization, session, or null when the reading may go ahead.';
