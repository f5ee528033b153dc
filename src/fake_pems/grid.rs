//! The grid of the stand-in: head, count and pages.

use super::faults::Fault;
use super::records::{FakeRecord, Records};
use crate::domain::field::Field;
use crate::pems::wire::{GridRequest, RequestType};
use crate::pems::{FieldMap, ReadTarget};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

/// Numbers of fields begin here, as they may anywhere.
const FIRST_ALIAS: u64 = 501;

/// What a request gets, or why it is refused.
pub(super) fn answer(fields: &FieldMap, records: &Records, organization: &str, body: &[u8], fault: Option<Fault>) -> Result<Value, String> {
    let request: GridRequest = serde_json::from_slice(body).map_err(|error| format!("bad request: {error}"))?;
    if request.grid.grid_name != fields.grid || request.grid.grid_id != fields.grid_id {
        return Err(format!("Grid {} is not a valid grid", request.grid.grid_name));
    }
    let matching = matching(fields, records, organization, &request)?;
    let grid = match request.request_type {
        RequestType::Head => json!({"METADATA": {"RECORDS": "0"}, "FIELDS": {"FIELD": head(fields, records)}}),
        RequestType::Count => json!({"METADATA": {"RECORDS": matching.len().to_string()}}),
        RequestType::Data => page(fields, records, organization, &matching, &request, fault),
    };
    Ok(json!({"Result": {"SessionID": null, "ResultData": {"GRID": grid}}, "ErrorAlert": []}))
}

fn head(fields: &FieldMap, records: &Records) -> Vec<Value> {
    let names = fields.read_names().map(|(name, _)| name).chain(records.more_columns());
    let describe = |(place, name)| json!({"aliasnum": alias(place), "name": name, "label": name, "type": "MIXVARCHAR"});
    names.enumerate().map(describe).collect()
}

fn alias(place: usize) -> String {
    (FIRST_ALIAS + place as u64).to_string()
}

/// The rows that the filters let through: one condition on the stamp, or ids joined by OR.
fn matching<'a>(
    fields: &FieldMap,
    records: &'a Records,
    organization: &str,
    request: &GridRequest,
) -> Result<Vec<(&'a str, &'a FakeRecord)>, String> {
    let mut rows: Vec<_> = records.of(organization).collect();
    let Some(filters) = &request.multiaddon_filters else { return Ok(rows) };
    let mut ids = Vec::new();
    let mut since = None;
    for filter in &filters.filters {
        match (fields.read_target(&filter.alias_name), filter.operator.as_str()) {
            (Some(ReadTarget::Field(Field::PfaId)), "=") => ids.push(filter.value.as_str()),
            (Some(ReadTarget::Stamp), ">=") => {
                let stamp = DateTime::parse_from_rfc3339(&filter.value);
                since = Some(stamp.map_err(|_| format!("{} is not a valid date", filter.value))?);
            }
            _ => return Err(format!("{} {} is not a valid filter", filter.alias_name, filter.operator)),
        }
    }
    rows.retain(|(id, record)| (ids.is_empty() || ids.contains(id)) && since.is_none_or(|since| record.changed_at >= since));
    Ok(rows)
}

fn page(
    fields: &FieldMap,
    records: &Records,
    organization: &str,
    matching: &[(&str, &FakeRecord)],
    request: &GridRequest,
    fault: Option<Fault>,
) -> Value {
    let size = request.grid.number_of_rows_first_returned as usize;
    let asked = usize::try_from(request.grid.cursor_position).unwrap_or(1).max(1) - 1;
    let first = if fault == Some(Fault::DuplicatePage) { asked.saturating_sub(size) } else { asked };
    let mut rows: Vec<_> = matching.iter().skip(first).take(size).collect();
    if fault == Some(Fault::DuplicatePage) && asked == 0 && rows.len() > 1 {
        let last = rows.len() - 1;
        rows[last] = rows[0];
    }
    let mut has_more = asked + rows.len() < matching.len();
    if fault == Some(Fault::TruncatedPage) {
        rows.truncate(rows.len() / 2);
        has_more = false;
    }
    let mut cells: Vec<_> = rows.iter().map(|(id, record)| row(fields, records, organization, id, record)).collect();
    if let (Some(Fault::MalformedValue), Some(first)) = (fault, cells.first_mut()) {
        spoil_a_date(fields, first);
    }
    json!({
        "METADATA": {"RECORDS": rows.len().to_string(), "MORERECORDPRESENT": if has_more { "+" } else { "-" }, "CURRENTCURSORPOSITION": asked + rows.len()},
        "DATA": {"ROW": cells.iter().enumerate().map(|(place, cells)| json!({"id": asked + place + 1, "D": cells})).collect::<Vec<_>>()},
    })
}

fn row(fields: &FieldMap, records: &Records, organization: &str, id: &str, record: &FakeRecord) -> Vec<Value> {
    let text = |target| match target {
        ReadTarget::Organization => organization.to_owned(),
        ReadTarget::Stamp => record.changed_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        ReadTarget::Field(Field::PfaId) => id.to_owned(),
        ReadTarget::Field(field) => record.texts.get(&field).cloned().unwrap_or_default(),
    };
    let named = fields.read_names().map(|(_, target)| text(target));
    let more = records.more_columns().map(|name| record.more.get(name).cloned().unwrap_or_default());
    named.chain(more).enumerate().map(|(place, value)| json!({"n": alias(place), "value": value})).collect()
}

fn spoil_a_date(fields: &FieldMap, cells: &mut [Value]) {
    let place = fields.read_names().position(|(_, target)| target == ReadTarget::Field(Field::ForecastEnd));
    if let Some(cell) = place.and_then(|place| cells.get_mut(place)) {
        cell["value"] = json!("31/31/2025");
    }
}
