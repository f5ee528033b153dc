//! Exports of some fields whose lines are remembered in one piece: only those of overlays are read, if nothing else has changed.

use super::json::push_draft;
use super::outlet::Outlet;
use super::statements;
use crate::domain::row::push_fields;
use crate::error::{Error, Result};
use crate::service::records::PageQuery;
use crate::service::records::row::{BEFORE_FIELDS, read_cells};
use crate::service::records::statement::Builder;
use crate::service::records::text_of::TextOf;
use crate::service::records::texts::{Origin, RecordTexts};
use crate::service::records::transcript::{Follower, Passage, Place, Record, Sum, Transcript};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row as _};
use std::sync::Arc;

/// When more than this part of the lines is missing, all are read: each that is asked for by its id takes ten times as long.
const MISSING_PART: usize = 16;
/// So few are asked for in any case.
const MOST_MISSING: usize = 100;
/// Where the start of a row of an overlay stands.
const START: usize = BEFORE_FIELDS + 1;
/// Where fields begin in a row of the mirror.
const BEHIND_START: usize = 3;

/// Sends all rows and tells how many they are; none when their lines have become too large for one piece.
pub(super) async fn send(
    snapshot: &mut PgConnection,
    query: &PageQuery,
    origin: Origin,
    texts: &RecordTexts,
    outlet: &mut Outlet<'_>,
) -> Result<Option<usize>> {
    let Some(transcript) = find(snapshot, query, origin, texts).await? else { return Ok(None) };
    let mut overlaid = statements::overlaid(query);
    let overlaid = overlaid.build_query_scalar().fetch_all(&mut *snapshot).await?;
    let mut passage = Passage::without(&transcript, &overlaid);
    let fields = query.fields.as_deref().unwrap_or_default();
    let mut statement = statements::drafts(query);
    let mut drafts = build(&mut statement, query).fetch(snapshot);
    let (mut rows, mut line) = (passage.rows, String::new());
    while let Some(draft) = drafts.try_next().await? {
        for piece in passage.up_to(Some(Place::new(draft.try_get(START)?, draft.try_get(0)?))) {
            outlet.push(piece).await?;
        }
        line.clear();
        push_draft(&mut line, &draft, fields)?;
        line.push('\n');
        outlet.push(&line).await?;
        rows += 1;
    }
    for piece in passage.up_to(None) {
        outlet.push(piece).await?;
    }
    Ok(Some(rows))
}

/// The transcript of what is there now: the one that is remembered, if the mirror has the same records in the same versions.
async fn find(snapshot: &mut PgConnection, query: &PageQuery, origin: Origin, texts: &RecordTexts) -> Result<Option<Arc<Transcript>>> {
    let row = build(&mut statements::sum(query), query).fetch_one(&mut *snapshot).await?;
    let sum = Sum { count: row.try_get(0)?, hash: row.try_get(1)? };
    let known = texts.transcript(query, origin);
    let mut found = match known {
        Some(known) if known.sum() == sum => return Ok(Some(known)),
        Some(known) => mend(snapshot, query, (origin, sum), texts, &known).await?,
        None => None,
    };
    if found.is_none() {
        found = write(snapshot, query, (origin, sum), texts).await?;
    }
    let found = found.map(|transcript| Arc::new(transcript.finished()));
    if let Some(transcript) = &found {
        texts.note_transcript(query, Arc::clone(transcript));
    }
    Ok(found)
}

/// Writes the lines of the records that there are now by those that are known; none when many are not.
async fn mend(
    snapshot: &mut PgConnection,
    query: &PageQuery,
    (origin, sum): (Origin, Sum),
    texts: &RecordTexts,
    known: &Transcript,
) -> Result<Option<Transcript>> {
    let (mut lines, mut missing) = (Vec::new(), Vec::new());
    let mut follower = Follower::new(known);
    let mut statement = statements::mirrored(query, &[]);
    let mut rows = build(&mut statement, query).fetch(&mut *snapshot);
    while let Some(row) = rows.try_next().await? {
        let record = read_record(&row)?;
        let line = follower.find(&record);
        if line.is_none() {
            missing.push(TextOf::new(false, record.id, record.version));
        }
        lines.push((record, line));
    }
    drop(rows);
    if missing.len() > MOST_MISSING.max(lines.len() / MISSING_PART) {
        return Ok(None);
    }
    let read = match missing.as_slice() {
        [] => Vec::new(),
        missing => texts.read(snapshot, query, origin, missing).await?.ok_or(Error::ExportCut)?,
    };
    let mut read = read.iter().map(AsRef::as_ref);
    let mut transcript = Transcript::new(origin, sum);
    for (record, line) in lines {
        transcript.push(record, line.or_else(|| read.next()).ok_or(Error::ExportCut)?);
    }
    Ok(Some(transcript))
}

/// Reads all lines; none when they are too large.
async fn write(
    snapshot: &mut PgConnection,
    query: &PageQuery,
    (origin, sum): (Origin, Sum),
    texts: &RecordTexts,
) -> Result<Option<Transcript>> {
    // What is read is mostly not in an index: it depends on the organization how it is best found.
    sqlx::query("set local plan_cache_mode = force_custom_plan").execute(&mut *snapshot).await?;
    let fields = query.fields.as_deref().unwrap_or_default();
    let mut transcript = Transcript::new(origin, sum);
    let mut line = String::new();
    let mut statement = statements::mirrored(query, fields);
    let mut rows = build(&mut statement, query).fetch(&mut *snapshot);
    while let Some(row) = rows.try_next().await? {
        line.clear();
        push_fields(&mut line, fields, read_cells(&row, BEHIND_START, fields)?, None);
        transcript.push(read_record(&row)?, &line);
        if transcript.bytes() > texts.most_transcribed() {
            return Ok(None);
        }
    }
    Ok(Some(transcript))
}

fn read_record(row: &PgRow) -> Result<Record> {
    // To look at the types again in each row would take a tenth of it.
    Ok(Record { id: row.try_get_unchecked(0)?, version: row.try_get_unchecked(1)?, date: row.try_get_unchecked(2)? })
}

/// Statements with a filter of their own are not kept.
fn build<'s>(statement: &'s mut Builder, query: &PageQuery) -> Query<'s, Postgres, PgArguments> {
    statement.build().persistent(query.filter.conditions.is_empty())
}
