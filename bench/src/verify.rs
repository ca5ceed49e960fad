//! Verification of API keys over gRPC, beside a bare tonic service.

use clap::Args;
use proto::keys::api_key_service_client::ApiKeyServiceClient;
use proto::keys::key_verification_service_client::KeyVerificationServiceClient;
use proto::keys::{ApiKey, BatchVerifyApiKeysRequest, CreateApiKeyRequest, VerifyApiKeyRequest};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use crate::load::{self, Figures, with};
use crate::{Failure, say};

/// What is measured, and where.
#[derive(Args)]
pub(crate) struct Verify {
    /// Where Muster listens, such as http://127.0.0.1:8080
    #[arg(long)]
    muster: String,
    /// Where the bare service listens
    #[arg(long)]
    echo: String,
    /// A credential that holds keys.write and keys.verify
    #[arg(long, env = "MUSTER_CREDENTIAL", hide_env_values = true)]
    credential: String,
    /// Keys that are made, each presented once cold
    #[arg(long, default_value_t = 2_000)]
    keys: usize,
    /// Calls of each warm run
    #[arg(long, default_value_t = 100_000)]
    calls: usize,
    /// Calls at a time
    #[arg(long, default_value_t = 64)]
    at_once: usize,
    /// Connections
    #[arg(long, default_value_t = 4)]
    connections: usize,
}

/// Keys in one call of the batch.
const BATCH: usize = 100;

impl Verify {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let token: MetadataValue<Ascii> = format!("Bearer {}", self.credential).parse()?;
        let muster = load::connect(&self.muster, self.connections).await?;
        let echo = load::connect(&self.echo, self.connections).await?;
        let keys = make(&muster, &token, self.keys, self.at_once).await?;
        let cold = self.verify(&muster, &token, &keys, self.keys).await?;
        cold.say("verify, each key for the first time");
        // Runs alternate, so that what else the machine does hits both.
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let figures = self.verify(&echo, &token, &keys, self.calls).await?;
            figures.say("bare tonic service");
            bare.push(figures.per_second);
            let figures = self.verify(&muster, &token, &keys, self.calls).await?;
            figures.say("verify, warm");
            ours.push(figures.per_second);
        }
        let batch = self.batch(&muster, &token, &keys).await?;
        batch.say("verify by 100 in a call, warm (calls)");
        say(&format!(
            "warm: {:.2} of the bare service's calls a second (medians of three)",
            median(ours) / median(bare)
        ));
        Ok(())
    }

    async fn verify(
        &self,
        channels: &[Channel],
        token: &MetadataValue<Ascii>,
        keys: &[String],
        calls: usize,
    ) -> Result<Figures, Failure> {
        let (channels, token, keys) = (channels.to_vec(), token.clone(), keys.to_vec());
        load::run(calls, self.at_once, move |worker, this| {
            let channel = channels[worker % channels.len()].clone();
            let request = VerifyApiKeyRequest {
                api_key: keys[this % keys.len()].clone(),
                permission: "devices.read".to_owned(),
                ..Default::default()
            };
            let request = with(&token, request);
            async move {
                let mut client = KeyVerificationServiceClient::new(channel);
                let answer = client.verify_api_key(request).await?.into_inner();
                match answer.valid {
                    true => Ok(()),
                    false => Err(answer.message.into()),
                }
            }
        })
        .await
    }

    async fn batch(
        &self,
        channels: &[Channel],
        token: &MetadataValue<Ascii>,
        keys: &[String],
    ) -> Result<Figures, Failure> {
        let (channels, token, keys) = (channels.to_vec(), token.clone(), keys.to_vec());
        let calls = self.calls / BATCH;
        load::run(calls, self.at_once, move |worker, this| {
            let channel = channels[worker % channels.len()].clone();
            let requests = (0..BATCH).map(|at| VerifyApiKeyRequest {
                api_key: keys[(this * BATCH + at) % keys.len()].clone(),
                ..Default::default()
            });
            let requests = requests.collect();
            let request = with(&token, BatchVerifyApiKeysRequest { requests });
            async move {
                let mut client = KeyVerificationServiceClient::new(channel);
                client.batch_verify_api_keys(request).await?;
                Ok(())
            }
        })
        .await
    }
}

/// Makes keys to be verified.
async fn make(
    channels: &[Channel],
    token: &MetadataValue<Ascii>,
    count: usize,
    at_once: usize,
) -> Result<Vec<String>, Failure> {
    let (channels, token, run) = (channels.to_vec(), token.clone(), std::process::id());
    let made = load::make("create a key", count, at_once, move |worker, this| {
        let channel = channels[worker % channels.len()].clone();
        let key = ApiKey {
            display_name: format!("bench {run} {this}"),
            permissions: vec!["devices.read".to_owned()],
            ..Default::default()
        };
        let request = CreateApiKeyRequest {
            api_key: Some(key),
            ..Default::default()
        };
        let request = with(&token, request);
        async move {
            let mut client = ApiKeyServiceClient::new(channel);
            Ok(client.create_api_key(request).await?.into_inner().secret)
        }
    });
    made.await
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
