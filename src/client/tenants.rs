//! `muster tenant`: the tenants that the caller may act for.

use clap::{Args, Subcommand};
use proto::tenancy::tenant_service_client::TenantServiceClient;
use proto::tenancy::{
    ListMyTenantsRequest, MyTenant, ResumeTenantRequest, SuspendTenantRequest, Tenant,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::connect::{self, Authorized};
use super::credentials::Credentials;
use super::failure::Failure;
use super::options::Options;
use super::out::{self, Output, Show};

const EXAMPLES: &str = "Examples:
  muster tenant list
  muster tenant use 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11
  muster tenant suspend 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05";

/// Tenants that the caller may act for.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tenants {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// List the tenants that you are a member of
    List,
    /// Let the commands that follow act for a tenant
    Use {
        /// The tenant
        id: Uuid,
    },
    /// Refuse everything of a tenant below yours, and of all below it, within a second, until it is resumed
    Suspend {
        /// The tenant
        id: Uuid,
    },
    /// Let a suspended tenant go on
    Resume {
        /// The tenant
        id: Uuid,
    },
}

impl Tenants {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::List => list(&self.options).await,
            Action::Use { id } => choose(&self.options, id).await,
            Action::Suspend { id } => suspend(&self.options, id).await,
            Action::Resume { id } => resume(&self.options, id).await,
        }
    }
}

async fn list(options: &Options) -> Result<(), Failure> {
    let tenants = mine(options.connect_to_none().await?).await?;
    options.server.output.list(&tenants)
}

async fn choose(options: &Options, id: Uuid) -> Result<(), Failure> {
    let server = &options.server;
    let saved = server.session()?;
    let channel = server.open(&saved).await?;
    let user = connect::refresh(channel.clone(), &saved).await?;
    let tenants = mine(user.clone()).await?;
    connect::select(channel, user, id)
        .await
        .map_err(|failure| {
            failure
                .context(format!("can't act for tenant {id}"))
                .hint("to see yours, run: muster tenant list")
        })?;
    server.file()?.save(&Credentials {
        tenant_id: Some(id),
        ..saved
    })?;
    let sentence = format!("Commands now act for tenant {}.", name(&tenants, id));
    server.output.said(&sentence, &json!({"tenantId": id}))
}

async fn suspend(options: &Options, id: Uuid) -> Result<(), Failure> {
    let mut client = TenantServiceClient::new(options.connect().await?);
    let request = SuspendTenantRequest { id: id.to_string() };
    let tenant = client.suspend_tenant(request).await?.into_inner();
    let sentence = format!(
        "Suspended tenant {} ({id}).",
        out::plain(&tenant.display_name)
    );
    options.server.output.said(&sentence, &tenant_json(&tenant))
}

async fn resume(options: &Options, id: Uuid) -> Result<(), Failure> {
    let mut client = TenantServiceClient::new(options.connect().await?);
    let request = ResumeTenantRequest { id: id.to_string() };
    let tenant = client.resume_tenant(request).await?.into_inner();
    let sentence = format!(
        "Resumed tenant {} ({id}).",
        out::plain(&tenant.display_name)
    );
    options.server.output.said(&sentence, &tenant_json(&tenant))
}

/// The tenants that the caller may act for.
pub(crate) async fn mine(caller: Authorized) -> Result<Vec<MyTenant>, Failure> {
    let mut client = TenantServiceClient::new(caller);
    out::pages(None, async |page_size, page_token| {
        let request = ListMyTenantsRequest {
            page_size,
            page_token,
        };
        let page = client.list_my_tenants(request).await?.into_inner();
        Ok((page.tenants, page.next_page_token))
    })
    .await
}

/// The id of a tenant.
pub(crate) fn id(mine: &MyTenant) -> Option<Uuid> {
    mine.tenant.as_ref()?.id.parse().ok()
}

/// The name and id of a tenant, as far as they are known.
pub(crate) fn name(tenants: &[MyTenant], wanted: Uuid) -> String {
    let known = tenants
        .iter()
        .find(|mine| id(mine) == Some(wanted))
        .and_then(|mine| mine.tenant.as_ref());
    match known {
        Some(tenant) => format!("{} ({wanted})", out::plain(&tenant.display_name)),
        None => wanted.to_string(),
    }
}

/// Lists the tenants to choose from to a person; a program has them already.
pub(crate) fn tell_choices(output: Output, tenants: &[MyTenant]) -> Result<(), Failure> {
    match output {
        Output::Table => output.list(tenants),
        Output::Json => Ok(()),
    }
}

impl Show for MyTenant {
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "ROLE", "STATE"];

    fn cells(&self) -> Vec<String> {
        let tenant = self.tenant.clone().unwrap_or_default();
        let state = out::state(tenant.state().as_str_name());
        vec![tenant.id, tenant.display_name, self.role.clone(), state]
    }

    fn json(&self) -> Value {
        json!({
            "tenant": self.tenant.as_ref().map(tenant_json),
            "role": self.role,
        })
    }
}

fn tenant_json(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id,
        "number": tenant.number.to_string(),
        "displayName": tenant.display_name,
        "parent": tenant.parent,
        "state": tenant.state().as_str_name(),
        "createTime": out::json_time(tenant.create_time.as_ref()),
        "updateTime": out::json_time(tenant.update_time.as_ref()),
    })
}
