-- A version tells what a record said: for ETags, for conflicts, and for what the service remembers of a page. So
-- no change goes without one, not even a change by hand.

create function pfa_count_change() returns trigger
language plpgsql as $$
begin
    new.version := old.version + 1;
    return new;
end $$;
comment on function pfa_count_change() is 'Gives a changed record its next version, where the change itself gives it none.';

create trigger pfa_mirror_counts_changes before update of data on pfa_mirror for each row
    when (new.version = old.version and new.data is distinct from old.data) execute function pfa_count_change();
