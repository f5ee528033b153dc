//! Random work: whatever a client sends to whichever route, the service answers as the contract says,
//! never with a 500, and what it keeps for readers stays what the changes say.

use crate::support::app::Answer;
use crate::support::planner::{ORG, planners_app};
use axum::body::Body;
use axum::http::{Method, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// So long it goes on.
const PATIENCE: Duration = Duration::from_secs(20);

/// One request, before it is known which sandboxes and conflicts there are.
#[derive(Debug, Clone)]
struct Draw {
    route: Index,
    /// Who asks, mostly the owner of the sandbox; and which of the known ids is named.
    user: &'static str,
    is_stranger: bool,
    id: Index,
    record: &'static str,
    parameters: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, &'static str)>,
    mutations: Vec<Mutation>,
}

/// What is done to the body that a route would take.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(Index, Value),
    Add(Index, String, Value),
    Remove(Index),
    Text(String),
}

#[test]
fn nothing_that_is_sent_gives_a_500() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let app = planners_app().await;
        let mut world = World::default();
        let (mut runner, draws) = (TestRunner::default(), (draw(), draw()));
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            // Two at the same moment, so that they meet on locks, too.
            let (first, second) = draws.new_tree(&mut runner).unwrap().current();
            let (first, second) = (prepare(&world, &first), prepare(&world, &second));
            let answers = tokio::join!(app.send(first.request()), app.send(second.request()));
            world.note(&first, &answers.0);
            world.note(&second, &answers.1);
        }
        let stale: i64 = sqlx::query_scalar("select count(*) from pfa_stale_overlay($1)").bind(ORG).fetch_one(app.pool()).await.unwrap();
        assert_eq!(stale, 0, "what readers see is what the changes say");
        let published = async || {
            let (kpis, timeline) = (
                app.get("/api/v1/orgs/ORG/kpis?groupBy=category,source,dor").await.json(),
                app.get("/api/v1/orgs/ORG/timeline").await.json(),
            );
            (
                kpis["total"].clone(),
                kpis["groups"].clone(),
                timeline["forecast"].clone(),
                timeline["actual"].clone(),
                timeline["recordCount"].clone(),
            )
        };
        let before = published().await;
        app.service.refresh_views("test").await.unwrap();
        assert_eq!(published().await, before, "a refresh changes no figure");
        // A test whose requests are all refused would see nothing.
        let decided: i64 =
            sqlx::query_scalar("select count(*) from pfa_mirror_history where resolution is not null").fetch_one(app.pool()).await.unwrap();
        assert!(decided > 0 && !world.conflicts.is_empty(), "{} conflicts", world.conflicts.len());
        for status in [200, 201, 204, 400, 404, 409] {
            assert!(world.statuses.get(&status).is_some_and(|count| *count >= 5), "{status}: {:?}", world.statuses);
        }
    });
}

/// What the requests so far have made.
#[derive(Default)]
struct World {
    statuses: BTreeMap<u16, u32>,
    sandboxes: Vec<(String, String)>,
    closed: Vec<(String, String)>,
    conflicts: Vec<(String, String)>,
}

/// A request that can be told.
#[derive(Debug)]
struct Prepared {
    method: Method,
    uri: String,
    headers: Vec<(&'static str, String)>,
    user: String,
    body: Option<String>,
}

impl Prepared {
    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(&self.method).uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(self.body.clone().map_or_else(Body::empty, Body::from)).unwrap()
    }
}

fn prepare(world: &World, draw: &Draw) -> Prepared {
    let routes = routes();
    let (method, path, body) = draw.route.get(&routes);
    // The newest sandboxes are the open ones, most likely; the same of conflicts.
    let newest = |made: &[(String, String)]| match &made[made.len().saturating_sub(6)..] {
        [] => (draw.user.to_owned(), "x".to_owned()),
        newest => draw.id.get(newest).clone(),
    };
    let ((owner, session), (decider, conflict)) =
        (newest(if draw.is_stranger { &world.closed } else { &world.sandboxes }), newest(&world.conflicts));
    let owner = match (draw.is_stranger, path.contains("{session}"), path.contains("conflict")) {
        (false, true, _) => owner,
        (false, _, true) => decider,
        _ => draw.user.to_owned(),
    };
    let path = path.replace("{session}", &session).replace("{conflict}", &conflict).replace("{record}", draw.record);
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &draw.parameters {
        query.append_pair(name, &value.replace("{session}", &session));
    }
    let mut headers: Vec<_> = draw.headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    headers.push(("x-user-id", owner.clone()));
    let body = body
        .as_ref()
        .map(|body| mutated(body.clone(), &draw.mutations).replace("{session}", &session).replace("{any}", &draw.id.index(7).to_string()));
    if body.is_some() {
        headers.push(("content-type", "application/json".to_owned()));
    }
    Prepared { method: method.clone(), uri: format!("/api/v1/{path}?{}", query.finish()), headers, user: owner, body }
}

impl World {
    /// Checks an answer, and remembers what it made.
    fn note(&mut self, request: &Prepared, answer: &Answer) {
        let status = answer.status.as_u16();
        *self.statuses.entry(status).or_default() += 1;
        assert!(status < 500, "{status} to {request:?}: {}", answer.text);
        if status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{request:?}");
            assert!(answer.json()["code"].is_string(), "{request:?}");
            assert!(!answer.text.contains("pfa_") && !answer.text.contains("SQL"), "database text to {request:?}: {}", answer.text);
        }
        // Mostly open ones are worked in.
        if status == 204 || (status == 200 && answer.text.contains("\"closed\":true")) {
            let is_closed = |(_, id): &(String, String)| request.uri.contains(id) && !request.uri.contains("/records/");
            let closed: Vec<_> = self.sandboxes.extract_if(.., |sandbox| is_closed(sandbox)).collect();
            self.closed.extend(closed);
        }
        if request.uri.contains("/commit") {
            let conflicts = answer.json()["conflicts"].as_array().cloned().unwrap_or_default();
            self.conflicts.extend(conflicts.iter().map(|conflict| (request.user.clone(), conflict["id"].as_str().unwrap().to_owned())));
        }
        if status == 201 {
            self.sandboxes.push((request.user.clone(), answer.json()["id"].as_str().unwrap().to_owned()));
        }
    }
}

/// Every route, with a body that it would take; those of work more than once.
fn routes() -> Vec<(Method, String, Option<Value>)> {
    let mut routes = Vec::new();
    let mut add = |times: usize, method: Method, path: &str, body: Option<Value>| {
        routes.extend(std::iter::repeat_n((method, path.to_owned(), body), times));
    };
    let edit = |operation: Value| {
        Some(json!({"select": {"pfaIds": ["1", "2", "3"]}, "operation": operation, "mode": "skipInvalid", "preview": false}))
    };
    let filtered = json!({"select": {"filter": {"category": ["Lifting", "Power"], "monthlyRateMin": 1, "overlaps": "2025-01-01..2025-12-31"}},
        "operation": {"type": "set", "fields": {"monthlyRate": 5, "model": "M", "isActualized": true}}, "reason": "why"});
    add(4, Method::POST, "orgs/ORG/sessions", Some(json!({"name": "x"})));
    add(1, Method::GET, "orgs/ORG/sessions", None);
    add(1, Method::GET, "orgs/ORG/sessions/{session}", None);
    add(1, Method::DELETE, "orgs/ORG/sessions/{session}", None);
    add(14, Method::PATCH, "orgs/ORG/sessions/{session}/records/{record}", Some(json!({"model": "{any}", "monthlyRate": 12.5})));
    add(2, Method::DELETE, "orgs/ORG/sessions/{session}/records/{record}", None);
    add(1, Method::POST, "orgs/ORG/sessions/{session}/edits", Some(filtered));
    add(1, Method::POST, "orgs/ORG/sessions/{session}/edits", edit(json!({"type": "shiftDates", "days": 30})));
    add(1, Method::POST, "orgs/ORG/sessions/{session}/edits", edit(json!({"type": "setDuration", "days": 90})));
    add(1, Method::POST, "orgs/ORG/sessions/{session}/edits", edit(json!({"type": "resetToPlan"})));
    add(2, Method::POST, "orgs/ORG/sessions/{session}/undo", None);
    add(1, Method::POST, "orgs/ORG/sessions/{session}/redo", None);
    add(1, Method::GET, "orgs/ORG/sessions/{session}/changes", None);
    add(3, Method::POST, "orgs/ORG/sessions/{session}/commit", None);
    add(1, Method::GET, "orgs/ORG/conflicts", None);
    add(
        2,
        Method::POST,
        "orgs/ORG/conflicts/{conflict}/resolve",
        Some(json!({"resolution": "fields", "fields": {"model": {"value": "C"}}})),
    );
    add(1, Method::POST, "orgs/ORG/conflicts/{conflict}/resolve", Some(json!({"resolution": "theirs", "reason": "why"})));
    add(
        1,
        Method::POST,
        "orgs/ORG/conflicts/resolve",
        Some(json!({"select": {"session": "{session}", "stage": "commit"}, "resolution": "mine"})),
    );
    add(1, Method::GET, "orgs/ORG/records", None);
    add(1, Method::GET, "orgs/ORG/records/{record}", None);
    add(1, Method::GET, "orgs/ORG/records/{record}/history", None);
    add(1, Method::GET, "orgs/ORG/kpis", None);
    add(1, Method::GET, "orgs/ORG/timeline", None);
    add(1, Method::GET, "orgs/ORG/sync/pending", None);
    add(1, Method::GET, "orgs", None);
    add(1, Method::GET, "ops/refresh", None);
    routes
}

/// A body after some mutations, as the text that is sent.
fn mutated(mut body: Value, mutations: &[Mutation]) -> String {
    for mutation in mutations {
        let mut pointers = Vec::new();
        collect_pointers(&body, String::new(), &mut pointers);
        match mutation {
            Mutation::Replace(at, value) => *body.pointer_mut(at.get::<String>(&pointers)).unwrap() = value.clone(),
            Mutation::Add(at, key, value) => {
                if let Some(Value::Object(object)) = body.pointer_mut(at.get::<String>(&pointers)) {
                    object.insert(key.clone(), value.clone());
                }
            }
            Mutation::Remove(at) => {
                let (parent, key) = at.get::<String>(&pointers).rsplit_once('/').unwrap_or_default();
                if let Some(Value::Object(object)) = body.pointer_mut(parent) {
                    object.remove(key);
                }
            }
            Mutation::Text(text) => return text.clone(),
        }
    }
    body.to_string()
}

fn collect_pointers(value: &Value, pointer: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect_pointers(value, format!("{pointer}/{key}"), pointers);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                collect_pointers(value, format!("{pointer}/{index}"), pointers);
            }
        }
        _ => {}
    }
    pointers.push(pointer);
}

// ---- What requests are made of: mostly what a route would take, with a few things that it would not.

const KEYS: [&str; 24] = [
    "select",
    "pfaIds",
    "filter",
    "operation",
    "type",
    "fields",
    "days",
    "reason",
    "mode",
    "preview",
    "resolution",
    "session",
    "stage",
    "ids",
    "model",
    "monthlyRate",
    "forecastStart",
    "forecastEnd",
    "actualStart",
    "actualEnd",
    "isActualized",
    "isDiscontinued",
    "contains",
    "bogus",
];

const TEXTS: [&str; 22] = [
    "",
    " ",
    "A",
    "B",
    "1",
    "99",
    "mine",
    "theirs",
    "fields",
    "set",
    "shiftDates",
    "atomic",
    "2025-01-01",
    "2999-12-31",
    "1900-01-01",
    "2025-01-01..2025-02-01",
    "Rental",
    "\u{0}",
    "ü\u{202e}𝄞",
    "'; drop table x; --",
    "%_\\",
    "{session}",
];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![8 => select(&TEXTS[..]).prop_map(str::to_owned), 1 => "\\PC{0,20}", 1 => (0..600_usize).prop_map(|length| "x".repeat(length))]
}

fn any_value() -> impl Strategy<Value = Value> {
    let numbers =
        ["0", "-1", "1.005", "1e3", "99999999999.99", "123456789012345678901234567890", "1e400", "-1e-400", "2147483648", "401768"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        select(numbers.to_vec()).prop_map(|number| serde_json::from_str(number).unwrap()),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let object = vec((select(&KEYS[..]), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            object
                .prop_map(|entries| Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())),
        ]
    })
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        6 => (any::<Index>(), any_value()).prop_map(|(at, value)| Mutation::Replace(at, value)),
        3 => (any::<Index>(), select(&KEYS[..]), any_value()).prop_map(|(at, key, value)| Mutation::Add(at, key.to_owned(), value)),
        2 => any::<Index>().prop_map(Mutation::Remove),
        1 => any_text().prop_map(Mutation::Text),
    ]
}

fn draw() -> impl Strategy<Value = Draw> {
    let names = [
        "session",
        "session",
        "limit",
        "cursor",
        "mode",
        "dryRun",
        "reason",
        "status",
        "stage",
        "pfaId",
        "category",
        "sort",
        "q",
        "contains",
        "fields",
        "groupBy",
        "overlaps",
        "monthlyRateMin",
        "count",
        "bogus",
    ];
    let values = prop_oneof![
        3 => select(&["{session}", "1", "partial", "true", "open", "commit", "-monthlyRate", "exact", "category,dor", "{\"a\": [1]}"][..]).prop_map(str::to_owned),
        1 => any_text(),
    ];
    let parameters = prop_oneof![4 => Just(Vec::new()), 1 => vec((select(names.to_vec()), values), 1..3)];
    let headers = vec(select(vec![("idempotency-key", "k"), ("if-match", "*"), ("if-match", "\"x\""), ("if-none-match", "*")]), 0..2);
    let records = select(&["1", "1", "1", "1", "1", "1", "1", "1", "2", "2", "3", "4", "5", "99", "%C3%BC", "%00", "%FF", "a%2Fb"][..]);
    let (users, strangers) = (select(&["ana", "ben", "cleo"][..]), prop::bool::weighted(0.1));
    let mutations = prop_oneof![3 => Just(Vec::new()), 2 => vec(mutation(), 1..4)];
    (any::<Index>(), users, strangers, any::<Index>(), records, parameters, headers, mutations).prop_map(
        |(route, user, is_stranger, id, record, parameters, headers, mutations)| Draw {
            route,
            user,
            is_stranger,
            id,
            record,
            parameters,
            headers,
            mutations,
        },
    )
}
