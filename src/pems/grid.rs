//! Reading records from the grid: its fields once, by name, then page after page.

use super::client::PemsClient;
use super::error::PemsError;
use super::field_map::{FieldMap, ReadTarget};
use super::wire::{Filter, Filters, GRID_PATH, Grid, GridData, GridField, GridPage, GridRequest, GridType, RequestType, Row, Sort};
use crate::domain::field::Field;
use backon::{ExponentialBuilder, Retryable as _};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::Duration;

/// A reading is tried so often in all.
const MOST_TRIES: usize = 4;
/// No pause between tries is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many ids stand in one filter.
pub const IDS_OF_A_FILTER: usize = 100;

/// Which records are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GridFilter {
    /// All of the organization.
    All,
    /// Those that PEMS changed at or after a stamp, as PEMS writes stamps.
    Since(String),
    /// These; at most [`IDS_OF_A_FILTER`].
    Ids(Vec<String>),
}

/// What the cells of a grid are, by number.
#[derive(Debug, Clone)]
pub struct Head {
    columns: HashMap<u64, Column>,
}

#[derive(Debug, Clone)]
enum Column {
    Known(ReadTarget),
    /// The map does not name it; it is kept as it is called.
    Unknown(String),
    /// The same, but another field of the grid is the key that it is called like.
    Shadowed,
}

/// A record as PEMS has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PemsRecord {
    /// Keys of the dictionary and fields that the map does not name, with the texts of PEMS.
    pub data: Map<String, Value>,
    /// Code of the organization that it says it belongs to.
    pub organization: Option<String>,
    /// When PEMS changed it last, as PEMS writes it.
    pub stamp: Option<String>,
}

/// A page of records.
#[derive(Debug)]
pub struct Page {
    /// In the order of their ids.
    pub records: Vec<PemsRecord>,
    /// Where the next page begins; none after the last one.
    pub next: Option<u64>,
}

impl PemsClient {
    /// The fields of the grid.
    ///
    /// # Errors
    /// [`PemsError::Unsayable`] when the grid does not have a field that the map names; or PEMS fails.
    pub async fn read_head(&self, organization: &str) -> Result<Head, PemsError> {
        let grid = self.ask_grid(organization, RequestType::Head, &GridFilter::All, 1).await?;
        let fields = grid.fields.ok_or_else(|| PemsError::Malformed("a head without fields".into()))?.fields;
        let map = self.fields();
        let missing: Vec<_> = map
            .read_names()
            .map(|(name, _)| name)
            .filter(|name| !fields.iter().any(|field| field.name.eq_ignore_ascii_case(name)))
            .collect();
        if !missing.is_empty() {
            // Read on, and every record would lose what stands in these fields.
            return Err(PemsError::Unsayable(format!("the grid {} has no field {}; see PFA_PEMS_FIELD_MAP", map.grid, missing.join(", "))));
        }
        Ok(Head::new(map, fields))
    }

    /// How many records there are.
    ///
    /// # Errors
    /// When PEMS fails.
    pub async fn count_records(&self, organization: &str, filter: &GridFilter) -> Result<u64, PemsError> {
        Ok(self.ask_grid(organization, RequestType::Count, filter, 1).await?.metadata.records)
    }

    /// The page that begins at a row, counted from 1.
    ///
    /// # Errors
    /// When PEMS fails, or the page is not whole.
    pub async fn read_page(&self, organization: &str, head: &Head, filter: &GridFilter, cursor: u64) -> Result<Page, PemsError> {
        let grid = self.ask_grid(organization, RequestType::Data, filter, cursor).await?;
        let next = (grid.metadata.more == "+").then_some(grid.metadata.current_position + 1);
        let rows = grid.data.unwrap_or_default().rows;
        let records = rows.into_iter().map(|row| head.record(row)).collect::<Result<_, _>>()?;
        Ok(Page { records, next })
    }

    /// One record as it is at this moment; none when PEMS does not have it. Tried once: whoever is
    /// about to write does not want an answer that took minutes.
    ///
    /// # Errors
    /// When PEMS fails.
    pub async fn read_record(&self, organization: &str, head: &Head, pfa_id: &str) -> Result<Option<PemsRecord>, PemsError> {
        let filter = GridFilter::Ids(vec![pfa_id.to_owned()]);
        let request = self.grid_request(RequestType::Data, &filter, 1)?;
        let grid = self.ask_once(organization, &request).await?;
        let rows = grid.data.unwrap_or_default().rows;
        let records = rows.into_iter().map(|row| head.record(row)).collect::<Result<Vec<_>, _>>()?;
        let is_it = |record: &PemsRecord| record.data.get(Field::PfaId.key()).and_then(Value::as_str).map(str::trim) == Some(pfa_id);
        match records.into_iter().find(is_it) {
            Some(record) => Ok(Some(record)),
            // That a record is gone is believed when it is said twice.
            None if self.count_records(organization, &filter).await? == 0 => Ok(None),
            None => Err(PemsError::Malformed("a page without a record that is there".into())),
        }
    }

    async fn ask_once(&self, organization: &str, request: &GridRequest) -> Result<Grid, PemsError> {
        let data: GridData = self.post(organization, GRID_PATH, request, self.options.read_timeout).await?;
        check_page(&data.grid, request.request_type, request.grid.cursor_position, self.options.page_size)?;
        Ok(data.grid)
    }

    async fn ask_grid(&self, organization: &str, kind: RequestType, filter: &GridFilter, cursor: u64) -> Result<Grid, PemsError> {
        let request = self.grid_request(kind, filter, cursor)?;
        let ask = || self.ask_once(organization, &request);
        let pauses = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(self.options.retry_pause)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(MOST_TRIES - 1);
        ask.retry(pauses)
            .when(PemsError::is_passing)
            .adjust(|error, pause| pause.map(|pause| error.retry_after().unwrap_or(pause).min(LONGEST_PAUSE)))
            .notify(|error, pause| tracing::info!(organization, %error, ?pause, "PEMS is asked again"))
            .await
    }

    fn grid_request(&self, kind: RequestType, filter: &GridFilter, cursor: u64) -> Result<GridRequest, PemsError> {
        let map = self.fields();
        let name_of = |target| map.read_name(target).ok_or_else(|| PemsError::Unsayable("the field map lacks a field".into()));
        let id = name_of(ReadTarget::Field(Field::PfaId))?;
        let condition = |(place, value): (usize, &String), name: &str, operator: &str| Filter {
            alias_name: name.to_owned(),
            operator: operator.to_owned(),
            value: value.clone(),
            joiner: "OR".to_owned(),
            seqnum: place + 1,
        };
        let filters = match filter {
            GridFilter::All => None,
            GridFilter::Since(stamp) => Some(vec![condition((0, stamp), name_of(ReadTarget::Stamp)?, ">=")]),
            GridFilter::Ids(ids) => Some(ids.iter().enumerate().map(|each| condition(each, id, "=")).collect()),
        };
        Ok(GridRequest {
            grid: GridPage {
                grid_name: map.grid.clone(),
                grid_id: map.grid_id.clone(),
                number_of_rows_first_returned: self.options.page_size,
                cursor_position: cursor,
                result_in_saxorder: "FALSE".to_owned(),
            },
            grid_type: GridType { kind: "LIST".to_owned() },
            request_type: kind,
            multiaddon_filters: filters.map(|filters| Filters { filters }),
            // Pages of an order that moves would miss records.
            addon_sort: Some(Sort { alias_name: id.to_owned(), direction: "ASC".to_owned() }),
        })
    }
}

/// A page must be the one that was asked for, and whole.
fn check_page(grid: &Grid, kind: RequestType, cursor: u64, page_size: u32) -> Result<(), PemsError> {
    if kind != RequestType::Data {
        return Ok(());
    }
    let rows = grid.data.as_ref().map_or(0, |data| data.rows.len() as u64);
    let (told, position) = (grid.metadata.records, grid.metadata.current_position);
    let has_more = grid.metadata.more == "+";
    if rows != told || (has_more && rows != u64::from(page_size)) {
        return Err(PemsError::Malformed(format!(
            "a page of {rows} rows that should have {}",
            told.max(if has_more { page_size.into() } else { told })
        )));
    }
    if rows > 0 && position != cursor + rows - 1 {
        return Err(PemsError::Malformed(format!("a page that ends at row {position} instead of {}", cursor + rows - 1)));
    }
    Ok(())
}

impl Head {
    fn new(map: &FieldMap, fields: Vec<GridField>) -> Self {
        let is_mapped = |key: &str| Field::from_key(key).is_some_and(|field| map.read_name(ReadTarget::Field(field)).is_some());
        let columns = fields.into_iter().map(|field| {
            let column = match map.read_target(&field.name) {
                Some(target) => Column::Known(target),
                None if is_mapped(&field.name) => Column::Shadowed,
                None => Column::Unknown(field.name),
            };
            (field.aliasnum, column)
        });
        Self { columns: columns.collect() }
    }

    fn record(&self, row: Row) -> Result<PemsRecord, PemsError> {
        let mut record = PemsRecord::default();
        for cell in row.cells {
            let column =
                self.columns.get(&cell.n).ok_or_else(|| PemsError::Malformed(format!("a cell of the unknown field {}", cell.n)))?;
            let text = || cell.value.as_str().map(str::to_owned).filter(|text| !text.trim().is_empty());
            match column {
                Column::Known(ReadTarget::Organization) => record.organization = text(),
                Column::Known(ReadTarget::Stamp) => record.stamp = text(),
                Column::Known(ReadTarget::Field(field)) => {
                    record.data.insert(field.key().to_owned(), cell.value);
                }
                Column::Shadowed => {}
                Column::Unknown(name) => {
                    // A grid has every column in every row; blank ones say nothing.
                    if text().is_some() {
                        record.data.insert(name.clone(), cell.value);
                    }
                }
            }
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_map_names_is_not_replaced_by_a_field_that_is_called_like_its_key() {
        let map = FieldMap::parse("[read]\nid = 'pfaId'\nkind = 'class'\nchanged = 'pemsVersion'").expect("a map");
        let names = ["class", "KIND", "id", "pfaId", "remarks"];
        let fields = (1..).zip(names).map(|(aliasnum, name)| GridField { aliasnum, name: name.to_owned() });
        let head = Head::new(&map, fields.collect());
        let row = |values: [&str; 5]| {
            let cells: Vec<_> = values.iter().enumerate().map(|(place, value)| json!({"n": place + 1, "value": value})).collect();
            head.record(serde_json::from_value(json!({"D": cells})).expect("a row")).expect("a record").data
        };
        assert_eq!(Value::Object(row(["x", "Crane", "1", "x", "r"])), json!({"class": "Crane", "pfaId": "1", "remarks": "r"}));
        assert_eq!(Value::Object(row(["x", "", "1", "x", ""])), json!({"class": "", "pfaId": "1"}), "blank is what it is");
    }
}
