//! Planners at work: a user in an organization, and a sandbox of that user, over the real routes.

use super::app::{Answer, TestApp, test_app};
use super::model::Object;
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

/// The organization of the planners.
pub const ORG: &str = "ORG";

/// A small organization with one record of each kind, and another one with the same ids.
pub async fn planners_app() -> TestApp {
    let app = test_app().await;
    let raw: Vec<Object> = [
        // 60 days of 15,000 a month: 29,566.36.
        json!({"pfaId": "1", "category": "Lifting", "class": "Crane", "source": "Rental", "dor": "PROJECT", "monthlyRate": 15000,
               "originalStart": "2025-01-01", "originalEnd": "2025-03-02", "forecastStart": "2025-01-01", "forecastEnd": "2025-03-02",
               "equipment": "Crane 1", "pemsRemarks": "kept"}),
        json!({"pfaId": "2", "category": "Power", "source": "Purchase", "purchasePrice": 1000.50,
               "originalStart": "2025-02-01", "originalEnd": "2025-04-01", "forecastStart": "2025-02-01", "forecastEnd": "2025-04-01"}),
        // 30 days of 8,000 a month: 7,884.36.
        json!({"pfaId": "3", "category": "Lifting", "source": "Rental", "monthlyRate": 8000, "isActualized": true,
               "originalStart": "2025-01-01", "originalEnd": "2025-01-31", "forecastStart": "2025-01-01", "forecastEnd": "2025-01-31",
               "actualStart": "2025-01-01", "actualEnd": "2025-01-31"}),
        json!({"pfaId": "4", "category": "Power", "source": "Rental", "monthlyRate": 8000, "isDiscontinued": true,
               "originalStart": "2025-01-01", "originalEnd": "2025-01-31", "forecastStart": "2025-01-01", "forecastEnd": "2025-01-31"}),
        json!({"pfaId": "5", "category": "Access", "source": "Rental", "monthlyRate": 100}),
    ]
    .iter()
    .map(|value| value.as_object().unwrap().clone())
    .collect();
    app.load(ORG, &raw).await;
    app.load("OTHER", &raw).await;
    app
}

/// A user in an organization.
#[derive(Clone, Copy)]
pub struct Planner<'a> {
    pub app: &'a TestApp,
    pub user: &'a str,
    pub organization: &'a str,
}

/// A sandbox of a planner.
#[derive(Clone)]
pub struct Sandbox<'a> {
    pub planner: Planner<'a>,
    pub id: String,
}

impl TestApp {
    /// A user of the planners' organization.
    pub fn planner<'a>(&'a self, user: &'a str) -> Planner<'a> {
        Planner { app: self, user, organization: ORG }
    }
}

impl<'a> Planner<'a> {
    /// The same user in another organization.
    pub fn in_organization(self, organization: &'a str) -> Self {
        Self { organization, ..self }
    }

    /// Any request below the organization, with more headers; a text is sent as JSON.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Answer {
        let uri = format!("/api/v1/orgs/{}/{path}", self.organization);
        let mut request = Request::builder().method(method).uri(uri).header("x-user-id", self.user);
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.app.send(request.body(body.map_or_else(Body::empty, Body::from)).unwrap()).await
    }

    /// GET below the organization.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    /// POST of JSON below the organization.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body.to_string())).await
    }

    /// Opens a sandbox.
    pub async fn open(&self) -> Sandbox<'a> {
        let answer = self.send(Method::POST, "sessions", &[], None).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        Sandbox { planner: *self, id: answer.json()["id"].as_str().unwrap().to_owned() }
    }

    /// One record as everybody sees it.
    pub async fn row(&self, pfa_id: &str) -> Value {
        self.get(&format!("records/{pfa_id}")).await.json()
    }

    /// Entries of a record's history.
    pub async fn history(&self, pfa_id: &str) -> Vec<Value> {
        data(&self.get(&format!("records/{pfa_id}/history")).await)
    }

    /// Conflicts that the planner may decide.
    pub async fn conflicts(&self) -> Vec<Value> {
        data(&self.get("conflicts").await)
    }

    /// Resolves a conflict.
    pub async fn resolve(&self, conflict: &Value, body: Value) -> Answer {
        self.post(&format!("conflicts/{}/resolve", conflict["id"].as_str().unwrap()), body).await
    }

    /// Publishes a change of one record.
    pub async fn publish(&self, pfa_id: &str, patch: Value) {
        let sandbox = self.open().await;
        assert_eq!(sandbox.edit(pfa_id, patch).await.status, 200);
        let answer = sandbox.commit("").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

impl Sandbox<'_> {
    /// Any request below the session.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Answer {
        self.planner.send(method, &format!("sessions/{}{path}", self.id), headers, body).await
    }

    /// Edits one record.
    pub async fn edit(&self, pfa_id: &str, patch: Value) -> Answer {
        self.send(
            Method::PATCH,
            &format!("/records/{pfa_id}"),
            &[("content-type", "application/merge-patch+json")],
            Some(patch.to_string()),
        )
        .await
    }

    /// Drops the draft of one record.
    pub async fn drop_draft(&self, pfa_id: &str) -> Answer {
        self.send(Method::DELETE, &format!("/records/{pfa_id}"), &[], None).await
    }

    /// Edits many records.
    pub async fn bulk(&self, body: Value) -> Answer {
        self.send(Method::POST, "/edits", &[], Some(body.to_string())).await
    }

    pub async fn undo(&self) -> Answer {
        self.send(Method::POST, "/undo", &[], None).await
    }

    pub async fn redo(&self) -> Answer {
        self.send(Method::POST, "/redo", &[], None).await
    }

    /// Commits, with these parameters.
    pub async fn commit(&self, query: &str) -> Answer {
        self.send(Method::POST, &format!("/commit?{query}"), &[], None).await
    }

    pub async fn changes(&self) -> Vec<Value> {
        data(&self.send(Method::GET, "/changes", &[], None).await)
    }

    pub async fn discard(&self) -> Answer {
        self.send(Method::DELETE, "", &[], None).await
    }

    /// The session itself.
    pub async fn look(&self) -> Value {
        self.send(Method::GET, "", &[], None).await.json()
    }

    /// Something of the organization, read inside the sandbox.
    pub async fn read(&self, path: &str) -> Answer {
        let mark = if path.contains('?') { '&' } else { '?' };
        self.planner.get(&format!("{path}{mark}session={}", self.id)).await
    }

    /// One record as the sandbox sees it.
    pub async fn row(&self, pfa_id: &str) -> Value {
        self.read(&format!("records/{pfa_id}")).await.json()
    }
}

/// Any text as a segment of a path.
pub fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"))
}

/// The entries of a list.
pub fn data(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["data"].as_array().unwrap().clone()
}

/// Asserts what kind of problem an answer is; gives the problem.
#[track_caller]
pub fn assert_problem(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{problem}");
    problem
}
