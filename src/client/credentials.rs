//! The session that `muster login` leaves for the commands that follow.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::failure::Failure;
use super::server_url::ServerUrl;

/// A saved session. Has no `Debug`: it holds a secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Credentials {
    /// The gateway that the session is of.
    pub(crate) server: ServerUrl,
    /// The certificates that the gateway is trusted by, if not the system's.
    pub(crate) ca_cert: Option<PathBuf>,
    /// Who logged in.
    pub(crate) email: String,
    /// Keeps the user logged in.
    pub(crate) session_token: String,
    /// The tenant that was chosen.
    pub(crate) tenant_id: Option<Uuid>,
}

/// The file that holds the session.
pub(crate) struct CredentialFile(PathBuf);

impl CredentialFile {
    /// The file in the given folder, or in the user's own.
    pub(crate) fn locate(folder: Option<&Path>) -> Result<Self, Failure> {
        let folder = match folder {
            Some(folder) => folder.to_path_buf(),
            None => config_folder().ok_or_else(|| {
                Failure::new("there is no home folder to keep the session in")
                    .hint("say where with MUSTER_CONFIG_DIR")
            })?,
        };
        Ok(Self(folder.join("credentials.json")))
    }

    /// The saved session, if there is one.
    pub(crate) fn load(&self) -> Result<Option<Credentials>, Failure> {
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.failed("read", &e)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            self.failed("understand", &e)
                .hint("log in again: muster login")
        })
    }

    /// Saves a session so that only this user can read it.
    pub(crate) fn save(&self, credentials: &Credentials) -> Result<(), Failure> {
        let json = serde_json::to_vec_pretty(credentials).map_err(|e| self.failed("write", &e))?;
        self.replace(&json).map_err(|e| self.failed("write", &e))
    }

    /// Forgets the session.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.0) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", &e)),
            _ => Ok(()),
        }
    }

    /// Writes beside the file and renames, so that a reader sees the old or
    /// the new session, and never half of one.
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = self
            .0
            .with_extension(format!("json.{}", std::process::id()));
        let written = private(&beside).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let replaced = written.and_then(|()| fs::rename(&beside, &self.0));
        if replaced.is_err() {
            // What could not be put in place must not lie around: it is a secret.
            let _ = fs::remove_file(&beside);
        }
        replaced
    }

    fn failed(&self, what: &str, cause: &dyn std::error::Error) -> Failure {
        Failure::caused(format!("can't {what} {}", self.0.display()), cause)
    }
}

/// A new file that only this user can read.
fn private(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The folder for Muster's settings (XDG Base Directory Specification).
fn config_folder() -> Option<PathBuf> {
    let xdg = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = xdg.or_else(|| Some(std::env::home_dir()?.join(".config")))?;
    Some(base.join("muster"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(email: &str) -> Credentials {
        Credentials {
            server: "http://127.0.0.1:8080".parse().unwrap(),
            ca_cert: None,
            email: email.to_owned(),
            session_token: "secret".to_owned(),
            tenant_id: None,
        }
    }

    #[test]
    fn a_session_is_saved_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = CredentialFile::locate(Some(&folder.path().join("new"))).unwrap();
        assert!(file.load().unwrap().is_none());
        for email in ["ada@example.com", "bob@example.com"] {
            file.save(&credentials(email)).unwrap();
            assert_eq!(file.load().unwrap().unwrap().email, email);
        }
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
        file.remove().unwrap();
        file.remove().unwrap();
        assert!(file.load().unwrap().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_the_session() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = CredentialFile::locate(Some(folder.path())).unwrap();
        file.save(&credentials("ada@example.com")).unwrap();
        let mode = fs::metadata(&file.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = CredentialFile::locate(Some(folder.path())).unwrap();
        fs::write(&file.0, "{").unwrap();
        assert!(file.load().is_err());
    }
}
