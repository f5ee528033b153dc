//! Rows as a grid asks for them that scrolls and groups: nothing in the original design does that, so there is only the floor.

use crate::comparison::Compares;
use crate::readings::{Reading, cost_of, published};

/// The readings, in an organization that has three in ten of so many records.
pub fn readings(largest: &str, records: u64) -> Vec<Reading> {
    let middle = records * 3 / 20;
    let order = "not is_discontinued order by forecast_start, id";
    let visible = format!("from pfa_mirror where organization_id = '{largest}' and not is_discontinued");
    let merged = published(largest);
    let groups =
        |values: &str| Some(format!("select jsonb_build_object('category', category, {values})::text from {merged} group by category"));
    let reading = |name, body: String, floor, shown, compares, share| Reading {
        name,
        path: format!("/api/v1/orgs/{largest}/records/query"),
        body,
        floor,
        shown,
        compares,
        share,
        ..Reading::default()
    };
    vec![
        reading(
            "the first 100 rows of a grid, with their number",
            r#"{"startRow": 0, "endRow": 100}"#.to_owned(),
            format!("select data::text from pfa_mirror where organization_id = '{largest}' and {order} limit 100"),
            None,
            Compares::Records,
            100,
        ),
        reading(
            "a jump to the middle of a grid",
            format!(r#"{{"startRow": {middle}, "endRow": {}}}"#, middle + 100),
            format!(
                "select data::text from pfa_mirror
                  where organization_id = '{largest}'
                    and id = any (array(select id from pfa_mirror where organization_id = '{largest}' and {order} limit 100 offset {middle}))
                  order by forecast_start, id"
            ),
            Some(format!("select data::text from {merged} order by forecast_start, id limit 100 offset {middle}")),
            Compares::Records,
            20,
        ),
        reading(
            "groups of a grid, with their monthly rates",
            r#"{"rowGroupCols": [{"field": "category"}], "valueCols": [{"field": "monthlyRate"}]}"#.to_owned(),
            format!("select category, count(*), sum(monthly_rate) {visible} group by category"),
            groups("'monthlyRate', sum(monthly_rate)"),
            Compares::Shown,
            10,
        ),
        reading(
            "groups of a grid, with two costs",
            r#"{"rowGroupCols": [{"field": "category"}], "valueCols": [{"field": "forecastCost"}, {"field": "variance"}]}"#.to_owned(),
            format!(
                "select category, count(*), sum(pfa_amount_of(source, monthly_rate, purchase_price, original_start, original_end)),
                        sum(pfa_amount_of(source, monthly_rate, purchase_price, forecast_start, forecast_end)) {visible} group by category"
            ),
            groups(&format!(
                "'forecastCost', round(sum({forecast}), 2), 'variance', round(sum({forecast} - {plan}), 2)",
                forecast = cost_of("forecast"),
                plan = cost_of("original")
            )),
            Compares::Shown,
            10,
        ),
    ]
}
