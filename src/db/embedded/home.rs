//! Where the files of the private server live.
//!
//! Usually in the data directory itself. When we are root, PostgreSQL runs as another account, and that
//! account may be unable to enter the data directory (a clone below `/root`, a private temporary directory).
//! Then the files go to `/var/lib/pfa-vanguard/<random id>`, and the file `moved-to` in the data directory
//! says so. A random id rather than a hash of the path: the pointer moves along when the data directory is
//! moved, and deleting the data directory really means a fresh start. Opening up the parents with chmod
//! would be simpler, but it would expose what the owner of those directories chose to hide.
//!
//! Layout: `lock`, `postgres.log` and perhaps `moved-to` in the data directory; `cluster`, `password`,
//! `socket` and `postgresql` (downloaded versions) in the home.

use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::{EmbeddedError, Tried};
use super::lock::DirLock;

/// The parent of homes outside of a data directory.
const SHARED_PARENT: &str = "/var/lib/pfa-vanguard";

/// The resolved places and the account that owns the cluster.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) data_dir: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) account: Account,
    /// Dropped last, when nothing uses the files any more.
    _locks: Vec<DirLock>,
}

impl Home {
    /// Creates the data directory if need be, locks it, and finds or chooses the home.
    pub(super) async fn open(data_dir: &Path) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(data_dir).tried("create", data_dir)?;
        let data_dir = data_dir.canonicalize().tried("open", data_dir)?;
        let mut locks = vec![DirLock::acquire(&data_dir).await?];
        let pointer = data_dir.join("moved-to");
        let moved = match fs::read_to_string(&pointer) {
            Ok(text) => Some(PathBuf::from(text.lines().next().unwrap_or_default())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).tried("read", &pointer),
        };
        if let Some(home) = &moved
            && !home.is_dir()
        {
            return Err(EmbeddedError::HomeMissing { pointer, home: home.clone() });
        }
        let mut dir = moved.clone().unwrap_or_else(|| data_dir.clone());
        let account = Account::choose(&dir.join("cluster"))?;
        if !account.can_enter(&dir) {
            let uid = account.uid().unwrap_or_default();
            if moved.is_some() || dir.join("cluster").exists() {
                return Err(EmbeddedError::Unreachable { dir, uid });
            }
            dir = create_shared_home(&data_dir, &pointer)?;
            if !account.can_enter(&dir) {
                return Err(EmbeddedError::Unreachable { dir, uid });
            }
        }
        if dir != data_dir {
            // A copied data directory has a copied pointer: two of them must not share one cluster.
            locks.push(DirLock::acquire(&dir).await?);
        }
        Ok(Self { data_dir, dir, account, _locks: locks })
    }

    /// The PostgreSQL data directory.
    pub(super) fn cluster(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    /// The file with the password of the superuser.
    pub(super) fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// The log of `initdb` and of the server. We open it and hand it down, so it need not be reachable.
    pub(super) fn log_file(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    /// Deletes everything that this module made, and the data directory if nothing else is in it.
    pub(super) fn delete(self) -> Result<(), EmbeddedError> {
        for name in ["cluster", "socket", "postgresql"] {
            remove_tree(&self.dir.join(name))?;
        }
        let _ = fs::remove_file(self.password_file());
        if self.dir != self.data_dir {
            remove_tree(&self.dir)?;
        }
        for name in ["postgres.log", "postgres.log.1", "moved-to", "lock"] {
            let _ = fs::remove_file(self.data_dir.join(name));
        }
        // Fails when somebody keeps files of their own there, which is their right.
        let _ = fs::remove_dir(&self.data_dir);
        Ok(())
    }
}

/// Removes a directory with all that is in it; one that does not exist is fine.
pub(super) fn remove_tree(dir: &Path) -> Result<(), EmbeddedError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).tried("delete", dir),
        _ => Ok(()),
    }
}

/// Random bytes of the operating system in hexadecimal.
pub(super) fn random_hex<const BYTES: usize>() -> Result<String, EmbeddedError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0_u8; BYTES];
    fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).tried("read", source)?;
    Ok(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

/// Makes a home that any account can enter but only root can change, then the pointer to it.
fn create_shared_home(data_dir: &Path, pointer: &Path) -> Result<PathBuf, EmbeddedError> {
    let dir = Path::new(SHARED_PARENT).join(random_hex::<8>()?);
    DirBuilder::new().recursive(true).mode(0o755).create(SHARED_PARENT).tried("create", Path::new(SHARED_PARENT))?;
    DirBuilder::new().mode(0o711).create(&dir).tried("create", &dir)?;
    let note = dir.join("belongs-to");
    fs::write(&note, format!("{}\n", data_dir.display())).tried("write", &note)?;
    let text = format!(
        "{}\nThe database of this data directory is there, because PostgreSQL runs as another account\n\
         that may not enter this directory. To delete the database, delete both directories.\n",
        dir.display()
    );
    fs::write(pointer, text).tried("write", pointer)?;
    tracing::info!(data_dir = %data_dir.display(), home = %dir.display(), "the PostgreSQL files live outside of the data directory");
    Ok(dir)
}
