//! Dirt: the values that real registers hold and that an import must survive.
//!
//! One value of a record in 0.3 % of the records. Half of the kinds can be read all the same:
//!
//! | kind | fields | example | readable |
//! |---|---|---|---|
//! | impossible date | the plan's and forecast's dates | `"2025-02-30"` | no |
//! | full ISO stamp | the same, where there is a date | `"2025-03-01T00:00:00.000Z"` | yes: that day |
//! | word for money | `monthlyRate`, `purchasePrice` | `"abc"` | no |
//! | empty money | the same | `""` | no value: the default |
//! | money as text | the same | `"15000.00"` | yes: the same amount |
//! | letter for a flag | the three flags | `"Y"`, `"N"` | yes: the same flag |
//! | word for a flag | the same | `"maybe"` | no |
//! | unknown source | `source` | `"Lease"` | no |
//!
//! `pfaId` is never touched: without it a record can't even be reported. `hasPlan` stays as it was,
//! as the sending system computed it.

use serde_json::{Map, Value};

use super::draw::Draws;

/// How many records of 1000 have a dirty value.
pub(super) const SHARE_PER_MILLE: u32 = 3;

const DATES: [&str; 4] = ["originalStart", "originalEnd", "forecastStart", "forecastEnd"];
const MONEY: [&str; 2] = ["monthlyRate", "purchasePrice"];
const FLAGS: [&str; 3] = ["isActualized", "isDiscontinued", "isFundsTransferable"];

/// Spoils one value. The kinds are equally likely. (A stamp needs a date: the rare record without
/// the drawn one gets an impossible date in its place.)
pub(super) fn spoil(record: &mut Map<String, Value>, draws: &mut Draws) {
    let date = *draws.pick(&DATES);
    let money = *draws.pick(&MONEY);
    let flag = *draws.pick(&FLAGS);
    let (key, value) = match draws.below(8) {
        0 => (date, "2025-02-30".to_owned()),
        1 => (date, stamp(record.get(date))),
        2 => (money, "abc".to_owned()),
        3 => (money, String::new()),
        4 => (money, money_text(record.get(money))),
        5 => (flag, flag_letter(record.get(flag))),
        6 => (flag, "maybe".to_owned()),
        _ => ("source", "Lease".to_owned()),
    };
    record.insert(key.to_owned(), Value::String(value));
}

/// The date as a stamp of its midnight.
fn stamp(date: Option<&Value>) -> String {
    match date.and_then(Value::as_str) {
        Some(date) => format!("{date}T00:00:00.000Z"),
        None => "2025-02-30".to_owned(),
    }
}

/// The amount with two decimals; made from the number's text, so it is the same amount to the cent.
fn money_text(amount: Option<&Value>) -> String {
    let text = match amount {
        Some(Value::Number(amount)) => amount.to_string(),
        _ => "0".to_owned(),
    };
    match text.split_once('.') {
        None => format!("{text}.00"),
        Some((whole, cents)) => format!("{whole}.{cents:0<2}"),
    }
}

/// How PEMS writes the flag.
fn flag_letter(flag: Option<&Value>) -> String {
    let is_set = flag.and_then(Value::as_bool).unwrap_or(false);
    if is_set { "Y" } else { "N" }.to_owned()
}
