-- Extensions and the safe parsers that turn PEMS text into typed values.
--
-- Generated columns need IMMUTABLE expressions, and `text::date` is only STABLE; `'abc'::numeric`
-- would abort a whole load. So each type has one parser that never fails: what it cannot read is
-- null. They are plain expressions (no STRICT, no EXCEPTION) so that the planner inlines them.

create extension if not exists btree_gin;
create extension if not exists pg_trgm;

create function pfa_date(value text) returns date
language sql immutable parallel safe
return case
    when value ~ '^(19|2\d)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$'
        and substr(value, 9, 2)::int <= case substr(value, 6, 2)
            when '02' then case
                when substr(value, 1, 4)::int % 4 = 0
                    and (substr(value, 1, 4)::int % 100 <> 0 or substr(value, 1, 4)::int % 400 = 0) then 29
                else 28
            end
            when '04' then 30 when '06' then 30 when '09' then 30 when '11' then 30
            else 31
        end
    then make_date(substr(value, 1, 4)::int, substr(value, 6, 2)::int, substr(value, 9, 2)::int)
end;
comment on function pfa_date(text) is
    'Date of YYYY-MM-DD or of a full ISO 8601 stamp (its date part as written), years 1900 to 2999; anything else, also 2025-02-30, is null.';

create function pfa_amount(value text) returns numeric
language sql immutable parallel safe
return case when value ~ '^[+-]?\d{1,11}(\.\d{1,4}0*)?$' then trim_scale(value::numeric) end;
comment on function pfa_amount(text) is
    'Number of a plain decimal text with at most 11 digits before the point and 4 after (sums of ten million such amounts over any number of days stay exact in 28 digits); anything else is null.';

create function pfa_flag(value text) returns boolean
language sql immutable parallel safe
return case
    when value in ('true', 'false') then value = 'true'
    when lower(value) in ('y', 'yes', 'true', '1') then true
    when lower(value) in ('n', 'no', 'false', '0') then false
end;
comment on function pfa_flag(text) is
    'Boolean of true/false, Y/N, yes/no or 1/0 in any case; anything else is null.';
