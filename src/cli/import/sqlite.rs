//! The former application's SQLite file: the table `PfaRecord`, a row a record. It is read and never
//! written, row by row, as of one moment.

use super::cell::{Unreadable, read_cell, read_stamp, shown};
use super::organization_code;
use super::source::{Line, invalid};
use super::table::letters;
use crate::domain::field::Field;
use crate::domain::record::{Finding, Record, canonicalise};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

const TABLE: &str = "PfaRecord";
/// What every SQLite file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Longest row that is read; what is longer is bad.
const MAX_ROW_BYTES: u64 = 1024 * 1024;

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Known(Field),
    /// The key of the row in the former application.
    FormerId,
    Organization,
    /// When the row was changed last.
    Stamp,
    /// A key that the dictionary does not have; it is kept under its name.
    Unknown,
}

/// The table in an open file.
pub(super) struct FormerTable {
    connection: Connection,
    columns: Vec<(Role, String)>,
    /// The organization that all rows go to; without it each row says its own.
    owner: Option<String>,
    /// The `organizationId` of the rows that are wanted, where not all are.
    wanted: Option<String>,
    organizations: Vec<String>,
    rows: u64,
}

impl FormerTable {
    /// Opens a file and looks for the table.
    ///
    /// With an `owner`, only rows of that organization are read, or those of `source`, and they become
    /// records of the owner. A table that knows no organizations needs one.
    pub(super) fn open(path: &Path, owner: Option<&str>, source: Option<&str>) -> io::Result<Self> {
        let mut magic = Vec::new();
        File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic != MAGIC {
            return Err(invalid("is no SQLite file"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| reading_error(&error))?;
        let mut table = Self {
            connection,
            columns: Vec::new(),
            owner: owner.map(str::to_owned),
            wanted: source.or(owner).map(str::to_owned),
            organizations: Vec::new(),
            rows: 0,
        };
        table.look_into()?;
        Ok(table)
    }

    /// The organizations whose rows are wanted; those with an impossible code left out.
    pub(super) fn organizations(&self) -> &[String] {
        &self.organizations
    }

    /// How many rows are wanted.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    fn look_into(&mut self) -> io::Result<()> {
        let read = |error: rusqlite::Error| reading_error(&error);
        // All that follows sees the file as of now, whoever writes it.
        self.connection.execute_batch("begin").map_err(read)?;
        let check: String = self.connection.query_row("pragma quick_check(1)", [], |row| row.get(0)).map_err(read)?;
        if check != "ok" {
            return Err(invalid(format!("this SQLite file is damaged: {}", check.replace('\n', " "))));
        }
        let names = self.texts("select name from pragma_table_info(?1)", [TABLE]).map_err(read)?;
        if names.is_empty() {
            let tables = self.texts("select name from sqlite_schema where type = ?1 order by name", ["table"]).map_err(read)?;
            return Err(invalid(format!("has no table {TABLE}; its tables are: {}", tables.join(", "))));
        }
        self.columns = roles_of(names).map_err(invalid)?;
        if self.organization_column().is_none() {
            let problem = match (&self.owner, &self.wanted) {
                (None, _) => Some("--org must say whose records these are"),
                (owner, wanted) if owner != wanted => Some("--source-org has nothing to look for"),
                _ => None,
            };
            if let Some(problem) = problem {
                return Err(invalid(format!("{TABLE} has no column organizationId; {problem}")));
            }
            // All rows are the owner's.
            self.wanted = None;
        }
        let all_organizations = self.list_organizations().map_err(read)?;
        if let Some(wanted) = self.wanted.as_ref().filter(|wanted| !all_organizations.contains(wanted)) {
            let has = all_organizations.join(", ");
            return Err(invalid(format!("{TABLE} has no row whose organizationId is {wanted:?}; these are there: {has}")));
        }
        let count = format!("select count(*) from {TABLE}{}", self.where_clause());
        self.rows = self.connection.query_row(&count, self.parameters(), |row| row.get::<_, i64>(0)).map_err(read)?.unsigned_abs();
        self.organizations = match &self.owner {
            Some(owner) => vec![owner.clone()],
            None => all_organizations.into_iter().filter(|code| organization_code(code).is_ok()).collect(),
        };
        Ok(())
    }

    /// Hands over every wanted row, those of one organization after each other, with whose it is;
    /// false when the taker wants no more.
    pub(super) fn read_rows(&self, mut take: impl FnMut(Option<&str>, Line) -> bool) -> io::Result<bool> {
        let read = |error: rusqlite::Error| reading_error(&error);
        let mut statement = self.connection.prepare(&self.select()).map_err(read)?;
        let mut rows = statement.query(self.parameters()).map_err(read)?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(read)? {
            count += 1;
            let (organization, line) = self.read_row(row).map_err(read)?;
            if !take(organization.as_deref(), line) {
                return Ok(false);
            }
        }
        // They differ when an index does not have every row.
        if count == self.rows { Ok(true) } else { Err(invalid(format!("this SQLite file is damaged: {count} of {} rows came", self.rows))) }
    }

    fn read_row(&self, row: &Row<'_>) -> rusqlite::Result<(Option<String>, Line)> {
        let mut object = Map::new();
        let mut unreadable = Vec::new();
        let (mut organization, mut former_id, mut stamp, mut bytes) = (self.owner.clone(), None, None, 0);
        for (index, (role, name)) in self.columns.iter().enumerate() {
            // The number of the row comes first.
            let cell = row.get_ref(index + 1)?;
            bytes += size_of(cell);
            let read = match role {
                Role::FormerId => {
                    former_id = Some(shown(cell));
                    continue;
                }
                Role::Organization => {
                    organization = organization.or_else(|| Some(shown(cell)));
                    continue;
                }
                _ if bytes > MAX_ROW_BYTES => continue,
                Role::Stamp => read_stamp(cell).map(|read| {
                    stamp = read;
                    None
                }),
                Role::Known(field) => read_cell(Some(field.kind()), cell),
                Role::Unknown => read_cell(None, cell),
            };
            let key = if let Role::Known(field) = role { field.key() } else { name };
            match read {
                Ok(Some(value)) => drop(object.insert(key.to_owned(), value)),
                Ok(None) => {}
                Err(problem) => unreadable.push((key, problem)),
            }
        }
        let owner = organization.ok_or_else(String::new).and_then(|code| match organization_code(&code) {
            Ok(code) => Ok(code),
            Err(problem) => Err(format!("organizationId {code:?} {problem}")),
        });
        let record = match &owner {
            Err(problem) => Err(problem.clone()),
            Ok(_) if bytes > MAX_ROW_BYTES => Err("is longer than 1 MiB".to_owned()),
            Ok(_) => record_of(object, unreadable),
        };
        let number = u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default();
        let former_id = former_id.filter(|_| record.is_err());
        Ok((owner.ok(), Line { number, former_id, bytes, stamp, record }))
    }

    fn organization_column(&self) -> Option<String> {
        self.columns.iter().find(|(role, _)| *role == Role::Organization).map(|(_, name)| quoted(name))
    }

    fn list_organizations(&self) -> rusqlite::Result<Vec<String>> {
        match self.organization_column() {
            Some(column) => self.texts(&format!("select distinct cast({column} as text) from {TABLE} where {column} is not null"), []),
            None => Ok(Vec::new()),
        }
    }

    fn select(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|(_, name)| quoted(name)).collect();
        let order = match (&self.owner, self.organization_column()) {
            (None, Some(column)) => format!("{column} collate binary, "),
            _ => String::new(),
        };
        format!("select _rowid_, {} from {TABLE}{} order by {order}_rowid_", columns.join(", "), self.where_clause())
    }

    fn where_clause(&self) -> String {
        let column = self.organization_column().filter(|_| self.wanted.is_some());
        column.map(|column| format!(" where {column} = ?1")).unwrap_or_default()
    }

    fn parameters(&self) -> impl rusqlite::Params {
        rusqlite::params_from_iter(self.wanted.clone())
    }

    fn texts(&self, statement: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<Vec<String>> {
        self.connection.prepare(statement)?.query_map(parameters, |row| row.get(0))?.collect()
    }
}

/// What the columns are. Names match by their letters and digits alone, as headers of text tables do.
fn roles_of(names: Vec<String>) -> Result<Vec<(Role, String)>, String> {
    let mut columns: Vec<(Role, String)> = Vec::with_capacity(names.len());
    for name in names {
        let role = match letters(&name).as_str() {
            "id" => Role::FormerId,
            "organizationid" => Role::Organization,
            "lastmodified" => Role::Stamp,
            plain => Field::ALL.iter().find(|field| letters(field.key()) == plain).map_or(Role::Unknown, |&field| Role::Known(field)),
        };
        if let Some((_, other)) = columns.iter().find(|(known, _)| *known == role && role != Role::Unknown) {
            return Err(format!("the columns {other} and {name} of {TABLE} are the same field"));
        }
        columns.push((role, name));
    }
    if columns.iter().any(|(role, _)| *role == Role::Known(Field::PfaId)) {
        Ok(columns)
    } else {
        let names: Vec<_> = columns.into_iter().map(|(_, name)| name).collect();
        Err(format!("{TABLE} has no column pfaId; its columns are: {}", names.join(", ")))
    }
}

/// The record of a row; null stands for cells that are not even text.
fn record_of(object: Map<String, Value>, unreadable: Vec<(&str, Unreadable)>) -> Result<(Record, Vec<Finding>), String> {
    let (mut record, mut findings) = canonicalise(object).map_err(|error| error.to_string())?;
    for (key, Unreadable { shown, problem }) in unreadable {
        if Field::from_key(key).is_some() {
            record.data.insert(key.to_owned(), Value::Null);
        }
        findings.push(Finding { pfa_id: record.pfa_id.clone(), field: key.to_owned(), value: shown, problem: problem.to_owned() });
    }
    Ok((record, findings))
}

fn size_of(cell: ValueRef<'_>) -> u64 {
    match cell {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 8,
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn reading_error(error: &rusqlite::Error) -> io::Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => invalid("is no SQLite file"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            invalid("the SQLite file is being written; stop the former application first")
        }
        _ => invalid(format!("the SQLite file cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> Result<Vec<Role>, String> {
        Ok(roles_of(names.iter().map(|&name| name.to_owned()).collect())?.into_iter().map(|(role, _)| role).collect())
    }

    #[test]
    fn columns_are_known_by_their_letters() {
        let known = roles(&["id", "pfaId", "organization_id", "lastModified", "forecast_start", "costCode"]);
        let expected =
            [Role::FormerId, Role::Known(Field::PfaId), Role::Organization, Role::Stamp, Role::Known(Field::ForecastStart), Role::Unknown];
        assert_eq!(known.as_deref(), Ok(&expected[..]));
        assert!(roles(&["id", "category"]).is_err_and(|reason| reason.contains("no column pfaId") && reason.contains("id, category")));
        assert!(roles(&["pfaId", "pfa_id"]).is_err_and(|reason| reason.contains("same field")));
    }
}
