//! Authentication of devices over gRPC, as a broker asks for it.

use std::sync::Arc;

use clap::Args;
use proto::registry::authenticate_device_request::{Device as Name, Proof};
use proto::registry::device_authentication_service_client::DeviceAuthenticationServiceClient;
use proto::registry::device_credential_service_client::DeviceCredentialServiceClient;
use proto::registry::device_service_client::DeviceServiceClient;
use proto::registry::{
    AuthenticateDeviceRequest, CreateDeviceCredentialRequest, CreateDeviceRequest, Device,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use crate::Failure;
use crate::load::{self, Figures, with};

/// What is measured, and where.
#[derive(Args)]
pub(crate) struct Authenticate {
    /// Where Muster listens, such as http://127.0.0.1:8080
    #[arg(long)]
    muster: String,
    /// A credential that holds devices.write, credentials.write and devices.authenticate
    #[arg(long, env = "MUSTER_CREDENTIAL", hide_env_values = true)]
    credential: String,
    /// Devices that are made, each with a secret that it presents once cold
    #[arg(long, default_value_t = 2_000)]
    devices: usize,
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

/// Serial number and secret.
type Known = (String, String);

impl Authenticate {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let token: MetadataValue<Ascii> = format!("Bearer {}", self.credential).parse()?;
        let muster = load::connect(&self.muster, self.connections).await?;
        let devices = self.make(&muster, &token).await?;
        let ask = async |calls| self.authenticate(&muster, &token, &devices, calls).await;
        let cold = ask(self.devices).await?;
        cold.say("authenticate, each device for the first time");
        for _ in 0..3 {
            ask(self.calls).await?.say("authenticate, warm");
        }
        Ok(())
    }

    async fn make(
        &self,
        channels: &[Channel],
        token: &MetadataValue<Ascii>,
    ) -> Result<Arc<[Known]>, Failure> {
        let (channels, token, run) = (channels.to_vec(), token.clone(), std::process::id());
        let what = "create a device and its secret";
        let made = load::make(what, self.devices, self.at_once, move |worker, this| {
            let channel = channels[worker % channels.len()].clone();
            let serial_number = format!("bench-{run}-{this}");
            let device = Device {
                display_name: serial_number.clone(),
                serial_number: serial_number.clone(),
                ..Default::default()
            };
            let create = CreateDeviceRequest {
                device: Some(device),
                ..Default::default()
            };
            let token = token.clone();
            async move {
                let mut devices = DeviceServiceClient::new(channel.clone());
                let made = devices.create_device(with(&token, create)).await?;
                let credential = CreateDeviceCredentialRequest {
                    device_id: made.into_inner().id,
                    ..Default::default()
                };
                let mut credentials = DeviceCredentialServiceClient::new(channel);
                let made = credentials.create_device_credential(with(&token, credential));
                let secret = made.await?.into_inner().secret;
                Ok((serial_number, secret))
            }
        });
        Ok(made.await?.into())
    }

    async fn authenticate(
        &self,
        channels: &[Channel],
        token: &MetadataValue<Ascii>,
        devices: &Arc<[Known]>,
        calls: usize,
    ) -> Result<Figures, Failure> {
        let (channels, token, devices) = (channels.to_vec(), token.clone(), devices.clone());
        load::run(calls, self.at_once, move |worker, this| {
            let channel = channels[worker % channels.len()].clone();
            let (serial_number, secret) = devices[this % devices.len()].clone();
            let request = AuthenticateDeviceRequest {
                device: Some(Name::SerialNumber(serial_number)),
                proof: Some(Proof::Secret(secret)),
                ..Default::default()
            };
            let request = with(&token, request);
            async move {
                let mut client = DeviceAuthenticationServiceClient::new(channel);
                let answer = client.authenticate_device(request).await?.into_inner();
                match answer.valid {
                    true => Ok(()),
                    false => Err(answer.message.into()),
                }
            }
        })
        .await
    }
}
