//! `muster key`: API keys of the tenant.

use clap::{Args, Subcommand};
use proto::keys::api_key_service_client::ApiKeyServiceClient;
use proto::keys::{
    ApiKey, DeleteApiKeyRequest, GetApiKeyRequest, RevokeApiKeyRequest, UpdateApiKeyRequest,
    get_api_key_request,
};
use serde_json::json;
use uuid::Uuid;

use super::connect::Authorized;
use super::failure::Failure;
use super::options::Options;
use super::out;
use super::rotation::Look;
use super::scanner_rules::Scanner;

mod list;
mod presented;
mod rotate;
mod show;
mod terms;

const EXAMPLES: &str = "Examples:
  muster key create --name ci --permission devices.read --expires 90d
  muster key list --unused-since 30d
  muster key rotate 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --overlap 7d
  muster key rotation 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --watch
  muster key revoke 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --reason 'laptop lost'
  muster key check < key.txt";

/// API keys: long-lived secrets for programs.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Create a key and show its secret, this once
    Create(Box<terms::Create>),
    /// List the keys, newest first
    List(Box<list::List>),
    /// Show all that is known of a key, but not its secret
    Show(Id),
    /// Change a key; what it no longer allows is refused within a second
    Update(Box<terms::Update>),
    /// Refuse a key until it is enabled again
    Disable(Id),
    /// Take a disabled key again
    Enable(Id),
    /// Make a new secret and show it, this once; the old one works on for a while
    Rotate(rotate::Rotate),
    /// Show when, from where and by what each secret is used
    Rotation(Watched),
    /// End a rotation now: the old secret is refused within a second
    Finish(Id),
    /// Let the old secret end later
    Extend(rotate::Extend),
    /// Revoke a key for good; it is refused within a second
    Revoke(Revoke),
    /// Delete a key and what is known of its use
    Delete(Id),
    /// Take over a key of another system, so that it works here unchanged
    Import(Box<terms::Import>),
    /// Ask the server whether a key is good, or why not
    Verify(presented::Verify),
    /// Revoke a key by presenting it: whoever has it may do that
    Surrender(presented::Surrender),
    /// Check how a key is written, without asking any server
    Check(presented::Check),
    /// Print rules by which scanners find leaked keys
    ScannerRules(Rules),
}

#[derive(Args)]
struct Id {
    /// The key
    id: Uuid,
}

#[derive(Args)]
struct Watched {
    /// The key
    id: Uuid,
    #[command(flatten)]
    look: Look,
}

#[derive(Args)]
struct Revoke {
    /// The key
    id: Uuid,
    /// Why, for those who look at the key later
    #[arg(long, value_name = "TEXT", default_value_t, hide_default_value = true)]
    reason: String,
}

#[derive(Args)]
struct Rules {
    /// What the installation's keys begin with
    #[arg(long, value_name = "TEXT", default_value = key_management::key_format::PREFIX, value_parser = prefix)]
    prefix: String,
    /// For which scanner
    #[arg(long, value_enum)]
    format: Scanner,
}

fn prefix(text: &str) -> Result<String, String> {
    match key_management::key_format::is_prefix(text) {
        true => Ok(text.to_owned()),
        false => Err("write a letter, then letters and digits, all in lower case".to_owned()),
    }
}

type Client = ApiKeyServiceClient<Authorized>;

async fn client(options: &Options) -> Result<Client, Failure> {
    Ok(ApiKeyServiceClient::new(options.connect().await?))
}

impl Keys {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.action {
            Action::Create(key) => terms::create(options, *key).await,
            Action::List(filter) => list::list(options, *filter).await,
            Action::Show(Id { id }) => show(options, id).await,
            Action::Update(key) => terms::update(options, *key).await,
            Action::Disable(Id { id }) => set_disabled(options, id, true).await,
            Action::Enable(Id { id }) => set_disabled(options, id, false).await,
            Action::Rotate(rotate) => rotate.run(options).await,
            Action::Rotation(Watched { id, look }) => rotate::watch(options, id, &look).await,
            Action::Finish(Id { id }) => rotate::finish(options, id).await,
            Action::Extend(extend) => extend.run(options).await,
            Action::Revoke(key) => revoke(options, key).await,
            Action::Delete(Id { id }) => delete(options, id).await,
            Action::Import(key) => terms::import(options, *key).await,
            Action::Verify(key) => key.run(options).await,
            Action::Surrender(key) => key.run(options).await,
            Action::Check(key) => key.run(options.server.output),
            Action::ScannerRules(rules) => {
                let Rules { prefix, format } = rules;
                let rules = format.rules(&prefix);
                options.server.output.said(&rules, &json!({"rules": rules}))
            }
        }
    }
}

async fn show(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = GetApiKeyRequest {
        key: Some(get_api_key_request::Key::Id(id.to_string())),
    };
    let key = client(options).await?.get_api_key(request).await?;
    options.server.output.one(&key.into_inner())
}

async fn set_disabled(options: &Options, id: Uuid, disabled: bool) -> Result<(), Failure> {
    let request = UpdateApiKeyRequest {
        api_key: Some(ApiKey {
            id: id.to_string(),
            disabled,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["disabled".to_owned()],
        }),
    };
    let key = client(options).await?.update_api_key(request).await?;
    let key = key.into_inner();
    let done = if disabled { "Disabled" } else { "Enabled" };
    let sentence = format!("{done} key {} ({id}).", out::plain(&key.display_name));
    options.server.output.said(&sentence, &show::json(&key))
}

async fn revoke(options: &Options, Revoke { id, reason }: Revoke) -> Result<(), Failure> {
    let request = RevokeApiKeyRequest {
        id: id.to_string(),
        reason,
    };
    let key = client(options).await?.revoke_api_key(request).await?;
    let key = key.into_inner();
    let sentence = format!("Revoked key {} ({id}).", out::plain(&key.display_name));
    options.server.output.said(&sentence, &show::json(&key))
}

async fn delete(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = DeleteApiKeyRequest { id: id.to_string() };
    client(options).await?.delete_api_key(request).await?;
    let sentence = format!("Deleted key {id}.");
    options.server.output.said(&sentence, &json!({}))
}
