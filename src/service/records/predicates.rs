//! The conditions of a [`Filter`] on a row `r` of the mirror or the overlay: the same columns in
//! both, so the same text. Values are bound.

use crate::domain::condition::{Comparison, Condition, Operand, Place};
use crate::domain::field::{Field, Kind};
use crate::domain::filter::{Filter, Range};
use crate::domain::status::Status;
use crate::service::records::statement::Builder;
use sqlx::{Encode, Postgres, Type};

/// Pushes ` and …` for every condition.
pub(super) fn push_filter(sql: &mut Builder, filter: &Filter) {
    if filter.hides_discontinued() {
        sql.push(" and not r.is_discontinued");
    }
    push_terms(sql, filter);
}

fn push_terms(sql: &mut Builder, filter: &Filter) {
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
    for condition in &filter.conditions {
        sql.push(" and ");
        push_condition(sql, condition);
    }
}

/// A condition in brackets. In SQL what is compared with null is neither true nor false, so `not` asks what is not true.
fn push_condition(sql: &mut Builder, condition: &Condition) {
    sql.push("(");
    match condition {
        Condition::All(conditions) => push_joined(sql, conditions, " and ", "true"),
        Condition::Any(conditions) => push_joined(sql, conditions, " or ", "false"),
        Condition::Not(condition) => {
            push_condition(sql, condition);
            sql.push(" is not true");
        }
        Condition::Matches(filter) => {
            sql.push("true");
            push_terms(sql, filter);
        }
        Condition::Compares(field, comparison, operand) => {
            sql.push(format_args!("r.{} {} ", field.column(), operator(*comparison)));
            push_operand(sql, operand);
        }
        Condition::IsOneOf(field, operands) => {
            sql.push(format_args!("r.{} = any (", field.column()));
            push_operands(sql, *field, operands);
            sql.push(")");
        }
        Condition::IsNull(field) => {
            sql.push(format_args!("r.{} is null", field.column()));
        }
        Condition::HasText(field, place, text) => push_text(sql, *field, *place, text),
    }
    sql.push(")");
}

fn push_joined(sql: &mut Builder, conditions: &[Condition], joint: &str, none: &str) {
    for (index, condition) in conditions.iter().enumerate() {
        sql.push(if index == 0 { "" } else { joint });
        push_condition(sql, condition);
    }
    if conditions.is_empty() {
        sql.push(none);
    }
}

const fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn push_operand(sql: &mut Builder, operand: &Operand) {
    match operand {
        Operand::Text(text) => sql.push_bind(text.clone()),
        Operand::Date(date) => sql.push_bind(*date),
        Operand::Amount(amount) => sql.push_bind(*amount),
        Operand::Flag(flag) => sql.push_bind(*flag),
    };
}

/// A list with the type of the field's column: one value to bind however many there are.
fn push_operands(sql: &mut Builder, field: Field, operands: &[Operand]) {
    match field.kind() {
        Kind::Text(_) | Kind::Word(_) => {
            sql.push_bind(operands.iter().filter_map(|operand| operand.text().map(str::to_owned)).collect::<Vec<_>>())
        }
        Kind::Date => sql.push_bind(operands.iter().filter_map(Operand::date).collect::<Vec<_>>()),
        Kind::Amount => sql.push_bind(operands.iter().filter_map(Operand::amount).collect::<Vec<_>>()),
        Kind::Flag => sql.push_bind(operands.iter().filter_map(Operand::flag).collect::<Vec<_>>()),
    };
}

fn push_text(sql: &mut Builder, field: Field, place: Place, text: &str) {
    let text = escape_like(text);
    let pattern = match place {
        Place::Whole => text,
        Place::Anywhere => format!("%{text}%"),
        Place::Start => format!("{text}%"),
        Place::End => format!("%{text}"),
    };
    // The columns have the order of bytes, in which only ASCII has cases.
    sql.push(format_args!("lower(r.{} collate \"default\") like lower(", field.column()));
    sql.push_bind(pattern);
    sql.push(")");
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
