//! Random mirrors, modifications and questions: the merged page, count, KPIs and timeline are what
//! the plain model says, for everybody and inside two sandboxes.

use crate::support::model::{self, Merged, Modification, Object, Question, Row};
use crate::support::planner::percent_encode;
use crate::support::world::shown;
use crate::support::{TestApp, test_app};
use pfa_vanguard::domain::field::Field;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestError, TestRunner};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use uuid::Uuid;

/// Random worlds, each with a few questions.
#[test]
fn merged_readings_agree_with_the_model() {
    check_all(120, &world(), &check);
}

/// The same when every page is read as one of which drafts are nearly all.
#[test]
fn crowded_readings_agree_with_the_model() {
    check_all_of(TestApp::with_crowds_everywhere, 120, &world(), &check);
}

/// Checks random cases, each in an organization of its own: the others stay as noise that must not show.
pub fn check_all<C: Debug + Clone>(
    cases: u32,
    strategy: &impl Strategy<Value = C>,
    check: &impl AsyncFn(&TestApp, &str, C) -> Result<(), TestCaseError>,
) {
    check_all_of(|app| app, cases, strategy, check);
}

fn check_all_of<C: Debug + Clone>(
    choose: impl FnOnce(TestApp) -> TestApp,
    cases: u32,
    strategy: &impl Strategy<Value = C>,
    check: &impl AsyncFn(&TestApp, &str, C) -> Result<(), TestCaseError>,
) {
    let cases = std::env::var("PFA_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let app = choose(runtime.block_on(test_app()));
    let number = Cell::new(0);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let outcome = TestRunner::new(config).run(strategy, |case| {
        number.set(number.get() + 1);
        runtime.block_on(check(&app, &format!("ORG{}", number.get()), case))
    });
    // The database goes before the runtime that it needs.
    runtime.block_on(async { drop(app) });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("{reason}\nin {case:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// State and, of a conflict, its stage.
pub type State = (&'static str, Option<&'static str>);

#[derive(Debug, Clone)]
pub struct World {
    pub records: Vec<Object>,
    pub modifications: Vec<(usize, usize, State, Object)>,
    questions: Vec<(Question, usize, Option<Vec<&'static str>>)>,
    refreshes: bool,
}

/// What is read of a world: by everybody, and inside two sandboxes.
pub struct Scene {
    rows: Vec<Row>,
    modifications: Vec<Modification>,
    pub readers: [(&'static str, Option<Uuid>); 3],
}

impl Scene {
    /// Loads records and writes modifications of them.
    pub async fn set(app: &TestApp, organization: &str, world: &World) -> Self {
        app.load(organization, &world.records).await;
        let rows = app.mirror_rows(organization).await;
        let (planner, second) = (app.open_session(organization, "planner").await, app.open_session(organization, "second-planner").await);
        let sessions = [(planner, "planner"), (second, "second-planner"), (app.open_session(organization, "planner").await, "planner")];

        let mut modifications: Vec<Modification> = Vec::new();
        for (order, (row, session, (state, stage), delta)) in (1..).zip(world.modifications.clone()) {
            let ((session, user), mirror_id) = (sessions[session], rows[row % rows.len()].id);
            // One draft, or draft that a commit refused, a session and record.
            let is_open = |state: &str, stage: Option<&str>| state == "draft" || stage == Some("commit");
            let is_second = modifications.iter().any(|m| (m.mirror_id, m.session) == (mirror_id, session) && is_open(m.state, m.stage));
            if !(is_open(state, stage) && is_second) {
                modifications.push(Modification {
                    mirror_id,
                    session,
                    user: user.to_owned(),
                    state,
                    stage,
                    delta,
                    order,
                    at: shown(order),
                });
            }
        }
        app.write_modifications(organization, &modifications).await;
        Self { rows, modifications, readers: [("guest", None), ("planner", Some(planner)), ("second-planner", Some(second))] }
    }

    /// What the model says that a reader sees.
    pub fn records(&self, session: Option<Uuid>) -> Vec<Merged> {
        model::read(&self.rows, &self.modifications, session)
    }
}

async fn check(app: &TestApp, organization: &str, world: World) -> Result<(), TestCaseError> {
    let scene = Scene::set(app, organization, &world).await;
    // Published summaries come from the views after a refresh, and are computed without one.
    if world.refreshes {
        app.service.refresh_views("test").await.unwrap();
    }

    for (user, session) in scene.readers {
        let records = scene.records(session);
        let suffix = session.map(|session| format!("session={session}")).unwrap_or_default();
        for (question, limit, fields) in &world.questions {
            check_question(app, organization, user, session, &records, question, *limit, fields.as_deref()).await?;
            check_export(app, user, &format!("/api/v1/orgs/{organization}/records/export?{suffix}"), &records, question).await?;
        }
        check_kpis(app, user, &format!("/api/v1/orgs/{organization}/kpis?groupBy=category,source,dor&{suffix}"), &records).await?;
        let timeline = app.get_as(user, &format!("/api/v1/orgs/{organization}/timeline?{suffix}")).await.json();
        for (key, value) in model::timeline(&records).as_object().unwrap() {
            prop_assert_eq!(&timeline[key], value, "{} of the timeline for {}", key, user);
        }
        for record in records.iter().take(3) {
            let id = percent_encode(record.data["pfaId"].as_str().unwrap());
            let found = app.get_as(user, &format!("/api/v1/orgs/{organization}/records/{id}?{suffix}")).await;
            prop_assert_eq!(found.json(), expected_row(record, None));
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the parts of one question")]
async fn check_question(
    app: &TestApp,
    organization: &str,
    user: &str,
    session: Option<Uuid>,
    records: &[Merged],
    question: &Question,
    limit: usize,
    fields: Option<&[&str]>,
) -> Result<(), TestCaseError> {
    let expected: Vec<_> = model::answer(records.to_vec(), question).iter().map(|record| expected_row(record, fields)).collect();
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(&question.parameters);
    let sort: Vec<_> =
        question.sort.iter().map(|(field, is_descending)| format!("{}{field}", if *is_descending { "-" } else { "" })).collect();
    query.append_pair("sort", &sort.join(",")).append_pair("limit", &limit.to_string()).append_pair("count", "exact");
    if let Some(session) = session {
        query.append_pair("session", &session.to_string());
    }
    if let Some(fields) = fields {
        query.append_pair("fields", &fields.join(","));
    }
    let path = format!("/api/v1/orgs/{organization}/records?{}", query.finish());

    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = app.get_as(user, &format!("{path}{cursor}")).await;
        prop_assert_eq!(answer.status.as_u16(), 200, "{}: {}", path, answer.text);
        // From what is remembered.
        prop_assert_eq!(&app.get_as(user, &format!("{path}{cursor}")).await.text, &answer.text, "{} again", path);
        let mut page = answer.json();
        prop_assert_eq!(&page["page"]["count"], &json!(expected.len()), "count of {}", path);
        let Value::Array(rows) = page["data"].take() else { panic!("rows") };
        prop_assert!(rows.len() <= limit);
        found.extend(rows);
        match page["page"]["nextCursor"].as_str() {
            Some(next) if found.len() <= expected.len() => cursor = format!("&cursor={next}"),
            _ => break,
        }
    }
    prop_assert_eq!(&found, &expected, "rows of {} as {}", path, user);
    Ok(())
}

/// An export of some fields: the first times it is read, then it comes from memory, as one of another reader may have left it.
async fn check_export(app: &TestApp, user: &str, path: &str, records: &[Merged], question: &Question) -> Result<(), TestCaseError> {
    let in_order = Question { sort: vec![("forecastStart".to_owned(), false)], parameters: question.parameters.clone() };
    let fields = ["pfaId", "forecastStart", "monthlyRate"];
    let row = |record: &Merged| Value::Object(fields.map(|key| (key.to_owned(), record.data[key].clone())).into_iter().collect());
    let expected: Vec<_> = model::answer(records.to_vec(), &in_order).iter().map(row).collect();
    let mut query = form_urlencoded::Serializer::new(String::new());
    let path = format!("{path}&{}", query.extend_pairs(&question.parameters).append_pair("fields", &fields.join(",")).finish());
    for time in 1..=4 {
        let answer = app.get_as(user, &path).await;
        let found: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(&found, &expected, "{} as {} for the {}. time: {}", path, user, time, answer.text);
    }
    Ok(())
}

async fn check_kpis(app: &TestApp, user: &str, path: &str, records: &[Merged]) -> Result<(), TestCaseError> {
    let kpis = app.get_as(user, path).await.json();
    check_totals(&kpis["total"], &model::totals(records))?;
    let dimensions = ["category", "source", "dor"];
    let groups = kpis["groups"].as_array().unwrap();
    let visible = records.iter().filter(|record| record.data["isDiscontinued"] != true);
    let keys: BTreeSet<_> = visible.map(|record| dimensions.map(|key| record.data[key].to_string())).collect();
    prop_assert_eq!(groups.len(), keys.len(), "groups of {}", path);
    for group in groups {
        let members = records.iter().filter(|record| dimensions.iter().all(|key| record.data[*key] == group["key"][*key]));
        check_totals(group, &model::totals(members))?;
    }
    let purchases = records.iter().filter(|record| record.data["source"] == "Purchase");
    check_totals(&kpis["total"]["purchase"], &model::totals(purchases))
}

fn check_totals(found: &Value, expected: &Value) -> Result<(), TestCaseError> {
    for (key, value) in expected.as_object().unwrap() {
        let text = match &found[key] {
            Value::Number(number) => number.to_string(),
            other => panic!("{key}: {other}"),
        };
        prop_assert_eq!(text, value.as_str().map_or_else(|| value.to_string(), str::to_owned), "{} of {}", key, found);
    }
    Ok(())
}

pub fn expected_row(record: &Merged, fields: Option<&[&str]>) -> Value {
    let mut row = record.data.clone();
    if let Some(fields) = fields {
        row.retain(|key, _| fields.contains(&key.as_str()));
    }
    row.insert("_meta".into(), record.meta.clone());
    Value::Object(row)
}

// ---- What worlds are made of: few values of each kind, so that they meet often.

const STATES: [State; 9] = [
    ("draft", None),
    ("draft", None),
    ("committed", None),
    ("committed", None),
    ("syncing", None),
    ("synced", None),
    ("failed", None),
    ("conflict", Some("writeBack")),
    ("conflict", Some("commit")),
];

/// Every column sorts, and every key can be asked for.
pub fn any_field() -> impl Strategy<Value = &'static str> {
    select(Field::ALL).prop_map(Field::key)
}

pub fn world() -> impl Strategy<Value = World> {
    let modification = (0..100_usize, 0..3_usize, select(&STATES[..]), delta());
    let question = (question(), 1..8_usize, prop::option::weighted(0.3, subsequence(Field::keys(), 1..5)));
    (vec(fields(), 1..14), vec(modification, 0..20), vec(question, 1..4), any::<bool>()).prop_map(
        |(records, modifications, questions, refreshes)| World {
            records: (1_000_u32..)
                .zip(records)
                .map(|(number, mut record)| {
                    record.insert("pfaId".into(), json!(if number % 3 == 0 { format!("a%_{number}\\\"") } else { number.to_string() }));
                    record
                })
                .collect(),
            modifications,
            questions,
            refreshes,
        },
    )
}

fn fields() -> impl Strategy<Value = Object> {
    vec(entry(true), 4..30).prop_map(|entries| entries.into_iter().collect())
}

/// A delta holds typed values, and nulls where the dictionary allows them.
fn delta() -> impl Strategy<Value = Object> {
    vec(entry(false), 1..5).prop_map(|entries| entries.into_iter().collect())
}

fn entry(is_raw: bool) -> impl Strategy<Value = (String, Value)> {
    let text = select(&["categories", "Lifting", "Earth 100%", "Ünï_cödé", "back\\slash", "q\"uote", "lifting"][..]).prop_map(Value::from);
    let date = (0..40_u64).prop_map(|week| json!(chrono::NaiveDate::from_ymd_opt(2025, 1, 1).unwrap() + chrono::Days::new(week * 7)));
    let amount = select(&["0", "15000", "0.01", "99999999999.9999", "30440", "-5", "123.45"][..])
        .prop_map(|text| serde_json::from_str(text).unwrap());
    let dirt = |values: &'static [&'static str]| select(values).prop_map(Value::from);
    let maybe = move |good: BoxedStrategy<Value>, dirty: BoxedStrategy<Value>, nullable: bool| {
        let null_weight = u32::from(nullable);
        let dirt_weight = u32::from(is_raw);
        prop_oneof![8 => good, null_weight => Just(Value::Null), dirt_weight => dirty]
    };
    let texts = (
        select(&["category", "class", "manufacturer", "model", "areaSilo", "contract", "equipment"][..]),
        maybe(text.boxed(), Just(json!(true)).boxed(), true),
    );
    let dates = (
        select(
            &["originalStart", "originalEnd", "forecastStart", "forecastStart", "forecastEnd", "forecastEnd", "actualStart", "actualEnd"][..],
        ),
        maybe(date.boxed(), dirt(&["2025-02-30", "soon"]).boxed(), true),
    );
    let amounts = (select(&["monthlyRate", "purchasePrice"][..]), maybe(amount.boxed(), dirt(&["abc", "1e9"]).boxed(), false));
    let flags = (
        select(&["isActualized", "isDiscontinued", "isFundsTransferable"][..]),
        maybe(any::<bool>().prop_map(Value::from).boxed(), dirt(&["maybe"]).boxed(), false),
    );
    let sources =
        (Just("source"), maybe(select(&["Rental", "Purchase"][..]).prop_map(Value::from).boxed(), dirt(&["Lease"]).boxed(), false));
    let dors = (Just("dor"), select(&["BEO", "PROJECT"][..]).prop_map(Value::from));
    prop_oneof![3 => texts, 3 => dates, 1 => amounts, 2 => flags, 1 => sources, 1 => dors].prop_map(|(key, value)| (key.to_owned(), value))
}

pub fn question() -> impl Strategy<Value = Question> {
    let days = ("2025-02-01", "2025-06-01");
    let condition = prop_oneof![
        select(
            &[
                ("category", "Lifting"),
                ("category", "lifting"),
                ("class", "Ünï_cödé"),
                ("source", "Rental"),
                ("source", "Purchase"),
                ("dor", "BEO"),
                ("areaSilo", "q\"uote"),
                ("manufacturer", "back\\slash"),
                ("model", "Earth 100%"),
                ("isActualized", "true"),
                ("isActualized", "false"),
                ("isDiscontinued", "true"),
                ("isDiscontinued", "false"),
                ("isFundsTransferable", "true"),
                ("status", "forecast"),
                ("status", "actualized"),
                ("status", "discontinued"),
                ("status", "fundsTransferable"),
                ("q", "LIFTING"),
                ("q", "100%"),
                ("q", "a%_"),
                ("q", "ünï lift"),
                ("q", "\\"),
                ("contains", "{\"monthlyRate\": 15000.0}"),
                ("contains", "{\"isActualized\": true, \"dor\": \"BEO\"}"),
                ("contains", "{\"category\": null}"),
                ("contains", "{\"isActualized\": false}"),
                ("contains", "{\"category\": \"Lifting\", \"hasPlan\": true}"),
                ("contains", "{\"manufacturer\": \"back\\\\slash\", \"model\": \"Earth 100%\"}"),
                ("contains", "{\"isDiscontinued\": true, \"class\": \"\"}"),
                ("monthlyRateMin", "0.01"),
                ("monthlyRateMax", "15000"),
                ("purchasePriceMin", "1"),
                ("purchasePriceMax", "99999999999.9999"),
            ][..]
        )
        .prop_map(|(name, value)| (name.to_owned(), value.to_owned())),
        select(vec![("forecastStartFrom", days.0), ("forecastStartTo", days.1), ("forecastEndFrom", days.0), ("forecastEndTo", days.1),])
            .prop_map(|(name, value)| (name.to_owned(), value.to_owned())),
        Just(("overlaps".to_owned(), format!("{}..{}", days.0, days.1))),
    ];
    let sort = vec((any_field(), any::<bool>()), 1..4);
    (vec(condition, 0..4), sort).prop_map(|(mut parameters, mut sort)| {
        // Words and statuses may be repeated, the others not.
        let mut seen = BTreeSet::new();
        parameters.retain(|(name, value)| {
            let is_repeatable =
                ["category", "class", "source", "dor", "status", "areaSilo", "manufacturer", "model"].contains(&name.as_str());
            seen.insert(if is_repeatable { format!("{name}={value}") } else { name.clone() })
        });
        let mut named = BTreeSet::new();
        sort.retain(|(field, _)| named.insert(*field));
        Question { parameters, sort: sort.into_iter().map(|(field, is_descending)| (field.to_owned(), is_descending)).collect() }
    })
}

/// The model's own arithmetic, so that both sides are not wrong together.
#[test]
fn the_model_knows_the_golden_values() {
    let data = json!({"source": "Rental", "monthlyRate": 15000, "originalStart": "2025-01-01", "originalEnd": "2025-03-02", "isDiscontinued": false,
        "forecastStart": null, "forecastEnd": null, "isActualized": false});
    let record = Merged { id: Uuid::nil(), data: data.as_object().unwrap().clone(), meta: Value::Null };
    assert_eq!(model::totals([&record])["planCost"], "29566.36");
    assert_eq!(Decimal::new(3044, 2), pfa_vanguard::domain::cost::DAYS_PER_MONTH);
}
