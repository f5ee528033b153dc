//! Pages of drafts that are asked for again: read without the texts that are remembered, and the same as ever.

use super::statements::note_statements;
use crate::support::planner::Sandbox;
use crate::support::{TestApp, test_app};
use pfa_vanguard::domain::filter::Filter;
use pfa_vanguard::domain::generate::Plan;
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::service::records::PageQuery;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// An organization in which every page that can be is read as one of drafts.
async fn app_of_drafts() -> (TestApp, Vec<Map<String, Value>>) {
    let app = test_app().await.with_crowds_everywhere();
    let raw: Vec<_> = Plan::demo().organizations[0].records().take(60).collect();
    app.load("HOLNG", &raw).await;
    (app, raw)
}

fn page_of(user: &str, session: Option<&str>) -> PageQuery {
    let session = session.map(|id| id.parse::<Uuid>().unwrap());
    let reader = Reader { organization: "HOLNG".into(), user: user.into(), session };
    PageQuery::new(reader, Filter::default(), Sort::default(), 60)
}

async fn read(service: &PfaMirrorService, query: &PageQuery) -> Vec<Value> {
    serde_json::from_str(&service.list_records(query).await.unwrap().rows).unwrap()
}

/// The page, whether it was read without the texts of drafts, and whether some of them were asked for after it.
async fn read_again(app: &TestApp, query: &PageQuery) -> (Vec<Value>, bool, bool) {
    let (page, statements) = note_statements(read(&app.service, query)).await;
    let is_noted = |words: &str| statements.iter().any(|statement| statement.contains(words));
    (page, is_noted("r.revision, null::jsonb as data"), is_noted("true, r.revision"))
}

/// The ids of records that are shown.
async fn shown_ids(app: &TestApp) -> Vec<String> {
    let page = read(&app.service, &page_of("ana", None)).await;
    page.iter().map(|row| row["pfaId"].as_str().unwrap().to_owned()).collect()
}

async fn edit_all(sandbox: &Sandbox<'_>, pfa_ids: &[String], fields: Value) {
    let answer = sandbox.bulk(json!({"select": {"pfaIds": pfa_ids}, "operation": {"type": "set", "fields": fields}})).await;
    assert_eq!(answer.json()["changed"], pfa_ids.len(), "{}", answer.text);
}

#[tokio::test]
async fn only_texts_of_drafts_that_were_edited_are_read_again() {
    let (app, _) = app_of_drafts().await;
    let ids = shown_ids(&app).await;
    let sandbox = app.planner("ana").in_organization("HOLNG").open().await;
    edit_all(&sandbox, &ids, json!({"equipment": "Crane 7"})).await;
    let query = page_of("ana", Some(&sandbox.id));
    let (first, is_without, _) = read_again(&app, &query).await;
    assert!(!is_without && first.iter().all(|row| row["equipment"] == "Crane 7"), "{first:?}");
    assert_eq!(read_again(&app, &query).await, (first.clone(), true, false));

    sandbox.edit(&ids[3], json!({"equipment": "Crane 8"})).await;
    let (edited, is_without, has_asked) = read_again(&app, &query).await;
    assert!(is_without && has_asked);
    assert_eq!(edited[3]["equipment"], "Crane 8");
    assert!(edited.iter().zip(&first).enumerate().all(|(index, (now, before))| (now == before) == (index != 3)));
    assert_eq!(read_again(&app, &query).await, (edited, true, false));
}

/// Whatever changes a draft, or what lies under it: everybody reads what a process does that remembers nothing.
#[tokio::test]
async fn drafts_are_as_they_are_now() {
    let (app, mut raw) = app_of_drafts().await;
    let fresh = PfaMirrorService::new(app.pool().clone()).with_text_memory(0);
    let ids = shown_ids(&app).await;
    let ana = app.planner("ana").in_organization("HOLNG").open().await;
    let ben = app.planner("ben").in_organization("HOLNG").open().await;
    let readers = [page_of("ana", Some(&ana.id)), page_of("ben", Some(&ben.id)), page_of("guest", None)];
    let check = async |step: &str| {
        let mut pages = Vec::new();
        for query in &readers {
            let expected = read(&fresh, query).await;
            for _ in 0..2 {
                assert_eq!(read(&app.service, query).await, expected, "{step}, as {}", query.reader.user);
            }
            pages.push(expected);
        }
        pages
    };

    edit_all(&ana, &ids, json!({"equipment": "Ana's"})).await;
    edit_all(&ben, &ids[..40], json!({"equipment": "Ben's", "areaSilo": "YARD 7"})).await;
    let edited = check("two edit the same records").await;
    assert_eq!([0, 1].map(|reader| edited[reader][5]["equipment"].as_str().unwrap()), ["Ana's", "Ben's"]);
    ana.undo().await;
    assert_ne!(check("undo").await, edited);
    ana.redo().await;
    let again = check("redo").await;
    assert_eq!(again[0][5]["equipment"], "Ana's");

    // One of Ben's drafts, and one that he has no draft of.
    for record in raw.iter_mut().filter(|record| [&ids[5], &ids[50]].iter().any(|id| record["pfaId"] == id.as_str())) {
        record.insert("manufacturer".into(), json!("Changed in PEMS"));
    }
    app.load("HOLNG", &raw).await;
    let (_, statements) = note_statements(read(&app.service, &readers[1])).await;
    let asks_for_both = |statement: &String| statement.contains("false, r.version") && statement.contains("true, r.revision");
    assert!(statements.iter().any(asks_for_both), "{statements:?}");
    let synced = check("a change in PEMS").await;
    assert_eq!((&synced[0][5]["manufacturer"], &synced[0][5]["equipment"]), (&json!("Changed in PEMS"), &json!("Ana's")));

    assert_eq!(ana.commit("").await.status, 200);
    let committed = check("a commit").await;
    assert_eq!([0, 2].map(|reader| committed[reader][50]["equipment"].as_str().unwrap()), ["Ana's"; 2]);
    ben.drop_draft(&ids[5]).await;
    assert_eq!(check("a draft is dropped").await[1][5]["equipment"], "Ana's");

    let by_hand = "update pfa_overlay set data = data || '{\"equipment\": \"By hand\"}' where session_id = pfa_everybody() and pfa_id = $1";
    sqlx::query(by_hand).bind(&ids[50]).execute(app.pool()).await.unwrap();
    assert_eq!(check("a change by hand").await[2][50]["equipment"], "By hand");
}

/// A draft that is rewritten while its page is read: the page is of one moment.
#[tokio::test]
async fn a_page_of_drafts_that_change_meanwhile_is_of_one_moment() {
    let (app, _) = app_of_drafts().await;
    let ids = shown_ids(&app).await;
    let sandbox = app.planner("ana").in_organization("HOLNG").open().await;
    edit_all(&sandbox, &ids, json!({"equipment": "round 0"})).await;
    let query = page_of("ana", Some(&sandbox.id));
    let mut seen = BTreeSet::new();
    let writing = async {
        for round in 1..40 {
            edit_all(&sandbox, &ids, json!({"equipment": format!("round {round}")})).await;
        }
    };
    let reading = async {
        while !seen.contains("round 39") {
            let page = read(&app.service, &query).await;
            let rounds: BTreeSet<_> = page.iter().map(|row| row["equipment"].as_str().unwrap().to_owned()).collect();
            assert_eq!(rounds.len(), 1, "{rounds:?}");
            seen.extend(rounds);
        }
    };
    tokio::join!(writing, reading);
    assert!(seen.len() > 3, "the reader saw {seen:?}");
}
