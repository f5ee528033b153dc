//! What a record costs on disk, beside what the original design thought.

use crate::bed::Bed;
use sqlx::FromRow;

/// A table, index or view and its size.
#[derive(FromRow)]
struct Part {
    name: String,
    kind: String,
    bytes: i64,
    scans: Option<i64>,
}

/// Heap, TOAST and indexes of each table of ours from a megabyte on, and the views; the largest first.
const PARTS: &str = "
    select c.relname::text as name,
           case c.relkind when 'r' then 'heap' when 'm' then 'view' when 't' then 'TOAST' else 'index' end as kind,
           pg_relation_size(c.oid) as bytes,
           i.idx_scan as scans
      from pg_class c
      left join pg_stat_user_indexes i on i.indexrelid = c.oid
     where (c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'm', 'i')
            or c.oid in (select reltoastrelid from pg_class where relnamespace = 'public'::regnamespace))
       and (pg_relation_size(c.oid) > 1000000 or c.relkind = 'm')
     order by 3 desc";

/// What the original design estimates for a million records, in bytes a record: table, indexes, views.
const ESTIMATED: [(&str, f64); 3] = [("heap", 580.0), ("index", 220.0), ("view", 45.0)];

/// Prints the report.
pub async fn print(bed: &Bed, records: u64) {
    let parts: Vec<Part> = sqlx::query_as(PARTS).fetch_all(&bed.pool).await.unwrap();
    #[expect(clippy::cast_precision_loss, reason = "sizes for people")]
    let per_record = |bytes: i64| bytes as f64 / records as f64;
    println!("\n| part | kind | MB | bytes a record | scans since the cluster was made |\n|---|---|---|---|---|");
    for part in &parts {
        let scans = part.scans.map_or_else(|| "–".to_owned(), |scans| scans.to_string());
        println!("| {} | {} | {} | {:.0} | {scans} |", part.name, part.kind, part.bytes / 1_000_000, per_record(part.bytes));
    }
    println!("\n| kind | bytes a record | original estimate |\n|---|---|---|");
    for (kind, estimate) in ESTIMATED {
        let bytes = parts.iter().filter(|part| part.kind == kind).map(|part| part.bytes).sum();
        println!("| {kind} | {:.0} | {estimate:.0} |", per_record(bytes));
    }
}
