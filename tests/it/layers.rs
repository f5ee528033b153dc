//! The arrows of the architecture: who may know whom, checked on the source text.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut found = Vec::new();
    collect(&root, &mut found);
    assert!(!found.is_empty(), "{folder}");
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn layers_know_only_what_is_below_them() {
    for (folder, forbidden) in [
        ("domain", &["sqlx", "axum", "tokio", "crate::service", "crate::http", "crate::db", "crate::error"][..]),
        ("service", &["axum", "tower", "crate::http", "crate::cli", "crate::jobs", "reqwest"][..]),
        ("http", &["sqlx", "crate::cli", "crate::jobs"][..]),
        ("pems", &["sqlx", "axum", "crate::service", "crate::http", "crate::db", "crate::jobs", "crate::cli", "crate::error"]),
        ("fake_pems", &["sqlx", "crate::service", "crate::http", "crate::db", "crate::jobs", "crate::cli", "crate::error"]),
        ("db", &["axum", "crate::http", "crate::service", "crate::cli"][..]),
    ] {
        for (path, text) in sources(folder) {
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for word in forbidden {
                    assert!(!line.contains(&format!("{word}::")), "{} knows {word}: {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn every_file_says_what_it_owns_and_stays_short() {
    for (path, text) in sources("") {
        assert!(text.starts_with("//!"), "{} begins with what it owns", path.display());
        let lines = text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_environment_is_read_in_one_place() {
    for (path, text) in sources("") {
        let may = path.ends_with("config.rs") || path.components().any(|part| part.as_os_str() == "embedded");
        assert!(may || !text.contains("env::var"), "{} reads the environment", path.display());
    }
}
