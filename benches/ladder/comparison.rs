//! That the three ways of a reading say the same.

use crate::bed::Bed;
use crate::readings::Reading;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use std::collections::BTreeSet;

/// What must be the same in all three.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Compares {
    /// Records, as far as no modification touches them: the original design shows everybody's drafts.
    #[default]
    Records,
    /// Values of one field, in order.
    Ids,
    /// What is told of the merged records, in no order.
    Shown,
}

/// Fails unless the three ways say the same where they should.
pub async fn compare(bed: &mut Bed, reading: &Reading, body: &str, touched: &BTreeSet<String>) {
    let ours = rows_of(body);
    assert!(!ours.is_empty(), "{}: nothing was read", reading.name);
    let literal = reading.literal_shown.as_ref().or(reading.literal.as_ref().filter(|_| reading.shown.is_none()));
    for (statement, has_order) in [(Some(reading.shown.as_ref().unwrap_or(&reading.floor)), true), (literal, false)] {
        let Some(statement) = statement else { continue };
        let theirs: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement.as_str())).fetch_all(&mut bed.bare).await.unwrap();
        if reading.compares == Compares::Ids {
            let ours: Vec<_> = ours.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(ours, theirs, "{}", reading.name);
            continue;
        }
        let theirs: Vec<Value> = theirs.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        if reading.compares == Compares::Shown {
            assert_eq!(sorted(ours.iter().map(|row| like(row, &theirs[0]))), sorted(theirs.iter().cloned()), "{}", reading.name);
            return;
        }
        let is_page = reading.path.contains("limit=") || !reading.body.is_empty();
        let [mut ours, mut theirs] = [&ours, &theirs].map(|rows| untouched(rows, touched));
        if is_page && has_order {
            // Both begin the same list, and end where each has its number of rows.
            let shorter = ours.len().min(theirs.len());
            ours.truncate(shorter);
            theirs.truncate(shorter);
        } else if is_page {
            // The original design says no order of one day: up to the earlier of both last days the same rows are in both.
            let end = [&ours, &theirs].map(|rows| rows.last().map_or(String::new(), start_of)).into_iter().min().unwrap();
            for rows in [&mut ours, &mut theirs] {
                rows.retain(|row| start_of(row) < end);
            }
        }
        if !has_order {
            for rows in [&mut ours, &mut theirs] {
                rows.sort_by_key(|row| row["pfaId"].to_string());
            }
        }
        assert!(!ours.is_empty() && ours == theirs, "{}: {} rows of ours, {} of theirs", reading.name, ours.len(), theirs.len());
    }
}

/// The rows of an answer: of a page, of a grid, of a summary or of an export; a summary that has none is one itself.
fn rows_of(body: &str) -> Vec<Value> {
    let Ok(answer) = serde_json::from_str::<Value>(body) else {
        return body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    };
    let rows = ["data", "rows", "groups"].iter().find_map(|key| answer[key].as_array());
    rows.cloned().unwrap_or_else(|| vec![answer])
}

/// Of a row what the other one tells.
fn like(row: &Value, other: &Value) -> Value {
    other.as_object().unwrap().keys().map(|key| (key.clone(), row[key].clone())).collect()
}

fn sorted(rows: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(Value::to_string);
    rows
}

fn start_of(row: &Value) -> String {
    // Rows without a date come last.
    row["forecastStart"].as_str().unwrap_or("~").to_owned()
}

/// Records that no modification touches, in their order.
fn untouched(rows: &[Value], touched: &BTreeSet<String>) -> Vec<Value> {
    let rows = rows.iter().filter(|row| !touched.contains(row["pfaId"].as_str().unwrap()));
    rows.map(|row| {
        let mut record = row.as_object().unwrap().clone();
        record.remove("_meta");
        Value::Object(record)
    })
    .collect()
}
