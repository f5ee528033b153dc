//! Where PostgreSQL may be on a machine. What is there, `binaries.rs` judges.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Directories that may hold PostgreSQL, best first, each once, by their real names.
pub(super) fn candidates(home: &Path) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A link in PATH leads to the directory where its siblings are.
    let in_path = std::env::split_paths(&path).filter_map(|dir| dir.join("initdb").canonicalize().ok());
    dirs.extend(in_path.filter_map(|file| file.parent().map(Path::to_owned)));
    dirs.extend(ask(Path::new("pg_config"), "--bindir").map(PathBuf::from));
    for (parent, prefix, suffix) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql@", "bin"),
        ("/usr/local/opt", "postgresql@", "bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ] {
        dirs.extend(by_version(Path::new(parent), prefix).into_iter().map(|dir| dir.join(suffix)));
    }
    dirs.extend(by_version(&home.join("postgresql"), "").into_iter().map(|dir| dir.join("bin")));
    let mut unique: Vec<PathBuf> = Vec::new();
    for dir in dirs.into_iter().filter_map(|dir| dir.canonicalize().ok()) {
        if dir.join("initdb").is_file() && !unique.contains(&dir) {
            unique.push(dir);
        }
    }
    unique
}

/// The subdirectories `<prefix><version>`, newest version first.
fn by_version(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
            Some((version, entry.path()))
        })
        .collect();
    found.sort_by(|left, right| right.0.cmp(&left.0));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// One line of output of `pg_config`, when there is one.
pub(super) fn ask(program: &Path, question: &str) -> Option<String> {
    let output = Command::new(program).arg(question).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::by_version;

    #[test]
    fn sorts_versions_as_numbers() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pg@9", "pg@16.2", "pg@16.10", "pg@x", "other"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let names: Vec<_> = by_version(dir.path(), "pg@").iter().map(|dir| dir.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["pg@16.10", "pg@16.2", "pg@9"]);
    }
}
