//! A merged row as the database sends it: columns by place, because names are looked up for every row.

use crate::domain::field::{Field, Kind};
use crate::domain::row::{Cell, Meta, ShownModification};
use crate::error::Result;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// What a row begins with, for its `_meta`; the state is null on a pristine row.
pub(super) const META_COLUMNS: &str = "id, version, sync_state, modified_fields, modified_by, modified_at";
/// How many they are.
pub(super) const META_WIDTH: usize = 6;

/// What stands before the fields in a row of an export: the id, and the version where the row is the mirror's.
pub(super) const BEFORE_FIELDS: usize = 2;

/// Reads `_meta` from the columns that begin at a place.
pub(super) fn read_meta(row: &PgRow, first: usize) -> Result<Meta<'_>> {
    let shown = match row.try_get::<Option<&str>, _>(first + 2)? {
        None => None,
        Some(state) => {
            Some(ShownModification { state, fields: row.try_get(first + 3)?, user: row.try_get(first + 4)?, at: row.try_get(first + 5)? })
        }
    };
    Ok(Meta { id: row.try_get(first)?, version: row.try_get(first + 1)?, shown })
}

/// Reads the values of fields from the columns that begin at a place.
pub(super) fn read_cells<'r>(row: &'r PgRow, first: usize, fields: &[Field]) -> Result<Vec<Cell<'r>>> {
    fields.iter().enumerate().map(|(index, field)| read_cell(row, first + index, *field)).collect()
}

/// What values of fields are that the database wrote as texts.
pub(super) fn cells_of_texts<'t>(fields: &[Field], texts: &'t [Option<String>]) -> impl Iterator<Item = Cell<'t>> {
    fields.iter().zip(texts).map(|(field, text)| match (text.as_deref(), field.kind()) {
        (None, _) => Cell::Null,
        (Some(text), Kind::Text(_) | Kind::Word(_) | Kind::Date) => Cell::Text(text),
        (Some(text), Kind::Amount) => Cell::Number(text),
        (Some(text), Kind::Flag) => Cell::Flag(text == "true"),
    })
}

/// Reads the value of a field.
pub(super) fn read_cell(row: &PgRow, column: usize, field: Field) -> Result<Cell<'_>> {
    let cell = match field.kind() {
        Kind::Text(_) | Kind::Word(_) => row.try_get::<Option<&str>, _>(column)?.map(Cell::Text),
        Kind::Date => row.try_get::<Option<_>, _>(column)?.map(Cell::Date),
        Kind::Amount => row.try_get::<Option<_>, _>(column)?.map(Cell::Amount),
        Kind::Flag => row.try_get::<Option<_>, _>(column)?.map(Cell::Flag),
    };
    Ok(cell.unwrap_or(Cell::Null))
}

/// The value of a sort key as a cursor keeps it.
pub(super) fn read_key(row: &PgRow, column: usize, field: Field) -> Result<Option<String>> {
    Ok(match read_cell(row, column, field)? {
        Cell::Null => None,
        Cell::Text(text) => Some(text.to_owned()),
        Cell::Date(date) => Some(date.to_string()),
        Cell::Amount(amount) => Some(amount.to_string()),
        Cell::Flag(flag) => Some(flag.to_string()),
        Cell::Count(count) => Some(count.to_string()),
        Cell::Number(number) => Some(number.to_owned()),
    })
}
