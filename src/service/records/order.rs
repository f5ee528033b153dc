//! The order of a page and the place where a cursor resumes it: nulls last in both directions,
//! the id (ascending) as tiebreak, never OFFSET.

use crate::domain::cursor::Cursor;
use crate::domain::field::{Field, Kind};
use crate::domain::sort::{Direction, Sort, SortKey};
use crate::domain::value::{read_amount, read_date};
use crate::service::records::PageQuery;
use crate::service::records::statement::Builder;
use uuid::Uuid;

/// Which part of the order a branch delivers, by its first key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment {
    /// All of it.
    Whole,
    /// Rows that have a value in the first key: an index range in either direction.
    Head,
    /// Rows without one; they come last.
    Tail,
}

/// `order by` of a branch over the columns of `r`.
pub(super) fn push_branch_order(sql: &mut Builder, query: &PageQuery, segment: Segment) {
    let sort = &query.sort;
    sql.push(" order by ");
    for (index, key) in sort.keys().iter().enumerate() {
        // In the head there are no nulls, and in the tail nothing else: without the clause a
        // backward index scan delivers the descending order.
        let has_nulls = key.field.is_nullable() && (index > 0 || segment == Segment::Whole);
        push_key(sql, index, &key_column(query, key.field), *key, has_nulls);
    }
    if !sort.is_unique() {
        sql.push(", r.id");
    }
}

/// Whether a page of whole records names a category, but not the order in which an index has its records: then it may have to
/// find and sort all of them, which the index of the grid can do alone, if it has the columns and nobody asks for texts.
pub(super) fn sorts_a_category(query: &PageQuery) -> bool {
    let filter = &query.filter;
    let is_in_index = |field: &Field| {
        matches!(field, Field::Category | Field::Source | Field::ForecastStart | Field::ForecastEnd)
            || matches!(field, Field::Class | Field::Dor | Field::MonthlyRate | Field::PurchasePrice | Field::IsActualized)
    };
    let mut fields = filter.words.keys().chain(filter.flags.keys()).chain(filter.dates.keys()).chain(filter.amounts.keys());
    let keys = query.sort.keys();
    let is_in_order = keys[0].field == Field::ForecastStart && filter.flags.is_empty() && filter.amounts.is_empty();
    query.fields.is_none()
        && filter.words.contains_key(&Field::Category)
        && !is_in_order
        && fields.all(is_in_index)
        && keys.iter().all(|key| is_in_index(&key.field))
        && filter.statuses.is_empty()
        && filter.text.is_empty()
        && filter.contains.is_none()
        && filter.conditions.is_empty()
}

/// What a branch is ordered by for a key. A category has classes of its own, which no statistics tell: to save a sort the planner
/// would walk through the records of all other classes. No index has this expression.
pub(super) fn key_column(query: &PageQuery, field: Field) -> String {
    if field == Field::Class && sorts_a_category(query) { "(r.class || '')".to_owned() } else { format!("r.{}", field.column()) }
}

/// `order by` of the merged branches over their output columns.
pub(super) fn push_merged_order(sql: &mut Builder, sort: &Sort) {
    sql.push(" order by ");
    for (index, key) in sort.keys().iter().enumerate() {
        push_key(sql, index, &format!("k{index}"), *key, key.field.is_nullable());
    }
    if !sort.is_unique() {
        sql.push(", id");
    }
}

fn push_key(sql: &mut Builder, index: usize, column: &str, key: SortKey, has_nulls: bool) {
    let separator = if index == 0 { "" } else { ", " };
    let direction = match (key.direction, has_nulls) {
        (Direction::Ascending, _) => "",
        (Direction::Descending, false) => " desc",
        (Direction::Descending, true) => " desc nulls last",
    };
    sql.push(format_args!("{separator}{column}{direction}"));
}

/// Restricts a branch to its segment, and to what comes after the cursor.
pub(super) fn push_segment(sql: &mut Builder, query: &PageQuery, segment: Segment) {
    let first = query.sort.keys()[0];
    match segment {
        Segment::Head if first.field.is_nullable() => {
            sql.push(format_args!(" and r.{} is not null", first.field.column()));
        }
        Segment::Whole | Segment::Head => {}
        Segment::Tail => {
            sql.push(format_args!(" and r.{} is null", first.field.column()));
        }
    }
    let Some(cursor) = &query.cursor else { return };
    let mut places = query.sort.keys().iter().copied().zip(cursor.values.iter().map(Option::as_deref));
    let Some((key, value)) = places.next() else { return };
    match (segment, value) {
        // The tail comes after any cursor that stands in the head.
        (Segment::Tail, Some(_)) => {}
        (_, None) => {
            sql.push(format_args!(" and r.{} is null", key.field.column()));
            sql.push(" and ");
            push_after(sql, &query.sort, cursor, 1);
        }
        (_, Some(value)) => {
            // The bound that an index can seek to, in addition to the exact condition.
            let comparison = if key.direction == Direction::Ascending { ">=" } else { "<=" };
            let reaches_nulls = segment == Segment::Whole && key.field.is_nullable();
            if !reaches_nulls {
                sql.push(format_args!(" and r.{} {comparison} ", key.field.column()));
                push_value(sql, key.field, value);
            }
            sql.push(" and ");
            push_after(sql, &query.sort, cursor, 0);
        }
    }
}

/// `(k after v or (k = v and (next key after …)))`, from the key at `index` on.
fn push_after(sql: &mut Builder, sort: &Sort, cursor: &Cursor, index: usize) {
    let (Some(key), Some(value)) = (sort.keys().get(index), cursor.values.get(index)) else {
        push_after_id(sql, sort, cursor.id);
        return;
    };
    let column = key.field.column();
    let Some(value) = value else {
        // Nothing comes after null but other nulls.
        sql.push(format_args!("(r.{column} is null and "));
        push_after(sql, sort, cursor, index + 1);
        sql.push(")");
        return;
    };
    let comparison = if key.direction == Direction::Ascending { ">" } else { "<" };
    sql.push(format_args!("(r.{column} {comparison} "));
    push_value(sql, key.field, value);
    if key.field.is_nullable() {
        sql.push(format_args!(" or r.{column} is null"));
    }
    sql.push(format_args!(" or (r.{column} = "));
    push_value(sql, key.field, value);
    sql.push(" and ");
    push_after(sql, sort, cursor, index + 1);
    sql.push("))");
}

fn push_after_id(sql: &mut Builder, sort: &Sort, id: Uuid) {
    if sort.is_unique() {
        // Two records never share the unique key: nothing equal comes after.
        sql.push("false");
    } else {
        sql.push("r.id > ");
        sql.push_bind(id);
    }
}

/// Binds a cursor's value with its column's type. A value that does not read as one (a forged
/// cursor) is bound as null and matches nothing.
fn push_value(sql: &mut Builder, field: Field, value: &str) {
    match field.kind() {
        Kind::Date => sql.push_bind(read_date(value)),
        Kind::Amount => sql.push_bind(read_amount(value)),
        Kind::Flag => sql.push_bind(value.parse::<bool>().ok()),
        Kind::Text(_) | Kind::Word(_) => sql.push_bind(value.to_owned()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::condition::Condition;
    use crate::domain::filter::Filter;
    use crate::domain::status::Status;
    use crate::service::Reader;

    fn page(filter: Filter, sort: &str) -> PageQuery {
        let reader = Reader { organization: "HOLNG".into(), user: "ana".into(), session: None };
        PageQuery::new(reader, filter, Sort::parse(sort).unwrap(), 100)
    }

    fn words(fields: &[Field]) -> Filter {
        Filter { words: fields.iter().map(|field| (*field, vec!["x".to_owned()])).collect(), ..Filter::default() }
    }

    #[test]
    fn a_category_is_sorted_when_the_grid_has_all_that_it_takes() {
        let category = words(&[Field::Category]);
        let actualized = Filter { flags: [(Field::IsActualized, true)].into(), ..category.clone() };
        for (filter, sort) in [(&category, "class"), (&category, "-monthlyRate,dor"), (&actualized, "forecastStart")] {
            assert!(sorts_a_category(&page(filter.clone(), sort)), "{sort}");
        }
        let in_order = [(words(&[Field::Category, Field::Source]), "forecastStart"), (category.clone(), "-forecastStart")];
        let elsewhere = [
            (words(&[Field::Source]), "class"),
            (words(&[Field::Category, Field::Model]), "class"),
            (category.clone(), "class,model"),
            (Filter { statuses: vec![Status::Forecast], ..category.clone() }, "class"),
            (Filter { text: vec!["ltm".to_owned()], ..category.clone() }, "class"),
            (Filter { contains: Some(serde_json::Map::new()), ..category.clone() }, "class"),
            (Filter { conditions: vec![Condition::IsNull(Field::Model)], ..category.clone() }, "class"),
            (Filter { flags: [(Field::IsDiscontinued, true)].into(), ..category.clone() }, "class"),
        ];
        for (filter, sort) in in_order.into_iter().chain(elsewhere) {
            assert!(!sorts_a_category(&page(filter.clone(), sort)), "{sort} {filter:?}");
        }
        assert!(!sorts_a_category(&PageQuery { fields: Some(vec![Field::PfaId]), ..page(category, "class") }));
    }
}
