-- Sandboxes at work: their base, their undo steps, the answers of their commits.
--
-- Locks. What everybody reads changes under the organization's publication lock, taken exclusively
-- (commit, sync, conflicts); a sandbox is edited under the same lock, shared, and under the lock of
-- its own row. So edits of different sandboxes go on side by side, and none can miss a publication
-- that it must merge with. The lock queue is fair: a commit is not starved by edits.

create function pfa_publication_lock(organization text) returns bigint
language sql immutable parallel safe
return hashtextextended('pfa publication of ' || organization, 0);
comment on function pfa_publication_lock(text) is
    'Key of the advisory lock that publications of the organization hold exclusively and edits of its sandboxes shared.';

alter table organizations add column last_published_at timestamptz not null default now();
comment on column organizations.last_published_at is
    'When the newest publication happened; every publication is later than the one before, also when the clock is set back.';

alter table pfa_session add column base_change bigint not null default 0;
comment on column pfa_session.base_change is 'The organization''s change number when the sandbox was opened.';

alter table pfa_modification add column base_change bigint not null default 0;
comment on column pfa_modification.base_change is
    'The organization''s change number when this was first touched; a record published later was changed by somebody else meanwhile.';
alter table pfa_modification_archive add column base_change bigint not null default 0;

alter table pfa_modification add column conflicted_at timestamptz;
comment on column pfa_modification.conflicted_at is 'When it was found to be in conflict.';
alter table pfa_modification_archive add column conflicted_at timestamptz;

create index pfa_modification_conflicts on pfa_modification
    (organization_id, coalesce(conflicted_at, updated_at), id) where sync_state = 'conflict';
comment on index pfa_modification_conflicts is 'Conflicts that wait for a decision, oldest first: GET /orgs/{org}/conflicts.';

drop index pfa_modification_unfinished;
create index pfa_modification_conflicts_of_session on pfa_modification (organization_id, session_id) where sync_state = 'conflict';
comment on index pfa_modification_conflicts_of_session is 'Counts of conflicts: GET /orgs/{org}/sessions.';

create index pfa_session_open on pfa_session (organization_id, coalesce(last_edited_at, created_at)) where status = 'open';
comment on index pfa_session_open is 'Idle sandboxes: those whose last edit is long ago.';

create table pfa_edit_step (
    organization_id text collate "C" not null,
    session_id      uuid   not null,
    step            bigint not null,
    kind            text   not null,
    reason          text,
    records         bigint not null default 0,
    is_undone       boolean not null default false,
    created_at      timestamptz not null default now(),

    constraint pfa_edit_step_pkey primary key (organization_id, session_id, step),
    constraint pfa_edit_step_session_fkey foreign key (organization_id, session_id) references pfa_session (organization_id, id),
    constraint pfa_edit_step_kind_is_known check (kind in ('edit', 'bulk', 'drop', 'resolve'))
);
comment on table pfa_edit_step is
    'Steps of a sandbox that can be undone and redone, in order; undone ones are the newest. Gone when the sandbox is committed or discarded.';

create table pfa_edit_change (
    organization_id text collate "C" not null,
    session_id      uuid   not null,
    step            bigint not null,
    mirror_id       uuid   not null,
    -- The draft before and after: {"delta", "base", "baseVersion", "baseChange", "reason"}, null without one.
    before          jsonb,
    after           jsonb,

    constraint pfa_edit_change_pkey primary key (organization_id, session_id, step, mirror_id),
    constraint pfa_edit_change_step_fkey foreign key (organization_id, session_id, step)
        references pfa_edit_step (organization_id, session_id, step) on delete cascade
);
comment on table pfa_edit_change is 'What a step did to the draft of each record.';

create table pfa_commit_answer (
    organization_id text collate "C" not null,
    user_id         text  not null,
    idempotency_key text  not null,
    session_id      uuid  not null,
    mode            text  not null,
    answer          jsonb not null,
    created_at      timestamptz not null default now(),

    constraint pfa_commit_answer_pkey primary key (organization_id, user_id, idempotency_key),
    constraint pfa_commit_answer_session_fkey foreign key (organization_id, session_id) references pfa_session (organization_id, id),
    constraint pfa_commit_answer_mode_is_known check (mode in ('atomic', 'partial'))
);
comment on table pfa_commit_answer is
    'Answers of commits that came with an Idempotency-Key, written in the commit''s own transaction; kept for a week.';
create index pfa_commit_answer_oldest_first on pfa_commit_answer (organization_id, created_at);
comment on index pfa_commit_answer_oldest_first is 'Answers older than a week are dropped.';

alter table pfa_mirror_history add column resolution jsonb;
comment on column pfa_mirror_history.resolution is
    'For the resolution of a conflict: what was chosen for each field (mine, theirs, value); before and after hold only what everybody sees change.';

create function pfa_draft_image(delta jsonb, base jsonb, base_version bigint, base_change bigint, reason text) returns jsonb
language sql immutable parallel safe
return case when delta is not null then jsonb_build_object(
    'delta', delta, 'base', base, 'baseVersion', base_version, 'baseChange', base_change, 'reason', reason) end;
comment on function pfa_draft_image(jsonb, jsonb, bigint, bigint, text) is 'A draft as an undo step remembers it; null without one.';
