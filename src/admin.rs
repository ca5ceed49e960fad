//! `muster admin`: what whoever sets an installation up needs.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::service_identity::{KeyRing, NAMES};
use clap::{Args, Subcommand};

use crate::config::Problems;
use crate::data_dir;

/// What `muster admin` can be told.
#[derive(Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make the key pairs by which the services prove themselves to each other
    ServiceKeys(ServiceKeys),
    /// Print a new master key, which protects signing keys and the hashes of secrets
    MasterKey,
}

#[derive(Args)]
#[command(after_help = "\
Each service gets its own file and services.json, which is not secret:
  muster admin service-keys --out keys
  muster serve identity --service-key keys/identity.pem --service-keys keys/services.json …")]
struct ServiceKeys {
    /// Folder for the files; made if need be. It must not hold keys yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

impl Admin {
    /// Carries the action out.
    pub(crate) async fn run(self) -> ExitCode {
        let done = match self.action {
            Action::ServiceKeys(keys) => service_keys(&keys.out),
            Action::MasterKey => master_key(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(problems) => problems.exit(),
        }
    }
}

/// The file with everybody's public keys.
const PUBLIC: &str = "services.json";

fn service_keys(out: &Path) -> Result<(), Problems> {
    let told = |what: &str, error: std::io::Error| {
        Problems::one(format!("can't {what} {}: {error}", out.display()))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(out)
        .map_err(|e| told("make the folder", e))?;
    let private = |name: &str| out.join(format!("{name}.pem"));
    let mut files = vec![out.join(PUBLIC)];
    files.extend(NAMES.map(private));
    if let Some(file) = files.iter().find(|file| file.exists()) {
        return Err(Problems::one(format!(
            "{} is there already; name another folder, or take it away",
            file.display()
        )));
    }
    let ring = KeyRing::generate()?;
    for name in NAMES {
        data_dir::write_private(&private(name), &ring.private(name)?.to_pem())
            .map_err(|e| told("write to", e))?;
    }
    // Last: where it is, all the others are.
    data_dir::write_private(&out.join(PUBLIC), &(ring.public().to_json()? + "\n"))
        .map_err(|e| told("write to", e))?;
    say(&format!(
        "Wrote the keys of {} and {PUBLIC} to {}",
        NAMES.join(", "),
        out.display()
    ));
    Ok(())
}

fn master_key() -> Result<(), Problems> {
    let key = data_dir::random().map_err(|e| Problems::one(format!("can't make a key: {e}")))?;
    say(&BASE64_STANDARD.encode(key));
    Ok(())
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
