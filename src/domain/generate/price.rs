//! Money of a record: a monthly rate or a purchase price inside its class' range, in exact cents.

use serde_json::Number;

use super::catalogue::Machine;
use super::draw::Draws;

/// What a record costs, in cents of a USD. Zero says that it has no such cost.
pub(super) struct Price {
    pub(super) monthly_rate_cents: u32,
    pub(super) purchase_price_cents: u32,
}

/// Rentals have a rate (1 % not yet) and rarely a purchase option, purchases the reverse.
pub(super) fn draw_price(draws: &mut Draws, machine: &Machine, is_rental: bool) -> Price {
    let (needed, extra) = (990, 30);
    let (rate_share, price_share) = if is_rental { (needed, extra) } else { (extra, needed) };
    // Mostly round amounts, in steps of 50 and 500 USD: people agree on 2,450 and 61,500.
    let monthly_rate_cents = draw_cents(draws, machine, machine.class.monthly_rate, 50, rate_share);
    let purchase_price_cents = draw_cents(draws, machine, machine.class.purchase_price, 500, price_share);
    Price { monthly_rate_cents, purchase_price_cents }
}

/// An amount in cents as a JSON number with at most two decimals; whole amounts are integers.
///
/// Going through `f64` is exact here: the text of a float is its shortest form that reads back as
/// the same float, and below 2^53 / 100 USD that form is the amount itself (15 digits are always
/// kept), never `12345.4999…`. So `arbitrary_precision` isn't needed, and does no harm if another
/// crate turns it on.
pub(super) fn money(cents: u32) -> Number {
    if cents.is_multiple_of(100) {
        return Number::from(cents / 100);
    }
    // `from_f64` refuses only infinities and NaN.
    Number::from_f64(f64::from(cents) / 100.0).unwrap_or_else(|| Number::from(cents / 100))
}

/// An amount for the machine in `share` of 1000 cases, else 0. The catalogue lists the models of a
/// class from small to large, so each has its own slice of the class' range (in USD).
fn draw_cents(draws: &mut Draws, machine: &Machine, (low, high): (u32, u32), grain: u32, share: u32) -> u32 {
    let slices = u32::try_from(machine.class.models.len()).unwrap_or(1).max(1);
    let slice = u32::try_from(machine.model_position).unwrap_or(0);
    let along = u64::from(slice * 1000 + draws.below(1000)) * u64::from(high - low);
    let amount = low + u32::try_from(along / (u64::from(slices) * 1000)).unwrap_or(0);
    let rounded = amount - amount % grain;
    let cents = match draws.below(100) {
        0..85 => rounded * 100,
        85..92 => amount * 100,
        92..96 => amount * 100 + 50,
        _ => amount * 100 + draws.below(100),
    };
    if draws.chance(share) { cents } else { 0 }
}
