//! What every part stands on: the cluster, ours over HTTP, one plain connection, and the original
//! design in a schema of its own.

use crate::support::{Client, api, api_of, fill, start};
use pfa_vanguard::db::embedded::EmbeddedServer;
use pfa_vanguard::db::{migrate, pool};
use pfa_vanguard::error::Error;
use pfa_vanguard::service::PfaMirrorService;
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool};
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// The organization of the readings: two per cent of all records.
pub const HOLNG: &str = "HOLNG";
/// The sandbox that reads in HOLNG: 80 drafts.
pub const SESSION: Uuid = Uuid::from_u128(0x5e55_1014_0000_4000_8000_0000_0000_0000);

pub struct Bed {
    pub server: EmbeddedServer,
    pub pool: PgPool,
    /// Ours, over HTTP on loopback.
    pub client: Client,
    /// The same, without a memory for texts: every page is as one that nobody asked for before.
    pub forgetful: Client,
    /// A plain prepared connection, for the floor.
    pub bare: PgConnection,
    /// One as the original design sets it: much memory, and PostgreSQL's defaults else; nothing when it is not measured.
    pub original: Option<PgConnection>,
    /// The organization with most records, three in ten of them.
    pub largest: String,
}

impl Bed {
    /// Generates the records (once), writes 10,000 modifications, and lets everything settle.
    pub async fn prepare(records: u64, with_original: bool) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{records}"));
        fill(&dir, records);
        let server = start(&dir).await;
        let options = pool::connect_options(server.url().expose_secret(), Duration::from_hours(1)).unwrap();
        let pool = pool::pool_options(4).connect_with(options.clone()).await.unwrap();
        migrate::migrate(&pool).await.unwrap();
        let original = if with_original { Some(build_original(&pool, &options).await) } else { None };
        let largest: String = sqlx::query_scalar("select organization_id from pfa_mirror group by 1 order by count(*) desc limit 1")
            .fetch_one(&pool)
            .await
            .unwrap();
        let bed = Self {
            client: Client::of(api(pool.clone())).await,
            forgetful: Client::of(api_of(PfaMirrorService::new(pool.clone()).with_text_memory(0), 4)).await,
            bare: options.connect().await.unwrap(),
            original,
            server,
            pool,
            largest,
        };
        bed.forget().await;
        bed
    }

    /// Takes away every sandbox and what came out of it, and writes the modifications of the readings again.
    pub async fn forget(&self) {
        sqlx::raw_sql(
            "truncate pfa_modification, pfa_overlay, pfa_edit_step, pfa_edit_change, pfa_mirror_history, pfa_summary_change,
                      pfa_commit_answer, pfa_session",
        )
        .execute(&self.pool)
        .await
        .unwrap();
        self.modify().await;
        self.vacuum(&["pfa_mirror", "pfa_overlay", "pfa_modification"]).await;
        if self.original.is_some() {
            self.modify_original().await;
        }
        // A large commit has the summaries refreshed in the background: its lock tells when it is done.
        let service = PfaMirrorService::new(self.pool.clone());
        while let Err(error) = service.refresh_views("manual").await {
            assert!(matches!(error, Error::RefreshRunning), "{error}");
            sqlx::query("select pg_advisory_xact_lock(x'50464156'::int)").execute(&self.pool).await.unwrap();
        }
    }

    /// A sandbox of the largest organization, with 80 drafts.
    pub async fn sandbox_of_largest(&self) -> Uuid {
        sqlx::query_scalar("select min(id::text)::uuid from pfa_session where organization_id = $1")
            .bind(&self.largest)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// 10,000 modifications in 100 sandboxes over all organizations: four in five are drafts, the others committed.
    async fn modify(&self) {
        let statements = format!(
            "insert into pfa_session (organization_id, id, user_id)
             select organization_id, case when organization_id = '{HOLNG}' and n = 1 then '{SESSION}' else gen_random_uuid() end, 'dev'
               from (select organization_id, row_number() over (order by organization_id) as place from organizations) o
               join generate_series(1, 9) n on n <= 8 or o.place <= 4;
             insert into pfa_modification (organization_id, session_id, mirror_id, user_id, sync_state, delta, base, base_version, committed_at)
             select m.organization_id, s.id, m.id, 'dev', case when m.n % 5 = 0 then 'committed' else 'draft' end,
                    jsonb_build_object('forecastStart', m.forecast_start + 7, 'monthlyRate', m.n * 10),
                    pfa_pick(m.data, array['forecastStart', 'monthlyRate']), m.version, case when m.n % 5 = 0 then now() end
               from pfa_session s
              -- A hundred records from a place of the session's own on, in the order of their ids, which is none; round the end.
              cross join lateral (select md5(s.id::text)::uuid as place) begin
              cross join lateral (select *, row_number() over () as n from (
                       (select * from pfa_mirror m
                         where m.organization_id = s.organization_id and m.forecast_start is not null and m.id >= begin.place order by m.id limit 100)
                       union all
                       (select * from pfa_mirror m
                         where m.organization_id = s.organization_id and m.forecast_start is not null and m.id < begin.place order by m.id limit 100)
                       limit 100) picked) m;
             select pfa_rebuild_overlay(organization_id) from organizations;
             update organizations set change_number = change_number + 1;"
        );
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&self.pool).await.unwrap();
    }

    /// The same modifications in the original design, and its summaries of them.
    async fn modify_original(&self) {
        sqlx::raw_sql(
            "truncate literal.pfa_modification;
             insert into literal.pfa_modification
             select id, organization_id, mirror_id, user_id, session_id, sync_state, delta, modified_fields, base_version, current_version, committed_at
               from pfa_modification",
        )
        .execute(&self.pool)
        .await
        .unwrap();
        self.vacuum(&["literal.pfa_mirror", "literal.pfa_modification"]).await;
        sqlx::raw_sql("refresh materialized view literal.pfa_kpi_summary; refresh materialized view literal.pfa_timeline_bounds")
            .execute(&self.pool)
            .await
            .unwrap();
    }

    async fn vacuum(&self, tables: &[&str]) {
        for table in tables {
            sqlx::query(AssertSqlSafe(format!("vacuum (analyze) {table}"))).execute(&self.pool).await.unwrap();
        }
    }
}

/// Builds the original design beside ours, unless an earlier run did; gives a connection as it sets them.
async fn build_original(pool: &PgPool, options: &PgConnectOptions) -> PgConnection {
    let is_there: bool = sqlx::query_scalar("select to_regnamespace('literal') is not null").fetch_one(pool).await.unwrap();
    if !is_there {
        println!("Building the original design beside ours");
        let mut connection = options.clone().options([("statement_timeout", "0")]).connect().await.unwrap();
        sqlx::raw_sql(include_str!("literal.sql")).execute(&mut connection).await.unwrap();
    }
    options.clone().options([("jit", "on"), ("work_mem", "128MB"), ("plan_cache_mode", "auto")]).connect().await.unwrap()
}
