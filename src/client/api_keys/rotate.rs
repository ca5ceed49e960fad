//! `muster key rotate` and what follows it.

use chassis::{Clock, time::timestamp};
use chrono::TimeDelta;
use clap::Args;
use proto::keys::{
    ExtendApiKeyRotationRequest, FinishApiKeyRotationRequest, GetApiKeyRotationRequest,
    RotateApiKeyRequest,
};
use serde_json::json;
use uuid::Uuid;

use super::{client, show};
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::parse;
use crate::client::rotation::{self, Look};

const EXAMPLES: &str = "Examples:
  muster key rotate 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --overlap 7d
  muster key rotation 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --watch --quiet-for 1h
  muster key finish 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// Which key, and how long its old secret works on.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rotate {
    /// The key
    id: Uuid,
    /// How long the old secret goes on working, 0 for not at all
    /// [default: 24h, or what the tenant's policy allows]
    #[arg(long, value_name = "SPAN", value_parser = parse::span_or_zero)]
    overlap: Option<TimeDelta>,
}

impl Rotate {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let request = RotateApiKeyRequest {
            id: self.id.to_string(),
            overlap: self.overlap.map(parse::duration),
        };
        let mut client = client(options).await?;
        let rotated = client.rotate_api_key(request).await?.into_inner();
        let key = rotated.api_key.unwrap_or_default();
        let rotation = rotated.rotation.unwrap_or_default();
        let json = json!({
            "apiKey": show::json(&key),
            "secret": rotated.secret,
            "rotation": rotation::json(&rotation),
        });
        let output = options.server.output;
        rotation::tell_new_secret(output, &rotation, &rotated.secret, &json)
    }
}

/// Which key, and when its old secret ends.
#[derive(Args)]
pub(super) struct Extend {
    /// The key
    id: Uuid,
    /// When the old secret ends: a span such as 7d from now, or a time
    #[arg(long, value_name = "END", value_parser = parse::when)]
    until: parse::When,
}

impl Extend {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let end = self.until.after(Clock::system().now());
        let request = ExtendApiKeyRotationRequest {
            id: self.id.to_string(),
            end_time: Some(timestamp(end)),
        };
        let mut client = client(options).await?;
        let rotation = client.extend_api_key_rotation(request).await?;
        options.server.output.rotation(&rotation.into_inner())
    }
}

pub(super) async fn watch(options: &Options, id: Uuid, look: &Look) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let finish = format!("muster key finish {id}");
    rotation::look(options.server.output, look, &finish, async || {
        let request = GetApiKeyRotationRequest { id: id.to_string() };
        match client.get_api_key_rotation(request.clone()).await {
            // The token of a session lives for minutes only.
            Err(status) if status.code() == tonic::Code::Unauthenticated => {
                client = super::client(options).await?;
                Ok(client.get_api_key_rotation(request).await?.into_inner())
            }
            answer => Ok(answer?.into_inner()),
        }
    })
    .await
}

pub(super) async fn finish(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = FinishApiKeyRotationRequest { id: id.to_string() };
    let mut client = client(options).await?;
    let rotation = client.finish_api_key_rotation(request).await?;
    options.server.output.rotation(&rotation.into_inner())
}
