//! Reading values as PEMS and import files write them. The same rules stand in SQL as
//! `pfa_date`, `pfa_amount` and `pfa_flag`; a property test holds them together.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use std::str::FromStr;

/// Date of `YYYY-MM-DD` or of a full ISO 8601 stamp (its date part as written), years 1900 to 2999.
#[must_use]
pub fn read_date(text: &str) -> Option<NaiveDate> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    if !is_shape(date, "9999-99-99") || time.is_some_and(|time| !is_time(time)) {
        return None;
    }
    let year = date[..4].parse::<u16>().ok()?;
    if !(1900..3000).contains(&year) {
        return None;
    }
    NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fff`, then nothing, `Z` or an offset.
fn is_time(text: &str) -> bool {
    let (clock, zone) = match text.find(['Z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let has_seconds = is_shape(clock, "99:99:99");
    let in_range = clock.split(':').enumerate().all(|(index, part)| part < if index == 0 { "24" } else { "60" });
    (has_seconds || is_shape(clock, "99:99"))
        && in_range
        && fraction.is_none_or(|digits| has_seconds && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        && (zone.is_empty() || zone == "Z" || (!zone.starts_with('Z') && (is_shape(&zone[1..], "99:99") || is_shape(&zone[1..], "9999"))))
}

/// Whether a text has the shape of a pattern in which 9 stands for any digit.
fn is_shape(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, shape)| if shape == b'9' { byte.is_ascii_digit() } else { byte == shape })
}

/// Number of a plain decimal text with at most 11 digits before the point and 4 significant ones
/// after it, so that sums of ten million amounts over any number of days stay exact in 28 digits.
#[must_use]
pub fn read_amount(text: &str) -> Option<Decimal> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (unsigned, ""),
    };
    let significant = fraction.trim_end_matches('0');
    let all_digits = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !all_digits || whole.len() > 11 || significant.len() > 4 {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let amount = Decimal::from_str(&format!("{sign}{whole}.{significant}0")).ok()?.normalize();
    // Minus zero is zero.
    Some(if amount.is_zero() { Decimal::ZERO } else { amount })
}

/// Boolean of true/false, Y/N, yes/no or 1/0 in any case.
#[must_use]
pub fn read_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "y" | "yes" | "1" => Some(true),
        "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_from_both_forms_and_nothing_else() {
        let march = NaiveDate::from_ymd_opt(2025, 3, 1);
        for text in ["2025-03-01", "2025-03-01T00:00:00.000Z", "2025-03-01T23:59", "2025-03-01T10:00:00+02:00", "2025-03-01T10:00:00-0530"]
        {
            assert_eq!(read_date(text), march, "{text}");
        }
        for text in [
            "2025-02-30",
            "2025-13-01",
            "2025-3-1",
            "01.03.2025",
            "1899-12-31",
            "3000-01-01",
            "",
            "2025-03-01 00:00",
            "2025-03-01T24:00",
            "2025-03-01T10",
            "2025-03-01T10:00Zx",
            "2025-03-01T10:00.5",
            "2025-03-01T",
            "+025-03-01",
            "2025-03-01T10:00Z+01:00",
        ] {
            assert_eq!(read_date(text), None, "{text}");
        }
        assert!(read_date("2024-02-29").is_some() && read_date("2100-02-29").is_none() && read_date("2000-02-29").is_some());
    }

    #[test]
    fn amounts_are_plain_decimals() {
        for (text, amount) in [
            ("15000", "15000"),
            ("15000.00", "15000"),
            ("-0.5", "-0.5"),
            ("+7.25", "7.25"),
            ("-0", "0"),
            ("12345678901.1234000", "12345678901.1234"),
        ] {
            assert_eq!(read_amount(text).map(|amount| amount.to_string()).as_deref(), Some(amount), "{text}");
        }
        for text in ["", "abc", "1e5", "$15", "1,000", ".5", "5.", "123456789012", "1.23456", "NaN", "--1", "١"] {
            assert_eq!(read_amount(text), None, "{text}");
        }
    }

    #[test]
    fn flags_are_read_in_any_case() {
        assert_eq!(["Y", "yes", "TRUE", "1"].map(read_flag), [Some(true); 4]);
        assert_eq!(["N", "No", "false", "0"].map(read_flag), [Some(false); 4]);
        assert_eq!(["maybe", "", "2"].map(read_flag), [None; 3]);
    }
}
