//! What records amount to together: a column of the dictionary or a cost, and how it is aggregated.

use crate::domain::field::{Field, Kind};

/// What is looked at in each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measured {
    /// A column of the dictionary.
    Field(Field),
    /// Cost by the original dates.
    PlanCost,
    /// Cost by the forecast dates.
    ForecastCost,
    /// Cost by the actual dates of actualized records.
    ActualCost,
    /// Forecast − plan.
    Variance,
}

impl Measured {
    /// The costs.
    pub const COSTS: [Self; 4] = [Self::PlanCost, Self::ForecastCost, Self::ActualCost, Self::Variance];

    /// The key in requests and answers.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Field(field) => field.key(),
            Self::PlanCost => "planCost",
            Self::ForecastCost => "forecastCost",
            Self::ActualCost => "actualCost",
            Self::Variance => "variance",
        }
    }

    /// What a key stands for, or nothing for an unknown one.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        let cost = Self::COSTS.into_iter().find(|cost| cost.key() == key);
        cost.or_else(|| Field::from_key(key).map(Self::Field))
    }

    /// All keys, for messages about unknown ones.
    #[must_use]
    pub fn keys() -> Vec<&'static str> {
        Field::keys().into_iter().chain(Self::COSTS.map(Self::key)).collect()
    }
}

/// How the values of records become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aggregate {
    /// Their sum; 0 where there is no value.
    Sum,
    /// Their mean; null where there is no value.
    Average,
    /// The first of them in order; null where there is no value.
    Least,
    /// The last of them in order; null where there is no value.
    Greatest,
    /// The number of records that have a value.
    Count,
}

impl Aggregate {
    /// Every aggregate.
    pub const ALL: [Self; 5] = [Self::Sum, Self::Average, Self::Least, Self::Greatest, Self::Count];

    /// The word in requests.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Average => "avg",
            Self::Least => "min",
            Self::Greatest => "max",
            Self::Count => "count",
        }
    }
}

/// One figure of a group of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Measure {
    /// What is looked at.
    pub of: Measured,
    /// What is made of it.
    pub aggregate: Aggregate,
}

impl Measure {
    /// How a thing can be aggregated: costs are added up, money is calculated with, flags are counted, the rest has an order.
    #[must_use]
    pub fn aggregates_of(of: Measured) -> &'static [Aggregate] {
        match of {
            Measured::Field(field) => match field.kind() {
                Kind::Amount => &Aggregate::ALL,
                Kind::Date | Kind::Text(_) | Kind::Word(_) => &[Aggregate::Least, Aggregate::Greatest, Aggregate::Count],
                Kind::Flag => &[Aggregate::Count],
            },
            Measured::PlanCost | Measured::ForecastCost | Measured::ActualCost | Measured::Variance => &[Aggregate::Sum],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_for_itself() {
        for key in Measured::keys() {
            assert_eq!(Measured::from_key(key).map(Measured::key), Some(key));
        }
        assert_eq!(Measured::from_key("cost"), None);
    }
}
