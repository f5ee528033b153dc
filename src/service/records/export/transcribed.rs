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
use crate::service::records::transcript::{Follower, LINE, Passage, Place, Record, Sum, Transcript};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row as _};
use std::sync::Arc;

/// When more than this part of the lines is missing, all are read: each that is asked for by its id takes three times as long (4 µs
/// of the database instead of 1 to 1.5).
const MISSING_PART: usize = 8;
/// So few are asked for in any case.
const MOST_MISSING: usize = 100;
/// Where the start of a row of an overlay stands.
const START: usize = BEFORE_FIELDS + 1;
/// Where the hash of its version stands in a row of the mirror, and what begins behind it: its fields.
const HASH: usize = 3;
const BEHIND_HASH: usize = HASH + 1;

/// Sends all rows and tells how many they are; none when their lines have become too large for one piece.
pub(super) async fn send(
    snapshot: &mut PgConnection,
    query: &PageQuery,
    origin: Origin,
    texts: &RecordTexts,
    outlet: &mut Outlet<'_>,
) -> Result<Option<usize>> {
    let Some(transcript) = find(snapshot, query, origin, texts).await? else { return Ok(None) };
    let hidden = find_overlaid(snapshot, query, &transcript).await?;
    let mut passage = Passage::without(&transcript, hidden);
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

/// Which lines the reader's overlays stand for.
async fn find_overlaid(snapshot: &mut PgConnection, query: &PageQuery, transcript: &Transcript) -> Result<Vec<usize>> {
    let mut statement = statements::overlaid(query);
    let ids = statement.build_query_scalar().fetch(snapshot);
    Ok(ids.try_filter_map(async |id| Ok(transcript.find(id))).try_collect().await?)
}

/// The transcript of what is there now: the one that is remembered, if the mirror has the same records in the same versions.
async fn find(snapshot: &mut PgConnection, query: &PageQuery, origin: Origin, texts: &RecordTexts) -> Result<Option<Arc<Transcript>>> {
    let mut found = None;
    if let Some(known) = texts.transcript(query, origin) {
        let row = build(&mut statements::sum(query), query).fetch_one(&mut *snapshot).await?;
        let sum = Sum { count: row.try_get(0)?, hash: row.try_get(1)? };
        if known.sum() == sum {
            return Ok(Some(known));
        }
        found = mend(snapshot, query, (origin, sum), texts, &known).await?;
    }
    if found.is_none() {
        found = write(snapshot, query, origin, texts).await?;
    }
    let found = found.map(Arc::new);
    if let Some(transcript) = &found {
        texts.note_transcript(query, Arc::clone(transcript));
    }
    Ok(found)
}

/// Writes the lines of the records that there are now by those that are known; none when many are not, or they are too large.
async fn mend(
    snapshot: &mut PgConnection,
    query: &PageQuery,
    (origin, sum): (Origin, Sum),
    texts: &RecordTexts,
    known: &Transcript,
) -> Result<Option<Transcript>> {
    let count = usize::try_from(sum.count).unwrap_or_default();
    if count.saturating_mul(LINE) > texts.most_transcribed() {
        return Ok(None);
    }
    let most_missing = MOST_MISSING.max(count / MISSING_PART);
    let (mut lines, mut missing) = (Vec::new(), Vec::new());
    let mut follower = Follower::new(known);
    let mut statement = statements::mirrored(query, None);
    let mut rows = build(&mut statement, query).fetch(&mut *snapshot);
    while let Some(row) = rows.try_next().await? {
        let record = read_record(&row)?;
        let line = follower.find(&record);
        if line.is_none() {
            missing.push(TextOf::new(false, record.id, record.version));
        }
        if missing.len() > most_missing {
            return Ok(None);
        }
        lines.push((record, line));
    }
    drop(rows);
    let read = match missing.as_slice() {
        [] => Vec::new(),
        missing => texts.read(snapshot, query, origin, missing).await?.ok_or(Error::ExportCut)?,
    };
    let mut read = read.iter().map(AsRef::as_ref);
    let mut transcript = Transcript::new(origin.of_fields(query.fields.as_deref()));
    for (record, line) in lines {
        transcript.push(record, line.or_else(|| read.next()).ok_or(Error::ExportCut)?);
    }
    Ok((transcript.bytes() <= texts.most_transcribed()).then(|| transcript.finished(sum)))
}

/// Reads all lines; none when they are too large.
async fn write(snapshot: &mut PgConnection, query: &PageQuery, origin: Origin, texts: &RecordTexts) -> Result<Option<Transcript>> {
    if super::has_one_plan(query) {
        // Not for fields that are not in the index: how records are best read depends on the organization.
        sqlx::query("set local plan_cache_mode = force_custom_plan").execute(&mut *snapshot).await?;
    }
    let fields = query.fields.as_deref().unwrap_or_default();
    let mut transcript = Transcript::new(origin.of_fields(query.fields.as_deref()));
    let (mut sum, mut line) = (Sum::default(), String::new());
    let mut statement = statements::mirrored(query, Some(fields));
    let mut rows = build(&mut statement, query).fetch(&mut *snapshot);
    while let Some(row) = rows.try_next().await? {
        line.clear();
        push_fields(&mut line, fields, read_cells(&row, BEHIND_HASH, fields)?, None);
        transcript.push(read_record(&row)?, &line);
        sum.add(row.try_get_unchecked(HASH)?);
        if transcript.bytes() > texts.most_transcribed() {
            return Ok(None);
        }
    }
    Ok(Some(transcript.finished(sum)))
}

fn read_record(row: &PgRow) -> Result<Record> {
    // To look at the types again in each row would take a tenth of it.
    Ok(Record { id: row.try_get_unchecked(0)?, version: row.try_get_unchecked(1)?, date: row.try_get_unchecked(2)? })
}

/// Statements with a filter of their own are not kept.
fn build<'s>(statement: &'s mut Builder, query: &PageQuery) -> Query<'s, Postgres, PgArguments> {
    statement.build().persistent(query.filter.conditions.is_empty())
}
