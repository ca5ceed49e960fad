//! `muster device authority`: who issues the certificates of devices.

use clap::{Args, Subcommand};
use proto::registry::device_authority_service_client::DeviceAuthorityServiceClient;
use proto::registry::{
    DeleteDeviceAuthorityRequest, GetDeviceAuthorityRequest, ListDeviceAuthoritiesRequest,
};
use serde_json::json;
use uuid::Uuid;

use crate::client::connect::Authorized;
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::out;

mod show;
mod terms;

const EXAMPLES: &str = "Examples:
  muster device authority create --name 'Factory 2' --certificate ca.pem
  muster device authority create --name 'Factory 3' --certificate ca.pem --named-by uri --names external-id --any-device
  muster device authority list
  muster device authority update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --any-device false
  muster device authority disable 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// Who issues the certificates of devices.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Authorities {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Trust the certificates that an authority issues to devices
    Create(Box<terms::Create>),
    /// List the authorities, oldest first
    List,
    /// Show one authority; as JSON, with its certificate
    Get(Id),
    /// Change how an authority's certificates name devices, and which are let in
    Update(Box<terms::Update>),
    /// Refuse the certificates of an authority until it is enabled again
    Disable(Id),
    /// Take the certificates of a disabled authority again
    Enable(Id),
    /// Trust an authority no longer; the credentials that refer to it go with it
    Delete(Id),
}

#[derive(Args)]
struct Id {
    /// The authority
    id: Uuid,
}

type Client = DeviceAuthorityServiceClient<Authorized>;

async fn client(options: &Options) -> Result<Client, Failure> {
    Ok(DeviceAuthorityServiceClient::new(options.connect().await?))
}

impl Authorities {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        match self.action {
            Action::Create(new) => terms::create(options, *new).await,
            Action::List => list(options).await,
            Action::Get(Id { id }) => get(options, id).await,
            Action::Update(changed) => changed.run(options).await,
            Action::Disable(Id { id }) => terms::set_disabled(options, id, true).await,
            Action::Enable(Id { id }) => terms::set_disabled(options, id, false).await,
            Action::Delete(Id { id }) => delete(options, id).await,
        }
    }
}

async fn list(options: &Options) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let authorities = out::pages(None, async |page_size, page_token| {
        let request = ListDeviceAuthoritiesRequest {
            page_size,
            page_token,
        };
        let page = client.list_device_authorities(request).await?.into_inner();
        Ok((page.authorities, page.next_page_token))
    });
    options.server.output.list(&authorities.await?)
}

async fn get(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = GetDeviceAuthorityRequest { id: id.to_string() };
    let mut client = client(options).await?;
    let authority = client.get_device_authority(request).await?;
    options.server.output.one(&authority.into_inner())
}

async fn delete(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = DeleteDeviceAuthorityRequest { id: id.to_string() };
    let mut client = client(options).await?;
    client.delete_device_authority(request).await?;
    let sentence = format!("Deleted authority {id}.");
    options.server.output.said(&sentence, &json!({}))
}
