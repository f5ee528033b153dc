-- The rules of edits. The same rules stand in Rust (`domain::rules`, `domain::conflict`,
-- `domain::operation`); property tests hold them together.

create function pfa_broken_rules(record jsonb, delta jsonb) returns text[]
language sql immutable parallel safe
return array_remove(array[
    case when delta ?| array['forecastStart', 'forecastEnd']
          and (record->>'forecastStart') collate "C" > (record->>'forecastEnd') collate "C" then 'forecastOrder' end,
    case when delta ?| array['actualStart', 'actualEnd']
          and (record->>'actualStart') collate "C" > (record->>'actualEnd') collate "C" then 'actualOrder' end,
    case when delta ?| array['forecastStart', 'forecastEnd']
          and pfa_flag(record->>'isActualized') then 'frozenForecast' end
], null);
comment on function pfa_broken_rules(jsonb, jsonb) is
    'Rules that a merged record breaks, of those that look at a field of the delta: start after end, or a moved forecast of an actualized record.';

-- Not inlined on purpose: an inlined parser would look its text up in the record a dozen times.
create function pfa_edit_patch(operation jsonb, record jsonb, out patch jsonb, out obstacles text[])
language plpgsql immutable parallel safe as $$
declare
    kind          constant text    := operation->>'type';
    days          constant int     := operation->>'days';
    is_actualized constant boolean := coalesce(pfa_flag(record->>'isActualized'), false);
    moved         constant text[]  := case when is_actualized then array['actualEnd'] else array['forecastStart', 'forecastEnd'] end;
    key           text;
    written       text;
    day           date;
begin
    patch     := '{}';
    obstacles := '{}';
    case kind
        when 'set' then
            patch := operation->'fields';
        when 'shiftDates' then
            foreach key in array moved loop
                written := record->>key;
                day     := pfa_date(written) + days;
                patch   := patch || jsonb_build_object(key, day);
                if day not between '1900-01-01' and '2999-12-31' then
                    obstacles := obstacles || (key || 'Range');
                end if;
            end loop;
        when 'setDuration' then
            written := record->>'forecastStart';
            day     := pfa_date(written) + days;
            patch   := jsonb_build_object('forecastEnd', day);
            if day is null then
                obstacles := array['noForecastStart'];
            -- The forecast of an actualized record may not move at all; that rule speaks for itself.
            elsif not is_actualized and day not between '1900-01-01' and '2999-12-31' then
                obstacles := array['forecastEndRange'];
            end if;
        when 'resetToPlan' then
            patch := jsonb_build_object('forecastStart', pfa_date(record->>'originalStart'), 'forecastEnd', pfa_date(record->>'originalEnd'));
            -- Nor can a date be taken over that nobody can read.
            if patch->>'forecastStart' is null or patch->>'forecastEnd' is null then
                obstacles := array['noPlan'];
            end if;
    end case;
end $$;
comment on function pfa_edit_patch(jsonb, jsonb) is
    'What an operation of a bulk edit sets on a record, as the planner sees the record; and why it cannot be done, where that is so.';

create function pfa_three_way(delta jsonb, was jsonb, published jsonb)
returns table (field text, base jsonb, ours jsonb, theirs jsonb, is_conflict boolean)
language sql immutable parallel safe
begin atomic
    select key, coalesce(was->key, 'null'), value, coalesce(published->key, 'null'),
           coalesce(published->key, 'null') not in (coalesce(was->key, 'null'), value)
      from jsonb_each(delta);
end;
comment on function pfa_three_way(jsonb, jsonb, jsonb) is
    'Base, ours and theirs of each field of a delta. Theirs as it was, or the same as ours, is clean; anything else is a conflict. Numbers compare by meaning.';
