//! KPI totals: exact amounts of groups of records, added up, divided once and rounded last.

use crate::domain::cost::{Payment, round_to_cents};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};

/// Exact amounts and counts of the records that share category, source and dor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KpiGroup {
    /// Category, null for records without one.
    pub category: Option<String>,
    /// Source; null counts as rental.
    pub source: Option<String>,
    /// Division of responsibility.
    pub dor: Option<String>,
    /// What the records of the group add up to.
    pub amounts: Amounts,
}

/// Exact sums: days × monthly rate for rentals, prices for purchases (see [`crate::domain::cost`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Number of records.
    pub record_count: i64,
    /// How many of them are actualized.
    pub actualized_count: i64,
    /// Sum over the original dates.
    pub plan: Decimal,
    /// Sum over the forecast dates.
    pub forecast: Decimal,
    /// Sum over the actual dates of actualized records.
    pub actual: Decimal,
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Self) {
        self.record_count += other.record_count;
        self.actualized_count += other.actualized_count;
        self.plan += other.plan;
        self.forecast += other.forecast;
        self.actual += other.actual;
    }
}

impl Sub for Amounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            record_count: self.record_count - other.record_count,
            actualized_count: self.actualized_count - other.actualized_count,
            plan: self.plan - other.plan,
            forecast: self.forecast - other.forecast,
            actual: self.actual - other.actual,
        }
    }
}

/// A dimension that KPIs can be grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// By category.
    Category,
    /// By source.
    Source,
    /// By division of responsibility.
    Dor,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 3] = [Self::Category, Self::Source, Self::Dor];

    /// The word in parameters and answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Category => "category",
            Self::Source => "source",
            Self::Dor => "dor",
        }
    }

    fn of(self, group: &KpiGroup) -> Option<String> {
        match self {
            Self::Category => group.category.clone(),
            Self::Source => group.source.clone(),
            Self::Dor => group.dor.clone(),
        }
    }
}

/// Costs in US dollars, rounded to cents, and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// By original dates.
    pub plan_cost: Decimal,
    /// By forecast dates.
    pub forecast_cost: Decimal,
    /// By actual dates, actualized records only.
    pub actual_cost: Decimal,
    /// Forecast − plan, before rounding.
    pub variance: Decimal,
    /// Variance in percent of the plan, one decimal; 0 without a plan.
    pub variance_percent: Decimal,
    /// Number of records.
    pub record_count: i64,
    /// How many of them are actualized.
    pub actualized_count: i64,
}

/// Rentals and purchases kept apart, because only rentals are divided by the month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Split {
    /// What rentals add up to.
    pub rental: Amounts,
    /// What purchases add up to.
    pub purchase: Amounts,
}

impl Sub for Split {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { rental: self.rental - other.rental, purchase: self.purchase - other.purchase }
    }
}

impl Split {
    /// Adds up groups.
    #[must_use]
    pub fn of<'a>(groups: impl IntoIterator<Item = &'a KpiGroup>) -> Self {
        let mut split = Self::default();
        for group in groups {
            split.add(group);
        }
        split
    }

    fn add(&mut self, group: &KpiGroup) {
        match Payment::of(group.source.as_deref()) {
            Payment::Rental => self.rental += group.amounts,
            Payment::Purchase => self.purchase += group.amounts,
        }
    }

    /// The costs of rentals and purchases together.
    #[must_use]
    pub fn total(&self) -> Figures {
        let cost = |of: fn(&Amounts) -> Decimal| Payment::Rental.cost(of(&self.rental)) + Payment::Purchase.cost(of(&self.purchase));
        let mut counts = self.rental;
        counts += self.purchase;
        figures(cost(|a| a.plan), cost(|a| a.forecast), cost(|a| a.actual), counts)
    }

    /// The costs of rentals alone.
    #[must_use]
    pub fn rental(&self) -> Figures {
        Self { purchase: Amounts::default(), ..*self }.total()
    }

    /// The costs of purchases alone.
    #[must_use]
    pub fn purchase(&self) -> Figures {
        Self { rental: Amounts::default(), ..*self }.total()
    }
}

fn figures(plan: Decimal, forecast: Decimal, actual: Decimal, counts: Amounts) -> Figures {
    let variance = forecast - plan;
    let percent = if plan.is_zero() { Decimal::ZERO } else { variance / plan * Decimal::ONE_HUNDRED };
    let mut variance_percent = percent.round_dp_with_strategy(1, rust_decimal::RoundingStrategy::MidpointAwayFromZero);
    variance_percent.rescale(1);
    Figures {
        plan_cost: round_to_cents(plan),
        forecast_cost: round_to_cents(forecast),
        actual_cost: round_to_cents(actual),
        variance: round_to_cents(variance),
        variance_percent,
        record_count: counts.record_count,
        actualized_count: counts.actualized_count,
    }
}

/// The key of a group: one value for each dimension asked for.
pub type GroupKey = Vec<Option<String>>;

/// Adds up groups by the dimensions asked for, in the order of their keys (nulls first).
#[must_use]
pub fn group_by(groups: &[KpiGroup], dimensions: &[Dimension]) -> Vec<(GroupKey, Split)> {
    let mut grouped: BTreeMap<GroupKey, Split> = BTreeMap::new();
    if !dimensions.is_empty() {
        for group in groups {
            let key = dimensions.iter().map(|dimension| dimension.of(group)).collect();
            grouped.entry(key).or_default().add(group);
        }
    }
    grouped.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(category: &str, source: &str, plan: i64, forecast: i64) -> KpiGroup {
        let amounts = Amounts { record_count: 1, plan: plan.into(), forecast: forecast.into(), ..Amounts::default() };
        KpiGroup { category: Some(category.into()), source: Some(source.into()), dor: None, amounts }
    }

    #[test]
    fn rentals_are_divided_by_the_month_and_purchases_are_not() {
        let groups = [group("Lifting", "Rental", 3044, 6088), group("Lifting", "Purchase", 50, 50), group("Other", "Rental", 0, 0)];
        let split = Split::of(&groups);
        assert_eq!(split.total().plan_cost.to_string(), "150.00");
        assert_eq!((split.total().variance.to_string(), split.total().variance_percent.to_string()), ("100.00".into(), "66.7".into()));
        assert_eq!(split.rental().forecast_cost.to_string(), "200.00");
        assert_eq!(split.purchase().plan_cost.to_string(), "50.00");
        assert_eq!(split.total().record_count, 3);
    }

    #[test]
    fn groups_follow_the_dimensions_asked_for() {
        let groups = [group("Lifting", "Rental", 1, 1), group("Lifting", "Purchase", 1, 1), group("Other", "Rental", 1, 1)];
        assert_eq!(group_by(&groups, &[]).len(), 0);
        assert_eq!(group_by(&groups, &[Dimension::Category]).len(), 2);
        assert_eq!(group_by(&groups, &[Dimension::Category, Dimension::Source]).len(), 3);
    }
}
