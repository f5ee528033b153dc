-- Records stay: the mirror only ever marks them as discontinued.
--
-- So checks where somebody deletes, empties or renames by hand take the place of three foreign keys. Each of
-- these locked the record for every row that refers to it, which writes to the mirror: with 10,000 drafts
-- spread over a million records it was nine tenths of an insert. That a row refers to a record is now up to
-- the statements of the service, which take every id from the mirror.

alter table pfa_modification   drop constraint pfa_modification_mirror_fkey;
alter table pfa_overlay        drop constraint pfa_overlay_mirror_fkey;
alter table pfa_mirror_history drop constraint pfa_mirror_history_mirror_fkey;

create function pfa_keep_record() returns trigger
language plpgsql as $$
begin
    if exists (select from pfa_modification d where d.organization_id = old.organization_id and d.mirror_id = old.id)
    or exists (select from pfa_mirror_history h where h.organization_id = old.organization_id and h.mirror_id = old.id)
    or exists (select from pfa_overlay o where o.organization_id = old.organization_id and o.id = old.id) then
        raise foreign_key_violation using
            message    = format('record %s of %s has modifications or a history', old.pfa_id, old.organization_id),
            hint       = 'Records are discontinued, not deleted.',
            constraint = 'pfa_mirror_keeps_record';
    end if;
    return old;
end $$;
comment on function pfa_keep_record() is 'Refuses to delete a record that modifications, history or overlay refer to.';

create trigger pfa_mirror_keeps_record before delete on pfa_mirror for each row execute function pfa_keep_record();

create function pfa_keep_records() returns trigger
language plpgsql as $$
begin
    if exists (select from pfa_modification) or exists (select from pfa_mirror_history) or exists (select from pfa_overlay) then
        raise foreign_key_violation using
            message    = 'there are modifications or a history of records',
            hint       = 'Empty pfa_modification, pfa_overlay and pfa_mirror_history with it.',
            constraint = 'pfa_mirror_keeps_records';
    end if;
    return null;
end $$;
comment on function pfa_keep_records() is 'Refuses to empty the mirror under modifications, history or overlay.';

create trigger pfa_mirror_keeps_records after truncate on pfa_mirror for each statement execute function pfa_keep_records();

create function pfa_keep_key() returns trigger
language plpgsql as $$
begin
    raise foreign_key_violation using
        message    = 'the organization and the id of a record never change',
        constraint = 'pfa_mirror_keeps_key';
end $$;
comment on function pfa_keep_key() is 'Refuses to change what modifications, history and overlay refer to.';

create trigger pfa_mirror_keeps_key before update of organization_id, id on pfa_mirror for each row execute function pfa_keep_key();

comment on index pfa_modification_of_record is 'All deltas of one record, for its history and for the check at its deletion.';
