//! The grid's parameters: from text to a [`PageQuery`].

use super::tree::read_tree;
use super::{PageQuery, read_reader};
use crate::domain::condition::Condition;
use crate::domain::cursor::Cursor;
use crate::domain::export::ExportFormat;
use crate::domain::field::{Field, Kind};
use crate::domain::filter::{Filter, Range};
use crate::domain::json::unfit_for_jsonb;
use crate::domain::sort::{Sort, SortError};
use crate::domain::status::Status;
use crate::domain::value::read_amount;
use crate::http::extract::Caller;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::records::CountKind;
use chrono::NaiveDate;
use serde_json::{Map, Value};
use utoipa::IntoParams;
use uuid::Uuid;

/// Rows of a page when nothing is asked for.
const DEFAULT_LIMIT: u32 = 100;
/// Most words and characters of a text search.
const MAX_WORDS: usize = 20;
const MAX_TEXT: usize = 200;
/// Most rows of a page.
pub(super) const MAX_LIMIT: u32 = 5_000;

/// Which records, in which sandbox and order. Documentation only: `read_page_query` reads them one by one.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "the parameters are read one by one, so that every fault is told at once")]
pub struct SelectionParameters {
    /// Any of these categories.
    category: Option<Vec<String>>,
    /// Any of these classes.
    class: Option<Vec<String>>,
    /// Rental or Purchase.
    source: Option<Vec<String>>,
    /// BEO or PROJECT.
    dor: Option<Vec<String>>,
    /// Any of these areas.
    area_silo: Option<Vec<String>>,
    /// Any of these manufacturers.
    manufacturer: Option<Vec<String>>,
    /// Any of these models.
    model: Option<Vec<String>>,
    /// Any of forecast, actualized, discontinued, fundsTransferable.
    status: Option<Vec<String>>,
    /// On site and billed, or not.
    is_actualized: Option<bool>,
    /// True shows only discontinued records; without it they are hidden.
    is_discontinued: Option<bool>,
    /// Budget may be given away, or not.
    is_funds_transferable: Option<bool>,
    /// First forecast start, inclusive.
    forecast_start_from: Option<NaiveDate>,
    /// Last forecast start, inclusive.
    forecast_start_to: Option<NaiveDate>,
    /// First forecast end, inclusive.
    forecast_end_from: Option<NaiveDate>,
    /// Last forecast end, inclusive.
    forecast_end_to: Option<NaiveDate>,
    /// Timeline viewport `2025-01-01..2025-12-31`: forecasts that touch it.
    overlaps: Option<String>,
    /// Lowest monthly rate, inclusive.
    monthly_rate_min: Option<f64>,
    /// Highest monthly rate, inclusive.
    monthly_rate_max: Option<f64>,
    /// Lowest purchase price, inclusive.
    purchase_price_min: Option<f64>,
    /// Highest purchase price, inclusive.
    purchase_price_max: Option<f64>,
    /// Words that id, make, model, equipment, contract, category and class together must hold.
    q: Option<String>,
    /// A JSON object that the record must contain.
    contains: Option<String>,
    /// A filter tree as JSON, as `POST …/records/query` takes it, which must hold in addition.
    filter: Option<String>,
    /// Read inside this sandbox of the caller.
    session: Option<Uuid>,
    /// Columns, a minus for descending; nulls last, the id as tiebreak.
    #[param(example = "forecastStart,-monthlyRate")]
    sort: Option<String>,
    /// Only these keys, separated by commas.
    #[param(example = "pfaId,category,forecastStart")]
    fields: Option<String>,
}

/// Where a page of the grid stands. Documentation only, too.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "the parameters are read one by one, so that every fault is told at once")]
pub struct PageParameters {
    /// Rows a page.
    #[param(minimum = 1, maximum = 5000, default = 100)]
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// none, estimated or exact.
    #[param(default = "none")]
    count: Option<String>,
}

/// Reads the parameters of an export, or tells every fault.
pub(super) fn read_export(organization: String, caller: Caller, mut parameters: Parameters) -> Result<(PageQuery, ExportFormat), Problem> {
    let words = ExportFormat::ALL.map(ExportFormat::word);
    let format = parameters.choose("format", &words, |word| ExportFormat::ALL.into_iter().find(|format| format.word() == word));
    let query = PageQuery {
        reader: read_reader(organization, caller, &mut parameters),
        filter: read_selection(&mut parameters),
        sort: read_sort(&mut parameters),
        fields: read_fields(&mut parameters),
        offset: 0,
        limit: 0,
        cursor: None,
        count: CountKind::None,
    };
    parameters.finish()?;
    Ok((query, format.unwrap_or(ExportFormat::Ndjson)))
}

fn read_fields(parameters: &mut Parameters) -> Option<Vec<Field>> {
    parameters.choose_list("fields", &Field::keys(), Field::from_key)
}

/// Reads all parameters of the grid, or tells every fault.
pub(super) fn read_page_query(organization: String, caller: Caller, mut parameters: Parameters) -> Result<PageQuery, Problem> {
    let reader = read_reader(organization, caller, &mut parameters);
    let filter = read_selection(&mut parameters);
    let sort = read_sort(&mut parameters);
    let fields = read_fields(&mut parameters);
    let limit = parameters.read("limit", &format!("a number from 1 to {MAX_LIMIT}"), |text| {
        // Digits only: a plus sign would parse, too.
        text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).filter(|limit| (1..=MAX_LIMIT).contains(limit))
    });
    let count = parameters.choose("count", &["none", "estimated", "exact"], |word| {
        [CountKind::None, CountKind::Estimated, CountKind::Exact].into_iter().find(|kind| kind.word() == word)
    });
    let cursor = parameters.one("cursor");
    let mut query = PageQuery {
        reader,
        filter,
        sort,
        fields,
        offset: 0,
        limit: limit.unwrap_or(DEFAULT_LIMIT),
        cursor: None,
        count: count.unwrap_or_default(),
    };
    if let Some(text) = cursor {
        match Cursor::decode(&text, query.fingerprint(), &query.sort) {
            Ok(cursor) => query.cursor = Some(cursor),
            Err(error) => parameters.refuse("cursor", error),
        }
    }
    parameters.finish()?;
    Ok(query)
}

/// Reads the filter of a page or an export: parameters, and a tree.
fn read_selection(parameters: &mut Parameters) -> Filter {
    let mut filter = read_filter(parameters);
    if let Some(tree) = read_object(parameters, "filter") {
        filter.narrow(Condition::Matches(Box::new(read_tree(parameters, "filter", tree))));
    }
    filter
}

/// Reads the filter alone.
pub(super) fn read_filter(parameters: &mut Parameters) -> Filter {
    let mut filter = Filter::default();
    for field in [Field::Category, Field::Class, Field::Source, Field::Dor, Field::AreaSilo, Field::Manufacturer, Field::Model] {
        let words = match field.kind() {
            Kind::Word(allowed) => parameters.choose_all(field.key(), allowed, |word| allowed.contains(&word).then(|| word.to_owned())),
            _ => parameters.all(field.key()),
        };
        if !words.is_empty() {
            filter.words.insert(field, words);
        }
    }
    filter.statuses = parameters.choose_all("status", &Status::ALL.map(Status::word), Status::from_word);
    for field in [Field::IsActualized, Field::IsDiscontinued, Field::IsFundsTransferable] {
        if let Some(flag) = parameters.choose(field.key(), &["true", "false"], |word| word.parse().ok()) {
            filter.flags.insert(field, flag);
        }
    }
    for (field, [from, to]) in
        [(Field::ForecastStart, ["forecastStartFrom", "forecastStartTo"]), (Field::ForecastEnd, ["forecastEndFrom", "forecastEndTo"])]
    {
        let expected = "a date YYYY-MM-DD";
        if let Some(range) = read_range(parameters, [from, to], expected, read_day) {
            filter.dates.insert(field, range);
        }
    }
    for (field, [min, max]) in
        [(Field::MonthlyRate, ["monthlyRateMin", "monthlyRateMax"]), (Field::PurchasePrice, ["purchasePriceMin", "purchasePriceMax"])]
    {
        let expected = "a decimal number with at most 11 digits and 4 decimals";
        if let Some(range) = read_range(parameters, [min, max], expected, read_amount) {
            filter.amounts.insert(field, range);
        }
    }
    filter.overlaps = parameters.read("overlaps", "two dates YYYY-MM-DD..YYYY-MM-DD, the first not after the second", read_viewport);
    filter.text = read_words(parameters);
    if let Some(contained) = read_object(parameters, "contains") {
        filter.narrow_to_contained(contained);
    }
    filter
}

/// The words of `q`, each once. Every word costs a condition in every branch of the statement.
fn read_words(parameters: &mut Parameters) -> Vec<String> {
    let text = parameters.one("q").unwrap_or_default();
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    words.sort();
    words.dedup();
    if words.len() > MAX_WORDS || text.chars().count() > MAX_TEXT {
        parameters.refuse("q", format!("must be at most {MAX_WORDS} words and {MAX_TEXT} characters"));
    }
    words
}

fn read_object(parameters: &mut Parameters, name: &'static str) -> Option<Map<String, Value>> {
    let object = parameters.read(name, "a JSON object", |text| serde_json::from_str::<Map<String, Value>>(text).ok())?;
    let value = Value::Object(object);
    if let Some(problem) = unfit_for_jsonb(&value) {
        parameters.refuse(name, problem);
    }
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn read_sort(parameters: &mut Parameters) -> Sort {
    let Some(text) = parameters.one("sort") else { return Sort::default() };
    match Sort::parse(&text) {
        Ok(sort) => return sort,
        Err(SortError::UnknownColumn(name)) => parameters.refuse_value("sort", &name, &Field::keys()),
        Err(error) => parameters.refuse("sort", error),
    }
    Sort::default()
}

/// A range of which at least one end is given; upside down is a fault of its second end.
fn read_range<T: PartialOrd>(
    parameters: &mut Parameters,
    [from_name, to_name]: [&'static str; 2],
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Option<Range<T>> {
    let from = parameters.read(from_name, expected, &read);
    let to = parameters.read(to_name, expected, &read);
    if let (Some(from), Some(to)) = (&from, &to)
        && from > to
    {
        parameters.refuse(to_name, format!("must not be below {from_name}"));
    }
    (from.is_some() || to.is_some()).then_some(Range { from, to })
}

/// A plain date; parameters take no time of day.
fn read_day(text: &str) -> Option<NaiveDate> {
    (text.len() == 10).then(|| crate::domain::value::read_date(text)).flatten()
}

fn read_viewport(text: &str) -> Option<(NaiveDate, NaiveDate)> {
    let (first, last) = text.split_once("..")?;
    let viewport = (read_day(first)?, read_day(last)?);
    (viewport.0 <= viewport.1).then_some(viewport)
}
