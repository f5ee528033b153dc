//! The field map: data in a TOML file, with the usual names built in.

use crate::domain::field::Field;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

const BUILT_IN: &str = include_str!("field_map.toml");
/// What a map may name beside the keys of records.
const ORGANIZATION: &str = "organization";
const PEMS_VERSION: &str = "pemsVersion";

/// What a field of the grid is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadTarget {
    /// A key of the record.
    Field(Field),
    /// Code of the organization that the record belongs to.
    Organization,
    /// When PEMS changed the record last.
    Stamp,
}

impl ReadTarget {
    fn from_key(key: &str) -> Option<Self> {
        match key {
            ORGANIZATION => Some(Self::Organization),
            PEMS_VERSION => Some(Self::Stamp),
            _ => Field::from_key(key).map(Self::Field),
        }
    }
}

/// Which field of PEMS is which key of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMap {
    /// Name of the grid.
    pub grid: String,
    /// Id of the grid.
    pub grid_id: String,
    /// Name of the screen.
    pub screen: String,
    read: BTreeMap<String, ReadTarget>,
    write: BTreeMap<Field, String>,
    written_organization: String,
}

/// Why a field map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FieldMapError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no field map.
    #[error("the field map is wrong: {0}")]
    Wrong(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    names: Option<Names>,
    read: Option<BTreeMap<String, String>>,
    write: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Names {
    grid: String,
    grid_id: String,
    screen: String,
}

impl FieldMap {
    /// The map that is built in.
    ///
    /// # Errors
    /// Never for the map of this build; a test holds it.
    pub fn built_in() -> Result<Self, FieldMapError> {
        Self::parse(BUILT_IN)
    }

    /// The map of a file; sections that it does not have are those of the built-in map.
    ///
    /// # Errors
    /// When the file cannot be read, or names keys or says things that no map may.
    pub fn load(path: &Path) -> Result<Self, FieldMapError> {
        let text = fs::read_to_string(path).map_err(|source| FieldMapError::File { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// The map of a text.
    ///
    /// # Errors
    /// As [`FieldMap::load`].
    pub fn parse(text: &str) -> Result<Self, FieldMapError> {
        let given = document(text)?;
        let usual = document(BUILT_IN)?;
        let missing = |section: &str| FieldMapError::Wrong(format!("[{section}] is missing"));
        let names = given.names.or(usual.names).ok_or_else(|| missing("names"))?;
        let read = given.read.or(usual.read).ok_or_else(|| missing("read"))?;
        let write = given.write.or(usual.write).ok_or_else(|| missing("write"))?;
        let read = read_section(read)?;
        let (write, written_organization) = write_section(write)?;
        Ok(Self { grid: names.grid, grid_id: names.grid_id, screen: names.screen, read, write, written_organization })
    }

    /// What a field of the grid is, by its name in any case; nothing for one that the map does not name.
    #[must_use]
    pub fn read_target(&self, name: &str) -> Option<ReadTarget> {
        self.read.get(&name.to_ascii_lowercase()).copied()
    }

    /// The fields of the grid that the map names.
    pub fn read_names(&self) -> impl Iterator<Item = (&str, ReadTarget)> {
        self.read.iter().map(|(name, target)| (name.as_str(), *target))
    }

    /// The name of what the grid calls a target.
    #[must_use]
    pub fn read_name(&self, target: ReadTarget) -> Option<&str> {
        self.read_names().find(|(_, found)| *found == target).map(|(name, _)| name)
    }

    /// The field of the screen for a key; nothing for one that cannot be written.
    #[must_use]
    pub fn write_name(&self, field: Field) -> Option<&str> {
        self.write.get(&field).map(String::as_str)
    }

    /// The keys that can be written, with their fields of the screen.
    pub fn write_names(&self) -> impl Iterator<Item = (Field, &str)> {
        self.write.iter().map(|(field, name)| (*field, name.as_str()))
    }

    /// The field of the screen for the organization.
    #[must_use]
    pub fn written_organization(&self) -> &str {
        &self.written_organization
    }
}

fn document(text: &str) -> Result<Document, FieldMapError> {
    toml::from_str(text).map_err(|error| FieldMapError::Wrong(error.to_string().replace('\n', " ")))
}

fn read_section(section: BTreeMap<String, String>) -> Result<BTreeMap<String, ReadTarget>, FieldMapError> {
    let mut read = BTreeMap::new();
    for (name, key) in section {
        let target = ReadTarget::from_key(&key).ok_or_else(|| unknown_key("read", &key))?;
        if read.values().any(|known| *known == target) {
            return Err(FieldMapError::Wrong(format!("[read] has {key} twice")));
        }
        if read.insert(name.to_ascii_lowercase(), target).is_some() {
            return Err(FieldMapError::Wrong(format!("[read] names {name} twice")));
        }
    }
    for (needed, key) in [(ReadTarget::Field(Field::PfaId), "pfaId"), (ReadTarget::Stamp, PEMS_VERSION)] {
        if !read.values().any(|target| *target == needed) {
            return Err(FieldMapError::Wrong(format!("[read] has no field for {key}")));
        }
    }
    Ok(read)
}

fn write_section(mut section: BTreeMap<String, String>) -> Result<(BTreeMap<Field, String>, String), FieldMapError> {
    // Two keys in one field would overwrite each other.
    let mut names = BTreeSet::new();
    for (key, name) in &section {
        if name.trim().is_empty() {
            return Err(FieldMapError::Wrong(format!("[write] {key} has no name")));
        }
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(FieldMapError::Wrong(format!("[write] names {name} twice")));
        }
    }
    let organization = section.remove(ORGANIZATION).ok_or_else(|| FieldMapError::Wrong("[write] has no field for organization".into()))?;
    let mut write = BTreeMap::new();
    for (key, name) in section {
        let field = Field::from_key(&key).ok_or_else(|| unknown_key("write", &key))?;
        write.insert(field, name);
    }
    if !write.contains_key(&Field::PfaId) {
        return Err(FieldMapError::Wrong("[write] has no field for pfaId".into()));
    }
    Ok((write, organization))
}

fn unknown_key(section: &str, key: &str) -> FieldMapError {
    let keys = Field::keys().join(", ");
    FieldMapError::Wrong(format!("[{section}] names {key:?}, which no record has; keys are {keys}, {ORGANIZATION}, {PEMS_VERSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_map_knows_every_key_that_pems_has() {
        let map = FieldMap::built_in().expect("the built-in map");
        assert_eq!((map.grid.as_str(), map.grid_id.as_str(), map.screen.as_str()), ("CUPFAG", "100541", "CUPFA2"));
        assert_eq!(map.read_target("PFS_F_RENTAL"), Some(ReadTarget::Field(Field::MonthlyRate)));
        assert_eq!(map.read_name(ReadTarget::Stamp), Some("pfs_lastmodified"));
        assert_eq!(map.write_name(Field::MonthlyRate), Some("PFS_F_RATE"));
        let unread: Vec<_> = Field::ALL.iter().filter(|field| map.read_name(ReadTarget::Field(**field)).is_none()).collect();
        assert_eq!(unread, [&Field::HasPlan, &Field::HasActuals]);
    }

    #[test]
    fn a_section_of_a_file_replaces_the_built_in_one() {
        let map = FieldMap::parse("[read]\nID = 'pfaId'\nchanged = 'pemsVersion'").expect("a map");
        assert_eq!(map.read_names().count(), 2);
        assert_eq!(map.read_target("id"), Some(ReadTarget::Field(Field::PfaId)));
        assert_eq!(map.write_name(Field::Dor), Some("PFS_F_DOR"));
    }

    #[test]
    fn what_no_map_may_say_is_told() {
        for (text, problem) in [
            ("[read]\npfs_x = 'colour'", "\"colour\", which no record has"),
            ("[read]\npfs_x = 'category'", "no field for pfaId"),
            ("[read]\npfs_x = 'pfaId'", "no field for pemsVersion"),
            ("[read]\na = 'pfaId'\nb = 'pfaId'\nc = 'pemsVersion'", "pfaId twice"),
            ("[write]\npfaId = 'X'", "no field for organization"),
            ("[write]\norganization = 'O'\ndor = 'D'", "no field for pfaId"),
            ("[write]\norganization = 'O'\npfaId = 'X'\nshade = 'D'", "\"shade\", which no record has"),
            ("[write]\norganization = 'O'\npfaId = ' '", "has no name"),
            ("[read]\na = 'pfaId'\nA = 'class'\nc = 'pemsVersion'", "[read] names a twice"),
            ("[write]\norganization = 'O'\npfaId = 'X'\nclass = 'C'\ndor = 'c'", "[write] names c twice"),
            ("[write]\norganization = 'x'\npfaId = 'X'", "[write] names X twice"),
            ("[write]\norganization = ' '\npfaId = 'X'", "organization has no name"),
            ("[names]\ngrid = 'X'", "missing field"),
            ("[colours]", "unknown field"),
            ("read = ", "wrong"),
        ] {
            let error = FieldMap::parse(text).expect_err(text).to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
