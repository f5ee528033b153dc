//! A grid's request for rows: from a body to a [`RowQuery`].

use super::grid::MAX_LIMIT;
use super::read_reader;
use super::tree::{ConditionReader, read_tree};
use crate::domain::condition::{Condition, Operand};
use crate::domain::field::Field;
use crate::domain::measure::{Aggregate, Measure, Measured};
use crate::domain::sort::{Direction, Sort, SortKey};
use crate::http::extract::Caller;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::records::PageQuery;
use crate::service::records::rows::{Rank, RowQuery};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// Number of the last row that can be asked for; no organization has so many.
const LAST_ROW: i64 = 1_000_000_000;
/// Most columns of a request: there are not so many.
const MOST_COLUMNS: usize = 50;
/// The column of a grid that shows all groups.
const GROUP_COLUMN: &str = "ag-Grid-AutoColumn";

/// What rows are asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryBody {
    /// Read inside this sandbox of the caller.
    #[schema(value_type = Option<Uuid>)]
    pub session: Option<String>,
    /// A tree: the grid's parameters as keys, comparisons (`field`, `op`, `value`, `values`, `from`, `to`), and `and`, `or`, `not` of trees.
    /// What stands in one object must hold altogether. At most 100 conditions, 20 levels deep, and 1,000 values of a set.
    #[schema(value_type = Option<Object>, example = json!({"category": ["Lifting"], "or": [{"field": "monthlyRate", "op": "gt", "value": 9000}, {"field": "contract", "op": "isNull"}]}))]
    pub filter: Option<Map<String, Value>>,
    /// A filter as the grid has it: of each column, or an expression over columns. Both ends belong to a range (`inRangeInclusive`).
    #[schema(value_type = Option<Object>, example = json!({"source": {"filterType": "set", "values": ["Rental"]}, "forecastStart": {"filterType": "date", "type": "inRange", "dateFrom": "2025-01-01 00:00:00", "dateTo": "2025-12-31 00:00:00"}}))]
    pub filter_model: Option<Map<String, Value>>,
    /// Only these keys of records.
    pub fields: Option<Vec<String>>,
    /// Number of the first row, from 0.
    #[schema(default = 0, minimum = 0)]
    pub start_row: Option<i64>,
    /// Number of the row behind the last one; at most 5,000 from the first, which it also is when it is not given.
    #[schema(minimum = 1)]
    pub end_row: Option<i64>,
    /// The columns that records are grouped by, from the outermost. A flag that cannot be read counts as false.
    pub row_group_cols: Option<Vec<ColumnBody>>,
    /// The keys of the groups that are opened, from the outermost; null or an empty text is that of records without a value. With all of
    /// them the rows are records.
    #[schema(value_type = Option<Vec<Option<String>>>)]
    pub group_keys: Option<Vec<Value>>,
    /// What groups and totals add up: columns, or `planCost`, `forecastCost`, `actualCost` and `variance`. A column that records are grouped
    /// by has its figure in the totals only.
    pub value_cols: Option<Vec<ColumnBody>>,
    /// The order, of groups by their own column and by value columns, of records by any column; costs order groups only.
    pub sort_model: Option<Vec<SortBody>>,
    /// Whether the grid pivots, which it can here without columns only.
    #[serde(default)]
    pub pivot_mode: bool,
    /// Of no account without pivoting.
    pub pivot_cols: Option<Vec<ColumnBody>>,
}

/// A column of the grid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ColumnBody {
    /// Its name, where there is no field.
    pub id: Option<String>,
    /// The key that it shows.
    #[schema(example = "category")]
    pub field: Option<String>,
    /// `sum` (default), `avg`, `min`, `max` or `count`.
    pub agg_func: Option<String>,
    /// For people; of no account.
    #[expect(dead_code, reason = "grids send it")]
    pub display_name: Option<String>,
}

impl ColumnBody {
    fn name(&self) -> &str {
        self.field.as_deref().or(self.id.as_deref()).unwrap_or_default()
    }
}

/// One column of the order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SortBody {
    /// The key of the column.
    #[schema(example = "forecastStart")]
    pub col_id: String,
    /// `asc` or `desc`.
    #[schema(example = "asc")]
    pub sort: String,
    /// `default`; there is no other way to sort here.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// Reads body and parameters, or tells every fault of both.
pub(super) fn read_row_query(
    organization: String,
    caller: Caller,
    mut parameters: Parameters,
    body: QueryBody,
) -> Result<RowQuery, Problem> {
    let mut reader = read_reader(organization, caller, &mut parameters);
    let faults = &mut parameters;
    if let Some(session) = body.session {
        reader.session = read_session(faults, &session, reader.session);
    }
    let mut filter = read_tree(faults, "filter", body.filter.unwrap_or_default());
    filter.narrow(ConditionReader::new(faults).read_model("filterModel", body.filter_model.unwrap_or_default()));
    let fields = body.fields.map(|names| read_fields(faults, names));
    let (offset, limit) = read_range(faults, body.start_row, body.end_row);
    let group_by = read_groups(faults, body.row_group_cols);
    if group_by.contains(&Field::IsDiscontinued) {
        // It has a value in every record; but who groups by it wants to see both groups.
        filter.narrow(Condition::IsNull(Field::IsDiscontinued).negated());
    }
    let opened = read_keys(faults, &group_by, body.group_keys);
    let measures = read_measures(faults, body.value_cols);
    let order = read_order(faults, body.sort_model, &group_by);
    if body.pivot_mode && body.pivot_cols.is_some_and(|columns| !columns.is_empty()) {
        faults.refuse("pivotCols", "must be empty: nothing is pivoted here");
    }
    let sort = sort_of(faults, &order, &group_by);
    parameters.finish()?;
    let page = PageQuery { fields, offset, ..PageQuery::new(reader, filter, sort, limit) };
    let mut query = RowQuery { page, group_by, opened, measures, ranks: Vec::new() };
    query.ranks = ranks_of(&order, &query);
    Ok(query)
}

/// A list of the request, unless it is far too long.
fn bounded<T>(faults: &mut Parameters, name: &str, list: Option<Vec<T>>) -> Vec<T> {
    let list = list.unwrap_or_default();
    if list.len() > MOST_COLUMNS {
        faults.refuse(name, format!("must be at most {MOST_COLUMNS}"));
        return Vec::new();
    }
    list
}

fn read_session(faults: &mut Parameters, text: &str, given: Option<Uuid>) -> Option<Uuid> {
    match Uuid::try_parse(text) {
        Ok(session) if given.is_none_or(|given| given == session) => return Some(session),
        Ok(_) => faults.refuse("session", "is another one in the query string"),
        Err(_) => faults.refuse("session", "must be a session id (UUID)"),
    }
    None
}

fn read_fields(faults: &mut Parameters, names: Vec<String>) -> Vec<Field> {
    if names.is_empty() {
        faults.refuse("fields", "must name a key at least");
    }
    let mut fields = Vec::new();
    for (index, name) in bounded(faults, "fields", Some(names)).iter().enumerate() {
        let path = format!("fields[{index}]");
        match Field::from_key(name) {
            Some(field) if fields.contains(&field) => faults.refuse(&path, format!("{name:?} is named twice")),
            Some(field) => fields.push(field),
            None => faults.refuse_value(&path, name, &Field::keys()),
        }
    }
    fields
}

/// The number of the first row, and how many are wanted.
fn read_range(faults: &mut Parameters, first: Option<i64>, end: Option<i64>) -> (i64, u32) {
    let first = first.unwrap_or_default();
    if !(0..=LAST_ROW).contains(&first) {
        faults.refuse("startRow", format!("must be from 0 to {LAST_ROW}"));
        return (0, MAX_LIMIT);
    }
    let wanted = u32::try_from(end.map_or(i64::from(MAX_LIMIT), |end| end.saturating_sub(first))).unwrap_or_default();
    if !(1..=MAX_LIMIT).contains(&wanted) {
        faults.refuse("endRow", format!("must be from 1 to {MAX_LIMIT} more than startRow"));
    }
    (first, wanted)
}

fn read_groups(faults: &mut Parameters, columns: Option<Vec<ColumnBody>>) -> Vec<Field> {
    let mut fields = Vec::new();
    for (index, column) in bounded(faults, "rowGroupCols", columns).iter().enumerate() {
        let path = format!("rowGroupCols[{index}].field");
        match Field::from_key(column.name()) {
            Some(field) if fields.contains(&field) => faults.refuse(&path, format!("{field} is named twice")),
            Some(field) => fields.push(field),
            None => faults.refuse_value(&path, column.name(), &Field::keys()),
        }
    }
    fields
}

fn read_keys(faults: &mut Parameters, group_by: &[Field], keys: Option<Vec<Value>>) -> Vec<Option<Operand>> {
    let keys = keys.unwrap_or_default();
    if keys.len() > group_by.len() {
        faults.refuse("groupKeys", "are more than there are columns to group by");
    }
    let mut reader = ConditionReader::new(faults);
    let keys = group_by.iter().zip(&keys).enumerate();
    let read = |(index, (field, key)): (usize, (&Field, &Value))| {
        // Grids may not have null as a key; a record never has an empty text.
        let is_without = key.is_null() || key == "";
        if is_without { None } else { reader.read_operand(&format!("groupKeys[{index}]"), *field, key) }
    };
    keys.map(read).collect()
}

fn read_measures(faults: &mut Parameters, columns: Option<Vec<ColumnBody>>) -> Vec<Measure> {
    let mut measures: Vec<Measure> = Vec::new();
    for (index, column) in bounded(faults, "valueCols", columns).iter().enumerate() {
        let path = format!("valueCols[{index}]");
        let Some(of) = Measured::from_key(column.name()) else {
            faults.refuse_value(&format!("{path}.field"), column.name(), &Measured::keys());
            continue;
        };
        let allowed = Measure::aggregates_of(of);
        let word = column.agg_func.as_deref();
        let wanted = word.unwrap_or(Aggregate::Sum.word());
        let Some(aggregate) = allowed.iter().copied().find(|aggregate| aggregate.word() == wanted) else {
            let allowed: Vec<_> = allowed.iter().map(|aggregate| aggregate.word()).collect();
            faults.refuse_value(&format!("{path}.aggFunc"), word.unwrap_or_default(), &allowed);
            continue;
        };
        // Figures stand under the keys of their columns.
        if measures.iter().any(|measure| measure.of == of) {
            faults.refuse(&format!("{path}.field"), format!("{} is named twice", of.key()));
            continue;
        }
        measures.push(Measure { of, aggregate });
    }
    measures
}

/// The columns of the order with their directions; the column of all groups stands for each of theirs.
fn read_order(faults: &mut Parameters, order: Option<Vec<SortBody>>, group_by: &[Field]) -> Vec<(Measured, Direction)> {
    let mut columns: Vec<(Measured, Direction)> = Vec::new();
    for (index, SortBody { col_id, sort, kind }) in bounded(faults, "sortModel", order).iter().enumerate() {
        let path = |key: &str| format!("sortModel[{index}].{key}");
        if let Some(kind) = kind.as_ref().filter(|kind| *kind != "default") {
            faults.refuse_value(&path("type"), kind, &["default"]);
        }
        let direction = match sort.as_str() {
            "asc" => Direction::Ascending,
            "desc" => Direction::Descending,
            other => {
                faults.refuse_value(&path("sort"), other, &["asc", "desc"]);
                continue;
            }
        };
        if col_id == GROUP_COLUMN {
            columns.extend(group_by.iter().map(|field| (Measured::Field(*field), direction)));
            continue;
        }
        let name = col_id.strip_prefix(GROUP_COLUMN).and_then(|rest| rest.strip_prefix('-')).unwrap_or(col_id);
        match Measured::from_key(name) {
            Some(column) if columns.iter().any(|(before, _)| *before == column) => {
                faults.refuse(&path("colId"), format!("{name} is named twice"));
            }
            Some(cost) if group_by.is_empty() && Measured::COSTS.contains(&cost) => {
                faults.refuse_value(&path("colId"), name, &Field::keys());
            }
            Some(column) => columns.push((column, direction)),
            None => faults.refuse_value(&path("colId"), name, &Measured::keys()),
        }
    }
    columns
}

/// The order of records: within their groups the columns of these decide nothing, and a record alone has no costs.
fn sort_of(faults: &mut Parameters, order: &[(Measured, Direction)], group_by: &[Field]) -> Sort {
    let key = |(column, direction): &(Measured, Direction)| match column {
        Measured::Field(field) if !group_by.contains(field) => Some(SortKey { field: *field, direction: *direction }),
        _ => None,
    };
    Sort::by(order.iter().filter_map(key).collect()).unwrap_or_else(|error| {
        faults.refuse("sortModel", error);
        Sort::default()
    })
}

/// The order of groups: by their own column and by their figures; what is of other levels decides nothing.
fn ranks_of(order: &[(Measured, Direction)], query: &RowQuery) -> Vec<(Rank, Direction)> {
    let (level, figures) = (query.level().map(Measured::Field), query.figures());
    let rank = |(column, direction): &(Measured, Direction)| {
        if Some(*column) == level {
            return Some((Rank::Key, *direction));
        }
        figures.iter().position(|measure| measure.of == *column).map(|place| (Rank::Figure(place), *direction))
    };
    order.iter().filter_map(rank).collect()
}
