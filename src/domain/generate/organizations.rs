//! Which organizations there are and how large: few large ones, a tail of small ones.
//!
//! `HOLNG` and `RIO` are given by the known sample, the other projects are invented (`projects`).

use serde_json::{Map, Value};

use super::draw::{Source, hash_text, mix};
use super::projects::invent_project;
use super::record;

/// The organizations of one data set with their sizes, the large ones first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they should be loaded; codes are unique.
    pub organizations: Vec<OrganizationPlan>,
}

/// One organization and what its records are drawn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationPlan {
    /// Short project code, upper-case letters and digits.
    pub code: String,
    /// Name for people.
    pub name: String,
    /// How many records there are.
    pub records: u64,
    /// Together with `code` it decides every record.
    pub seed: u64,
}

impl Plan {
    /// Exactly `records` records in `organizations` organizations (0 counts as 1).
    ///
    /// From five organizations on the largest has 30 % and `HOLNG`, the first of the small ones, 2 %
    /// (rounded down); three to eight follow the largest, the others are below `HOLNG`. With two to
    /// four the largest takes what the small ones leave; a single one is `HOLNG`.
    #[must_use]
    pub fn skewed(records: u64, organizations: u32, seed: u64) -> Self {
        let invented = |number: u32, records: u64| {
            let (code, name) = invent_project(number);
            organization(code, name, records, seed)
        };
        let holng = |records| organization("HOLNG".into(), "HOLNG Project".into(), records, seed);
        if organizations <= 1 {
            return Self { organizations: vec![holng(records)] };
        }
        let large = if organizations < 5 { 0 } else { (organizations / 3).clamp(3, 8) };
        let small = organizations - 2 - large;
        let holng_records = percent(records, 2);
        let small_records = percent(records, small.min(10));
        let others = records - holng_records - small_records;
        let largest = if large == 0 { others } else { percent(records, 30) };

        let mut plans = vec![invented(0, largest)];
        let shares = split(others - largest, large);
        plans.extend((1..).zip(shares).map(|(number, records)| invented(number, records)));
        plans.push(holng(holng_records));
        let shares = split(small_records, small);
        plans.extend((large..).zip(shares).map(|(number, records)| {
            if number == large { organization("RIO".into(), "RIO Project".into(), records, seed) } else { invented(number, records) }
        }));
        Self { organizations: plans }
    }

    /// The known sample: `HOLNG` with 15,000 records and `RIO` with 5,280, always the same ones.
    #[must_use]
    pub fn demo() -> Self {
        let plan = |code: &str, records| organization(code.to_owned(), format!("{code} Project"), records, 20_280);
        Self { organizations: vec![plan("HOLNG", 15_000), plan("RIO", 5_280)] }
    }
}

impl OrganizationPlan {
    /// Draws the records one after the other, in the order of their ids, as an import file has them:
    /// about 0.3 % hold one bad or oddly written value, about 5 % keys that the dictionary lacks.
    ///
    /// Owns what it needs: it may move to another thread and outlive the plan.
    pub fn records(&self) -> impl Iterator<Item = Map<String, Value>> + Send + use<> {
        let code = self.code.clone();
        let source = Source::new(&code, self.seed);
        (0..self.records).map(move |index| record::draw_record(&source, &code, index))
    }
}

/// The organization's own seed is spread from the plan's and its code, so that it neither depends on
/// its place in the list nor is shared with its neighbours.
fn organization(code: String, name: String, records: u64, seed: u64) -> OrganizationPlan {
    OrganizationPlan { seed: mix(seed ^ hash_text(&code)), code, name, records }
}

/// `share` per cent of `records`, rounded down.
fn percent(records: u64, share: u32) -> u64 {
    // Divides first so that no total overflows.
    records / 100 * u64::from(share) + records % 100 * u64::from(share) / 100
}

/// Splits `records` into `parts` falling parts (weights 1/4, 1/5, 1/6, …) that add up exactly: each
/// part is the difference of two rounded running totals.
fn split(records: u64, parts: u32) -> Vec<u64> {
    let weight = |part: u32| 1_000_000 / u128::from(part + 4);
    let total: u128 = (0..parts).map(weight).sum();
    let (mut running, mut given) = (0, 0);
    (0..parts)
        .map(|part| {
            running += weight(part);
            let until = u64::try_from(u128::from(records) * running / total).unwrap_or(records);
            let share = until - given;
            given = until;
            share
        })
        .collect()
}
