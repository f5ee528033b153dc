-- Exact summaries between refreshes: every publication notes by how much it changes the groups of
-- pfa_kpi_summary. Published figures are the view as of its change number, plus what was noted
-- since; a sandbox adds its own rows and takes away what is published on the same records.

create function pfa_amounts(organization text, session uuid, records uuid[])
returns table (category text, source text, dor text, record_count bigint, actualized_count bigint,
               plan_amount numeric, forecast_amount numeric, actual_amount numeric)
language sql stable parallel safe
begin atomic
    select r.category, r.source, r.dor,
           count(*), count(*) filter (where r.is_actualized),
           sum(pfa_amount_of(r.source, r.monthly_rate, r.purchase_price, r.original_start, r.original_end)),
           sum(pfa_amount_of(r.source, r.monthly_rate, r.purchase_price, r.forecast_start, r.forecast_end)),
           sum(case when r.is_actualized
                    then pfa_amount_of(r.source, r.monthly_rate, r.purchase_price, r.actual_start, r.actual_end)
                    else 0 end)
      from unnest(records) as chosen (id)
     -- Three probes of a key at most for each record, whatever the statistics say. As joins with the
     -- overlay, planned before anybody counted the rows that this very transaction wrote, it took
     -- 1.7 s for 10,000 records.
     cross join lateral (
             select source, category, dor, monthly_rate, purchase_price, is_discontinued, is_actualized,
                    original_start, original_end, forecast_start, forecast_end, actual_start, actual_end
               from pfa_overlay
              where organization_id = organization and id = chosen.id and session_id = session
             union all
             select source, category, dor, monthly_rate, purchase_price, is_discontinued, is_actualized,
                    original_start, original_end, forecast_start, forecast_end, actual_start, actual_end
               from pfa_overlay
              where organization_id = organization and id = chosen.id and session_id = pfa_everybody()
             union all
             select source, category, dor, monthly_rate, purchase_price, is_discontinued, is_actualized,
                    original_start, original_end, forecast_start, forecast_end, actual_start, actual_end
               from pfa_mirror
              where organization_id = organization and id = chosen.id
              limit 1) r
     where not r.is_discontinued
     group by r.category, r.source, r.dor;
end;
comment on function pfa_amounts(text, uuid, uuid[]) is
    'What these records add to the groups of pfa_kpi_summary, published or as a sandbox sees them.';

create table pfa_summary_change (
    organization_id  text collate "C" not null,
    change_number    bigint  not null,
    id               bigint  not null generated always as identity,
    category         text    collate "C",
    source           text    collate "C",
    dor              text    collate "C",
    record_count     bigint  not null,
    actualized_count bigint  not null,
    plan_amount      numeric not null,
    forecast_amount  numeric not null,
    actual_amount    numeric not null,

    constraint pfa_summary_change_pkey primary key (organization_id, change_number, id),
    constraint pfa_summary_change_organization_fkey foreign key (organization_id) references organizations (organization_id)
);
comment on table pfa_summary_change is
    'By how much publications changed the groups of pfa_kpi_summary since its refresh; dropped by the refresh that includes them.';

create function pfa_note_amounts(organization text, number bigint, sign int, records uuid[]) returns void
language sql
begin atomic
    insert into pfa_summary_change
           (organization_id, change_number, category, source, dor,
            record_count, actualized_count, plan_amount, forecast_amount, actual_amount)
    select organization, number, category, source, dor,
           sign * record_count, sign * actualized_count, sign * plan_amount, sign * forecast_amount, sign * actual_amount
      from pfa_amounts(organization, null, records);
end;
comment on function pfa_note_amounts(text, bigint, int, uuid[]) is
    'Notes what is published on these records: with sign -1 before a publication changes them, with +1 after it.';

create or replace function refresh_pfa_materialized_views(reason text default 'manual') returns pfa_refresh_log
language plpgsql
-- A refresh sorts and hashes everything once; it alone gets more memory than a grid query.
set work_mem = '128MB'
as $$
declare
    started constant timestamptz := clock_timestamp();
    outcome text := 'skipped';
    run     pfa_refresh_log;
begin
    -- 'PFAV' as a number: one refresh at a time in all processes. Readers are never blocked.
    if pg_try_advisory_xact_lock(x'50464156'::int) then
        refresh materialized view concurrently pfa_kpi_summary;
        refresh materialized view concurrently pfa_timeline_bounds;
        -- What both views include by now need not be added any more. Readers that began before see the old views and these rows.
        delete from pfa_summary_change c
         using pfa_timeline_bounds t
         where c.organization_id = t.organization_id
           and c.change_number <= least(
                   t.change_number,
                   (select min(k.change_number) from pfa_kpi_summary k where k.organization_id = t.organization_id));
        outcome := 'completed';
    end if;
    if outcome = 'completed' or reason = 'schedule' then
        insert into pfa_refresh_log (reason, outcome, started_at, completed_at)
        values (reason, outcome, started, clock_timestamp())
        returning * into run;
    else
        -- Somebody who asks while a refresh is running gets an answer, not a row in the log.
        run.outcome := outcome;
    end if;
    return run;
end $$;

create function pfa_live_bounds(organization text, session uuid)
returns table (plan_start date, plan_end date, forecast_start date, forecast_end date, actual_start date, actual_end date)
language sql stable parallel safe
begin atomic
    -- Touched rows are few and read in one pass; of the mirror each bound is the end of an index.
    with touched as (
        select o.original_start, o.original_end, o.forecast_start, o.forecast_end, o.actual_start, o.actual_end
          from pfa_overlay o
         where o.organization_id = organization and o.session_id = session and not o.is_discontinued
        union all
        select o.original_start, o.original_end, o.forecast_start, o.forecast_end, o.actual_start, o.actual_end
          from pfa_overlay o
         where o.organization_id = organization and o.session_id = pfa_everybody() and not o.is_discontinued
           and not exists (
                   select from pfa_overlay own
                    where own.organization_id = organization and own.id = o.id and own.session_id = session
                   offset 0)
    )
    select least(min(t.original_start), (
               select m.original_start from pfa_mirror m
                where m.organization_id = organization and not m.is_discontinued and m.original_start is not null
                  and not exists (select from pfa_overlay o where o.organization_id = organization and o.id = m.id and o.session_id in (pfa_everybody(), session) offset 0)
                order by m.original_start limit 1)),
           greatest(max(t.original_end), (
               select m.original_end from pfa_mirror m
                where m.organization_id = organization and not m.is_discontinued and m.original_end is not null
                  and not exists (select from pfa_overlay o where o.organization_id = organization and o.id = m.id and o.session_id in (pfa_everybody(), session) offset 0)
                order by m.original_end desc limit 1)),
           least(min(t.forecast_start), (
               select m.forecast_start from pfa_mirror m
                where m.organization_id = organization and not m.is_discontinued and m.forecast_start is not null
                  and not exists (select from pfa_overlay o where o.organization_id = organization and o.id = m.id and o.session_id in (pfa_everybody(), session) offset 0)
                order by m.forecast_start limit 1)),
           greatest(max(t.forecast_end), (
               select m.forecast_end from pfa_mirror m
                where m.organization_id = organization and not m.is_discontinued and m.forecast_end is not null
                  and not exists (select from pfa_overlay o where o.organization_id = organization and o.id = m.id and o.session_id in (pfa_everybody(), session) offset 0)
                order by m.forecast_end desc limit 1)),
           least(min(t.actual_start), (
               select m.actual_start from pfa_mirror m
                where m.organization_id = organization and not m.is_discontinued and m.actual_start is not null
                  and not exists (select from pfa_overlay o where o.organization_id = organization and o.id = m.id and o.session_id in (pfa_everybody(), session) offset 0)
                order by m.actual_start limit 1)),
           greatest(max(t.actual_end), (
               select m.actual_end from pfa_mirror m
                where m.organization_id = organization and not m.is_discontinued and m.actual_end is not null
                  and not exists (select from pfa_overlay o where o.organization_id = organization and o.id = m.id and o.session_id in (pfa_everybody(), session) offset 0)
                order by m.actual_end desc limit 1))
      from touched t;
end;
comment on function pfa_live_bounds(text, uuid) is
    'First and last dates of each layer as they are now, published or as a sandbox sees them, without reading the organization.';

-- What was published before was not noted anywhere: the views begin with all of it.
refresh materialized view pfa_kpi_summary;
refresh materialized view pfa_timeline_bounds;
