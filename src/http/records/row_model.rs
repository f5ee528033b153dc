//! A grid's request for rows: from a body to a [`RowQuery`].

use super::grid::MAX_LIMIT;
use super::read_reader;
use super::tree::{ConditionReader, read_tree};
use crate::domain::condition::Operand;
use crate::domain::field::Field;
use crate::domain::measure::{Aggregate, Measure, Measured};
use crate::domain::sort::{Direction, Sort, SortKey};
use crate::http::extract::Caller;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::records::rows::{Rank, RowQuery};
use crate::service::records::{CountKind, PageQuery};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// Number of the last row that can be asked for; no organization has so many.
const LAST_ROW: i64 = 1_000_000_000;
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
    /// What stands in one object must hold altogether.
    #[schema(value_type = Option<Object>, example = json!({"category": ["Lifting"], "or": [{"field": "monthlyRate", "op": "gt", "value": 9000}, {"field": "contract", "op": "isNull"}]}))]
    pub filter: Option<Map<String, Value>>,
    /// A filter as the grid has it: of each column, or an expression over columns.
    #[schema(value_type = Option<Object>, example = json!({"source": {"filterType": "set", "values": ["Rental"]}, "forecastStart": {"filterType": "date", "type": "inRange", "dateFrom": "2025-01-01 00:00:00", "dateTo": "2025-12-31 00:00:00"}}))]
    pub filter_model: Option<Map<String, Value>>,
    /// Only these keys of records.
    pub fields: Option<Vec<String>>,
    /// Number of the first row, from 0.
    #[schema(default = 0, minimum = 0)]
    pub start_row: Option<i64>,
    /// Number of the row behind the last one; at most 5,000 from the first, which it also is when it is not given.
    pub end_row: Option<i64>,
    /// The columns that records are grouped by, from the outermost.
    #[serde(default)]
    pub row_group_cols: Vec<ColumnBody>,
    /// The keys of the groups that are opened, from the outermost; with all of them the rows are records.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub group_keys: Vec<Value>,
    /// What groups and totals add up: columns, or `planCost`, `forecastCost`, `actualCost` and `variance`.
    #[serde(default)]
    pub value_cols: Vec<ColumnBody>,
    /// The order, of groups by their own column and by value columns, of records by any column.
    #[serde(default)]
    pub sort_model: Vec<SortBody>,
    /// Must be false: nothing is pivoted here.
    #[serde(default)]
    pub pivot_mode: bool,
    /// Of no account without pivoting.
    #[serde(default)]
    #[expect(dead_code, reason = "grids send it")]
    pub pivot_cols: Vec<ColumnBody>,
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
    /// Of no account.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "grids send it")]
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
    let fields = body.fields.map(|names| read_fields(faults, &names));
    let (offset, limit) = read_range(faults, body.start_row, body.end_row);
    let group_by = read_groups(faults, &body.row_group_cols);
    let opened = read_keys(faults, &group_by, &body.group_keys);
    let measures = read_measures(faults, &body.value_cols, &group_by);
    let order = read_order(faults, &body.sort_model, &group_by);
    if body.pivot_mode {
        faults.refuse("pivotMode", "must be false: nothing is pivoted here");
    }
    let sort = sort_of(faults, &order, &group_by);
    let ranks = group_by.get(opened.len()).map(|field| ranks_of(&order, *field, &measures)).unwrap_or_default();
    parameters.finish()?;
    let page = PageQuery { reader, filter, sort, fields, offset, limit, cursor: None, count: CountKind::None };
    Ok(RowQuery { page, group_by, opened, measures, ranks })
}

fn read_session(faults: &mut Parameters, text: &str, given: Option<Uuid>) -> Option<Uuid> {
    match Uuid::try_parse(text) {
        Ok(session) if given.is_none_or(|given| given == session) => return Some(session),
        Ok(_) => faults.refuse("session", "is another one in the query string"),
        Err(_) => faults.refuse("session", "must be a session id (UUID)"),
    }
    None
}

fn read_fields(faults: &mut Parameters, names: &[String]) -> Vec<Field> {
    let mut fields = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let path = format!("fields[{index}]");
        match Field::from_key(name) {
            Some(field) if fields.contains(&field) => faults.refuse(&path, format!("{name:?} is named twice")),
            Some(field) => fields.push(field),
            None => faults.refuse_value(&path, name, &Field::keys()),
        }
    }
    if names.is_empty() {
        faults.refuse("fields", "must name a key at least");
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

fn read_groups(faults: &mut Parameters, columns: &[ColumnBody]) -> Vec<Field> {
    let mut fields = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let path = format!("rowGroupCols[{index}].field");
        match Field::from_key(column.name()) {
            Some(field) if fields.contains(&field) => faults.refuse(&path, format!("{field} is named twice")),
            Some(field) => fields.push(field),
            None => faults.refuse_value(&path, column.name(), &Field::keys()),
        }
    }
    fields
}

fn read_keys(faults: &mut Parameters, group_by: &[Field], keys: &[Value]) -> Vec<Option<Operand>> {
    if keys.len() > group_by.len() {
        faults.refuse("groupKeys", "are more than there are columns to group by");
    }
    let mut reader = ConditionReader::new(faults);
    let keys = group_by.iter().zip(keys).enumerate();
    keys.map(|(index, (field, key))| (!key.is_null()).then(|| reader.read_operand(&format!("groupKeys[{index}]"), *field, key)).flatten())
        .collect()
}

fn read_measures(faults: &mut Parameters, columns: &[ColumnBody], group_by: &[Field]) -> Vec<Measure> {
    let mut measures: Vec<Measure> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let path = format!("valueCols[{index}]");
        let Some(of) = Measured::from_key(column.name()) else {
            faults.refuse_value(&format!("{path}.field"), column.name(), &Measured::keys());
            continue;
        };
        let allowed = Measure::aggregates_of(of);
        let word = column.agg_func.as_deref().unwrap_or(Aggregate::Sum.word());
        let Some(aggregate) = allowed.iter().copied().find(|aggregate| aggregate.word() == word) else {
            let allowed: Vec<_> = allowed.iter().map(|aggregate| aggregate.word()).collect();
            faults.refuse_value(&format!("{path}.aggFunc"), word, &allowed);
            continue;
        };
        // Figures stand under the keys of their columns, beside those of the groups.
        if measures.iter().any(|measure| measure.of == of) || group_by.iter().any(|field| Measured::Field(*field) == of) {
            faults.refuse(&format!("{path}.field"), format!("{} is named twice, or grouped by", of.key()));
            continue;
        }
        measures.push(Measure { of, aggregate });
    }
    measures
}

/// The columns of the order with their directions; the column of all groups stands for each of theirs.
fn read_order(faults: &mut Parameters, order: &[SortBody], group_by: &[Field]) -> Vec<(Measured, Direction)> {
    let mut columns = Vec::new();
    for (index, SortBody { col_id, sort, .. }) in order.iter().enumerate() {
        let direction = match sort.as_str() {
            "asc" => Direction::Ascending,
            "desc" => Direction::Descending,
            other => {
                faults.refuse_value(&format!("sortModel[{index}].sort"), other, &["asc", "desc"]);
                continue;
            }
        };
        if col_id == GROUP_COLUMN {
            columns.extend(group_by.iter().map(|field| (Measured::Field(*field), direction)));
            continue;
        }
        let name = col_id.strip_prefix(GROUP_COLUMN).and_then(|rest| rest.strip_prefix('-')).unwrap_or(col_id);
        match Measured::from_key(name) {
            Some(column) => columns.push((column, direction)),
            None => faults.refuse_value(&format!("sortModel[{index}].colId"), name, &Measured::keys()),
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
fn ranks_of(order: &[(Measured, Direction)], field: Field, measures: &[Measure]) -> Vec<(Rank, Direction)> {
    let rank = |(column, direction): &(Measured, Direction)| {
        if *column == Measured::Field(field) {
            return Some((Rank::Key, *direction));
        }
        measures.iter().position(|measure| measure.of == *column).map(|place| (Rank::Figure(place), *direction))
    };
    order.iter().filter_map(rank).collect()
}
