-- Records stay: the mirror only ever marks them as discontinued.
--
-- So one check when somebody deletes a record by hand takes the place of three foreign keys. Each of
-- them locked the record for every row that refers to it, which writes to the mirror: with 10,000 drafts
-- spread over a million records it was nine tenths of an insert.

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
