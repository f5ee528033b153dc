//! Sandboxes in the largest organization: bulk edits and commits of 10,000 records, and readings in a
//! sandbox with few drafts beside one with 20,000. A small ladder has as many as there are.

use crate::bed::Bed;
use crate::report::{Report, Rung};
use crate::support::{quantile, time};
use serde_json::{Value, json};
use std::time::Duration;

/// Rounds of each reading.
const READINGS: usize = 60;
/// Rounds of each write; each takes other records.
const WRITES: usize = 5;
/// Records of a write, and drafts of a sandbox with many; fewer where the organization has not as many.
const WRITTEN: usize = 10_000;
const DRAFTS: usize = 20_000;

/// Measures writes, then readings; leaves the records as they were.
pub async fn measure(bed: &mut Bed, report: &mut Report) {
    let base = format!("/api/v1/orgs/{}", bed.largest);
    let mut sandboxes = Sandboxes { bed, base };
    let rentals = sandboxes.rentals(0, i64::MAX).await;
    sandboxes.measure_writes(rentals.len(), report).await;
    sandboxes.bed.forget().await;
    sandboxes.measure_readings(&rentals[..rentals.len().min(DRAFTS)], report).await;
    sandboxes.measure_crowds(report).await;
    sandboxes.bed.forget().await;
}

struct Sandboxes<'a> {
    bed: &'a mut Bed,
    base: String,
}

impl Sandboxes<'_> {
    /// Rentals that are planned, `count` of them after the first `skip` by id.
    async fn rentals(&self, skip: i64, count: i64) -> Vec<String> {
        sqlx::query_scalar(
            "select pfa_id from pfa_mirror
              where organization_id = $1 and source = 'Rental' and not is_actualized and not is_discontinued and forecast_end is not null
              order by id offset $2 limit $3",
        )
        .bind(&self.bed.largest)
        .bind(skip)
        .bind(count)
        .fetch_all(&self.bed.pool)
        .await
        .unwrap()
    }

    async fn open(&mut self) -> String {
        let session: Value = serde_json::from_str(&self.bed.client.post(&format!("{}/sessions", self.base), "").await).unwrap();
        session["id"].as_str().unwrap().to_owned()
    }

    async fn shift(&mut self, session: &str, pfa_ids: &[String], is_preview: bool) -> Value {
        self.edit(session, pfa_ids, &json!({"type": "shiftDates", "days": 30}), is_preview).await
    }

    async fn edit(&mut self, session: &str, pfa_ids: &[String], operation: &Value, is_preview: bool) -> Value {
        let body = json!({"select": {"pfaIds": pfa_ids}, "operation": operation, "preview": is_preview});
        serde_json::from_str(&self.bed.client.post(&format!("{}/sessions/{session}/edits", self.base), &body.to_string()).await).unwrap()
    }

    /// Bulk edits, undo, redo and commits, each round on other records.
    async fn measure_writes(&mut self, rentals: usize, report: &mut Report) {
        let written = (rentals / WRITES).min(WRITTEN);
        let [mut floor, mut preview, mut edit, mut undo, mut redo, mut commit]: [Vec<Duration>; 6] = Default::default();
        for round in 0..WRITES {
            let [skipped, count] = [round * written, written].map(|number| i64::try_from(number).unwrap());
            let pfa_ids = self.rentals(skipped, count).await;
            assert_eq!(pfa_ids.len(), written);
            let session = self.open().await;
            let path = format!("{}/sessions/{session}", self.base);
            time(&mut floor, self.write_plainly(&pfa_ids)).await;
            time(&mut preview, self.shift(&session, &pfa_ids, true)).await;
            time(&mut edit, self.shift(&session, &pfa_ids, false)).await;
            time(&mut undo, self.bed.client.post(&format!("{path}/undo"), "")).await;
            time(&mut redo, self.bed.client.post(&format!("{path}/redo"), "")).await;
            let mut answer = String::new();
            time(&mut commit, async { answer = self.bed.client.post(&format!("{path}/commit"), "").await }).await;
            assert!(answer.starts_with(&format!("{{\"committed\":{written},")), "{answer}");
        }
        let (floor, count) = (Some(quantile(&mut floor, 0.5)), thousands(written));
        for (name, mut times, limit) in [
            (format!("preview of {count} edits"), preview, Some(2_000.0)),
            (format!("{count} edits"), edit, Some(2_000.0)),
            (format!("undo of {count} edits"), undo, None),
            (format!("redo of {count} edits"), redo, None),
            (format!("commit of {count} drafts"), commit, Some(1_000.0)),
        ] {
            let (ours, ours_p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
            report.add(Rung { name, ours, ours_p99, floor, limit, ..Rung::default() });
        }
    }

    /// The least that keeping drafts can cost: their rows, with keys and indexes, rolled back.
    async fn write_plainly(&self, pfa_ids: &[String]) {
        let mut transaction = self.bed.pool.begin_with("begin; set local plan_cache_mode = auto").await.unwrap();
        sqlx::query(
            "insert into pfa_modification (organization_id, session_id, mirror_id, user_id, delta, base)
             select m.organization_id, s.id, m.id, s.user_id, jsonb_build_object('forecastStart', m.forecast_start), '{}'
               from pfa_mirror m join (select * from pfa_session where organization_id = $1 order by created_at desc limit 1) s using (organization_id)
              where m.organization_id = $1 and m.pfa_id = any ($2)",
        )
        .bind(&self.bed.largest)
        .bind(pfa_ids)
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.rollback().await.unwrap();
    }

    /// The same readings in a sandbox with 10 drafts, which are the floor, and in one with many that the
    /// planner knows nothing of yet; each right after an edit, so that no summary
    /// was computed before; of the pages most texts are remembered.
    async fn measure_readings(&mut self, drafts: &[String], report: &mut Report) {
        let (few, many) = (self.open().await, self.open().await);
        self.shift(&few, &drafts[..10], false).await;
        self.shift(&many, drafts, false).await;
        let count = thousands(drafts.len());
        let grid = "records?category=Lifting&source=Rental&forecastStartFrom=2023-06-01&forecastEndTo=2028-12-31&limit=1000";
        for (name, path, at_most) in [
            ("grid page among", grid, Some(2.0)),
            ("unfiltered page among", "records?limit=1000", Some(2.0)),
            ("page by falling rate among", "records?sort=-monthlyRate&limit=100", None),
            ("exact count among", "records?limit=1&count=exact", None),
            ("what-if KPIs of", "kpis?groupBy=category", None),
            ("what-if timeline of", "timeline", None),
        ] {
            let rung = Rung { name: format!("{name} {count} drafts, beside 10"), at_most, ..Rung::default() };
            report.add(self.compare([&few, &many], path, &drafts[..1], rung).await);
        }
    }

    /// Pages in sandboxes where the first records of the grid have drafts, all of many: the page shows nothing else.
    async fn measure_crowds(&mut self, report: &mut Report) {
        let drafts = self.first_records().await;
        let (few, many) = (self.open().await, self.open().await);
        for (session, drafts) in [(&few, &drafts[..10]), (&many, &drafts)] {
            self.edit(session, drafts, &json!({"type": "set", "fields": {"areaSilo": "YARD 7"}}), false).await;
        }
        for rows in [100, 1_000] {
            let name = format!("page of {} rows, the first {} drafts, beside 10", thousands(rows), thousands(drafts.len()));
            // What the grid shows further down is edited meanwhile.
            let rung = Rung { name, at_most: Some(2.0), ..Rung::default() };
            report.add(self.compare([&few, &many], &format!("records?limit={rows}"), &drafts[drafts.len() - 1..], rung).await);
            self.check_crowd(&many, rows).await;
        }
    }

    /// A page of drafts has the rows that one has which is too large to be read as such, by a process that remembers no texts.
    async fn check_crowd(&mut self, session: &str, rows: usize) {
        let path = |limit| format!("{}/records?limit={limit}&session={session}", self.base);
        let [page, large] = [path(rows), path(5_000)];
        let page: Value = serde_json::from_str(&self.bed.client.get_or_post(&page, "").await).unwrap();
        let large: Value = serde_json::from_str(&self.bed.forgetful.get_or_post(&large, "").await).unwrap();
        assert!(page["data"].as_array().unwrap()[..] == large["data"].as_array().unwrap()[..rows], "a page of {rows} drafts");
    }

    /// In the order of the grid.
    async fn first_records(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select pfa_id from pfa_mirror where organization_id = $1 and not is_discontinued order by forecast_start, id limit $2",
        )
        .bind(&self.bed.largest)
        .bind(i64::try_from(DRAFTS).unwrap())
        .fetch_all(&self.bed.pool)
        .await
        .unwrap()
    }

    /// The same reading in two sandboxes, of which the first is the floor, each time after an edit.
    async fn compare(&mut self, sandboxes: [&String; 2], path: &str, edited: &[String], rung: Rung) -> Rung {
        let separator = if path.contains('?') { '&' } else { '?' };
        let paths = sandboxes.map(|session| format!("{}/{path}{separator}session={session}", self.base));
        let mut times: [Vec<Duration>; 2] = Default::default();
        for _ in 0..READINGS {
            for ((session, path), times) in sandboxes.into_iter().zip(&paths).zip(&mut times) {
                self.shift(session, edited, false).await;
                time(times, self.bed.client.read(path, "")).await;
            }
        }
        let [few, many] = &mut times;
        Rung { ours: quantile(many, 0.5), ours_p99: quantile(many, 0.99), floor: Some(quantile(few, 0.5)), ..rung }
    }
}

/// A number as people write it: 10,000.
fn thousands(number: usize) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
}
