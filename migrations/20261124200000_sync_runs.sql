-- Sync runs: what they need to be cancelled from anywhere, to begin where the last one ended, and
-- to say who wanted them.

alter table pfa_sync_log drop constraint pfa_sync_log_type_is_known;
alter table pfa_sync_log add constraint pfa_sync_log_type_is_known check (sync_type in ('full', 'incremental', 'manual', 'import', 'verify'));

alter table pfa_sync_log add column requested_by text;
comment on column pfa_sync_log.requested_by is 'The user who started it; null for the schedule and the command line.';

alter table pfa_sync_log add column cancel_requested_at timestamptz;
comment on column pfa_sync_log.cancel_requested_at is 'Somebody wants it to stop; the run looks here after every page.';

alter table pfa_sync_log add column read_up_to text;
comment on column pfa_sync_log.read_up_to is 'The newest stamp of PEMS among what was read: an incremental run begins a little before it.';

alter table pfa_sync_log add column findings_total bigint not null default 0;
comment on column pfa_sync_log.findings_total is 'How many values were unreadable in all.';

create index pfa_sync_log_read_up_to on pfa_sync_log (organization_id, started_at desc) where read_up_to is not null;
comment on index pfa_sync_log_read_up_to is 'Where the next incremental run of an organization begins.';

create function pfa_push_lock(organization text) returns bigint
language sql immutable parallel safe
return hashtextextended('pfa push of ' || organization, 0);
comment on function pfa_push_lock(text) is
    'Key of the advisory lock that a write-back turn of the organization holds, as pfa_load_lock is that of a load.';

create function pfa_in_flight(organization text, record uuid, since timestamptz) returns boolean
language sql stable parallel safe
return exists (
    select from pfa_modification d
     where d.organization_id = organization
       and d.mirror_id = record
       and (d.sync_state = 'syncing' or d.synced_at >= since));
comment on function pfa_in_flight(text, uuid, timestamptz) is
    'Whether a change of this record is on its way to PEMS or arrived there since: what was read before may not be applied over it.';
