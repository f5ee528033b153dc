//! `postgres.conf` on a real `postgres:15` container: the server starts with it and every setting is in force.

use crate::support::container;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use std::str::FromStr as _;
use std::time::Duration;

#[tokio::test]
async fn our_settings_are_in_force() {
    if let Err(reason) = container::engine_answers() {
        assert!(std::env::var("PFA_TEST_CONTAINERS").is_err(), "PFA_TEST_CONTAINERS demands a container engine, but {reason}");
        eprintln!("SKIPPED our_settings_are_in_force: {reason}");
        return;
    }
    let container = container::start_with_our_settings().await.unwrap();
    let mut connection =
        tokio::time::timeout(Duration::from_mins(1), PgConnectOptions::from_str(&container.url).unwrap().connect()).await.unwrap().unwrap();

    let conf = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/postgres.conf")).unwrap();
    let named: Vec<_> =
        conf.lines().filter_map(|line| line.split('#').next()?.split_once('=')).map(|(name, _)| name.trim().to_owned()).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in &named {
        let (source, pending): (String, bool) = sqlx::query_as("select source, pending_restart from pg_settings where lower(name) = $1")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        // The driver sets a few for its own connection, such as the time zone.
        assert!(["configuration file", "client"].contains(&source.as_str()) && !pending, "{name} comes from {source}");
    }
    let refused: Vec<String> =
        sqlx::query_scalar("select name from pg_file_settings where not applied").fetch_all(&mut connection).await.unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    for (name, value) in [("shared_buffers", "2GB"), ("jit", "off"), ("shared_preload_libraries", "pg_stat_statements")] {
        assert_eq!(setting(&mut connection, name).await, value);
    }
    sqlx::query("create extension pg_stat_statements").execute(&mut connection).await.unwrap();
    pfa_vanguard::db::migrate::MIGRATOR.run(&mut connection).await.unwrap();
}

async fn setting(connection: &mut PgConnection, name: &str) -> String {
    sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(connection).await.unwrap()
}
