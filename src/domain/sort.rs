//! The order of a grid page: any columns in any direction, nulls last, the id as tiebreak.

use crate::domain::field::Field;

/// Direction of one sort key. Nulls come last in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Small to large.
    Ascending,
    /// Large to small.
    Descending,
}

/// One column of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// The column.
    pub field: Field,
    /// Its direction.
    pub direction: Direction,
}

/// A total order over the records of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sort(Vec<SortKey>);

/// Why a `sort` parameter makes no order.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SortError {
    /// No such column.
    #[error("unknown column {0:?}")]
    UnknownColumn(String),
    /// The same column twice.
    #[error("column {0} is named twice")]
    Twice(Field),
}

impl Sort {
    /// Reads `forecastStart,-monthlyRate`: comma-separated keys, a minus for descending.
    ///
    /// # Errors
    /// An unknown column, or one named twice.
    pub fn parse(text: &str) -> Result<Self, SortError> {
        let mut keys = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (name, direction) = match part.strip_prefix('-') {
                Some(name) => (name, Direction::Descending),
                None => (part, Direction::Ascending),
            };
            let field = Field::from_key(name).ok_or_else(|| SortError::UnknownColumn(name.to_owned()))?;
            keys.push(SortKey { field, direction });
        }
        Self::by(keys)
    }

    /// An order by these columns; without any the one of the timeline.
    ///
    /// # Errors
    /// A column that is named twice.
    pub fn by(mut keys: Vec<SortKey>) -> Result<Self, SortError> {
        if keys.is_empty() {
            return Ok(Self::default());
        }
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].iter().any(|before| before.field == key.field) {
                return Err(SortError::Twice(key.field));
            }
        }
        // What comes after the unique pfaId can decide nothing.
        if let Some(unique) = keys.iter().position(|key| key.field == Field::PfaId) {
            keys.truncate(unique + 1);
        }
        Ok(Self(keys))
    }

    /// The columns, most significant first; at least one.
    #[must_use]
    pub fn keys(&self) -> &[SortKey] {
        &self.0
    }

    /// Whether the columns alone order every pair of records, so that no tiebreak is needed.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.0.last().is_some_and(|key| key.field == Field::PfaId)
    }
}

impl Default for Sort {
    /// By forecast start: the order of the timeline.
    fn default() -> Self {
        Self(vec![SortKey { field: Field::ForecastStart, direction: Direction::Ascending }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_directions_and_stops_at_the_unique_key() {
        let sort = Sort::parse("-monthlyRate, pfaId,category").expect("an order");
        assert_eq!(sort.keys().len(), 2);
        assert_eq!(sort.keys()[0], SortKey { field: Field::MonthlyRate, direction: Direction::Descending });
        assert!(sort.is_unique() && !Sort::default().is_unique());
    }

    #[test]
    fn refuses_unknown_and_repeated_columns() {
        assert_eq!(Sort::parse("price"), Err(SortError::UnknownColumn("price".into())));
        assert_eq!(Sort::parse(""), Err(SortError::UnknownColumn(String::new())));
        assert_eq!(Sort::parse("dor,-dor"), Err(SortError::Twice(Field::Dor)));
    }
}
