//! Makes SQLite files as the former application left them.

use rusqlite::Connection;
use std::path::Path;

/// The table as Prisma declared it, with a column that the dictionary does not know.
const TABLE: &str = r#"
    create table "PfaRecord" (
        "id" text not null primary key, "pfaId" text, "organizationId" text, "areaSilo" text, "category" text, "class" text,
        "source" text not null default 'Rental', "dor" text not null default 'PROJECT',
        "isActualized" boolean not null default false, "isDiscontinued" boolean not null default false,
        "isFundsTransferable" boolean not null default false, "monthlyRate" real, "purchasePrice" real, "manufacturer" text,
        "model" text, "originalStart" datetime, "originalEnd" datetime, "forecastStart" datetime, "forecastEnd" datetime,
        "actualStart" datetime, "actualEnd" datetime, "hasPlan" boolean not null default true,
        "hasActuals" boolean not null default false, "contract" text, "equipment" text, "lastModified" datetime, "costCode" text);
    create table "User" ("id" text not null primary key);"#;

/// A new file with the table; the statements fill it.
pub fn former_file(path: &Path, statements: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(TABLE).unwrap();
    connection.execute_batch(statements).unwrap();
}

/// Statements on a file that is there.
pub fn change_former_file(path: &Path, statements: &str) {
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}
