//! Determinism, ids and dirt: what holds for the records as they are handed out.

use std::collections::BTreeMap;

use super::super::draw::{Source, hash_text};
use super::super::{OrganizationPlan, Plan, record};
use super::{Record, cents, organization};

#[test]
fn records_depend_on_code_seed_and_index_only() {
    let short: Vec<_> = organization(500).records().collect();
    let long: Vec<_> = organization(5_000).records().take(500).collect();
    assert_eq!(short, long);

    let other_seed = OrganizationPlan { seed: 8, ..organization(500) };
    let other_code = OrganizationPlan { code: "RIO".into(), ..organization(500) };
    for other in [other_seed, other_code] {
        let same = other.records().zip(&short).filter(|(other, one)| other == *one).count();
        assert_eq!(same, 0);
    }
}

#[test]
fn the_generated_data_has_not_changed_by_accident() {
    // Sorted by key: the order of the keys is serde_json's choice, not part of the data.
    let line = |record: Record| {
        let fields = record.iter().map(|(key, value)| (key.clone(), value.to_string()));
        format!("{:?}\n", fields.collect::<BTreeMap<_, _>>())
    };
    let lines = |plan: &OrganizationPlan| plan.records().take(1_000).map(line).collect::<String>();
    let [holng, rio] = &Plan::demo().organizations[..] else { panic!("two organizations") };
    // Whoever changes these on purpose changes every data set that was ever generated.
    let checksums = (hash_text(&lines(holng)), hash_text(&lines(rio)));
    assert_eq!(checksums, (0x633f_0bc7_0ec7_9938, 0x6c54_6683_d65c_bb4e), "{checksums:#x?}");
}

#[test]
fn ids_are_unique_ascending_numbers_with_gaps_and_never_dirty() {
    let mut last = 9_999;
    for record in organization(100_000).records() {
        let id: u64 = record["pfaId"].as_str().unwrap().parse().unwrap();
        assert!(id > last && id - last < 400, "{id} after {last}");
        last = id;
    }
    assert!(last > 10_000 + 250_000);
}

#[test]
fn dirt_spoils_one_value_in_three_of_a_thousand_and_every_kind_occurs() {
    let source = Source::new("HOLNG", 7);
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    let mut dirty = 0;
    for (index, record) in (0..).zip(organization(50_000).records()) {
        let clean = record::draw_clean(&mut source.draws(index), &source, "HOLNG", index);
        let changed: Vec<_> = record.iter().filter(|(key, value)| clean.get(*key) != Some(value)).collect();
        let [(key, value)] = changed[..] else {
            assert_eq!(record, clean);
            continue;
        };
        assert_ne!(key, "pfaId");
        dirty += 1;
        let value = value.as_str().unwrap();
        let kind = match value {
            "2025-02-30" | "abc" | "" | "Y" | "N" | "maybe" | "Lease" => value.to_owned(),
            stamp if stamp.ends_with("T00:00:00.000Z") => {
                assert_eq!(clean[key], stamp[..10]);
                "stamp".to_owned()
            }
            amount => {
                let digits: u64 = amount.replace('.', "").parse().unwrap();
                assert_eq!(digits, cents(&clean, key));
                "amount".to_owned()
            }
        };
        if matches!(value, "Y" | "N") {
            assert_eq!(clean[key], value == "Y");
        }
        *kinds.entry(kind).or_default() += 1;
    }
    assert!((105..=195).contains(&dirty), "{dirty}");
    assert_eq!(kinds.len(), 9, "{kinds:?}");
}
