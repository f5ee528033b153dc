-- Deltas beside what is published: for changes, conflicts and commits.

create function pfa_compared(organization text)
returns table (
    id uuid, session_id uuid, mirror_id uuid, pfa_id text, user_id text, sync_state text, conflict_stage text,
    delta jsonb, base jsonb, base_change bigint, change_reason text, conflicted_at timestamptz, updated_at timestamptz,
    version bigint, published jsonb, broken_rules text[], has_conflict boolean
)
language sql stable parallel safe
begin atomic
    select d.id, d.session_id, d.mirror_id, m.pfa_id, d.user_id, d.sync_state, d.conflict_stage,
           d.delta, d.base, d.base_change, d.change_reason, coalesce(d.conflicted_at, d.updated_at), d.updated_at,
           m.version, seen.published,
           pfa_broken_rules(merge.merged, d.delta),
           exists (select from pfa_three_way(d.delta, d.base, seen.published) where is_conflict)
      from pfa_modification d
      join pfa_mirror m on m.organization_id = d.organization_id and m.id = d.mirror_id
     -- The offsets make this a probe of the key for each record whatever the statistics say, and keep
     -- the planner from merging each record again for every look at it.
      left join lateral (
               select o.data from pfa_overlay o
                where o.organization_id = d.organization_id and o.id = d.mirror_id and o.session_id = pfa_everybody()
               offset 0) p on true
     cross join lateral (select coalesce(p.data, m.data) as published offset 0) seen
     cross join lateral (select seen.published || d.delta as merged offset 0) merge
     where d.organization_id = organization;
end;
comment on function pfa_compared(text) is
    'Each modification of an organization with the record as it is published: three-way conflicts, and rules that the merge would break.';

create function pfa_comparison(delta jsonb, base jsonb, published jsonb) returns jsonb
language sql immutable parallel safe
return (
    select jsonb_agg(jsonb_build_object('field', field, 'base', base, 'ours', ours, 'theirs', theirs, 'conflict', is_conflict)
                     order by field collate "C")
      from pfa_three_way(delta, base, published));
comment on function pfa_comparison(jsonb, jsonb, jsonb) is 'Every field of a delta with base, ours, theirs and whether they conflict, as JSON.';

create function pfa_record_amounts(record jsonb, out source text, out amounts numeric[])
language plpgsql immutable parallel safe as $$
declare
    rate         constant numeric := pfa_amount(record->>'monthlyRate');
    price        constant numeric := pfa_amount(record->>'purchasePrice');
    counts       constant boolean := not coalesce(pfa_flag(record->>'isDiscontinued'), false);
    counts_actual constant boolean := counts and coalesce(pfa_flag(record->>'isActualized'), false);
begin
    source  := record->>'source';
    amounts := array[
        case when counts then pfa_amount_of(source, rate, price, pfa_date(record->>'originalStart'), pfa_date(record->>'originalEnd')) else 0 end,
        case when counts then pfa_amount_of(source, rate, price, pfa_date(record->>'forecastStart'), pfa_date(record->>'forecastEnd')) else 0 end,
        case when counts_actual then pfa_amount_of(source, rate, price, pfa_date(record->>'actualStart'), pfa_date(record->>'actualEnd')) else 0 end];
end $$;
comment on function pfa_record_amounts(jsonb) is
    'The amounts that one record adds to pfa_kpi_summary: plan, forecast and actual, 0 when it is discontinued; and its source, for pfa_cost.';
