//! What happens to a few records in a few sandboxes, as a value. A scene that failed prints as the
//! Rust code of itself; steps name records and sandboxes by number, modulo what there is.

use crate::support::model::{Object, Question};
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::filter::{Filter, Range};
use pfa_vanguard::domain::status::Status;
use serde_json::{Value, json};

/// A value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Val {
    Text(&'static str),
    Number(i64),
    Flag(bool),
    Null,
}

impl Val {
    pub fn json(self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Flag(flag) => json!(flag),
            Self::Null => Value::Null,
        }
    }
}

/// Fields with the values that something sets.
pub type Entries = Vec<(&'static str, Val)>;

pub fn object(entries: &Entries) -> Object {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.json())).collect()
}

/// Records, and what happens to them.
#[derive(Debug, Clone)]
pub struct Scene {
    /// What each record has otherwise than [`template`].
    pub records: Vec<Entries>,
    pub steps: Vec<Step>,
}

impl Scene {
    /// The scene with one part less: a step from the end, a record, a value; nothing when there is no such part.
    pub fn without(&self, part: usize) -> Option<Self> {
        let mut smaller = self.clone();
        let Scene { records, steps } = &mut smaller;
        if part < steps.len() {
            steps.remove(steps.len() - 1 - part);
            return Some(smaller);
        }
        let mut part = part - steps.len();
        let spare_records = usize::from(records.len() > 1);
        if part < spare_records {
            records.pop();
            return Some(smaller);
        }
        part -= spare_records;
        let sets = steps.iter_mut().flat_map(|step| match step {
            Step::Edit(_, _, entries) | Step::Bulk(_, _, Operate::Set(entries), _) => vec![entries],
            Step::Load(loaded) => loaded.iter_mut().map(|(_, entries)| entries).collect(),
            _ => Vec::new(),
        });
        for entries in records.iter_mut().chain(sets.filter(|entries| entries.len() > 1)) {
            if part < entries.len() {
                entries.remove(part);
                return Some(smaller);
            }
            part -= entries.len();
        }
        None
    }
}

/// One thing that somebody does. The first number is the sandbox.
#[derive(Debug, Clone)]
pub enum Step {
    Edit(usize, usize, Entries),
    /// Sets every second field of the draft, or all, back to what it was.
    EditBack(usize, usize, bool),
    Bulk(usize, Select, Operate, How),
    Drop(usize, usize),
    Undo(usize),
    Redo(usize),
    Commit(usize, Mode),
    Discard(usize),
    /// Others' records as PEMS has them from now on; a number beyond the last is a new record.
    Load(Vec<(usize, Entries)>),
    /// A conflict, of those that somebody can see; the user; the choices.
    Resolve(usize, usize, Choose),
    /// The summaries are computed anew.
    Refresh,
}

/// Which records a bulk edit selects.
#[derive(Debug, Clone, Copy)]
pub enum Select {
    /// One bit a record; bit 7 adds an id that names none.
    Ids(u8),
    /// One of [`filters`].
    Where(usize),
}

#[derive(Debug, Clone)]
pub enum Operate {
    Set(Entries),
    Shift(i32),
    Duration(i32),
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    SkipInvalid,
    Atomic,
    Preview,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    Atomic,
    Partial,
    DryRun,
}

#[derive(Debug, Clone, Copy)]
pub enum Choose {
    Mine,
    Theirs,
    /// Two bits a field: mine, theirs, a third value, and left open.
    Each(u16),
}

/// A record before a scene says otherwise.
pub fn template(number: usize) -> Object {
    let Value::Object(record) = json!({
        "pfaId": number.to_string(), "category": "Lifting", "class": "Crane", "source": "Rental", "dor": "PROJECT",
        "monthlyRate": 3044, "purchasePrice": 700, "equipment": "E",
        "originalStart": "2025-01-01", "originalEnd": "2025-03-01", "forecastStart": "2025-02-01", "forecastEnd": "2025-04-01",
        "actualStart": "2025-02-01", "actualEnd": "2025-03-01",
    }) else {
        unreachable!("an object")
    };
    record
}

pub const DATES: [&str; 5] = ["2025-01-01", "2025-02-01", "2025-03-01", "2025-04-01", "2025-05-01"];

/// Few values of each field, so that changes meet often.
pub fn values(field: &str) -> Vec<Val> {
    match field {
        "category" => vec![Val::Text("Lifting"), Val::Text("Earthmoving"), Val::Text("Site"), Val::Null],
        "source" => vec![Val::Text("Rental"), Val::Text("Purchase")],
        "dor" => vec![Val::Text("PROJECT"), Val::Text("BEO")],
        "monthlyRate" => vec![Val::Number(3044), Val::Number(6088), Val::Number(100), Val::Number(0)],
        "purchasePrice" => vec![Val::Number(700), Val::Number(900), Val::Number(0)],
        "equipment" => vec![Val::Text("E"), Val::Text("F"), Val::Null],
        "isActualized" | "isDiscontinued" | "isFundsTransferable" => vec![Val::Flag(false), Val::Flag(true)],
        "extra" => vec![Val::Number(1), Val::Number(2)],
        _ => DATES.iter().map(|date| Val::Text(date)).chain([Val::Null]).collect(),
    }
}

/// The grid's filters that bulk edits select by, as the service and as the model takes them.
pub fn filters() -> Vec<(Filter, Question)> {
    let question = |parameters: &[(&str, &str)]| Question {
        parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        sort: vec![("pfaId".to_owned(), false)],
    };
    let none = Filter::default;
    let day = |text: &str| text.parse().unwrap();
    let since = Range { from: Some(day("2025-02-01")), to: None };
    vec![
        (none(), question(&[])),
        (Filter { words: [(Field::Category, vec!["Lifting".into()])].into(), ..none() }, question(&[("category", "Lifting")])),
        (Filter { words: [(Field::Dor, vec!["BEO".into()])].into(), ..none() }, question(&[("dor", "BEO")])),
        (Filter { flags: [(Field::IsDiscontinued, true)].into(), ..none() }, question(&[("isDiscontinued", "true")])),
        (Filter { statuses: vec![Status::Actualized], ..none() }, question(&[("status", "actualized")])),
        (Filter { overlaps: Some((day("2025-04-01"), day("2025-06-01"))), ..none() }, question(&[("overlaps", "2025-04-01..2025-06-01")])),
        (Filter { dates: [(Field::ForecastStart, since)].into(), ..none() }, question(&[("forecastStartFrom", "2025-02-01")])),
    ]
}
