//! One raw record: the dictionary's fields, correlated as in a real register.
//!
//! A clean record keeps the rules of the dictionary: start ≤ end in each layer, money ≥ 0 with at
//! most two decimals, `source` and `dor` from their lists, flags booleans. A nullable field may be
//! null or absent. `dirt` may spoil one value afterwards, never the id.

use serde_json::{Map, Value};

use super::catalogue::{self, Machine};
use super::dirt;
use super::draw::{Draws, Source};
use super::fields::Fields;
use super::price::{draw_price, money};
use super::schedule::{self, Layer, Schedule};

/// Physical areas. Every organization knows them all but uses others more.
const AREAS: [&str; 16] = [
    "Silo 1",
    "Area A",
    "North Area",
    "LAYDOWN",
    "Silo 2",
    "Area B",
    "SHOP",
    "South Area",
    "Silo 3",
    "Area C",
    "East Area",
    "Silo 4",
    "West Area",
    "JETTY",
    "Area D",
    "Silo 5",
];

/// What people leave in the remarks.
const REMARKS: [&str; 6] = [
    "Confirm operator before mobilization",
    "Standby, rate to be renegotiated",
    "Shared with the neighbouring area; see contract",
    "Awaiting purchase order",
    "Replaces a smaller unit",
    "Fuel not included",
];

/// Draws the record with the given index, in 0.3 % of the cases with one spoiled value.
pub(super) fn draw_record(source: &Source, code: &str, index: u64) -> Map<String, Value> {
    let mut draws = source.draws(index);
    let mut record = draw_clean(&mut draws, source, code, index);
    if draws.chance(dirt::SHARE_PER_MILLE) {
        dirt::spoil(&mut record, &mut draws);
    }
    record
}

/// Draws the record before any dirt.
pub(super) fn draw_clean(draws: &mut Draws, source: &Source, code: &str, index: u64) -> Map<String, Value> {
    // Ids start at five digits and rise by 1 to 5: unique, in order, with gaps.
    let first_id = u64::from(10_000 + source.fixed_below(300));
    let id = first_id + index * 3 + u64::from(draws.below(3));
    let machine = catalogue::draw_machine(draws);
    let is_rental = draws.chance(700);
    let is_actualized = draws.chance(250);
    let dates = schedule::draw_schedule(draws, is_actualized, tilt_of(index));

    let mut fields = Fields::default();
    fields.put("pfaId", id.to_string());
    fields.put("source", if is_rental { "Rental" } else { "Purchase" });
    fields.put("dor", if draws.chance(750) { "PROJECT" } else { "BEO" });
    put_place(&mut fields, draws, source, code, &machine);
    put_machine(&mut fields, draws, &machine, is_actualized);
    put_money(&mut fields, draws, &machine, is_rental);
    put_flags(&mut fields, draws, is_actualized);
    put_dates(&mut fields, draws, &dates);
    put_extras(&mut fields, draws);
    fields.into_record()
}

/// Later ids start later, weakly: the tilt rises with the logarithm of the index. Not with the share
/// of the whole, because a record may not depend on how many there are.
fn tilt_of(index: u64) -> u32 {
    // log2 in 1/1024, the mantissa linear: good enough and the same everywhere.
    let number = index + 1;
    let whole = number.ilog2();
    let mantissa = ((u128::from(number) << 10) >> whole) - 1024;
    let logarithm = whole * 1024 + u32::try_from(mantissa).unwrap_or(0);
    // Neutral at 2^14 records, 9 % more with every doubling.
    (500 + logarithm * 90 / 1024).saturating_sub(14 * 90).clamp(50, 950)
}

fn put_place(fields: &mut Fields, draws: &mut Draws, source: &Source, code: &str, machine: &Machine) {
    let first_area = source.fixed_below(16) as usize;
    let area = AREAS[(draws.zipf(AREAS.len()) + first_area) % AREAS.len()];
    fields.put_nullable(draws, "areaSilo", 980, area);
    // A few contracts a category: who supplies cranes doesn't supply generators.
    let contract = format!("{code}-{}{:02}", 10 + machine.category_position, 1 + draws.zipf(5));
    fields.put_nullable(draws, "contract", 950, contract);
}

fn put_machine(fields: &mut Fields, draws: &mut Draws, machine: &Machine, is_actualized: bool) {
    let Machine { category, class, manufacturer, model, .. } = machine;
    fields.put_nullable(draws, "category", 990, category.name);
    fields.put_nullable(draws, "class", 985, class.name);
    let has_manufacturer = draws.chance(960);
    fields.put_nullable(draws, "manufacturer", if has_manufacturer { 1000 } else { 0 }, *manufacturer);
    // No model without its make.
    fields.put_nullable(draws, "model", if has_manufacturer { 950 } else { 0 }, *model);
    // About 60 % in all: what is on site nearly always has its asset.
    let tag_number = draws.between(1, 9_999);
    let equipment = format!("{}-{tag_number:04} - {manufacturer} {model} {}", class.tag, class.name);
    fields.put_nullable(draws, "equipment", if is_actualized { 960 } else { 480 }, equipment);
}

fn put_money(fields: &mut Fields, draws: &mut Draws, machine: &Machine, is_rental: bool) {
    let price = draw_price(draws, machine, is_rental);
    for (key, cents) in [("monthlyRate", price.monthly_rate_cents), ("purchasePrice", price.purchase_price_cents)] {
        // Not nullable, but 0 is its default: some files leave a zero out.
        if cents > 0 || draws.chance(970) {
            fields.put(key, Value::Number(money(cents)));
        }
    }
}

/// In all 25 % actualized, 4 % discontinued (few of those on site), 6 % with transferable funds
/// (many of the discontinued: their budget is free).
fn put_flags(fields: &mut Fields, draws: &mut Draws, is_actualized: bool) {
    let is_discontinued = draws.chance(if is_actualized { 10 } else { 50 });
    fields.put("isActualized", is_actualized);
    fields.put("isDiscontinued", is_discontinued);
    let transferable = draws.chance(if is_discontinued { 400 } else { 46 });
    fields.put("isFundsTransferable", transferable);
}

fn put_dates(fields: &mut Fields, draws: &mut Draws, dates: &Schedule) {
    let layers: [(&'static str, &'static str, Layer); 3] = [
        ("originalStart", "originalEnd", dates.original),
        ("forecastStart", "forecastEnd", dates.forecast),
        ("actualStart", "actualEnd", dates.actual),
    ];
    for (start, end, layer) in layers {
        fields.put_or_leave_out(draws, start, layer.start.map(|date| date.to_string()));
        fields.put_or_leave_out(draws, end, layer.end.map(|date| date.to_string()));
    }
    fields.put("hasPlan", dates.original.is_complete());
    fields.put("hasActuals", dates.actual.is_complete());
}

/// Keys that the dictionary doesn't know, on 5 % of the records: they must be kept as they are.
fn put_extras(fields: &mut Fields, draws: &mut Draws) {
    let kind = draws.below(1000);
    if kind < 35 {
        let code = format!("{:02}-{:04}", draws.between(10, 49), draws.between(1_000, 9_999));
        fields.put("pemsCostCode", code);
    }
    if (25..50).contains(&kind) {
        fields.put("pemsRemarks", *draws.pick(&REMARKS));
    }
}
