//! Sizes, codes and totals of plans.

use std::collections::HashSet;

use super::super::Plan;

#[test]
fn a_million_in_twelve_organizations_has_the_promised_sizes() {
    let plan = Plan::skewed(1_000_000, 12, 1);
    let sizes: Vec<u64> = plan.organizations.iter().map(|plan| plan.records).collect();
    assert_eq!(plan.organizations.len(), 12);
    assert_eq!(sizes.iter().sum::<u64>(), 1_000_000);
    assert_eq!(sizes[0], 300_000);
    assert!(sizes.is_sorted_by(|larger, smaller| larger >= smaller), "{sizes:?}");
    let holng = plan.organizations.iter().position(|plan| plan.code == "HOLNG").unwrap();
    assert_eq!(sizes[holng], 20_000);
    assert_eq!(plan.organizations[holng + 1].code, "RIO");
}

#[test]
fn a_skewed_plan_keeps_total_count_and_unique_codes_for_any_size() {
    for organizations in (0..=260).chain([1_000]) {
        for records in [0, 1, 99, 20_280, 10_000_000, u64::MAX] {
            let plan = Plan::skewed(records, organizations, 3).organizations;
            assert_eq!(plan.len() as u64, u64::from(organizations.max(1)));
            assert_eq!(plan.iter().map(|plan| plan.records).sum::<u64>(), records);
            let codes: HashSet<_> = plan.iter().map(|plan| plan.code.as_str()).collect();
            assert_eq!(codes.len(), plan.len());
            assert!(codes.contains("HOLNG"));
            assert!(codes.iter().all(|code| {
                (3..=8).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            }));
            let names: HashSet<_> = plan.iter().map(|plan| plan.name.as_str()).collect();
            assert_eq!(names.len(), plan.len());
            if records >= 20_280 {
                assert!(plan.iter().all(|one| one.records <= plan[0].records));
            }
            if records >= 20_280 && organizations >= 5 {
                assert_eq!(plan[0].records, u64::try_from(u128::from(records) * 30 / 100).unwrap());
                let holng = plan.iter().find(|plan| plan.code == "HOLNG").unwrap();
                assert_eq!(holng.records, u64::try_from(u128::from(records) * 2 / 100).unwrap());
            }
        }
    }
}

#[test]
fn the_demo_is_the_known_sample() {
    let demo = Plan::demo();
    let sizes: Vec<_> = demo.organizations.iter().map(|plan| (plan.code.as_str(), plan.records)).collect();
    assert_eq!(sizes, [("HOLNG", 15_000), ("RIO", 5_280)]);
    assert_eq!(demo, Plan::demo());
    assert!(demo.organizations.iter().all(|plan| plan.records().count() as u64 == plan.records));
}
