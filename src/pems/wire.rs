//! Bodies of requests and answers, as PEMS spells them.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Where grids are read, below the base address.
pub const GRID_PATH: &str = "griddata";
/// Where screens are written, below the base address.
pub const SCREEN_PATH: &str = "userdefinedscreenservices";

/// What every answer is wrapped in. The error can come with any status.
#[derive(Debug, Deserialize)]
pub struct Envelope<T> {
    /// What was asked for.
    #[serde(rename = "Result")]
    pub result: Option<ResultBody<T>>,
    /// What went wrong.
    #[serde(rename = "ErrorAlert", default)]
    pub errors: Option<Vec<Alert>>,
}

/// The inner wrapping.
#[derive(Debug, Deserialize)]
pub struct ResultBody<T> {
    /// What was asked for.
    #[serde(rename = "ResultData")]
    pub data: Option<T>,
}

/// An error of the envelope.
#[derive(Debug, Deserialize, Serialize)]
pub struct Alert {
    /// Its name.
    #[serde(rename = "Name", default)]
    pub name: Option<String>,
    /// What it says.
    #[serde(rename = "Message", default)]
    pub message: Option<String>,
}

/// What of a grid is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestType {
    /// Its fields.
    #[serde(rename = "LIST.HEAD_ONLY.STORED")]
    Head,
    /// A page of rows.
    #[serde(rename = "LIST.DATA_ONLY.STORED")]
    Data,
    /// How many rows there are.
    #[serde(rename = "LIST.COUNT.STORED")]
    Count,
}

/// A request to a grid.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct GridRequest {
    /// Which grid, and which page of it.
    pub grid: GridPage,
    /// Always a list.
    pub grid_type: GridType,
    /// What of it.
    pub request_type: RequestType,
    /// Which rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiaddon_filters: Option<Filters>,
    /// In which order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addon_sort: Option<Sort>,
}

/// Which grid, and which page of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct GridPage {
    /// Name of the grid.
    pub grid_name: String,
    /// Id of the grid.
    pub grid_id: String,
    /// Rows of a page.
    pub number_of_rows_first_returned: u32,
    /// The first row of the page, from 1.
    pub cursor_position: u64,
    /// Whether cells come in the order of the screen.
    pub result_in_saxorder: String,
}

/// The kind of grid.
#[derive(Debug, Serialize, Deserialize)]
pub struct GridType {
    /// `LIST`.
    #[serde(rename = "TYPE")]
    pub kind: String,
}

/// Conditions on rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Filters {
    /// Joined one after the other.
    #[serde(rename = "MADDON_FILTER")]
    pub filters: Vec<Filter>,
}

/// One condition.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Filter {
    /// Name of the field.
    pub alias_name: String,
    /// `=` or `>=`.
    pub operator: String,
    /// What it is compared with.
    pub value: String,
    /// `AND` or `OR`, with the next one.
    pub joiner: String,
    /// Its place.
    pub seqnum: usize,
}

/// The order of rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sort {
    /// Name of the field.
    #[serde(rename = "ALIAS_NAME")]
    pub alias_name: String,
    /// `ASC` or `DESC`.
    #[serde(rename = "TYPE")]
    pub direction: String,
}

/// What a grid answers.
#[derive(Debug, Deserialize)]
pub struct GridData {
    /// The grid.
    #[serde(rename = "GRID")]
    pub grid: Grid,
}

/// A grid: its fields after a head request, else rows or their number.
#[derive(Debug, Deserialize)]
pub struct Grid {
    /// About the page.
    #[serde(rename = "METADATA")]
    pub metadata: Metadata,
    /// The rows.
    #[serde(rename = "DATA", default)]
    pub data: Option<Rows>,
    /// The fields.
    #[serde(rename = "FIELDS", default)]
    pub fields: Option<Fields>,
}

/// About a page.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// How many rows it has; of a count request, how many there are.
    #[serde(rename = "RECORDS", deserialize_with = "number")]
    pub records: u64,
    /// `+` when more rows follow.
    #[serde(rename = "MORERECORDPRESENT", default)]
    pub more: String,
    /// The last row of the page, from 1.
    #[serde(rename = "CURRENTCURSORPOSITION", default, deserialize_with = "number")]
    pub current_position: u64,
}

/// Rows of a page.
#[derive(Debug, Default, Deserialize)]
pub struct Rows {
    /// Each with its cells.
    #[serde(rename = "ROW", default)]
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Debug, Deserialize)]
pub struct Row {
    /// Its cells.
    #[serde(rename = "D", default)]
    pub cells: Vec<Cell>,
}

/// One cell.
#[derive(Debug, Deserialize)]
pub struct Cell {
    /// Number of its field.
    #[serde(deserialize_with = "number")]
    pub n: u64,
    /// What stands in it; values are text.
    #[serde(default)]
    pub value: Value,
}

/// The fields of a grid.
#[derive(Debug, Deserialize)]
pub struct Fields {
    /// Each with its number and name.
    #[serde(rename = "FIELD", default)]
    pub fields: Vec<GridField>,
}

/// A field of a grid.
#[derive(Debug, Deserialize)]
pub struct GridField {
    /// Cells name it by this number.
    #[serde(deserialize_with = "number")]
    pub aliasnum: u64,
    /// Its name.
    pub name: String,
}

/// Numbers come as numbers or as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(u64),
        Text(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Number(number) => Ok(number),
        Number::Text(text) => text.trim().parse().map_err(|_| serde::de::Error::custom(format!("{text:?} is no number"))),
    }
}

/// A request to a screen.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScreenRequest {
    /// Name of the screen.
    #[serde(rename = "USERDEFINEDSCREENNAME")]
    pub screen: String,
    /// `UPDATE`.
    #[serde(rename = "USERDEFINEDSERVICEACTION")]
    pub action: String,
    /// The fields.
    #[serde(rename = "USERDEFINEDSCREENFIELDVALUELIST")]
    pub list: FieldValues,
}

/// Fields of a screen.
#[derive(Debug, Serialize, Deserialize)]
pub struct FieldValues {
    /// Each with its value.
    #[serde(rename = "USERDEFINEDSCREENFIELDVALUEPAIR")]
    pub pairs: Vec<FieldValue>,
}

/// A field of a screen.
#[derive(Debug, Serialize, Deserialize)]
pub struct FieldValue {
    /// Its name.
    #[serde(rename = "USERDEFINEDSCREENFIELDNAME")]
    pub name: String,
    /// What it is set to.
    #[serde(rename = "USERDEFINEDSCREENFIELDVALUE")]
    pub value: ScreenValue,
}

/// A value of a screen: exactly one of its kinds, null to clear the field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ScreenValue {
    /// Text, and flags as `true` and `false`.
    #[serde(rename = "TEXTDATA")]
    Text(Option<String>),
    /// A number.
    #[serde(rename = "NUMERICDATA")]
    Number(Option<NumericData>),
    /// A date.
    #[serde(rename = "DATETIMEDATA")]
    Date(Option<DateTimeData>),
}

/// A number: its digits without the point, and how many of them are decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumericData {
    /// The digits as one whole number.
    #[serde(rename = "VALUE")]
    pub value: u64,
    /// So many of them stand behind the point.
    #[serde(rename = "NUMOFDEC")]
    pub decimals: u32,
    /// `+` or `-`.
    #[serde(rename = "SIGN")]
    pub sign: String,
}

/// A moment; the year is told by the milliseconds at which it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct DateTimeData {
    /// Milliseconds from 1970 to the first of January, in UTC.
    pub year: i64,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
    /// 0 for a date.
    pub hour: u32,
    /// 0 for a date.
    pub minute: u32,
    /// 0 for a date.
    pub second: u32,
    /// 0 for a date.
    pub subsecond: u32,
    /// `+0000`.
    pub timezone: String,
}

/// What a screen answers.
#[derive(Debug, Deserialize)]
pub struct ScreenData {
    /// What was written.
    #[serde(rename = "UserDefinedScreenService")]
    pub service: WrittenRecord,
}

/// What was written. There is no version in it.
#[derive(Debug, Deserialize)]
pub struct WrittenRecord {
    /// Number of the record inside PEMS.
    #[serde(default)]
    pub recordid: Value,
}
