//! CSV: for people, who ask once.

use super::outlet::{CHUNK, Outlet};
use super::statements;
use crate::domain::export::CsvWriter;
use crate::domain::field::Field;
use crate::error::Result;
use crate::service::records::PageQuery;
use crate::service::records::row::{BEFORE_FIELDS, read_cells};
use crate::service::records::statement::Texts;
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

/// Sends all rows; with no fields asked for, every field.
pub(super) async fn send(snapshot: &mut PgConnection, query: &mut PageQuery, outlet: &mut Outlet<'_>) -> Result<()> {
    let fields = query.fields.get_or_insert_with(|| Field::ALL.to_vec()).clone();
    let mut writer = CsvWriter::new(&fields);
    let mut statement = statements::rows(query, Texts::Read);
    let mut rows = statement.build().persistent(query.filter.conditions.is_empty()).fetch(snapshot);
    while let Some(row) = rows.try_next().await? {
        writer.push(read_cells(&row, BEFORE_FIELDS, &fields)?);
        if writer.len() >= CHUNK {
            outlet.hand_over(writer.take()).await?;
        }
    }
    outlet.push(&writer.take()).await
}
