-- KPI and timeline summaries: materialized views, their refresh and its log.
--
-- Amounts are kept exact: for rentals the sum of days × monthlyRate (a sum of products, no
-- division), for purchases the sum of prices. Cost = amount / 30.44 for rentals, amount for
-- purchases, and that one division happens last.

create function pfa_amount_of(source text, monthly_rate numeric, purchase_price numeric, first date, last date) returns numeric
language sql immutable parallel safe
return case
    when source = 'Purchase' then coalesce(purchase_price, 0)
    when last > first then (last - first) * coalesce(monthly_rate, 0)
    else 0
end;
comment on function pfa_amount_of(text, numeric, numeric, date, date) is
    'Exact cost basis of one date layer: purchase price, or days × monthly rate (end day excluded, never negative, 0 for a missing date).';

create function pfa_cost(source text, amount numeric) returns numeric
language sql immutable parallel safe
return case when source = 'Purchase' then amount else amount / 30.44 end;
comment on function pfa_cost(text, numeric) is 'Cost of a summed amount: rentals are days × rate over the mean month of 30.44 days.';

create materialized view pfa_kpi_summary as
select r.organization_id, r.category, r.source, r.dor,
       count(*)                                as record_count,
       count(*) filter (where r.is_actualized) as actualized_count,
       sum(pfa_amount_of(r.source, r.monthly_rate, r.purchase_price, r.original_start, r.original_end)) as plan_amount,
       sum(pfa_amount_of(r.source, r.monthly_rate, r.purchase_price, r.forecast_start, r.forecast_end)) as forecast_amount,
       sum(case when r.is_actualized
                then pfa_amount_of(r.source, r.monthly_rate, r.purchase_price, r.actual_start, r.actual_end)
                else 0 end)                    as actual_amount,
       o.change_number,
       now()                                   as refreshed_at
  from pfa_merged_live r
  join organizations o on o.organization_id = r.organization_id
 where not r.is_discontinued
 group by r.organization_id, r.category, r.source, r.dor, o.change_number;
comment on materialized view pfa_kpi_summary is
    'Published amounts and counts by organization, category, source and dor as of the last refresh; costs are pfa_cost(source, amount).';

create unique index pfa_kpi_summary_of_organization on pfa_kpi_summary (organization_id, category, source, dor) nulls not distinct;
comment on index pfa_kpi_summary_of_organization is 'KPI dashboard: GET /orgs/{org}/kpis; also what the concurrent refresh needs.';

create materialized view pfa_timeline_bounds as
select o.organization_id,
       min(r.original_start) as plan_start,     max(r.original_end) as plan_end,
       min(r.forecast_start) as forecast_start, max(r.forecast_end) as forecast_end,
       min(r.actual_start)   as actual_start,   max(r.actual_end)   as actual_end,
       count(r.mirror_id)                      as record_count,
       count(*) filter (where r.is_actualized) as actualized_count,
       o.change_number,
       now()                                   as refreshed_at
  from organizations o
  left join pfa_merged_live r on r.organization_id = o.organization_id and not r.is_discontinued
 group by o.organization_id, o.change_number;
comment on materialized view pfa_timeline_bounds is
    'First and last dates of the plan, forecast and actual layers, and record counts, by organization as of the last refresh.';

create unique index pfa_timeline_bounds_of_organization on pfa_timeline_bounds (organization_id);
comment on index pfa_timeline_bounds_of_organization is 'Timeline: GET /orgs/{org}/timeline; also what the concurrent refresh needs.';

create table pfa_refresh_log (
    id           bigint generated always as identity,
    reason       text        not null,
    outcome      text        not null,
    started_at   timestamptz not null,
    completed_at timestamptz not null,
    duration_ms  numeric     not null generated always as (round(extract(epoch from completed_at - started_at) * 1000, 3)) stored,
    error        text,

    constraint pfa_refresh_log_pkey primary key (id),
    constraint pfa_refresh_log_outcome_is_known check (outcome in ('completed', 'skipped', 'failed')),
    constraint pfa_refresh_log_failure_has_error check ((outcome = 'failed') = (error is not null))
);
comment on table pfa_refresh_log is 'Every run of the refresh in any process: why, how long, how it ended.';
create index pfa_refresh_log_newest_first on pfa_refresh_log (started_at desc, id desc);
comment on index pfa_refresh_log_newest_first is 'The last refreshes: GET /ops/refresh, GET /readyz.';

create function refresh_pfa_materialized_views(reason text default 'manual') returns pfa_refresh_log
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
comment on function refresh_pfa_materialized_views(text) is
    'Refreshes both summaries without blocking readers and logs it: completed, or skipped when another refresh is running (logged for the schedule only).';
