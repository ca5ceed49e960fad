//! `muster claim-key`: keys by which new devices register themselves.

use clap::{Args, Subcommand};
use proto::registry::claim_key_service_client::ClaimKeyServiceClient;
use proto::registry::{ClaimKey, DeleteClaimKeyRequest, GetClaimKeyRequest, ListClaimKeysRequest};
use serde_json::json;
use uuid::Uuid;

use super::connect::Authorized;
use super::failure::Failure;
use super::options::Options;
use super::out;

mod show;
mod terms;

const EXAMPLES: &str = "Examples:
  muster claim-key create --name 'Batch 2026-11' --max-uses 500 --expires 90d --label batch=7
  muster claim-key list
  muster claim-key update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --max-uses 600
  muster claim-key disable 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11
  muster claim-key delete 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// Claim keys: what new devices register themselves with.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ClaimKeys {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Create a claim key and show its secret, this once
    Create(Box<terms::Create>),
    /// List the claim keys, oldest first
    List,
    /// Show one claim key, but not its secret
    Get(Id),
    /// Change a claim key, or what becomes of the devices that it registers from now on
    Update(Box<terms::Update>),
    /// Let a claim key register nothing until it is enabled again
    Disable(Id),
    /// Let a disabled claim key register devices again
    Enable(Id),
    /// Delete a claim key; the devices that it has registered stay as they are
    Delete(Id),
}

#[derive(Args)]
struct Id {
    /// The claim key
    id: Uuid,
}

type Client = ClaimKeyServiceClient<Authorized>;

async fn client(options: &Options) -> Result<Client, Failure> {
    Ok(ClaimKeyServiceClient::new(options.connect().await?))
}

impl ClaimKeys {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let options = &self.options;
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
    let keys = out::pages(None, async |page_size, page_token| {
        let request = ListClaimKeysRequest {
            page_size,
            page_token,
        };
        let page = client.list_claim_keys(request).await?.into_inner();
        Ok((page.claim_keys, page.next_page_token))
    });
    options.server.output.list(&keys.await?)
}

async fn get(options: &Options, id: Uuid) -> Result<(), Failure> {
    let key = found(&mut client(options).await?, id).await?;
    options.server.output.one(&key)
}

async fn found(client: &mut Client, id: Uuid) -> Result<ClaimKey, Failure> {
    let request = GetClaimKeyRequest { id: id.to_string() };
    Ok(client.get_claim_key(request).await?.into_inner())
}

async fn delete(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = DeleteClaimKeyRequest { id: id.to_string() };
    client(options).await?.delete_claim_key(request).await?;
    let sentence = format!("Deleted claim key {id}.");
    options.server.output.said(&sentence, &json!({}))
}
