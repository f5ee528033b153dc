-- Organizations, and the private workspaces (sessions) that users open in them.
--
-- The organization is the first column of every key and index below: it isolates tenants, keeps
-- ranges dense, and lets the same schema run distributed by organization.

create table organizations (
    organization_id text   collate "C" not null,
    name            text   not null,
    -- Counts the transactions that changed what readers without a session see. Every such
    -- transaction increments it (taking the row lock, so they queue per organization); an answer
    -- computed at a number is right as long as the number stands.
    change_number   bigint not null default 0,
    created_at      timestamptz not null default now(),

    constraint organizations_pkey primary key (organization_id),
    constraint organizations_code_is_plain check (organization_id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$')
);
comment on table organizations is 'Tenants: one row per PEMS organization, known by its code.';

create table pfa_session (
    organization_id text collate "C" not null,
    id              uuid not null default gen_random_uuid(),
    user_id         text not null,
    name            text,
    status          text not null default 'open',
    created_at      timestamptz not null default now(),
    last_edited_at  timestamptz,
    closed_at       timestamptz,

    constraint pfa_session_pkey primary key (organization_id, id),
    constraint pfa_session_organization_fkey foreign key (organization_id) references organizations (organization_id),
    constraint pfa_session_status_is_known check (status in ('open', 'committed', 'discarded')),
    constraint pfa_session_closed_has_time check ((status = 'open') = (closed_at is null))
);
comment on table pfa_session is 'Sandboxes: one private workspace of one user in one organization.';

create index pfa_session_of_user_newest_first on pfa_session (organization_id, user_id, created_at desc, id);
comment on index pfa_session_of_user_newest_first is 'Listing the caller''s sandboxes: GET /orgs/{org}/sessions.';
