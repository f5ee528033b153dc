//! Decimals as JSON numbers, digit by digit: never by way of floating point.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

/// Writes a decimal as a JSON number with its scale, so `1.00` stays `1.00`; for `#[serde(serialize_with)]`.
///
/// `rust_decimal::serde::arbitrary_precision` gives the same text by way of a number of
/// arbitrary precision; a KPI answer has hundreds of figures, so this takes the straight way.
///
/// # Errors
/// Never for a decimal.
pub fn serialize_decimal<S: Serializer>(decimal: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    let digits = RawValue::from_string(decimal.to_string()).map_err(S::Error::custom)?;
    digits.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Figure(#[serde(serialize_with = "serialize_decimal")] Decimal);

    #[test]
    fn every_digit_arrives() {
        for text in ["0.00", "-12.30", "79228162514264337593543950335", "0.0000000000000000000000000001"] {
            let figure = Figure(text.parse().expect("a decimal"));
            assert_eq!(serde_json::to_string(&figure).expect("JSON"), text);
        }
    }
}
