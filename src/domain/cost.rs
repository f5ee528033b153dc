//! Money: the reference for what `pfa_amount_of` and `pfa_cost` compute in the database.
//!
//! Amounts are exact: days × monthly rate for rentals, the price for purchases. The one division,
//! by the mean month of 30.44 days, happens after summing, and cents are rounded in the answer.

use chrono::NaiveDate;
use rust_decimal::{Decimal, RoundingStrategy};

/// Days of a mean month: rental = days / 30.44 × monthly rate.
pub const DAYS_PER_MONTH: Decimal = Decimal::from_parts(3044, 0, 0, false, 2);

/// How a piece of equipment is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// By days on site. An unknown source counts as rental.
    Rental,
    /// Once, whatever the dates.
    Purchase,
}

impl Payment {
    /// The payment that a record's `source` stands for.
    #[must_use]
    pub fn of(source: Option<&str>) -> Self {
        if source == Some("Purchase") { Self::Purchase } else { Self::Rental }
    }

    /// Cost in US dollars of a summed amount; unrounded.
    #[must_use]
    pub fn cost(self, amount: Decimal) -> Decimal {
        match self {
            Self::Rental => amount / DAYS_PER_MONTH,
            Self::Purchase => amount,
        }
    }

    /// Exact cost basis of one date layer: `max(0, end − start)` days × rate, or the price.
    #[must_use]
    pub fn amount(self, monthly_rate: Decimal, purchase_price: Decimal, start: Option<NaiveDate>, end: Option<NaiveDate>) -> Decimal {
        match (self, start, end) {
            (Self::Purchase, _, _) => purchase_price,
            (Self::Rental, Some(start), Some(end)) if end > start => Decimal::from((end - start).num_days()) * monthly_rate,
            (Self::Rental, _, _) => Decimal::ZERO,
        }
    }
}

/// Rounds to cents, halves away from zero; for answers only.
#[must_use]
pub fn round_to_cents(amount: Decimal) -> Decimal {
    let mut cents = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    cents.rescale(2);
    cents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values() {
        let start = NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date");
        for (days, rate, cost) in
            [(60, 15_000, "29566.36"), (30, 8_000, "7884.36"), (90, 25_000, "73915.90"), (365, 10_000, "119908.02"), (1, 30_440, "1000.00")]
        {
            let amount = Payment::Rental.amount(rate.into(), 999.into(), Some(start), Some(start + chrono::Days::new(days)));
            assert_eq!(round_to_cents(Payment::Rental.cost(amount)).to_string(), cost, "{days} d × {rate}");
        }
    }

    #[test]
    fn backward_or_missing_dates_cost_nothing_and_purchases_ignore_dates() {
        let (early, late) = (NaiveDate::from_ymd_opt(2025, 1, 1), NaiveDate::from_ymd_opt(2025, 2, 1));
        let rate = Decimal::from(100);
        assert_eq!(Payment::Rental.amount(rate, rate, late, early), Decimal::ZERO);
        assert_eq!(Payment::Rental.amount(rate, rate, None, late), Decimal::ZERO);
        assert_eq!(Payment::Purchase.amount(rate, Decimal::from(7), None, None), Decimal::from(7));
    }
}
