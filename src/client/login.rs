//! Sessions: log in, log out, and who am I.

use std::path::PathBuf;

use clap::Args;
use proto::identity::auth_service_client::AuthServiceClient;
use proto::identity::user_service_client::UserServiceClient;
use proto::identity::{GetMeRequest, GetMeResponse, LoginRequest, LoginResponse, LogoutRequest};
use proto::tenancy::MyTenant;
use serde_json::json;
use tonic::transport::Channel;
use uuid::Uuid;

use super::connect::{self, Authorized};
use super::credentials::Credentials;
use super::failure::Failure;
use super::options::{Options, Server};
use super::out::{self, Show};
use super::server_url::ServerUrl;
use super::{password, tenants};

const LOGIN_EXAMPLES: &str = "Examples:
  muster login --server https://muster.example.com --email ada@example.com
  muster login --email ada@example.com --password-stdin < password.txt

The session is kept in ~/.config/muster/credentials.json, readable by you alone.
A member of several tenants chooses one with --tenant, or later: muster tenant use ID";

const WHOAMI_EXAMPLES: &str = "Examples:
  muster whoami
  muster whoami --output json";

/// Log in, and remember the session.
#[derive(Args)]
#[command(after_help = LOGIN_EXAMPLES)]
pub(crate) struct Login {
    /// Your e-mail address
    #[arg(long)]
    email: String,
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
    /// Act for this tenant [default: the only one that you are a member of]
    #[arg(long, value_name = "ID")]
    tenant: Option<Uuid>,
    #[command(flatten)]
    server: Server,
}

impl Login {
    /// Logs in and saves the session.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let file = self.server.file()?;
        let server = self.server_url()?;
        let password = self.password(&server)?;
        let channel = connect::open(&server, self.server.ca_cert.as_deref()).await?;
        let session = self.log_in(channel.clone(), password).await?;
        let user = connect::authorized(channel.clone(), &session.access_token)?;
        let (tenants, chosen) = match self.choose(channel, user.clone()).await {
            Ok(chosen) => chosen,
            Err(failure) => {
                // The command changed nothing, so it leaves no session behind.
                let _ = log_out(user).await;
                return Err(failure);
            }
        };
        file.save(&Credentials {
            server: server.clone(),
            ca_cert: absolute(self.server.ca_cert.as_ref())?,
            email: self.email.clone(),
            session_token: session.session_token,
            tenant_id: chosen,
        })?;
        self.tell(&server, &tenants, chosen)
    }

    /// The server that was named, or the one of the session before.
    fn server_url(&self) -> Result<ServerUrl, Failure> {
        match &self.server.server {
            Some(server) => Ok(server.clone()),
            // What can't be read of an old session is no reason to refuse a new one.
            None => match self.server.file()?.load() {
                Ok(Some(saved)) => Ok(saved.server),
                _ => Err(Failure::new("no server is given")
                    .hint("say which with --server URL or MUSTER_SERVER")),
            },
        }
    }

    fn password(&self, server: &ServerUrl) -> Result<String, Failure> {
        if !server.is_encrypted() && !server.is_local() {
            out::note(&format!("warning: {server} gets the password unencrypted"));
        }
        if self.password_stdin {
            password::from_stdin()
        } else {
            password::ask(&format!("Password of {} at {server}: ", self.email))
        }
    }

    async fn log_in(&self, channel: Channel, password: String) -> Result<LoginResponse, Failure> {
        let request = LoginRequest {
            email: self.email.clone(),
            password,
        };
        let answer = AuthServiceClient::new(channel).login(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| {
            let failure = Failure::from(status);
            if failure.is_unauthenticated() {
                return failure.hint("check the e-mail address and the password");
            }
            failure
        })
    }

    /// The user's tenants, and the one to act for.
    async fn choose(
        &self,
        channel: Channel,
        user: Authorized,
    ) -> Result<(Vec<MyTenant>, Option<Uuid>), Failure> {
        let tenants = tenants::mine(user.clone()).await?;
        let chosen = match (self.tenant, &tenants[..]) {
            (Some(tenant), _) => Some(tenant),
            (None, [only]) => tenants::id(only),
            (None, _) => None,
        };
        if let Some(tenant) = chosen {
            connect::select(channel, user, tenant)
                .await
                .map_err(|failure| {
                    failure
                        .context(format!("can't act for tenant {tenant}"))
                        .hint("leave --tenant out to see the tenants that you may act for")
                })?;
        }
        Ok((tenants, chosen))
    }

    fn tell(
        &self,
        server: &ServerUrl,
        tenants: &[MyTenant],
        chosen: Option<Uuid>,
    ) -> Result<(), Failure> {
        let json = json!({
            "server": server,
            "email": self.email,
            "tenantId": chosen,
            "tenants": tenants.iter().map(Show::json).collect::<Vec<_>>(),
        });
        let mut sentence = format!("Logged in to {server} as {}", self.email);
        if let Some(chosen) = chosen {
            sentence += &format!(", for tenant {}", tenants::name(tenants, chosen));
        }
        self.server.output.said(&format!("{sentence}."), &json)?;
        match (chosen, tenants.is_empty()) {
            (Some(_), _) => Ok(()),
            (None, true) => {
                out::note("You are a member of no tenant yet: ask an owner or admin of one.");
                Ok(())
            }
            (None, false) => {
                out::note("You are a member of several tenants. Choose one: muster tenant use ID");
                tenants::tell_choices(self.server.output, tenants)
            }
        }
    }
}

/// End the session and forget it.
#[derive(Args)]
pub(crate) struct Logout {
    #[command(flatten)]
    server: Server,
}

impl Logout {
    /// Ends the session at the server, then forgets it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let saved = self.server.session()?;
        let channel = self.server.open(&saved).await?;
        let ended = match connect::refresh(channel, &saved).await {
            Ok(user) => log_out(user).await,
            Err(failure) => Err(failure),
        };
        match ended {
            // It had ended before.
            Err(failure) if failure.is_unauthenticated() => {}
            ended => ended?,
        }
        self.server.file()?.remove()?;
        let sentence = format!("Logged out of {}.", saved.server);
        self.server.output.said(&sentence, &json!({}))
    }
}

async fn log_out(user: Authorized) -> Result<(), Failure> {
    let mut client = AuthServiceClient::new(user);
    client.logout(LogoutRequest {}).await?;
    Ok(())
}

/// Show who calls, in which tenant, and what is allowed.
#[derive(Args)]
#[command(after_help = WHOAMI_EXAMPLES)]
pub(crate) struct Whoami {
    #[command(flatten)]
    options: Options,
}

impl Whoami {
    /// Asks the server who the caller is.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let caller = self.options.connect_anyhow().await?;
        let server = self.options.target()?;
        let me = UserServiceClient::new(caller.clone())
            .get_me(GetMeRequest {})
            .await?
            .into_inner();
        let tenants = tenants::mine(caller).await?;
        let tenant = match me.current_tenant.parse() {
            Ok(id) => tenants::name(&tenants, id),
            Err(_) => "none; choose one: muster tenant use ID".to_owned(),
        };
        let details = [
            ("server", server.to_string()),
            ("caller", caller_name(&me)),
            ("tenant", tenant),
            ("may", me.permissions.join(" ")),
        ];
        let json = json!({
            "server": server,
            "principalKind": me.principal_kind,
            "principalId": me.principal_id,
            "user": me.user.as_ref().map(Show::json),
            "currentTenant": me.current_tenant,
            "permissions": me.permissions,
        });
        self.options.server.output.object(&details, &json)
    }
}

fn caller_name(me: &GetMeResponse) -> String {
    let id = format!("{} {}", me.principal_kind, me.principal_id);
    match &me.user {
        Some(user) => format!("{} ({id})", user.email),
        None => id,
    }
}

/// The path as later commands, run elsewhere, will need it.
fn absolute(path: Option<&PathBuf>) -> Result<Option<PathBuf>, Failure> {
    path.map(std::path::absolute)
        .transpose()
        .map_err(|e| Failure::caused("can't tell where --ca-cert is", &e))
}
