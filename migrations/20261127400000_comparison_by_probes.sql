-- The comparison of thousands of changes looks records up by their key and is joined by hashes (the statements see to that): with statistics of a
-- moment without drafts, a commit of 10,000 and a resolution of as many conflicts took more than 30 s, which is their end. It also tells when a
-- change was published, which a resolution had to look up again.

drop function pfa_compared(text);

create function pfa_compared(organization text)
returns table (
    id uuid, session_id uuid, mirror_id uuid, pfa_id text, user_id text, sync_state text, conflict_stage text,
    delta jsonb, base jsonb, base_change bigint, change_reason text, conflicted_at timestamptz, committed_at timestamptz, updated_at timestamptz,
    version bigint, published jsonb, broken_rules text[], has_conflict boolean
)
language sql stable parallel safe
begin atomic
    select d.id, d.session_id, d.mirror_id, m.pfa_id, d.user_id, d.sync_state, d.conflict_stage,
           d.delta, d.base, d.base_change, d.change_reason, coalesce(d.conflicted_at, d.updated_at), d.committed_at, d.updated_at,
           m.version, seen.published,
           pfa_broken_rules(merge.merged, d.delta),
           exists (select from pfa_three_way(d.delta, d.base, seen.published) where is_conflict)
      from pfa_modification d
     -- The offsets make these probes of a key for each record, whatever the statistics say and however all of it is joined,
     -- and keep the planner from merging each record again for every look at it.
     cross join lateral (
              select r.pfa_id, r.version, r.data from pfa_mirror r
               where r.organization_id = d.organization_id and r.id = d.mirror_id
              offset 0) m
      left join lateral (
               select o.data from pfa_overlay o
                where o.organization_id = d.organization_id and o.id = d.mirror_id and o.session_id = pfa_everybody()
               offset 0) p on true
     cross join lateral (select coalesce(p.data, m.data) as published offset 0) seen
     cross join lateral (select seen.published || d.delta as merged offset 0) merge
     where d.organization_id = organization;
end;
comment on function pfa_compared(text) is
    'Each modification of an organization with the record as it is published: three-way conflicts, and rules that the merge would break.';

-- So is what a reading of PEMS checks: where two changes lay on each of 10,000 records, a reading took two minutes.
create or replace function pfa_recheck_published(organization text, records uuid[], keeps_rules boolean default false) returns uuid[]
language plpgsql set enable_nestloop = off as $$
declare
    -- What lies under the next delta of a record: its earlier deltas that stand.
    standing    uuid[] := '{}';
    conflicting uuid[] := '{}';
    checked     record;
begin
    loop
        with next as (
            select distinct on (mirror_id) id, mirror_id, sync_state, delta, base
              from pfa_modification
             where organization_id = organization
               and mirror_id = any (records)
               and sync_state in ('committed', 'syncing')
               and not id = any (standing || conflicting)
             order by mirror_id, committed_at, id
        ), lower as (
            select mirror_id, pfa_merge(delta order by committed_at, id) as delta
              from pfa_modification
             where organization_id = organization
               and id = any (standing)
             group by mirror_id
        ), compared as (
            select next.id,
                   -- One that is on its way to PEMS is compared there by the write-back itself.
                   next.sync_state = 'committed'
                   and (exists (select from pfa_three_way(next.delta, next.base, below.published) where is_conflict)
                        or keeps_rules and pfa_broken_rules(below.published || next.delta, next.delta) <> '{}') as is_conflict
              from next
             cross join lateral (select data from pfa_mirror where organization_id = organization and id = next.mirror_id offset 0) m
              left join lower on lower.mirror_id = next.mirror_id
             cross join lateral (select m.data || coalesce(lower.delta, '{}') as published) below
        )
        select array_agg(id) filter (where not is_conflict) as clean, array_agg(id) filter (where is_conflict) as conflicts
          into checked
          from compared;
        exit when checked.clean is null and checked.conflicts is null;
        standing    := standing || checked.clean;
        conflicting := conflicting || checked.conflicts;
    end loop;

    update pfa_modification
       set sync_state = 'conflict', conflict_stage = 'writeBack', conflicted_at = clock_timestamp(), next_attempt_at = null
     where organization_id = organization
       and id = any (conflicting);
    return conflicting;
end $$;
