//! The statements that look at all records of a filter at once: the groups of a column, and what everything amounts to.
//!
//! ```text
//! (overlay of the sandbox) union all (published overlay without it) union all (mirror without both)
//! group by … order by …
//! ```
//!
//! Costs come as two exact amounts, of rentals and of purchases: the one division happens after summing, as in KPIs.

use super::overlay::Without;
use super::row::read_cell;
use super::rows::{Rank, RowQuery};
use super::statement::{Builder, branches, push_count, push_from};
use super::{PageQuery, predicates};
use crate::domain::cost::{Payment, round_to_cents};
use crate::domain::field::Field;
use crate::domain::filter::Filter;
use crate::domain::measure::{Aggregate, Measure, Measured};
use crate::domain::row::Cell;
use crate::domain::sort::Direction;
use crate::error::Result;
use crate::service::Reader;
use rust_decimal::Decimal;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// `record_count`, then the columns of [`read_figures`].
pub(super) fn totals(page: &PageQuery, measures: &[Measure]) -> Builder {
    let mut sql = Builder::new("select ");
    if measures.is_empty() {
        push_count(&mut sql, page);
        return sql;
    }
    sql.push("count(*)");
    push_figures(&mut sql, measures);
    push_merged(&mut sql, &page.reader, &page.filter, &columns_of(None, measures));
    sql
}

/// `group_count, key, record_count`, then the columns of [`read_figures`]; one row at least, with the count alone where no group
/// stands at this place.
pub(super) fn groups(query: &RowQuery, field: Field, filter: &Filter) -> Builder {
    let figures = query.figures();
    let mut sql = Builder::new("with grouped as materialized (select row_number() over (order by ");
    for (rank, direction) in &query.ranks {
        match rank {
            Rank::Key => sql.push(format_args!("r.{}", field.column())),
            Rank::Figure(index) => sql.push(ordered_by(figures[*index])),
        };
        sql.push(if *direction == Direction::Ascending { " nulls last, " } else { " desc nulls last, " });
    }
    sql.push(format_args!("r.{0}) as place, r.{0} as key, count(*) as record_count", field.column()));
    push_figures(&mut sql, &figures);
    push_merged(&mut sql, &query.page.reader, filter, &columns_of(Some(field), &figures));
    sql.push(format_args!(" group by r.{}) select groups.group_count, grouped.key, grouped.record_count", field.column()));
    for index in 0..figures.iter().copied().map(width).sum() {
        sql.push(format_args!(", grouped.m{index}"));
    }
    sql.push(" from (select count(*) as group_count from grouped) groups left join grouped on place > ");
    sql.push_bind(query.page.offset);
    sql.push(" and place <= ");
    sql.push_bind(query.page.offset + i64::from(query.page.limit));
    sql.push(" order by place");
    sql
}

/// The figures of measures, from the columns that begin at a place.
pub(super) fn read_figures<'r>(row: &'r PgRow, first: usize, measures: &[Measure]) -> Result<Vec<Cell<'r>>> {
    let mut column = first;
    let mut figures = Vec::with_capacity(measures.len());
    for measure in measures {
        figures.push(read_figure(row, column, *measure)?);
        column += width(*measure);
    }
    Ok(figures)
}

fn read_figure(row: &PgRow, column: usize, measure: Measure) -> Result<Cell<'_>> {
    Ok(match (measure.of, measure.aggregate) {
        (_, Aggregate::Count) => Cell::Count(row.try_get(column)?),
        (Measured::Field(field), Aggregate::Least | Aggregate::Greatest) => read_cell(row, column, field)?,
        (Measured::Field(_), Aggregate::Sum) => Cell::Amount(row.try_get(column)?),
        (Measured::Field(_), Aggregate::Average) => row.try_get::<Option<Decimal>, _>(column)?.map_or(Cell::Null, Cell::Amount),
        (Measured::PlanCost | Measured::ForecastCost | Measured::ActualCost | Measured::Variance, _) => {
            Cell::Amount(round_to_cents(Payment::Rental.cost(row.try_get(column)?) + row.try_get::<Decimal, _>(column + 1)?))
        }
    })
}

/// How many columns a figure comes in.
fn width(measure: Measure) -> usize {
    if Measured::COSTS.contains(&measure.of) { 2 } else { 1 }
}

fn push_figures(sql: &mut Builder, measures: &[Measure]) {
    for (index, expression) in measures.iter().copied().flat_map(expressions).enumerate() {
        sql.push(format_args!(", {expression} as m{index}"));
    }
}

/// The columns of a figure.
fn expressions(measure: Measure) -> Vec<String> {
    match measure.of {
        Measured::Field(field) => vec![aggregated(field, measure.aggregate)],
        cost => ["is distinct from", "is not distinct from"].map(|paid| summed(cost, &format!("r.source {paid} 'Purchase'"))).into(),
    }
}

fn aggregated(field: Field, aggregate: Aggregate) -> String {
    let column = field.column();
    match aggregate {
        Aggregate::Sum => format!("coalesce(sum(r.{column}), 0)"),
        // Cents: a mean has as many decimals as one likes.
        Aggregate::Average => format!("round(avg(r.{column}), 2)"),
        Aggregate::Least => format!("min(r.{column})"),
        Aggregate::Greatest => format!("max(r.{column})"),
        Aggregate::Count => format!("count(r.{column})"),
    }
}

fn summed(cost: Measured, which: &str) -> String {
    let sum = |layer: &str| format!("coalesce(sum(r.{layer}_amount) filter (where {which}), 0)");
    match cost {
        Measured::PlanCost => sum("original"),
        Measured::ForecastCost => sum("forecast"),
        Measured::ActualCost => sum("actual"),
        Measured::Variance | Measured::Field(_) => format!("{} - {}", sum("forecast"), sum("original")),
    }
}

/// What groups are ordered by for a figure.
fn ordered_by(measure: Measure) -> String {
    match expressions(measure).as_slice() {
        // As it is shown: groups that look alike stand in the order of their keys.
        [rentals, purchases] => format!("round(pfa_cost('Rental', {rentals}) + {purchases}, 2)"),
        figure => figure.concat(),
    }
}

/// The columns that a statement reads: as few as may be, so that an index can have all of them. Amounts are computed here, once a
/// record whatever is made of them.
fn columns_of(key: Option<Field>, measures: &[Measure]) -> Vec<String> {
    let plain = |field: Field| format!("r.{}", field.column());
    let mut columns: Vec<_> = key.map(plain).into_iter().collect();
    for measure in measures {
        let layers = match measure.of {
            Measured::Field(field) => {
                columns.push(plain(field));
                continue;
            }
            Measured::PlanCost => &["original"][..],
            Measured::ForecastCost => &["forecast"],
            Measured::ActualCost => &["actual"],
            Measured::Variance => &["original", "forecast"],
        };
        columns.push(plain(Field::Source));
        columns.extend(layers.iter().map(|layer| amount(layer)));
    }
    columns.sort_unstable();
    columns.dedup();
    columns
}

fn amount(layer: &str) -> String {
    let amount = format!("pfa_amount_of(r.source, r.monthly_rate, r.purchase_price, r.{layer}_start, r.{layer}_end)");
    let amount = if layer == "actual" { format!("case when r.is_actualized then {amount} else 0 end") } else { amount };
    format!("{amount} as {layer}_amount")
}

/// `from` all records of a filter as `r`.
fn push_merged(sql: &mut Builder, reader: &Reader, filter: &Filter, columns: &[String]) {
    for (index, branch) in branches(reader).into_iter().enumerate() {
        sql.push(if index == 0 { " from (select " } else { " union all select " });
        sql.push(columns.join(", "));
        push_from(sql, reader, branch, Without::HashOrCalls);
        predicates::push_filter(sql, filter);
    }
    sql.push(") r");
}
