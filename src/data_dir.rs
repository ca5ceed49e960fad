//! The folder that holds everything an embedded installation must keep.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::config::Masters;

/// A folder that one process at a time may use.
pub(crate) struct DataDir {
    path: PathBuf,
    /// Held for as long as the process lives.
    _lock: File,
}

impl DataDir {
    /// Opens the folder, and makes it if need be, for its owner only.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let told = |what: &str, error: &dyn std::fmt::Display| {
            format!("can't {what} {}: {error}", path.display())
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| told("make the folder", &e))?;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path.join("lock"));
        let lock = lock.map_err(|e| told("write to the folder", &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "another muster runs on the folder {}: stop it, or name another folder with --data",
                path.display()
            )),
            Err(TryLockError::Error(error)) => Err(told("lock the folder", &error)),
        }
    }

    /// The database of one service.
    pub(crate) fn database(&self, service: &str) -> PathBuf {
        self.path.join(format!("{service}.sqlite"))
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Any other file.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The master key: made on first start, and to be kept apart from backups
    /// of the databases.
    pub(crate) fn master_keys(&self) -> Result<Masters, String> {
        if let Some(masters) = master_keys(&self.path)? {
            return Ok(masters);
        }
        let file = self.file(MASTER);
        if self.database("key-management").exists() {
            return Err(format!(
                "{} is gone, and without it the databases are of no use: put it back, or set MUSTER_MASTER_KEY",
                file.display()
            ));
        }
        let key = random().map_err(|e| format!("can't make {}: {e}", file.display()))?;
        write_master_key(&file, &key)?;
        Ok(Masters::only(key))
    }
}

/// The master key of a data folder.
const MASTER: &str = "master.key";
/// The one before it, until everything is wrapped anew.
const OLD_MASTER: &str = "master.key.old";

/// The master key of a data folder, if it has one, and the one before while
/// it changes.
pub(crate) fn master_keys(folder: &Path) -> Result<Option<Masters>, String> {
    let read = |name: &str| {
        let file = folder.join(name);
        match fs::read_to_string(&file) {
            Ok(text) => parse_master_key(text.trim())
                .map(Some)
                .map_err(|e| format!("{}: {e}", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("can't read {}: {error}", file.display())),
        }
    };
    let old = read(OLD_MASTER)?;
    Ok(read(MASTER)?.map(|key| Masters {
        key,
        old: old.filter(|old| *old != key),
    }))
}

/// Puts a new master key in the place of a data folder's, which is kept. From
/// then on a start finds both. If a change was begun before, it goes on.
pub(crate) fn change_master_key(folder: &Path) -> Result<Masters, String> {
    let masters = master_keys(folder)?;
    let masters =
        masters.ok_or_else(|| format!("there is no {}", folder.join(MASTER).display()))?;
    if masters.old.is_some() {
        return Ok(masters);
    }
    let key = random().map_err(|e| format!("can't make a key: {e}"))?;
    // The old one first: at no time is there a new one alone.
    write_master_key(&folder.join(OLD_MASTER), &masters.key)?;
    write_master_key(&folder.join(MASTER), &key)?;
    Ok(Masters {
        key,
        old: Some(masters.key),
    })
}

/// Forgets the master key before the present one, which nothing needs any more.
pub(crate) fn forget_old_master_key(folder: &Path) -> Result<(), String> {
    let file = folder.join(OLD_MASTER);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("can't remove {}: {error}", file.display()))
        }
        _ => Ok(()),
    }
}

fn write_master_key(file: &Path, key: &[u8; 32]) -> Result<(), String> {
    write_private(file, &BASE64_STANDARD.encode(key))
        .map_err(|e| format!("can't write {}: {e}", file.display()))
}

/// Reads a master key: 32 bytes in base64.
pub(crate) fn parse_master_key(text: &str) -> Result<[u8; 32], String> {
    let bytes = BASE64_STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        "a master key is 32 bytes in base64, as of `openssl rand -base64 32`".to_owned()
    })
}

/// 32 random bytes from the operating system.
pub(crate) fn random() -> std::io::Result<[u8; 32]> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(partial, path)?;
    // The name is durable once its folder is.
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
