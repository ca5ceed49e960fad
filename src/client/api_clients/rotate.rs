//! `muster client rotate` and what follows it.

use chrono::TimeDelta;
use clap::Args;
use proto::keys::{
    FinishApiClientRotationRequest, GetApiClientRotationRequest, RotateApiClientRequest,
};
use serde_json::json;
use uuid::Uuid;

use super::client;
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::out::Show;
use crate::client::parse;
use crate::client::rotation::{self, Look};

const EXAMPLES: &str = "Examples:
  muster client rotate 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --overlap 7d
  muster client rotation 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --watch --quiet-for 2h
  muster client finish 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// Which client, and how long its old secret works on.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rotate {
    /// The client
    id: Uuid,
    /// How long the old secret goes on working, 0 for not at all
    /// [default: 24h, or what the tenant's policy allows]
    #[arg(long, value_name = "SPAN", value_parser = parse::span_or_zero)]
    overlap: Option<TimeDelta>,
}

impl Rotate {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let request = RotateApiClientRequest {
            id: self.id.to_string(),
            overlap: self.overlap.map(parse::duration),
            client_secret: String::new(),
        };
        let mut client = client(options).await?;
        let rotated = client.rotate_api_client(request).await?.into_inner();
        let rotation = rotated.rotation.unwrap_or_default();
        let secret = rotated.client_secret;
        let json = json!({
            "apiClient": rotated.api_client.unwrap_or_default().json(),
            "clientSecret": secret,
            "rotation": rotation::json(&rotation),
        });
        rotation::tell_new_secret(options.server.output, &rotation, &secret, &json)
    }
}

pub(super) async fn watch(options: &Options, id: Uuid, look: &Look) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let finish = format!("muster client finish {id}");
    rotation::look(options.server.output, look, &finish, async || {
        let request = GetApiClientRotationRequest { id: id.to_string() };
        match client.get_api_client_rotation(request.clone()).await {
            // The token of a session lives for minutes only.
            Err(status) if status.code() == tonic::Code::Unauthenticated => {
                client = super::client(options).await?;
                Ok(client.get_api_client_rotation(request).await?.into_inner())
            }
            answer => Ok(answer?.into_inner()),
        }
    })
    .await
}

pub(super) async fn finish(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = FinishApiClientRotationRequest { id: id.to_string() };
    let mut client = client(options).await?;
    let rotation = client.finish_api_client_rotation(request).await?;
    options.server.output.rotation(&rotation.into_inner())
}
