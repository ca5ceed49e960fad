//! `muster admin master-key`, `signing-key` and `pepper`: on the database of
//! key management itself, whether servers run or not.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::peer::ServiceName;
use chassis::{Clock, Error};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use key_management::admin::{Operator, Pepper, Rewrapped, SigningKey};
use key_management::{Algorithm, MasterKey};
use serde_json::{Value, json};

use crate::client::out::{Output, Show};
use crate::config::{Master, Masters, Problems};
use crate::data_dir::{self, DataDir};

/// The database that is meant, and what opens what it holds.
#[derive(Args)]
pub(super) struct KeyStore {
    #[command(flatten)]
    database: super::target::Target,
    #[command(flatten)]
    master: Master,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args)]
#[command(after_help = "\
To change the master key of `muster up`, whether it runs or not; it takes the new one when it starts again:
  muster admin master-key rotate --data muster-data
To change that of `muster serve key-management`: first give all its processes the new key and, as the old one, the one
before; then, with the same two:
  MUSTER_MASTER_KEY=… MUSTER_OLD_MASTER_KEY=… muster admin master-key rotate --database-url postgres://…
Then give them the new one alone.")]
pub(super) struct MasterKeys {
    #[command(subcommand)]
    action: Option<MasterKeyAction>,
}

#[derive(Subcommand)]
enum MasterKeyAction {
    /// Print a new one
    New,
    /// Wrap by the new master key what the old one protects; harmless if it was done before
    Rotate(Box<KeyStore>),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  muster admin signing-key list --data muster-data
  muster admin signing-key rotate --data muster-data --algorithm EdDSA
  muster admin signing-key revoke 0198c5a27d1e7bd09a3c5f1f0d6f2a11 --database-url postgres://muster_key_management@db/muster")]
pub(super) struct SigningKeys {
    #[command(subcommand)]
    action: SigningKeyAction,
}

#[derive(Subcommand)]
enum SigningKeyAction {
    /// List the keys and what they do, newest last
    List(Box<KeyStore>),
    /// Make a key, which signs in ten minutes: until then everybody has learned it
    Rotate {
        /// How it signs: ES256, EdDSA or RS256 [default: as the one that signs now]
        #[arg(long)]
        algorithm: Option<Algorithm>,
        /// It signs at once; who does not know it yet asks for it
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        target: Box<KeyStore>,
    },
    /// Revoke a key: within a second, everything that it signed is refused
    Revoke {
        /// The key, as its tokens name it
        kid: String,
        #[command(flatten)]
        target: Box<KeyStore>,
    },
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  muster admin pepper rotate --data muster-data
  muster admin pepper list --data muster-data

A hash is made anew with the newest pepper when its secret is next looked up.")]
pub(super) struct Peppers {
    #[command(subcommand)]
    action: PepperAction,
}

#[derive(Subcommand)]
enum PepperAction {
    /// List the peppers, and how many hashes of working secrets need each
    List(Box<KeyStore>),
    /// Make a pepper for all hashes from now on
    Rotate(Box<KeyStore>),
}

impl MasterKeys {
    pub(super) async fn run(self) -> Result<(), Problems> {
        match self.action {
            None | Some(MasterKeyAction::New) => {
                let key = data_dir::random();
                let key = key.map_err(|e| Problems::one(format!("can't make a key: {e}")))?;
                super::say(&BASE64_STANDARD.encode(key));
                Ok(())
            }
            Some(MasterKeyAction::Rotate(target)) => target.rotate_master_key().await,
        }
    }
}

impl SigningKeys {
    pub(super) async fn run(self) -> Result<(), Problems> {
        match self.action {
            SigningKeyAction::List(target) => {
                let keys = target.operator().await?.signing_keys().await?;
                shown(target.output.list(&keys))
            }
            SigningKeyAction::Rotate {
                algorithm,
                now,
                target,
            } => {
                let master = target.master_key()?;
                let operator = target.operator().await?;
                let key = operator.rotate_signing_key(&master, algorithm, now);
                shown(target.output.one(&key.await?))
            }
            SigningKeyAction::Revoke { kid, target } => {
                let master = target.master_key()?;
                let operator = target.operator().await?;
                let key = operator.revoke_signing_key(&master, &kid).await;
                let key = key.map_err(|error| match error {
                    Error::NotFound { .. } => {
                        Problems::one(format!("there is no signing key {kid}"))
                    }
                    error => error.into(),
                })?;
                shown(target.output.one(&key))
            }
        }
    }
}

impl Peppers {
    pub(super) async fn run(self) -> Result<(), Problems> {
        match self.action {
            PepperAction::List(target) => {
                let peppers = target.operator().await?.peppers().await?;
                shown(target.output.list(&peppers))
            }
            PepperAction::Rotate(target) => {
                let master = target.master_key()?;
                let number = target.operator().await?.rotate_pepper(&master).await?;
                let sentence = format!("Hashes are made with pepper {number} from now on");
                shown(target.output.said(&sentence, &json!({"number": number})))
            }
        }
    }
}

impl KeyStore {
    /// The database of key management.
    async fn operator(&self) -> Result<Operator, Problems> {
        let clock = Clock::system();
        let store = self
            .database
            .store(ServiceName::KeyManagement, &clock)
            .await?;
        Ok(Operator::new(store, clock))
    }

    /// The master keys that are named; none if the folder's own is meant.
    fn named(&self) -> Result<Option<Masters>, Problems> {
        let mut problems = Problems::default();
        let masters = self.master.check(&mut problems);
        problems.or(Some(masters))
    }

    fn master_key(&self) -> Result<MasterKey, Problems> {
        let masters = match (self.named()?, &self.database.data) {
            (Some(masters), _) => Some(masters),
            (None, Some(folder)) => data_dir::master_keys(folder).map_err(Problems::one)?,
            (None, None) => None,
        };
        let masters = masters.ok_or_else(|| {
            Problems::one("the master key is needed: MUSTER_MASTER_KEY, --master-key-file, or --data with its folder")
        })?;
        Ok(masters.key()?)
    }

    async fn rotate_master_key(&self) -> Result<(), Problems> {
        match (self.named()?, &self.database.data) {
            (Some(masters), _) if masters.old.is_none() => Err(Problems::one(
                "the old master key is needed too: MUSTER_OLD_MASTER_KEY or --old-master-key-file",
            )),
            (Some(masters), _) => {
                let done = self.operator().await?.rewrap(&masters.key()?).await?;
                self.tell(done, "nothing needs the old one any more")
            }
            (None, Some(folder)) => self.rotate_of_folder(folder).await,
            (None, None) => Err(Problems::one(
                "both master keys are needed, or --data: see --help for the order",
            )),
        }
    }

    /// Changes the master key of a data folder, also while `muster up` runs on
    /// it: that has the old one, and forgets it when it starts again.
    async fn rotate_of_folder(&self, folder: &Path) -> Result<(), Problems> {
        let operator = self.operator().await?;
        // Held to the end, so that none starts meanwhile.
        let idle = DataDir::open(folder).ok();
        let masters = data_dir::change_master_key(folder).map_err(Problems::one)?;
        let done = operator.rewrap(&masters.key()?).await?;
        if idle.is_none() {
            return self.tell(
                done,
                "the running `muster up` has the old one until it starts again; do that soon",
            );
        }
        data_dir::forget_old_master_key(folder).map_err(Problems::one)?;
        self.tell(done, "the old one is gone")
    }

    fn tell(&self, done: Rewrapped, next: &str) -> Result<(), Problems> {
        let Rewrapped {
            peppers,
            signing_keys,
            data_keys,
        } = done;
        let sentence = format!(
            "Wrapped {peppers} peppers, {signing_keys} signing keys and {data_keys} data keys by the new master key: {next}"
        );
        let json = json!({"peppers": peppers, "signingKeys": signing_keys, "dataKeys": data_keys});
        shown(self.output.said(&sentence, &json))
    }
}

pub(super) fn shown<E: fmt::Display>(printed: Result<(), E>) -> Result<(), Problems> {
    printed.map_err(|e| Problems::one(e.to_string()))
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Show for SigningKey {
    const COLUMNS: &'static [&'static str] =
        &["KEY", "ALGORITHM", "STATE", "SIGNS FROM", "KNOWN UNTIL"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.kid.clone(),
            self.algorithm.clone(),
            self.state.to_string(),
            time(self.activate_time),
            self.publish_end.map(time).unwrap_or_default(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "kid": self.kid,
            "algorithm": self.algorithm,
            "state": self.state.to_string(),
            "createTime": time(self.create_time),
            "activateTime": time(self.activate_time),
            "publishEndTime": self.publish_end.map(time),
        })
    }
}

impl Show for Pepper {
    const COLUMNS: &'static [&'static str] = &["PEPPER", "MADE", "HASHES"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.number.to_string(),
            time(self.create_time),
            self.hashes.to_string(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "number": self.number,
            "createTime": time(self.create_time),
            "hashes": self.hashes,
        })
    }
}
