-- The index of the grid holds what a page needs to find, filter and sort the records of a category, and the version by which
-- their texts are remembered. A page in its order is read from there alone (1,000 rows of a million records: 1.3 instead of
-- 1.9 ms), and one in another order sorts a category without its records (100 of 8,000 to 30,000 rows: 3 to 15 instead
-- of 23 to 217 ms). It costs 50 bytes a record.

-- Three seconds a million records. The index is built beside the old one, so that readers wait for a moment only, at the end;
-- behind a long export nobody waits longer than a minute: then nothing has changed, and it can be done again.
set local statement_timeout = 0;
set local lock_timeout = '1min';

create index pfa_mirror_grid_covering on pfa_mirror
    (organization_id, category, source, forecast_start, id, forecast_end)
    include (version, class, dor, monthly_rate, purchase_price, is_actualized)
    where not is_discontinued;

drop index pfa_mirror_grid;
alter index pfa_mirror_grid_covering rename to pfa_mirror_grid;

comment on index pfa_mirror_grid is
    'The grid page by category and source in order of forecastStart: what is sorted and ranged is in the key, so a page reads its own rows only; and pages of a category in another order.';

-- Where a page may have to sort a category, most of its rows are thrown away, and a hash tells which of them the overlay has. For
-- overlays that are too large for it there is this function. The planner adds up both, and would avoid the sort for
-- the sake of what is never called; so it is told that a call costs nothing. Its body is planned once in a statement, and not
-- for every call as it would be in PL/pgSQL on connections without generic plans.
create function pfa_is_overlaid(organization text, record uuid, sessions uuid[]) returns boolean
language sql stable parallel safe cost 1
return exists (select from pfa_overlay where organization_id = organization and id = record and session_id = any (sessions));
comment on function pfa_is_overlaid(text, uuid, uuid[]) is 'Whether the overlay of one of these sessions has the record.';
