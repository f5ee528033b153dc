-- What a timeline draws of a record stands in the index that orders it: read from there alone, an organization of 20,000
-- records with these fields takes 8 instead of 21 ms, because its records lie all over the table.
-- It costs 40 bytes a record.

-- Three seconds a million records. The index is built beside the old one, so that readers wait for a moment only, at the end.
set local statement_timeout = 0;

create index pfa_mirror_timeline_covering on pfa_mirror
    (organization_id, forecast_start, id, forecast_end) include (version, pfa_id, category, source)
    where not is_discontinued;

drop index pfa_mirror_timeline;
alter index pfa_mirror_timeline_covering rename to pfa_mirror_timeline;

comment on index pfa_mirror_timeline is
    'The grid page in its default order (sort=forecastStart), and the timeline viewport (overlaps); with what a timeline draws.';
