-- A revision names all that one overlay row said at a time, so that the service can remember drafts as it remembers records of the mirror by
-- their versions: a page of a thousand drafts takes half the time. A draft has no version of its own, and the time of its change
-- stays when PEMS changes what lies under it.

-- A second for some ten thousand overlay rows, in which nobody reads records. Behind a long export nobody waits longer than a minute: then
-- nothing has changed, and it can be done again. Rows are numbered by an update: to a reader who began before, a table that a new
-- column rewrites is empty.
set local statement_timeout = 0;
set local lock_timeout = '1min';

-- By the hundred, because an edit takes ten thousand; nothing asks for their order. No column owns it, or a truncation could begin it anew.
create sequence pfa_overlay_revisions cache 100;

drop index pfa_overlay_grid;
drop index pfa_overlay_timeline;
alter table pfa_overlay add column revision bigint;
alter table pfa_overlay alter column revision set default nextval('pfa_overlay_revisions');
update pfa_overlay set revision = nextval('pfa_overlay_revisions');
alter table pfa_overlay alter column revision set not null;
comment on column pfa_overlay.revision is 'Which state this is, of all that any row of the table ever had.';

create function pfa_count_revision() returns trigger
language plpgsql as $$
begin
    new.revision := nextval('pfa_overlay_revisions');
    return new;
end $$;
comment on function pfa_count_revision() is 'Gives a changed overlay row its next revision, where the change itself gives it none.';

-- Whatever derives a row inserts it anew; a commit, and a change by hand, change it in place.
create trigger pfa_overlay_counts_changes before update on pfa_overlay for each row
    when (new.revision <= old.revision) execute function pfa_count_revision();

-- With it the indexes tell all that a page of drafts asks of a draft that is remembered; a row of the overlay is wide, and its revision
-- stands at its end.
create index pfa_overlay_grid on pfa_overlay
    (organization_id, session_id, category, source, forecast_start, id, forecast_end) include (revision) where not is_discontinued;
comment on index pfa_overlay_grid is 'The grid page by category and source, overlay branches: GET /orgs/{org}/records.';

create index pfa_overlay_timeline on pfa_overlay
    (organization_id, session_id, forecast_start, id, forecast_end) include (revision) where not is_discontinued;
comment on index pfa_overlay_timeline is 'The unfiltered grid page and the timeline viewport, overlay branches.';
