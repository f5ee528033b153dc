-- A record keeps its pfaId, by which PEMS knows it: so the service may remember which id has which pfaId.

-- The trigger waits for a load under way; behind a long one nobody waits longer than a minute: then nothing has changed, and it can be done again.
set local statement_timeout = 0;
set local lock_timeout = '1min';

create function pfa_keep_pfa_id() returns trigger
language plpgsql as $$
begin
    raise check_violation using
        message    = format('the pfaId of record %s of %s never changes', old.pfa_id, old.organization_id),
        constraint = 'pfa_mirror_keeps_pfa_id';
end $$;
comment on function pfa_keep_pfa_id() is 'Refuses to give a record another pfaId.';

create trigger pfa_mirror_keeps_pfa_id before update of data on pfa_mirror for each row
    when (new.data->>'pfaId' is distinct from old.data->>'pfaId') execute function pfa_keep_pfa_id();
