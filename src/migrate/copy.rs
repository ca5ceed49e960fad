//! `muster migrate copy`: an installation moves from SQLite to PostgreSQL.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use chassis::peer::ServiceName;
use chassis::store::copy::{Copied, Copy};
use chassis::store::schema::Schema;
use chassis::{Error, Result};
use clap::Args;
use comfy_table::{Table, presets};
use serde_json::json;

use super::{PATIENCE, service_up};
use crate::bootstrap;
use crate::client::out::Output;
use crate::config::DatabaseUrl;
use crate::data_dir::DataDir;

/// How often it is said how far the copy is.
const OFTEN: Duration = Duration::from_secs(1);

/// What `muster migrate copy` can be told.
#[derive(Args)]
#[command(after_help = "\
Example:
  muster migrate copy --from sqlite:/var/lib/muster --to postgres://owner@db.example.com/muster

No `muster up` may run on the folder, and the database must be empty; its schemas are made if need be. Everything is
copied or nothing: a copy that was cut short is run again as it was. The folder is not changed.

What is not in the databases must be carried over by hand: without the master key (the folder's master.key, unless it
was given as MUSTER_MASTER_KEY), no API key, client secret or signing key is of any use.")]
pub(super) struct From {
    /// The data folder of `muster up`, as sqlite:FOLDER
    #[arg(long)]
    from: Folder,
    /// The PostgreSQL database, as the login that owns the tables
    #[arg(long, env = "MUSTER_DATABASE_URL", hide_env_values = true)]
    to: String,
    /// How to print what was copied
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone)]
struct Folder(PathBuf);

impl FromStr for Folder {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text.strip_prefix("sqlite:") {
            Some(folder) if !folder.is_empty() => Ok(Self(folder.into())),
            _ => Err("must be sqlite: and the data folder, as in sqlite:/var/lib/muster"),
        }
    }
}

/// Copies, and says what it did.
pub(super) async fn copy(told: &From) -> Result<()> {
    let data = open(&told.from.0)?;
    let url: DatabaseUrl = told.to.parse().map_err(|e| refused(format!("--to: {e}")))?;
    let database = chassis::store::Postgres {
        statement_timeout: PATIENCE,
        ..chassis::store::Postgres::new(url.0)
    };
    for service in ServiceName::ALL {
        service_up(service, &database).await?;
    }
    let schemas = ServiceName::ALL.map(Schema::of);
    let mut copy = Copy::begin(&database, &schemas).await?;
    let mut progress = Progress::new();
    for service in ServiceName::ALL {
        let (file, schema) = (data.database(service.as_str()), Schema::of(service));
        let say = |copied: &Copied| progress.say(copied);
        match service {
            ServiceName::Identity => copy.service::<identity::Migrator>(&file, schema, say).await,
            ServiceName::Tenancy => copy.service::<tenancy::Migrator>(&file, schema, say).await,
            ServiceName::DeviceRegistry => {
                copy.service::<device_registry::Migrator>(&file, schema, say)
                    .await
            }
            ServiceName::KeyManagement => {
                copy.service::<key_management::Migrator>(&file, schema, say)
                    .await
            }
        }?;
    }
    let copied = copy.finish().await?;
    print(told.output, &copied, &data);
    Ok(())
}

/// An installation that has been set up, and that nobody else uses meanwhile.
fn open(folder: &Path) -> Result<DataDir> {
    // Opening a folder makes it, and one that was mistyped must not be made.
    if !folder.is_dir() {
        return Err(refused(format!("there is no folder {}", folder.display())));
    }
    let data = DataDir::open(folder).map_err(refused)?;
    let files = ServiceName::ALL.map(|service| data.database(service.as_str()));
    if let Some(missing) = files.iter().find(|file| !file.is_file()) {
        let text = format!(
            "there is no {}: is this a data folder of `muster up`?",
            missing.display()
        );
        return Err(refused(text));
    }
    if bootstrap::is_pending(&data) {
        let text = "the first start on the folder was cut short: start `muster up` on it once";
        return Err(refused(text));
    }
    Ok(data)
}

fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::precondition("CAN_NOT_COPY", text)
}

/// Says how far it is, on standard error, now and then.
struct Progress {
    said: Instant,
    table: String,
}

impl Progress {
    fn new() -> Self {
        Self {
            said: Instant::now(),
            table: String::new(),
        }
    }

    fn say(&mut self, copied: &Copied) {
        let table = format!("{}.{}", copied.schema, copied.table);
        let done = copied.compared > 0;
        if done || table != self.table || self.said.elapsed() >= OFTEN {
            let (rows, total) = (copied.rows, copied.total);
            let _ = writeln!(std::io::stderr(), "{table}: {rows} of {total} rows");
            self.said = Instant::now();
            self.table = table;
        }
    }
}

fn print(output: Output, copied: &[Copied], data: &DataDir) {
    let key = data.file("master.key");
    let key = key.is_file().then_some(key);
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        let tables = copied.iter().map(|copied| {
            json!({
                "schema": copied.schema,
                "table": copied.table,
                "rows": copied.rows,
                "compared": copied.compared,
            })
        });
        let told = json!({
            "tables": tables.collect::<Vec<_>>(),
            "masterKeyFile": key,
        });
        let _ = writeln!(out, "{told:#}");
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SCHEMA", "TABLE", "ROWS", "COMPARED"]);
    for copied in copied {
        table.add_row([
            copied.schema,
            &copied.table,
            &copied.rows.to_string(),
            &copied.compared.to_string(),
        ]);
    }
    let whence = key.map_or_else(
        || "MUSTER_MASTER_KEY, as it was until now".to_owned(),
        |file| format!("the file {}", file.display()),
    );
    let _ = write!(
        out,
        "{table}

Everything is copied: all rows are there, and those compared are equal in every column.
Carry over by hand: the master key, {whence}. Key management takes it as MUSTER_MASTER_KEY_FILE (or MUSTER_MASTER_KEY);
without it, no API key, client secret or signing key is of any use. Do not start `muster up` on SQLite again.
"
    );
}
