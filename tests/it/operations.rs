//! Every operation of the API has a test of its success, of bad input, and of somebody else's
//! sandbox or organization. The table names them; this reads their sources, so a test that is
//! renamed, taken away or no longer asks the operation is missed.

use pfa_vanguard::http::router::document;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The tests of an operation, each as `file::function`.
struct Tested {
    operation: &'static str,
    /// How tests ask for it; one of these stands in each of them.
    asked: &'static [&'static str],
    success: &'static str,
    /// Bad input; where the operation can be asked wrongly.
    problem: Option<&'static str>,
    /// A sandbox or an organization that is not the caller's, or is not there.
    foreign: Option<&'static str>,
}

const fn tested(
    operation: &'static str,
    asked: &'static [&'static str],
    success: &'static str,
    problem: &'static str,
    foreign: &'static str,
) -> Tested {
    Tested { operation, asked, success, problem: Some(problem), foreign: Some(foreign) }
}

const OPERATIONS: [Tested; 41] = [
    Tested { operation: "checkLiveness", asked: &["/healthz"], success: HEALTH, problem: None, foreign: None },
    Tested { operation: "checkReadiness", asked: &["/readyz"], success: HEALTH, problem: None, foreign: None },
    Tested { operation: "readMetrics", asked: &["/metrics"], success: HEALTH, problem: None, foreign: None },
    Tested {
        operation: "listOrganizations",
        asked: &["/api/v1/orgs\"", "/api/v1/orgs?"],
        success: "contract::organizations_are_listed_with_counts_and_ages",
        problem: Some(UNKNOWN),
        foreign: None,
    },
    tested(
        "listRecords",
        &["/records?", "\"records?"],
        "contract::a_page_tells_its_count_and_where_the_next_begins",
        "problems::a_bad_parameter_is_named_with_what_is_allowed",
        "problems::what_is_not_there_or_not_yours_is_404",
    ),
    tested(
        "exportRecords",
        &["records/export"],
        "exports::an_export_has_the_rows_of_the_grid_in_its_order",
        "exports::bad_questions_and_foreign_sandboxes_are_refused",
        "exports::bad_questions_and_foreign_sandboxes_are_refused",
    ),
    tested(
        "queryRecords",
        &["records/query"],
        "queries::a_sandbox_is_asked_as_its_planner_sees_it",
        "queries::every_fault_of_a_request_is_told_with_its_place",
        "queries::a_sandbox_is_asked_as_its_planner_sees_it",
    ),
    tested(
        "getRecord",
        &["/records/", "\"records/1"],
        "contract::one_record_has_the_row_of_the_grid",
        UNKNOWN,
        "problems::what_is_not_there_or_not_yours_is_404",
    ),
    tested(
        "listHistory",
        &["/history", "history("],
        "published::the_history_tells_who_when_why_from_what_to_what",
        "published::only_the_history_of_a_record_can_be_asked_for",
        "published::only_the_history_of_a_record_can_be_asked_for",
    ),
    tested(
        "getKpis",
        &["/kpis", "\"kpis"],
        "contract::kpis_have_totals_split_and_groups",
        UNKNOWN,
        "what_if::nobody_reads_in_a_foreign_sandbox",
    ),
    tested(
        "getTimeline",
        &["/timeline", "\"timeline"],
        "contract::the_timeline_has_three_layers",
        UNKNOWN,
        "what_if::nobody_reads_in_a_foreign_sandbox",
    ),
    tested(
        "openSession",
        &["post(\"sessions\""],
        "sandboxes::a_sandbox_opens_empty_and_tells_where_it_is",
        "sandboxes::bad_openings_are_refused_with_the_field",
        "sandboxes::bad_openings_are_refused_with_the_field",
    ),
    tested(
        "listSessions",
        &["get(&format!(\"sessions{query}", "get(\"sessions\")"],
        "sandboxes::the_list_holds_my_sandboxes_newest_first",
        "sandboxes::the_list_holds_my_sandboxes_newest_first",
        "sandboxes::the_list_holds_my_sandboxes_newest_first",
    ),
    tested("getSession", &["(Method::GET, \"\"", ".look()"], "sandboxes::counts_follow_the_work", SANDBOX_UNKNOWN, FOREIGN),
    tested(
        "discardSession",
        &["(Method::DELETE, \"\"", ".discard()"],
        "sandboxes::discarding_drops_every_draft_and_the_sandbox",
        SANDBOX_UNKNOWN,
        FOREIGN,
    ),
    tested(
        "editRecord",
        &["(Method::PATCH, \"/records/1", ".edit("],
        "record_edits::the_answer_is_the_merged_row",
        "edit_rules::the_answer_stays_small_whatever_is_sent",
        FOREIGN,
    ),
    tested(
        "dropDraft",
        &["(Method::DELETE, \"/records/1\"", ".drop_draft("],
        "record_edits::a_dropped_draft_is_gone_until_it_is_undone",
        SANDBOX_UNKNOWN,
        FOREIGN,
    ),
    tested(
        "editRecords",
        &["\"/edits\"", ".bulk("],
        "bulk_edits::ids_select_records",
        "bulk_edits::bad_edits_are_refused_with_every_fault",
        FOREIGN,
    ),
    tested("undoStep", &["\"/undo\"", ".undo()"], "undo_steps::a_bulk_edit_is_one_step", SANDBOX_UNKNOWN, FOREIGN),
    tested("redoStep", &["\"/redo\"", ".redo()"], "undo_steps::twenty_steps_are_undone_and_redone_one_by_one", SANDBOX_UNKNOWN, FOREIGN),
    tested(
        "listChanges",
        &["\"/changes\"", ".changes()"],
        "published::changes_tell_base_ours_theirs_and_what_they_cost",
        SANDBOX_UNKNOWN,
        FOREIGN,
    ),
    tested(
        "commitSession",
        &["\"/commit", ".commit("],
        "commits::a_commit_publishes_every_draft_and_closes_the_sandbox",
        "commits::bad_commits_are_refused_and_commit_nothing",
        FOREIGN,
    ),
    tested(
        "listConflicts",
        &["conflicts?", ".conflicts()"],
        "conflicts::conflicts_are_listed_with_base_ours_and_theirs",
        "conflicts::the_list_is_filtered_and_has_pages",
        "conflicts::nobody_sees_or_resolves_conflicts_of_a_foreign_sandbox",
    ),
    tested(
        "resolveConflict",
        &[".resolve("],
        "conflicts::mine_stands_over_what_is_published",
        "conflicts::bad_resolutions_are_refused_with_every_fault",
        "conflicts::nobody_sees_or_resolves_conflicts_of_a_foreign_sandbox",
    ),
    tested(
        "resolveConflicts",
        &["\"conflicts/resolve"],
        "conflicts::many_conflicts_are_resolved_by_a_selection",
        "conflicts::a_selection_says_what_it_selects",
        "conflicts::nobody_sees_or_resolves_conflicts_of_a_foreign_sandbox",
    ),
    tested(
        "listPending",
        &["sync/pending"],
        "published::pending_changes_come_in_the_order_of_their_commits",
        "published::only_pending_changes_of_an_organization_can_be_asked_for",
        "published::only_pending_changes_of_an_organization_can_be_asked_for",
    ),
    Tested {
        operation: "refreshSummaries",
        asked: &["post(\"/api/v1/ops/refresh"],
        success: "contract::operators_can_refresh_list_refreshes_and_measure",
        problem: Some(UNKNOWN),
        foreign: None,
    },
    Tested {
        operation: "listRefreshes",
        asked: &["get(\"/api/v1/ops/refresh"],
        success: "contract::operators_can_refresh_list_refreshes_and_measure",
        problem: Some(UNKNOWN),
        foreign: None,
    },
    Tested {
        operation: "inspectDatabase",
        asked: &["get(\"/api/v1/ops/database"],
        success: "maintenance::the_database_is_told_with_its_connections_and_the_age_of_the_summaries",
        problem: Some(UNKNOWN),
        foreign: None,
    },
    Tested {
        operation: "runMaintenance",
        asked: &["/ops/maintenance/", "run(app, \"archive\")"],
        success: "maintenance::what_arrived_long_ago_is_archived_and_nobody_sees_a_difference",
        problem: Some("maintenance::one_task_runs_at_a_time_and_only_known_ones"),
        foreign: None,
    },
    tested(
        "analyzeQueries",
        &["/ops/analyze"],
        "contract::operators_can_refresh_list_refreshes_and_measure",
        "problems::bodies_and_methods_that_do_not_fit_are_told",
        "problems::what_is_not_there_or_not_yours_is_404",
    ),
    tested(
        "startRun",
        &["post(\"/api/v1/orgs/A/sync/runs\"", "post(\"/api/v1/orgs/C/sync/runs\""],
        "sync_runs::a_run_is_started_looked_at_and_listed",
        "sync_runs::a_run_that_cannot_be_is_refused_with_every_fault",
        "sync_runs::runs_of_other_organizations_are_not_found",
    ),
    tested(
        "listRuns",
        &["/sync/runs?", "get(\"/api/v1/orgs/C/sync/runs\""],
        "sync_runs::a_run_is_started_looked_at_and_listed",
        "sync_runs::a_run_that_cannot_be_is_refused_with_every_fault",
        "sync_runs::runs_of_other_organizations_are_not_found",
    ),
    tested(
        "getRun",
        &["/sync/runs/", "wait_for_the_end"],
        "sync_runs::a_run_is_started_looked_at_and_listed",
        "sync_runs::a_run_that_cannot_be_is_refused_with_every_fault",
        "sync_runs::runs_of_other_organizations_are_not_found",
    ),
    tested(
        "cancelRun",
        &["/cancel"],
        "sync_runs::a_run_is_cancelled_and_a_second_one_waits_for_nobody",
        "sync_runs::a_run_that_cannot_be_is_refused_with_every_fault",
        "sync_runs::runs_of_other_organizations_are_not_found",
    ),
    tested(
        "listDeadLetters",
        &["get(\"sync/dead-letters", "get(&format!(\"sync/dead-letters"],
        "write_back_dead_letters::dead_letters_are_listed_and_sent_again",
        "write_back_dead_letters::a_selection_of_dead_letters_says_what_it_selects",
        "write_back_dead_letters::dead_letters_of_other_organizations_are_out_of_reach",
    ),
    tested(
        "retryDeadLetters",
        &["sync/dead-letters/retry"],
        "write_back_dead_letters::dead_letters_are_listed_and_sent_again",
        "write_back_dead_letters::a_selection_of_dead_letters_says_what_it_selects",
        "write_back_dead_letters::dead_letters_of_other_organizations_are_out_of_reach",
    ),
    tested(
        "dropDeadLetters",
        &["sync/dead-letters/drop"],
        "write_back_dead_letters::dropped_dead_letters_leave_their_reason_in_the_history",
        "write_back_dead_letters::a_selection_of_dead_letters_says_what_it_selects",
        "write_back_dead_letters::dead_letters_of_other_organizations_are_out_of_reach",
    ),
    tested("getWriteBack", &["get(\"sync/write-back"], PAUSED, WRITE_BACK_UNKNOWN, WRITE_BACK_UNKNOWN),
    tested("pauseWriteBack", &["sync/write-back/pause"], PAUSED, WRITE_BACK_UNKNOWN, WRITE_BACK_UNKNOWN),
    tested("resumeWriteBack", &["sync/write-back/resume"], PAUSED, WRITE_BACK_UNKNOWN, WRITE_BACK_UNKNOWN),
];

const HEALTH: &str = "contract::health_tells_life_readiness_and_metrics";
const UNKNOWN: &str = "problems::other_routes_refuse_unknown_parameters_too";
const SANDBOX_UNKNOWN: &str = "sandboxes::every_sandbox_route_refuses_unknown_parameters";
const PAUSED: &str = "write_back_dead_letters::a_paused_organization_waits_and_goes_on_when_resumed";
const WRITE_BACK_UNKNOWN: &str = "write_back_dead_letters::the_write_back_of_nowhere_is_not_found_and_what_it_does_not_know_is_refused";
const FOREIGN: &str = "sandboxes::a_foreign_sandbox_does_not_exist_on_any_route";

/// The text of a test function, if the file has such a test.
fn find_test(name: &str) -> Option<String> {
    let (file, function) = name.split_once("::")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/{file}.rs"));
    let source = fs::read_to_string(path).ok()?;
    let at = source.find(&format!("fn {function}() {{\n"))?;
    // The line above the function's.
    let attribute = source[..source[..at].rfind('\n')?].lines().last()?;
    let is_test = ["#[tokio::test]", "#[test]"].contains(&attribute);
    let body = source[at..].split("\n}\n").next()?;
    is_test.then(|| body.to_owned())
}

#[test]
fn every_operation_has_its_tests() {
    let document = serde_json::to_value(document()).unwrap();
    let operations = document["paths"].as_object().unwrap().values().flat_map(|methods| methods.as_object().unwrap().values());
    let mut known = BTreeSet::new();
    for operation in operations {
        let id = operation["operationId"].as_str().unwrap();
        assert!(known.insert(id.to_owned()), "{id} is the name of two operations");
        let tested = OPERATIONS.iter().find(|tested| tested.operation == id).unwrap_or_else(|| panic!("{id} has no tests"));
        let declares = |status: &str| operation["responses"].as_object().unwrap().contains_key(status);
        let in_organization = operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["name"] == "org");
        assert!(!declares("400") || tested.problem.is_some(), "{id} can be asked wrongly and has no test of it");
        assert!(!in_organization || declares("404"), "{id} does not tell of unknown organizations");
        assert!(!declares("404") || tested.foreign.is_some(), "{id} has no test of what is not there or not the caller's");
        assert!(operation.get("requestBody").is_none() || (declares("413") && declares("415")), "{id} takes a body of any size or kind");
        for name in [Some(tested.success), tested.problem, tested.foreign].into_iter().flatten() {
            let body = find_test(name).unwrap_or_else(|| panic!("{id}: there is no test {name}"));
            assert!(tested.asked.iter().any(|call| body.contains(call)), "{name} does not ask {id}");
        }
    }
    let named: BTreeSet<_> = OPERATIONS.iter().map(|tested| tested.operation.to_owned()).collect();
    assert_eq!(named, known, "the table names operations that are no more");
}

#[test]
fn only_tests_are_found() {
    assert!(find_test("operations::only_tests_are_found").unwrap().contains("only_tests"));
    for name in ["operations::find_test", "operations::nothing", "nothing::at_all", "contract::small_world"] {
        assert_eq!(find_test(name), None, "{name}");
    }
}
