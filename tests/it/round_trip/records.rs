//! What the records and edits of the circle are made of: what PEMS says or a planner sends, always
//! together with what it means, so that no reader has to tell.

use crate::support::model::Object;
use chrono::NaiveDate;
use pfa_vanguard::domain::field::{Field, Kind};
use pfa_vanguard::fake_pems::Records;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A text of PEMS.
#[derive(Debug, Clone)]
pub struct Said {
    pub text: String,
    pub value: Value,
}

/// A record of PEMS.
#[derive(Debug, Clone)]
pub struct Raw {
    pub id: String,
    pub said: BTreeMap<Field, Said>,
    /// Columns that no map names.
    pub more: BTreeMap<String, String>,
}

/// What a planner sets: as it is sent, and as it is read.
pub type Edit = BTreeMap<Field, (Value, Value)>;

impl Raw {
    /// The record that is read.
    pub fn meaning(&self) -> Object {
        let value = |field: Field| self.said.get(&field).map_or(Value::Null, |said| said.value.clone());
        let mut data: Object = Field::ALL.iter().map(|field| (field.key().to_owned(), value(*field))).collect();
        data.insert("pfaId".into(), json!(self.id));
        for (flag, dates) in
            [(Field::HasPlan, [Field::OriginalStart, Field::OriginalEnd]), (Field::HasActuals, [Field::ActualStart, Field::ActualEnd])]
        {
            if !self.said.contains_key(&flag) {
                data.insert(flag.key().into(), json!(dates.iter().all(|date| !data[date.key()].is_null())));
            }
        }
        data.extend(self.more.iter().filter(|(_, text)| !text.trim().is_empty()).map(|(name, text)| (name.clone(), json!(text))));
        data
    }

    /// Saves it in PEMS.
    pub fn put(&self, records: &mut Records, organization: &str) {
        let mut data: Object = self.more.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        data.insert("pfaId".into(), json!(self.id));
        records.put(organization, &data);
        let texts = self.said.iter().map(|(field, said)| (*field, said.text.clone())).collect();
        assert!(records.set(organization, &self.id, texts, "PEMS"));
    }
}

/// A few records with everything that the grid has; `also` says which flags of layers it has, too.
pub fn records(also: Vec<Field>) -> impl Strategy<Value = Vec<Raw>> {
    let is_read = move |field: &Field| !matches!(field, Field::PfaId | Field::HasPlan | Field::HasActuals) || also.contains(field);
    let fields: Vec<_> = Field::ALL.iter().copied().filter(is_read).collect();
    let all = fields.into_iter().map(|field| said(field).prop_map(move |said| (field, said))).collect::<Vec<_>>();
    let suffix = prop_oneof![2 => Just(String::new()), 2 => "[A-Za-z0-9/%_ '\"\\\\?#&+.é日-]{0,20}", 1 => "[𐀀-𐿿]{97}"];
    let names = select(&["pemsRemarks", "PEMSREMARKS", "pems \"note\"", "Größe 1", "$.x[0]", "'", "MODEL", "_Meta", "x\\n"][..]);
    let more = btree_map(names.prop_map(str::to_owned), prop_oneof![4 => words(900), 1 => Just(" ".to_owned())], 0..4);
    vec((suffix, all, more), 5..10).prop_map(|records| {
        let number = |(number, (suffix, said, more)): (usize, (String, Vec<_>, _))| {
            let id = format!("{number}-{suffix}").trim_end().to_owned();
            Raw { id, said: said.into_iter().collect(), more }
        };
        records.into_iter().enumerate().map(number).collect()
    })
}

/// A few fields, of these.
pub fn edit(fields: Vec<Field>) -> impl Strategy<Value = Edit> {
    let field = select(fields).prop_flat_map(|field| sent(field).prop_map(move |sent| (field, sent)));
    vec(field, 1..7).prop_map(|fields| fields.into_iter().collect())
}

// ---- Values.

/// A text of a field, with what it means.
fn said(field: Field) -> BoxedStrategy<Said> {
    let blank = select(&["", "", " ", "\t "][..]).prop_map(move |text| Said { text: text.to_owned(), value: default_of(field) });
    let padded = |text: &str, pad: &str, value: Value| Said { text: format!("{pad}{text}{pad}"), value };
    let pad = select(&["", "", "", " ", "\u{a0}\t"][..]);
    let full = match field.kind() {
        Kind::Text(most) => (words(most), pad).prop_map(move |(text, pad)| padded(&text, pad, json!(text))).boxed(),
        _ => (canonical(field, 4), any::<Index>(), pad)
            .prop_map(move |(value, form, pad)| {
                let forms = forms(field, &value);
                padded(&forms[form.index(forms.len())], pad, value)
            })
            .boxed(),
    };
    if is_derived(field) { full } else { prop_oneof![1 => blank, 5 => full].boxed() }
}

/// A value of an edit, as it is sent and as it is read.
fn sent(field: Field) -> BoxedStrategy<(Value, Value)> {
    let cleared = select(vec![Value::Null, json!(" ")]).prop_map(|sent| (sent, Value::Null));
    match field.kind() {
        Kind::Text(most) => {
            let pad = select(&["", "", "", "\n "][..]);
            let full = (words(most), pad).prop_map(|(text, pad)| (json!(format!("{pad}{text}{pad}")), json!(text)));
            prop_oneof![1 => cleared, 4 => full].boxed()
        }
        Kind::Date => {
            let full = (canonical(field, 0), select(&["", "T00:00:00.000Z", "T23:59:59-11:00"][..]));
            let full = full.prop_map(|(date, time)| (json!(format!("{}{time}", date.as_str().unwrap())), date));
            prop_oneof![1 => Just((Value::Null, Value::Null)), 4 => full].boxed()
        }
        _ => canonical(field, 2).prop_map(|value| (value.clone(), value)).boxed(),
    }
}

/// A value as the mirror has it; money with at most so many decimals.
fn canonical(field: Field, decimals: u32) -> BoxedStrategy<Value> {
    match field.kind() {
        Kind::Text(most) => words(most).prop_map(Value::from).boxed(),
        Kind::Word(words) => select(words).prop_map(Value::from).boxed(),
        // Forecasts of actualized records do not move, so there are few of them.
        Kind::Flag => prop::bool::weighted(if field == Field::IsActualized { 0.2 } else { 0.5 }).prop_map(Value::from).boxed(),
        Kind::Amount => {
            let whole = prop_oneof![Just(0_i64), 1..100_000_i64, 0..=99_999_999_999_i64, Just(99_999_999_999)];
            let part = (0..=decimals).prop_flat_map(|scale| (0..10_i64.pow(scale), Just(scale)));
            (whole, part).prop_map(|(whole, (part, scale))| number(Decimal::from(whole) + Decimal::new(part, scale))).boxed()
        }
        Kind::Date => {
            let day = |from: (i32, u32, u32), days: std::ops::Range<u64>| {
                let first = NaiveDate::from_ymd_opt(from.0, from.1, from.2).unwrap();
                days.prop_map(move |days| json!(first + chrono::Days::new(days)))
            };
            // Near ones, so that their order matters; any; the first and the last.
            prop_oneof![
                4 => day((2025, 1, 1), 0..60),
                2 => day((1900, 1, 1), 0..401_767),
                1 => select(vec![json!("1900-01-01"), json!("2999-12-31"), json!("2024-02-29")]),
            ]
            .boxed()
        }
    }
}

/// Texts with something to see in them, not longer than this, often exactly as long.
fn words(most: usize) -> impl Strategy<Value = String> {
    let odd = [
        "O'Brien \"x\" \\ \\n \\u0000",
        "null",
        "true",
        "15000.00",
        "2025-01-01",
        "{\"a\": 1}",
        "a\tb\r\nc",
        "\u{202e}abc",
        "👩‍👩‍👧",
        "e\u{301}",
        "ß İ ı",
        "\u{feff}mark",
        "\u{1}\u{7f}",
        "\u{ffff}\u{10ffff}",
        "%_ $1 ' ; --",
        "<a href=\"x\">&amp;</a>",
        "a  b",
    ];
    prop_oneof![
        4 => "[A-Za-z0-9 \"'%_/,;.-]{1,20}",
        3 => "\\PC{1,20}",
        2 => select(odd.to_vec()).prop_map(str::to_owned),
        // Four bytes each, and nothing that a compression could make smaller.
        1 => vec(proptest::char::range('\u{10000}', '\u{10ffff}'), most).no_shrink().prop_map(|chars| chars.into_iter().collect()),
    ]
    .prop_map(|text| text.trim().to_owned())
    .prop_filter("something to see", |text| !text.is_empty())
}

/// Every text that means a value which is no text itself.
pub fn forms(field: Field, value: &Value) -> Vec<String> {
    let mut forms: Vec<String> = match (field.kind(), value) {
        (Kind::Flag, Value::Bool(true)) => ["Y", "y", "true", "TRUE", "Yes", "1"].map(Into::into).into(),
        (Kind::Flag, _) => ["N", "n", "false", "False", "no", "0"].map(Into::into).into(),
        (Kind::Date, Value::String(date)) => ["", "T00:00:00.000Z", "T23:59", "T12:30:00+14:00"].map(|time| format!("{date}{time}")).into(),
        (Kind::Amount, Value::Number(amount)) => {
            let amount: Decimal = amount.to_string().parse().unwrap();
            let plain = amount.normalize().to_string();
            let fixed = format!("{amount:.4}");
            let mut forms = vec![plain.clone(), format!("+{plain}"), format!("{fixed}000"), fixed];
            if amount.normalize().scale() <= 2 {
                forms.push(format!("{amount:.2}"));
            }
            if amount < Decimal::from(1_000_000) {
                forms.push(format!("000{plain}"));
            }
            forms
        }
        (Kind::Text(_), Value::String(text)) => vec![text.clone()],
        (Kind::Word(_), Value::String(word)) => vec![word.clone(), word.to_uppercase(), word.to_lowercase()],
        _ => Vec::new(),
    };
    if *value == default_of(field) && !is_derived(field) {
        forms.push(String::new());
    }
    forms
}

/// Whether a blank text means what the dates say.
const fn is_derived(field: Field) -> bool {
    matches!(field, Field::HasPlan | Field::HasActuals)
}

/// What a blank text of any other field means.
fn default_of(field: Field) -> Value {
    match field.kind() {
        Kind::Text(_) | Kind::Date => Value::Null,
        Kind::Word(words) => json!(words[0]),
        Kind::Flag => json!(false),
        Kind::Amount => json!(0),
    }
}

fn number(amount: Decimal) -> Value {
    serde_json::from_str(&amount.normalize().to_string()).unwrap()
}
