//! Which database an operator means.

use std::path::PathBuf;

use chassis::Clock;
use chassis::peer::ServiceName;
use chassis::store::{Postgres, Store};
use clap::Args;

use crate::compose;
use crate::config::{DatabaseUrl, Problems};

/// The database that is meant.
#[derive(Args)]
pub(super) struct Target {
    /// The data folder of `muster up`, whose databases are meant
    #[arg(long, value_name = "FOLDER", env = "MUSTER_DATA")]
    pub(super) data: Option<PathBuf>,
    /// The PostgreSQL database, as the login of the service that owns the tables
    // Read as text: a refusal must not print its password.
    #[arg(
        long,
        value_name = "URL",
        env = "MUSTER_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
}

impl Target {
    /// The tables of a service, which must be up to date.
    pub(super) async fn store(&self, name: ServiceName, clock: &Clock) -> Result<Store, Problems> {
        let url = self.database_url.as_deref().filter(|url| !url.is_empty());
        let store = match (url, &self.data) {
            (Some(url), _) => {
                let url: DatabaseUrl = url
                    .parse()
                    .map_err(|e| Problems::one(format!("--database-url: {e}")))?;
                compose::postgres(name, &Postgres::new(url.0), clock).await?
            }
            (None, Some(folder)) => {
                let file = folder.join(format!("{}.sqlite", name.as_str()));
                if !file.exists() {
                    return Err(Problems::one(format!("there is no {}", file.display())));
                }
                compose::sqlite(name, &file, clock).await?
            }
            (None, None) => {
                return Err(Problems::one("--data or --database-url is needed"));
            }
        };
        store.ready().await?;
        Ok(store)
    }
}
