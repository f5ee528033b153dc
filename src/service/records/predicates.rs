//! The conditions of a [`Filter`] on a row `r` of the mirror or the overlay: the same columns in
//! both, so the same text. Values are bound.

use crate::domain::field::Field;
use crate::domain::filter::{Filter, Range};
use crate::domain::status::Status;
use crate::service::records::statement::Builder;
use sqlx::{Encode, Postgres, Type};

/// Pushes ` and …` for every condition.
pub(super) fn push_filter(sql: &mut Builder, filter: &Filter) {
    if filter.hides_discontinued() {
        sql.push(" and not r.is_discontinued");
    }
    for (field, words) in &filter.words {
        sql.push(format_args!(" and r.{}", field.column()));
        // A single value keeps the order of the index behind it; a list of values does not.
        if let [word] = words.as_slice() {
            sql.push(" = ");
            sql.push_bind(word.clone());
        } else {
            sql.push(" = any (");
            sql.push_bind(words.clone());
            sql.push(")");
        }
    }
    for (field, flag) in &filter.flags {
        sql.push(if *flag { " and r." } else { " and not r." });
        sql.push(field.column());
    }
    push_statuses(sql, &filter.statuses);
    for (field, range) in &filter.dates {
        push_range(sql, *field, *range);
    }
    for (field, range) in &filter.amounts {
        push_range(sql, *field, *range);
    }
    if let Some((first, last)) = filter.overlaps {
        sql.push(" and r.forecast_start <= ");
        sql.push_bind(last);
        sql.push(" and r.forecast_end >= ");
        sql.push_bind(first);
    }
    for word in &filter.text {
        // Lower case is the database's affair on both sides.
        sql.push(" and pfa_search_text(r.data) like lower(");
        sql.push_bind(format!("%{}%", escape_like(word)));
        sql.push(")");
    }
    if let Some(contained) = &filter.contains {
        sql.push(" and r.data @> ");
        sql.push_bind(sqlx::types::Json(contained.clone()));
    }
}

/// The flags behind each status; the first match of the dictionary's order wins.
fn push_statuses(sql: &mut Builder, statuses: &[Status]) {
    for (index, status) in statuses.iter().enumerate() {
        sql.push(if index == 0 { " and (" } else { " or " });
        sql.push(match status {
            Status::Discontinued => "r.is_discontinued",
            Status::Actualized => "r.is_actualized and not r.is_discontinued",
            Status::FundsTransferable => "r.is_funds_transferable and not r.is_actualized and not r.is_discontinued",
            Status::Forecast => "not r.is_funds_transferable and not r.is_actualized and not r.is_discontinued",
        });
    }
    if !statuses.is_empty() {
        sql.push(")");
    }
}

fn push_range<T>(sql: &mut Builder, field: Field, range: Range<T>)
where
    T: Copy + Send + Encode<'static, Postgres> + Type<Postgres> + 'static,
{
    for (comparison, end) in [(">=", range.from), ("<=", range.to)] {
        if let Some(end) = end {
            sql.push(format_args!(" and r.{} {comparison} ", field.column()));
            sql.push_bind(end);
        }
    }
}

/// A word as a LIKE pattern that means only itself.
fn escape_like(word: &str) -> String {
    word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
