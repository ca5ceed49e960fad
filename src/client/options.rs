//! Options that the commands share: where to call, with what, and how to
//! print the answer.

use std::path::PathBuf;

use clap::Args;
use proto::identity::GetMeRequest;
use proto::identity::user_service_client::UserServiceClient;
use tonic::transport::Channel;

use super::connect::{self, Authorized};
use super::credentials::{CredentialFile, Credentials};
use super::failure::Failure;
use super::out::Output;
use super::server_url::ServerUrl;

const HEADING: &str = "Connection and output";

/// Where to call, and how to print the answer.
#[derive(Args)]
pub(crate) struct Server {
    /// The gateway, such as https://muster.example.com [default: the one that you logged in to]
    #[arg(long, env = "MUSTER_SERVER", value_name = "URL", global = true, help_heading = HEADING)]
    pub(crate) server: Option<ServerUrl>,
    /// Trust the certificates in this PEM file instead of the system's
    #[arg(long, env = "MUSTER_CA_CERT", value_name = "FILE", global = true, help_heading = HEADING)]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Keep the session in this folder [default: ~/.config/muster]
    #[arg(long, env = "MUSTER_CONFIG_DIR", value_name = "DIR", global = true, help_heading = HEADING)]
    pub(crate) config_dir: Option<PathBuf>,
    /// Print a table for people, or JSON with the field names of the JSON API
    #[arg(long, short, value_enum, default_value_t, global = true, help_heading = HEADING)]
    pub(crate) output: Output,
}

impl Server {
    /// The file of the saved session.
    pub(crate) fn file(&self) -> Result<CredentialFile, Failure> {
        CredentialFile::locate(self.config_dir.as_deref())
    }

    /// The saved session. One of another server than was asked for is
    /// refused: its secret must not be sent there.
    pub(crate) fn session(&self) -> Result<Credentials, Failure> {
        let saved = self.file()?.load()?.ok_or_else(|| {
            Failure::new("you are not logged in")
                .hint("run: muster login --server URL --email EMAIL, or set MUSTER_API_KEY")
        })?;
        match &self.server {
            Some(server) if *server != saved.server => Err(Failure::new(format!(
                "you are logged in to {}, not to {server}",
                saved.server
            ))
            .hint(format!("run: muster login --server {server} --email EMAIL"))),
            _ => Ok(saved),
        }
    }

    /// Connects to the server of the saved session.
    pub(crate) async fn open(&self, saved: &Credentials) -> Result<Channel, Failure> {
        let ca_cert = self.ca_cert.as_ref().or(saved.ca_cert.as_ref());
        connect::open(&saved.server, ca_cert.map(PathBuf::as_path)).await
    }
}

/// Where to call, with what, and how to print the answer.
#[derive(Args)]
pub(crate) struct Options {
    /// Where to call, and how to print the answer.
    #[command(flatten)]
    pub(crate) server: Server,
    /// Call with this API key instead of the saved session; prefer the variable: other users of
    /// the machine can see command lines
    #[arg(long, env = "MUSTER_API_KEY", value_name = "KEY", global = true, hide_env_values = true, help_heading = HEADING)]
    api_key: Option<String>,
}

impl Options {
    /// Connects as the API key, or as the user in the tenant that was chosen.
    pub(crate) async fn connect(&self) -> Result<Authorized, Failure> {
        if let Some(key) = self.api_key() {
            return self.with_key(key).await;
        }
        let saved = self.server.session()?;
        let Some(tenant) = saved.tenant_id else {
            return Err(Failure::new("no tenant is chosen")
                .hint("run: muster tenant list, then: muster tenant use ID"));
        };
        let channel = self.server.open(&saved).await?;
        let user = connect::refresh(channel.clone(), &saved).await?;
        connect::select(channel, user, tenant)
            .await
            .map_err(|failure| {
                failure
                    .context(format!("can't act for tenant {tenant}"))
                    .hint("to choose another, run: muster tenant list, then: muster tenant use ID")
            })
    }

    /// Connects as the API key, or as the user in no tenant.
    pub(crate) async fn connect_to_none(&self) -> Result<Authorized, Failure> {
        if let Some(key) = self.api_key() {
            return self.with_key(key).await;
        }
        let saved = self.server.session()?;
        connect::refresh(self.server.open(&saved).await?, &saved).await
    }

    /// Connects as nobody, or as whoever the request itself proves.
    pub(crate) async fn connect_as_nobody(&self) -> Result<Channel, Failure> {
        let target = self.target()?;
        match self.server.file()?.load()? {
            Some(saved) if saved.server == target => self.server.open(&saved).await,
            _ => connect::open(&target, self.server.ca_cert.as_deref()).await,
        }
    }

    /// Connects as far as it goes: in the tenant, if one is chosen.
    pub(crate) async fn connect_anyhow(&self) -> Result<Authorized, Failure> {
        let chosen = self.api_key().is_some() || self.server.session()?.tenant_id.is_some();
        if chosen {
            self.connect().await
        } else {
            self.connect_to_none().await
        }
    }

    /// Who calls, such as `user:0189…`.
    pub(crate) async fn caller(&self) -> Result<String, Failure> {
        let mut client = UserServiceClient::new(self.connect().await?);
        let me = client.get_me(GetMeRequest {}).await?.into_inner();
        Ok(format!("{}:{}", me.principal_kind, me.principal_id))
    }

    /// The server that the calls go to.
    pub(crate) fn target(&self) -> Result<ServerUrl, Failure> {
        if let Some(server) = &self.server.server {
            return Ok(server.clone());
        }
        match self.server.file()?.load()? {
            Some(saved) => Ok(saved.server),
            None => Err(Failure::new("no server is given")
                .hint("say which with --server URL or MUSTER_SERVER")),
        }
    }

    async fn with_key(&self, key: &str) -> Result<Authorized, Failure> {
        let channel = connect::open(&self.target()?, self.server.ca_cert.as_deref()).await?;
        connect::authorized(channel, key)
    }

    /// The key; an empty variable is as good as none.
    fn api_key(&self) -> Option<&str> {
        self.api_key.as_deref().filter(|key| !key.is_empty())
    }
}
