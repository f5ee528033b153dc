-- A revision names all that one overlay row said at a time, so that the service can remember drafts as it remembers records of the mirror by
-- their versions: a page of a thousand drafts takes half the time. A draft has no version of its own, and the time of its change
-- stays when PEMS changes what lies under it.

-- It waits for loads that are under way, and writes the overlay once more.
set local statement_timeout = 0;

-- By the hundred, because an edit takes ten thousand; nothing asks for their order.
create sequence pfa_overlay_revisions cache 100;

alter table pfa_overlay add column revision bigint not null default nextval('pfa_overlay_revisions');
alter sequence pfa_overlay_revisions owned by pfa_overlay.revision;
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
    when (new.revision = old.revision) execute function pfa_count_revision();

-- With it the indexes tell all that a page of drafts asks of a draft that is remembered; a row of the overlay is wide, and its revision
-- stands at its end.
drop index pfa_overlay_grid;
create index pfa_overlay_grid on pfa_overlay
    (organization_id, session_id, category, source, forecast_start, id, forecast_end) include (revision) where not is_discontinued;
comment on index pfa_overlay_grid is 'The grid page by category and source, overlay branches: GET /orgs/{org}/records.';

drop index pfa_overlay_timeline;
create index pfa_overlay_timeline on pfa_overlay
    (organization_id, session_id, forecast_start, id, forecast_end) include (revision) where not is_discontinued;
comment on index pfa_overlay_timeline is 'The unfiltered grid page and the timeline viewport, overlay branches.';
