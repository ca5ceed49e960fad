//! PostgreSQL in a container.

use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use crate::leash::Leash;
use crate::{MAX_CONNECTIONS, Postgres, Result, Started, because, free_port, random, variable};

const IMAGE: &str = "postgres:17";

/// The image may have to be pulled first.
const PULL_AND_START: Duration = Duration::from_secs(300);

pub(crate) struct Container {
    name: String,
    container: ContainerAsync<GenericImage>,
    _leash: Leash,
}

pub(crate) async fn start() -> Result<Postgres> {
    is_there()?;
    let image = variable("MUSTER_TEST_POSTGRES_IMAGE").unwrap_or_else(|| IMAGE.to_owned());
    let (repository, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
    let (name, password) = (format!("muster-test-{}", random()), random());
    // A port that we choose: it stays the same when the container starts again.
    let port = free_port();
    let leash = Leash::new(r#"docker rm --force --volumes "$1""#, &[&name])?;
    let starting = GenericImage::new(repository, tag)
        .with_mapped_port(port, 5432.tcp())
        .with_container_name(&name)
        .with_env_var("POSTGRES_PASSWORD", &password)
        .with_cmd([
            "postgres",
            "-c",
            &format!("max_connections={MAX_CONNECTIONS}"),
        ])
        .with_startup_timeout(PULL_AND_START)
        .start();
    let container = tokio::time::timeout(PULL_AND_START, starting)
        .await
        .map_err(because(&image))?
        .map_err(because(&image))?;
    let superuser = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("postgres")
        .password(&password)
        .database("postgres");
    Ok(Postgres {
        superuser,
        started: Started::Docker(Box::new(Container {
            name,
            container,
            _leash: leash,
        })),
    })
}

/// Whether there is a daemon, and the program that removes the container.
fn is_there() -> Result<()> {
    let info = Command::new("docker")
        .args(["info", "--format", "{{.ServerVersion}}"])
        .stdin(Stdio::null())
        .output()
        .map_err(because("the command docker"))?;
    if info.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&info.stderr).trim().to_owned())
}

impl Container {
    /// What it said last, if it has ended.
    pub(crate) async fn last_words(&self) -> Option<String> {
        if self.container.is_running().await.unwrap_or(true) {
            return None;
        }
        let told = Command::new("docker").args(["logs", &self.name]).output();
        let told = told.map_or_else(
            |e| e.to_string(),
            |told| String::from_utf8_lossy(&told.stderr).trim().to_owned(),
        );
        Some(format!("the container has ended: {told}"))
    }

    /// Kills it.
    pub(crate) async fn stop(&self) -> Result<()> {
        let killed = self.container.stop_with_timeout(Some(0)).await;
        killed.map_err(because("docker stop"))
    }

    pub(crate) async fn start(&self) -> Result<()> {
        self.container
            .start()
            .await
            .map_err(because("docker start"))
    }
}
