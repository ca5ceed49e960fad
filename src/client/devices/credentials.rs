//! `muster device credential`: what devices prove themselves by.

use clap::{Args, Subcommand};
use proto::registry::device_credential_service_client::DeviceCredentialServiceClient;
use proto::registry::{
    DeleteDeviceCredentialRequest, GetDeviceCredentialRequest, ListDeviceCredentialsRequest,
};
use serde_json::json;
use uuid::Uuid;

use crate::client::connect::Authorized;
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::out;

mod proof;
mod show;
mod terms;

const EXAMPLES: &str = "Examples:
  muster device credential create 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 --name 'soldered in'
  muster device credential create 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 --certificate device.pem
  muster device credential list 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05
  muster device credential rotate 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 0198c5a2-9a10-7f3e-8c55-3d2b1a0f9e8d --overlap 7d
  muster device credential disable 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 0198c5a2-9a10-7f3e-8c55-3d2b1a0f9e8d";

/// What devices prove themselves by.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Credentials {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Give a device a credential; a secret that is generated is shown this once
    Create(Box<terms::Create>),
    /// List the credentials of a device, oldest first
    List {
        /// The device
        device: Uuid,
    },
    /// Show one credential, but not its secret
    Get(One),
    /// Change a credential
    Update(Box<terms::Update>),
    /// Refuse a credential until it is enabled again
    Disable(One),
    /// Take a disabled credential again
    Enable(One),
    /// Make the credential that follows; the old one works on for a while
    Rotate(terms::Rotate),
    /// Delete a credential; the device can't prove itself by it any more
    Delete(One),
}

#[derive(Args)]
struct One {
    /// The device
    device: Uuid,
    /// The credential
    id: Uuid,
}

type Client = DeviceCredentialServiceClient<Authorized>;

async fn client(options: &Options) -> Result<Client, Failure> {
    Ok(DeviceCredentialServiceClient::new(options.connect().await?))
}

impl Credentials {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        match self.action {
            Action::Create(new) => terms::create(options, *new).await,
            Action::List { device } => list(options, device).await,
            Action::Get(one) => get(options, one).await,
            Action::Update(changed) => changed.run(options).await,
            Action::Disable(one) => terms::set_disabled(options, one, true).await,
            Action::Enable(one) => terms::set_disabled(options, one, false).await,
            Action::Rotate(rotate) => rotate.run(options).await,
            Action::Delete(one) => delete(options, one).await,
        }
    }
}

async fn list(options: &Options, device: Uuid) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let credentials = out::pages(None, async |page_size, page_token| {
        let request = ListDeviceCredentialsRequest {
            device_id: device.to_string(),
            page_size,
            page_token,
        };
        let page = client.list_device_credentials(request).await?.into_inner();
        Ok((page.credentials, page.next_page_token))
    });
    options.server.output.list(&credentials.await?)
}

async fn get(options: &Options, One { device, id }: One) -> Result<(), Failure> {
    let request = GetDeviceCredentialRequest {
        device_id: device.to_string(),
        id: id.to_string(),
    };
    let mut client = client(options).await?;
    let credential = client.get_device_credential(request).await?;
    options.server.output.one(&credential.into_inner())
}

async fn delete(options: &Options, One { device, id }: One) -> Result<(), Failure> {
    let request = DeleteDeviceCredentialRequest {
        device_id: device.to_string(),
        id: id.to_string(),
    };
    let mut client = client(options).await?;
    client.delete_device_credential(request).await?;
    let sentence = format!("Deleted credential {id} of device {device}.");
    options.server.output.said(&sentence, &json!({}))
}
