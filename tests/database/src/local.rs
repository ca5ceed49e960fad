//! PostgreSQL as it is installed on this machine, on a temporary folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use crate::leash::Leash;
use crate::{MAX_CONNECTIONS, Postgres, Result, Started, because, free_port, random};

pub(crate) struct Server {
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    user: Option<User>,
    _leash: Leash,
}

/// The server refuses to run as root; root runs it as somebody else.
struct User {
    id: u32,
    group: u32,
}

pub(crate) async fn start() -> Result<Postgres> {
    let binaries = binaries()?;
    let folder = tempfile::Builder::new()
        .prefix("muster-test-postgres-")
        .tempdir()
        .map_err(because("a temporary folder"))?;
    let user = other_user(&folder)?;
    if let Some(user) = &user {
        chown(folder.path(), Some(user.id), Some(user.group)).map_err(because("chown"))?;
    }
    // From here on the leash removes the folder.
    let folder = folder.keep();
    let leash = leash(&folder)?;
    let server = Server {
        binaries,
        folder,
        port: free_port(),
        user,
        _leash: leash,
    };
    let password = random();
    server.create(&password)?;
    server.start()?;
    let superuser = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(server.port)
        .username("postgres")
        .password(&password)
        .database("postgres");
    Ok(Postgres {
        superuser,
        started: Started::Local(server),
    })
}

/// Ends the server, which may be about to start, and removes its folder.
fn leash(folder: &Path) -> Result<Leash> {
    let at_the_end = r#"
        for try in 1 2 3 4 5; do
            [ -f "$1/data/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"
            sleep 0.2
            rm -rf "$1" && [ ! -d "$1" ] && break
        done"#;
    Leash::new(at_the_end, &[&folder.to_string_lossy()])
}

impl Server {
    /// Makes the server's files.
    fn create(&self, password: &str) -> Result<()> {
        let file = self.folder.join("password");
        fs::write(&file, password).map_err(because("the password"))?;
        if let Some(user) = &self.user {
            chown(&file, Some(user.id), Some(user.group)).map_err(because("chown"))?;
        }
        // The new files need not survive a crash of the machine.
        let (data, file) = (self.data(), format!("--pwfile={}", file.display()));
        let flags = [
            "--no-sync",
            "--no-instructions",
            "--encoding=UTF8",
            "--locale=C",
        ];
        // A better hash takes a debug build 50 ms for each connection.
        let who = ["--username=postgres", "--auth=md5", &file];
        self.run("initdb", &[&["-D", &data], &flags[..], &who[..]].concat())
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn start(&self) -> Result<()> {
        let folder = self.folder.display();
        let options = format!(
            "-p {} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections={MAX_CONNECTIONS}",
            self.port
        );
        let (data, log) = (self.data(), format!("{folder}/log"));
        let command = ["start", "-w", "-D", &data, "-l", &log, "-o", &options];
        self.run("pg_ctl", &command).map_err(|why| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            format!("{why} {}", log.trim())
        })
    }

    /// Ends it without a last checkpoint, as a crash would.
    pub(crate) fn stop(&self) -> Result<()> {
        self.run("pg_ctl", &["stop", "-D", &self.data(), "-m", "immediate"])
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    /// Runs one of PostgreSQL's programs. Its output goes to a file: a server
    /// that it starts would keep a pipe open.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let path = self.binaries.join(program);
        let mut command = match &self.user {
            None => Command::new(path),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={}", user.id))
                    .arg(format!("--regid={}", user.group))
                    .arg("--clear-groups")
                    .arg(path);
                command
            }
        };
        let log = self.folder.join(format!("{program}.log"));
        let file = fs::File::create(&log).map_err(because("a log"))?;
        let status = command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(because("a log"))?)
            .stderr(file)
            .status()
            .map_err(because(program))?;
        if status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(&log).unwrap_or_default();
        Err(format!("{program}: {status}: {}", log.trim()))
    }
}

/// The folder of the newest server's programs.
fn binaries() -> Result<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(told) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&told.stdout).trim()));
    }
    let mut debian: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    let version = |path: &PathBuf| path.components().nth(4).map(|v| v.as_os_str().to_owned());
    debian.sort_by_key(version);
    folders.extend(debian.into_iter().rev());
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let has_all = |folder: &PathBuf| {
        let programs = ["initdb", "pg_ctl", "postgres"];
        programs
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    folders
        .into_iter()
        .find(has_all)
        .ok_or_else(|| "initdb is not installed".to_owned())
}

/// Somebody else, if this process is root: then the folder is root's.
fn other_user(folder: &TempDir) -> Result<Option<User>> {
    let owner = fs::metadata(folder.path()).map_err(because("the folder"))?;
    if owner.uid() != 0 {
        return Ok(None);
    }
    let number = |flag: &str, name: &str| -> Option<u32> {
        let told = Command::new("id").args([flag, name]).output().ok()?;
        String::from_utf8_lossy(&told.stdout).trim().parse().ok()
    };
    let found = ["postgres", "nobody"].into_iter().find_map(|name| {
        let (id, group) = (number("-u", name)?, number("-g", name)?);
        Some(User { id, group })
    });
    found
        .map(Some)
        .ok_or_else(|| "root can't run it, and there is no user for it".to_owned())
}
