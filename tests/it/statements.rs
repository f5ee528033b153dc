//! What the service sends to the database: so many statements a call, and the plans of its lists.

use crate::support::{TestApp, test_app};
use pfa_vanguard::domain::generate::Plan;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, Once};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

tokio::task_local! {
    /// Statements of the call that is looked at.
    static STATEMENTS: Mutex<Vec<String>>;
}

/// Notes the statements that the driver tells of.
struct StatementNotes;

impl<S: Subscriber> Layer<S> for StatementNotes {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut text = Text::default();
            event.record(&mut text);
            // Other tests are of no interest.
            let _ = STATEMENTS.try_with(|statements| statements.lock().unwrap().push(text.0));
        }
    }
}

/// The text of a statement: the beginning, and all of it where that is more.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if matches!(field.name(), "summary" | "db.statement") {
            self.0.push_str(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

pub(super) async fn note_statements<T>(call: impl Future<Output = T>) -> (T, Vec<String>) {
    // One subscriber for all threads: with one of this thread alone, an event that another thread meets
    // first would be thought unwanted everywhere.
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(StatementNotes)).unwrap();
        tracing::callsite::rebuild_interest_cache();
    });
    let noted = async {
        let answer = call.await;
        (answer, STATEMENTS.with(|statements| statements.lock().unwrap().clone()))
    };
    STATEMENTS.scope(Mutex::default(), noted).await
}

async fn count_statements<T>(call: impl Future<Output = T>) -> (T, usize) {
    let (answer, statements) = note_statements(call).await;
    (answer, statements.len())
}

async fn demo_organization() -> TestApp {
    let app = test_app().await;
    let organization = Plan::demo().organizations.remove(0);
    app.load(&organization.code, &organization.records().collect::<Vec<_>>()).await;
    sqlx::query("analyze").execute(app.pool()).await.unwrap();
    app
}

/// Two statements a thousand records would be twenty.
#[tokio::test]
async fn ten_thousand_records_are_edited_and_committed_by_a_handful_of_statements() {
    let app = demo_organization().await;
    let session = app.post("/api/v1/orgs/HOLNG/sessions", &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    let sandbox = format!("/api/v1/orgs/HOLNG/sessions/{session}");
    let edit = |days: i64, preview: bool| {
        let operation = json!({"type": "shiftDates", "days": days});
        json!({"select": {"filter": {"status": "forecast"}}, "operation": operation, "preview": preview})
    };
    for (days, is_preview) in [(30, true), (30, false), (1, false)] {
        let body = edit(days, is_preview);
        app.forget_drafts().await;
        let (answer, statements) = count_statements(app.post(&format!("{sandbox}/edits"), &body)).await;
        let answer = answer.json();
        assert!(answer["changed"].as_i64().is_some_and(|changed| changed >= 9_000), "{days} {is_preview}: {answer}");
        assert!((5..=20).contains(&statements), "{statements} statements");
    }
    for step in ["undo", "redo"] {
        app.forget_drafts().await;
        let (answer, statements) = count_statements(app.post(&format!("{sandbox}/{step}"), &json!({}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!((5..=20).contains(&statements), "{statements} statements");
    }
    app.forget_drafts().await;
    let (answer, statements) = count_statements(app.post(&format!("{sandbox}/commit"), &json!({}))).await;
    assert!(answer.json()["committed"].as_i64().unwrap() >= 9_000, "{}", answer.text);
    assert!((5..=20).contains(&statements), "{statements} statements");
}

/// Foreign keys are checked by a statement for each row, in triggers at the end of the statement that writes them. Triggers beside them note
/// how statements are planned then: once, and after it each for its own values again.
#[tokio::test]
async fn checks_of_many_rows_are_planned_once() {
    let app = test_app().await;
    sqlx::raw_sql(
        "create table noted (mode text primary key);
         create function note_mode() returns trigger language plpgsql as $$ begin
             insert into noted values (tg_table_name || ' ' || current_setting('plan_cache_mode')) on conflict do nothing;
             return null;
         end $$;
         create trigger zz_note after insert on pfa_mirror for each row execute function note_mode();
         create trigger zz_note after insert on pfa_modification for each row execute function note_mode();
         create trigger zz_note after insert on pfa_edit_change for each row execute function note_mode();
         create trigger zz_note after insert on pfa_overlay for each row execute function note_mode();
         create trigger zz_note after insert on pfa_summary_change for each row execute function note_mode()",
    )
    .execute(app.pool())
    .await
    .unwrap();
    for id in ["1", "2"] {
        let record = json!({"pfaId": id, "category": "Lifting", "source": "Rental"});
        app.load("ORG", &[record.as_object().unwrap().clone()]).await;
    }
    let sandbox = app.planner("ana").in_organization("ORG").open().await;
    sandbox.edit("1", json!({"category": "Welding"})).await;
    for answer in [sandbox.undo().await, sandbox.redo().await, sandbox.commit("").await] {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let noted: Vec<String> = sqlx::query_scalar(r#"select mode from noted order by mode collate "C""#).fetch_all(app.pool()).await.unwrap();
    assert_eq!(
        noted,
        [
            "pfa_edit_change auto",
            "pfa_mirror auto",
            "pfa_modification auto",
            "pfa_overlay force_custom_plan",
            "pfa_summary_change force_custom_plan"
        ]
    );
}

/// The overlay looks records up where something is left of their drafts: after an undo, none.
#[tokio::test]
async fn an_overlay_reads_the_records_that_have_drafts() {
    let app = demo_organization().await;
    let sandbox = app.planner("ana").in_organization("HOLNG").open().await;
    let records: Vec<(uuid::Uuid, String)> = sqlx::query_as(
        "select id, pfa_id from pfa_mirror where organization_id = 'HOLNG' and monthly_rate > 1 and not is_discontinued
          order by pfa_id limit 100",
    )
    .fetch_all(app.pool())
    .await
    .unwrap();
    let (ids, pfa_ids): (Vec<_>, Vec<_>) = records.into_iter().unzip();
    for drafts in [0, 3] {
        for pfa_id in &pfa_ids[..drafts] {
            sandbox.edit(pfa_id, json!({"category": "Drafts"})).await;
        }
        let mut transaction = app.pool().begin().await.unwrap();
        let probes = "select pg_stat_get_xact_numscans('pfa_mirror_pkey'::regclass)";
        let before: i64 = sqlx::query_scalar(probes).fetch_one(&mut *transaction).await.unwrap();
        let rebuilt: i64 =
            sqlx::query_scalar("select pfa_rebuild_overlay('HOLNG', $1)").bind(&ids).fetch_one(&mut *transaction).await.unwrap();
        let after: i64 = sqlx::query_scalar(probes).fetch_one(&mut *transaction).await.unwrap();
        let drafts = i64::try_from(drafts).unwrap();
        assert_eq!((rebuilt, after - before), (drafts, drafts));
    }
}

/// A grid that scrolls on has the totals already, and goes on where the block before has ended; after an edit both are read anew.
#[tokio::test]
async fn a_block_after_another_reads_only_its_own_rows() {
    let app = demo_organization().await;
    let sandbox = app.planner("ana").in_organization("HOLNG").open().await;
    let columns = json!([{"field": "monthlyRate"}]);
    let ask = async |first: i64| {
        let body = json!({"startRow": first, "endRow": first + 100, "session": sandbox.id, "valueCols": columns});
        let (answer, statements) = note_statements(sandbox.planner.post("records/query", body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let has = |part: &str| statements.iter().any(|statement| statement.contains(part));
        (answer.json(), has("sum(r.monthly_rate)"), has(" offset $"))
    };
    let (jump, sums, leaves_out) = ask(300).await;
    assert!(sums && leaves_out);
    for first in [0, 100, 200, 300] {
        let (block, sums, leaves_out) = ask(first).await;
        assert!(!sums && !leaves_out, "from {first}");
        assert!(first < 300 || block == jump);
    }
    sandbox.edit(jump["rows"][0]["pfaId"].as_str().unwrap(), json!({"monthlyRate": 1})).await;
    let (block, sums, leaves_out) = ask(300).await;
    assert!(sums && leaves_out);
    assert_eq!(block["rows"][0]["monthlyRate"], 1);
    assert_ne!(block["grandTotals"], jump["grandTotals"]);
}

/// Many sandboxes, commits, conflicts and versions.
async fn busy_organization() -> TestApp {
    let app = demo_organization().await;
    sqlx::raw_sql(
        "insert into pfa_session (organization_id, id, user_id, created_at)
         select 'HOLNG', ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'user' || n % 50, now() - n * interval '1 minute'
           from generate_series(1, 5000) n;
         insert into pfa_modification
                (organization_id, session_id, mirror_id, user_id, sync_state, conflict_stage, delta, base, committed_at, conflicted_at)
         select 'HOLNG', ('00000000-0000-4000-8000-' || lpad((1 + n % 5000)::text, 12, '0'))::uuid, id, 'user' || n % 50,
                case when n % 10 < 2 then 'conflict' when n % 10 < 6 then 'committed' else 'draft' end,
                case n % 10 when 0 then 'commit' when 1 then 'writeBack' end,
                '{\"monthlyRate\": 1}', '{\"monthlyRate\": 2}',
                case when n % 10 between 1 and 5 then now() - n * interval '1 second' end,
                case when n % 10 < 2 then now() - n * interval '1 second' end
           from (select id, row_number() over () as n from pfa_mirror where organization_id = 'HOLNG') m;
         insert into pfa_mirror_history (organization_id, mirror_id, version, change_number, changed_at, changed_by, source, before, after)
         select 'HOLNG', id, n, n, now() - n * interval '1 hour', 'ana', 'session', '{}', '{}'
           from pfa_mirror, generate_series(1, 5) n where organization_id = 'HOLNG';
         insert into pfa_edit_step (organization_id, session_id, step, kind, records, is_undone)
         select organization_id, id, n, 'edit', 1, n > 8 from pfa_session, generate_series(1, 10) n;
         select pfa_rebuild_overlay('HOLNG');
         analyze;",
    )
    .execute(app.pool())
    .await
    .unwrap();
    app
}

/// The statement of the service that contains a text.
pub(super) fn statement_with(part: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let statements = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let statements = statements.map(|text| serde_json::from_str::<Value>(&text).unwrap()["query"].as_str().unwrap().to_owned());
    let mut found: Vec<_> = statements.filter(|statement| statement.contains(part)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The plan of the statement of the service that contains a text, with these arguments, as it ran.
async fn plan_of(app: &TestApp, part: &str, arguments: &str) -> Value {
    plan_in(app, "force_custom_plan", part, arguments).await
}

/// The same in a mode of the plan cache.
async fn plan_in(app: &TestApp, mode: &str, part: &str, arguments: &str) -> Value {
    let statement = statement_with(part);
    let mut connection = app.pool().acquire().await.unwrap();
    let prepare = format!("set plan_cache_mode = {mode}; deallocate all; prepare hot as {statement}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    let explain = format!("explain (analyze, timing off, format json) execute hot({arguments})");
    let plan: sqlx::types::Json<Value> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(explain)).persistent(false).fetch_one(&mut *connection).await.unwrap();
    sqlx::raw_sql("set plan_cache_mode = force_custom_plan").execute(&mut *connection).await.unwrap();
    plan.0[0]["Plan"].clone()
}

fn nodes(plan: &Value) -> Vec<&Value> {
    let children = plan["Plans"].as_array().into_iter().flatten();
    std::iter::once(plan).chain(children.flat_map(nodes)).collect()
}

/// The index is used, nothing is read as a whole, and no step sees many more rows than the page has.
fn assert_reads_its_own_rows(plan: &Value, index: &str, most_rows: f64) {
    let nodes = nodes(plan);
    let used: Vec<_> = nodes.iter().filter_map(|node| node["Index Name"].as_str()).collect();
    assert!(used.contains(&index), "{index} in {used:?}: {plan:#}");
    for node in nodes {
        assert!(node["Node Type"] != "Seq Scan" || node["Relation Name"] == "organizations", "{plan:#}");
        let number = |key: &str| node[key].as_f64().unwrap_or_default();
        let rows = (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
        assert!(rows <= most_rows, "{} sees {rows} rows: {plan:#}", node["Node Type"]);
    }
}

#[tokio::test]
async fn lists_read_their_own_rows_by_their_index() {
    let app = busy_organization().await;
    let somewhere = "'2999-01-01', '00000000-0000-0000-0000-000000000000'";
    let record: String = sqlx::query_scalar("select min(id::text) from pfa_mirror").fetch_one(app.pool()).await.unwrap();

    let pending = "(d.committed_at, d.id) > (coalesce($2";
    for after in ["null, null", "now() - interval '1 hour', '00000000-0000-0000-0000-000000000000'"] {
        // It runs where plans are kept.
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let plan = plan_in(&app, mode, pending, &format!("'HOLNG', {after}, 100")).await;
            assert_reads_its_own_rows(&plan, "pfa_modification_pending", 100.0);
        }
    }
    let conflicts = "(conflicted_at, id) > ($7, $8)";
    for after in ["null, null", "now() - interval '1 hour', '00000000-0000-0000-0000-000000000000'"] {
        let plan = plan_of(&app, conflicts, &format!("'HOLNG', 'user7', '{{}}', '{{}}', null, null, {after}, 100")).await;
        assert_reads_its_own_rows(&plan, "pfa_modification_conflicts", 300.0);
    }
    let page_of_changes = "-- The page first: only its drafts are compared.";
    for after in ["null", "'5'"] {
        let plan = plan_of(&app, page_of_changes, &format!("'HOLNG', '00000000-0000-4000-8000-000000000007', {after}, 20")).await;
        assert_reads_its_own_rows(&plan, "pfa_modification_one_open_per_record", 200.0);
    }
    for after in ["null, null", somewhere] {
        let plan = plan_of(&app, "from pfa_mirror_history\n             where", &format!("'HOLNG', '{record}', {after}, 100")).await;
        assert_reads_its_own_rows(&plan, "pfa_mirror_history_of_record", 10.0);
    }
    for after in ["null, null", somewhere] {
        let plan =
            plan_of(&app, "s.status <> 'discarded'\n               and ($4", &format!("'HOLNG', 'user7', null, '{{}}', {after}, 20")).await;
        assert_reads_its_own_rows(&plan, "pfa_session_of_user_newest_first", 200.0);
    }
}

/// Bounds are the ends of indexes, whatever the size of the organization.
#[tokio::test]
async fn live_bounds_read_the_ends_of_indexes() {
    let app = demo_organization().await;
    app.service.save_organization("RIO", "RIO Project").await.unwrap();
    app.service.save_demo_sandboxes().await.unwrap();
    sqlx::query("analyze").execute(app.pool()).await.unwrap();
    let explain = "explain (analyze, timing off, format json) select * from pfa_live_bounds('HOLNG', null)";
    let plan: sqlx::types::Json<Value> = sqlx::query_scalar(explain).fetch_one(app.pool()).await.unwrap();
    let plan = &plan.0[0]["Plan"];
    for index in ["original_start", "original_end", "forecast_end", "actual_start", "actual_end"] {
        assert_reads_its_own_rows(plan, &format!("pfa_mirror_{index}"), 100.0);
    }
    assert_reads_its_own_rows(plan, "pfa_mirror_timeline", 100.0);
}
