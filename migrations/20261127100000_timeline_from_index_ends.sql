-- The refresh of the timeline reads no records: bounds are ends of indexes, as for a sandbox, and counts are sums over
-- the KPI summary, which the same refresh has just made. At a million records it takes 5 ms; over the records it took 1.1 to 2.2 s,
-- as long as the KPI summary itself.
--
-- What the KPI summary does not have, an organization without records, has no counts here either, and readers look themselves. It
-- used to have 0, to which its first load, which notes nothing in pfa_summary_change, added nothing until the next refresh.

-- The view waits for a refresh or a dump under way, and readers wait behind it; behind a long one nobody waits longer than a minute: then
-- nothing has changed, and it can be done again.
set local statement_timeout = 0;
set local lock_timeout = '1min';

drop materialized view pfa_timeline_bounds;

create materialized view pfa_timeline_bounds as
with counted as (
    select organization_id, sum(record_count)::bigint as record_count, sum(actualized_count)::bigint as actualized_count,
           min(change_number) as change_number
      from pfa_kpi_summary
     group by organization_id
)
select o.organization_id,
       bounds.plan_start, bounds.plan_end, bounds.forecast_start, bounds.forecast_end, bounds.actual_start, bounds.actual_end,
       counted.record_count,
       counted.actualized_count,
       -- What was published after the KPI summary may be in the bounds, never in the counts: the older number sends readers to
       -- look again, and to add what was noted since.
       coalesce(counted.change_number, o.change_number) as change_number,
       now()                                            as refreshed_at
  from organizations o
  left join counted on counted.organization_id = o.organization_id
 cross join lateral pfa_live_bounds(o.organization_id, null) bounds;
comment on materialized view pfa_timeline_bounds is
    'First and last dates of the plan, forecast and actual layers, and record counts, by organization as of the last refresh; no counts where pfa_kpi_summary has nothing.';

create unique index pfa_timeline_bounds_of_organization on pfa_timeline_bounds (organization_id);
comment on index pfa_timeline_bounds_of_organization is 'Timeline: GET /orgs/{org}/timeline; also what the concurrent refresh needs.';
