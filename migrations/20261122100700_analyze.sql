-- Measures the readings that the product promises, on the caller's own data, each by the statement
-- nearest to the service's own that can stand in a function.

create function analyze_pfa_query_performance(organization text, category text default null, source text default null)
returns table (
    query text, target_ms numeric, planning_ms numeric, execution_ms numeric, rows bigint, indexes text[], within_target boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
    probe     record;
    statement text;
    plan      jsonb;
    -- A null category or source adds no condition: concat passes over null, || keeps it.
    matching constant text := concat(
        'organization_id = ' || quote_literal(organization),
        ' and category = ' || quote_literal(category),
        ' and source = ' || quote_literal(source));
begin
    for probe in values
        ('grid page, 1000 rows', 50,
         format('select data from pfa_merged_live where %s and not is_discontinued order by forecast_start, mirror_id limit 1000', matching)),
        ('whole organization, merged', 100,
         format('select data from pfa_merged_live where organization_id = %L limit 20000', organization)),
        ('kpi dashboard', 50,
         format('select * from pfa_kpi_summary where organization_id = %L', organization)),
        ('timeline bounds', 20,
         format('select * from pfa_timeline_bounds where organization_id = %L', organization)),
        ('pending write-backs', 20,
         format('select id, mirror_id, delta from pfa_modification where organization_id = %L and sync_state = ''committed'' order by committed_at, id limit 100', organization)),
        ('jsonb containment, 100 rows', 200,
         format('select data from pfa_mirror where organization_id = %L and data @> %L limit 100',
                organization, jsonb_strip_nulls(jsonb_build_object('category', category, 'source', source))))
    loop
        statement := 'explain (analyze, timing off, format json) ' || probe.column3;
        execute statement into plan;
        query         := probe.column1;
        target_ms     := probe.column2;
        planning_ms   := round((plan->0->>'Planning Time')::numeric, 3);
        execution_ms  := round((plan->0->>'Execution Time')::numeric, 3);
        rows          := (plan->0->'Plan'->>'Actual Rows')::bigint;
        indexes       := array(select distinct i #>> '{}' from jsonb_path_query(plan, '$.**."Index Name"') i order by 1);
        within_target := execution_ms <= target_ms;
        return next;
    end loop;
end $$;
comment on function analyze_pfa_query_performance(text, text, text) is
    'Runs the promised readings for an organization (optionally one category and source) and reports times in ms, rows and the indexes used, against the targets.';
