-- What a timeline draws of a record stands in the index that orders it: read from there alone, an organization of 20,000
-- records with these fields takes 9 instead of 21 ms, because its records lie all over the table.
-- It costs 40 bytes a record.

drop index pfa_mirror_timeline;

create index pfa_mirror_timeline on pfa_mirror
    (organization_id, forecast_start, id, forecast_end) include (version, pfa_id, category, source)
    where not is_discontinued;

comment on index pfa_mirror_timeline is
    'The grid page in its default order (sort=forecastStart), and the timeline viewport (overlaps); with what a timeline draws.';
