-- How far a sandbox has come, for answers that a client has already: together with the organization's
-- change number it tells whether a reading would be the same.

alter table pfa_session add column edit_count bigint not null default 0;
comment on column pfa_session.edit_count is 'Grows whenever its drafts change: edits, undo, redo, resolutions.';
