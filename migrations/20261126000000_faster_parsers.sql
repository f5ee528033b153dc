-- Every record has six dates, and reading them was a third of what inserting it costs: the planner put
-- the text of a value, a look into the JSON, into the expression nine times, and each was matched against
-- a long regular expression. A function with a variable looks once, and nearly every date is plain
-- YYYY-MM-DD with a day that every month has. So pfa_date is not inlined any more, on purpose.
--
-- Both functions also name the ten digits now: \d means those of other scripts, too, where the database
-- has an ICU locale, and then the cast failed. Else they answer as before.

create or replace function pfa_date(value text) returns date
language plpgsql immutable parallel safe as $$
declare
    plain int;
begin
    if translate(value, '#0123456789', '?##########') = '####-##-##' then
        plain := replace(value, '-', '')::int;
        if plain between 19000101 and 29991231 and plain / 100 % 100 between 1 and 12 and plain % 100 between 1 and 28 then
            return make_date(plain / 10000, plain / 100 % 100, plain % 100);
        end if;
    end if;
    return case
        when value ~ ('^(19|2[0-9])[0-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
                   || '(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?(Z|[+-][0-9][0-9]:?[0-9][0-9])?)?$')
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
end $$;

create or replace function pfa_amount(value text) returns numeric
language sql immutable parallel safe
return case when value ~ '^[+-]?[0-9]{1,11}(\.[0-9]{1,4}0*)?$' then trim_scale(value::numeric) end;
