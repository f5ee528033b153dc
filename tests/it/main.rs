//! The integration tests: one binary, a file per behaviour. The real router and service on a real
//! PostgreSQL, one database a test.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failing test may panic")]
#![expect(clippy::type_complexity, reason = "rows of test queries are tuples, named by their query")]

mod support;

mod bad_input;
mod bulk_edits;
mod commits;
mod conditional;
mod conflicts;
mod contract;
mod crashes;
mod cursors;
mod demo;
mod edit_rules;
mod embedded;
mod exports;
mod golden;
mod idle_sessions;
mod import;
mod import_refusals;
mod import_sqlite;
mod import_verification;
mod layers;
mod loading;
mod maintenance;
mod many_changes;
mod merged_model;
mod migrations;
mod openapi;
mod operations;
mod overload;
mod pems;
mod plans;
mod postgres_conf;
mod problems;
mod published;
mod queries;
mod races;
mod random_work;
mod ready;
mod record_edits;
mod refresh;
mod remembered;
mod remembered_drafts;
mod remembered_fields;
mod round_trip;
mod rules;
mod sandbox_model;
mod sandboxes;
mod settings;
mod statements;
mod sync_read;
mod sync_runs;
mod tour;
mod undo_steps;
mod values;
mod verify;
mod what_if;
mod write_back;
mod write_back_conflicts;
mod write_back_dead_letters;
mod write_back_faults;
mod write_back_races;
