-- A version tells what a record said: for ETags, for conflicts, and for what the service remembers of a page. So
-- no change goes without one, not even a change by hand; and none goes back to one that there was.

-- It waits for loads that are under way.
set local statement_timeout = 0;

create function pfa_count_change() returns trigger
language plpgsql as $$
begin
    new.version := old.version + 1;
    return new;
end $$;
comment on function pfa_count_change() is 'Gives a changed record its next version, where the change itself gives it none.';

-- As texts, because that is what is remembered: 1.50 and 1.5 are the same JSON.
create trigger pfa_mirror_counts_changes before update of data on pfa_mirror for each row
    when (new.version <= old.version and new.data::text <> old.data::text) execute function pfa_count_change();
