//! The golden values of the cost rule, in the database's own functions.

use crate::support::server::TestDatabase;
use rust_decimal::Decimal;

#[tokio::test]
async fn the_database_knows_the_golden_values() {
    let database = TestDatabase::migrated().await;
    for (days, rate, cost) in
        [(60, 15_000, "29566.36"), (30, 8_000, "7884.36"), (90, 25_000, "73915.90"), (365, 10_000, "119908.02"), (1, 30_440, "1000.00")]
    {
        let found: Decimal = sqlx::query_scalar(
            "select round(pfa_cost('Rental', pfa_amount_of('Rental', $1::numeric, 7, date '2025-01-01', date '2025-01-01' + $2::int)), 2)",
        )
        .bind(Decimal::from(rate))
        .bind(days)
        .fetch_one(&database.pool)
        .await
        .unwrap();
        assert_eq!(found.to_string(), cost, "{days} d × {rate}");
    }
}

#[tokio::test]
async fn purchases_ignore_dates_and_gaps_cost_nothing() {
    let database = TestDatabase::migrated().await;
    let found: Vec<Decimal> = sqlx::query_scalar(
        "values (pfa_amount_of('Purchase', 5, 7, null, null)),
                (pfa_amount_of('Purchase', 5, null, null, null)),
                (pfa_amount_of('Rental', 5, 7, null, date '2025-01-02')),
                (pfa_amount_of('Rental', 5, 7, date '2025-01-02', date '2025-01-01')),
                (pfa_amount_of('Rental', null, 7, date '2025-01-01', date '2025-01-02')),
                (pfa_amount_of(null, 5, 7, date '2025-01-01', date '2025-01-02'))",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(found, [7, 0, 0, 0, 0, 5].map(Decimal::from));
}
