//! The refresh of both views, and what readers notice of it.

use crate::bed::{Bed, HOLNG};
use crate::report::{Report, Rung};
use crate::support::{Client, api, quantile, time};
use std::time::Duration;

const ROUNDS: usize = 5;

/// Refreshes while a reader goes on reading.
pub async fn measure(bed: &mut Bed, report: &mut Report) {
    let mut reader = Client::of(api(bed.pool.clone())).await;
    let paths = [format!("/api/v1/orgs/{HOLNG}/kpis"), format!("/api/v1/orgs/{HOLNG}/records?limit=100")];
    let (mut ours, mut literal, mut during, mut alone): (Vec<Duration>, Vec<_>, Vec<_>, Vec<_>) = Default::default();
    for _ in 0..ROUNDS {
        if bed.original.is_some() {
            time(&mut literal, async {
                sqlx::raw_sql("refresh materialized view concurrently literal.pfa_kpi_summary").execute(&bed.pool).await.unwrap();
                sqlx::raw_sql("refresh materialized view concurrently literal.pfa_timeline_bounds").execute(&bed.pool).await.unwrap();
            })
            .await;
        }
        let refresh = time(&mut ours, bed.client.post("/api/v1/ops/refresh", ""));
        tokio::pin!(refresh);
        loop {
            let reading = async {
                for path in &paths {
                    time(&mut during, reader.read(path, "")).await;
                }
            };
            tokio::pin!(reading);
            let is_over = tokio::select! {
                biased;
                () = &mut reading => false,
                () = &mut refresh => true,
            };
            if is_over {
                // Whoever had to wait for the end of the refresh would be this one.
                reading.await;
                break;
            }
        }
        for path in paths.iter().cycle().take(100) {
            time(&mut alone, reader.read(path, "")).await;
        }
    }
    let [alone, during] = [&mut alone, &mut during].map(|times| [0.5, 0.99, 1.0].map(|part| quantile(times, part)));
    for (name, [median, p99, most]) in [("during a refresh", during), ("else", alone)] {
        println!("readings {name}: p50 {median:.2} ms, p99 {p99:.2} ms, at most {most:.2} ms");
    }
    let median = quantile(&mut ours, 0.5);
    assert!(during[2] < median / 2.0 || report.records < 1_000_000, "a reading has waited for the refresh");
    report.add(Rung {
        name: "refresh of both views".to_owned(),
        ours: median,
        ours_p99: quantile(&mut ours, 0.99),
        literal: bed.original.is_some().then(|| quantile(&mut literal, 0.5)),
        // Nothing is promised of ten million.
        limit: (report.records <= 1_000_000).then_some(5_000.0),
        ..Rung::default()
    });
}
