//! Telling devices something, as iottly's API does.

use chassis::peer::Peers;
use chassis::{Error, open_subject};
use proto::muster::dialect::iottly::v1::iottly_command_service_server::{
    IottlyCommandService, IottlyCommandServiceServer, SERVICE_NAME,
};
use proto::muster::dialect::iottly::v1::*;
use proto::registry;
use tonic::{Code, Request, Response, Status};

use super::{error, own, shape};
use crate::dialects::Dialect;
use crate::domain::Domain;

pub(crate) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    // Those of the other service.
    prefixes: &[],
    error,
    error_content: None,
};

pub(crate) fn service(peers: &Peers) -> IottlyCommandServiceServer<IottlyCommands> {
    IottlyCommandServiceServer::new(IottlyCommands {
        peers: peers.clone(),
    })
}

pub(crate) struct IottlyCommands {
    peers: Peers,
}

#[tonic::async_trait]
impl IottlyCommandService for IottlyCommands {
    async fn send_command(
        &self,
        request: Request<SendCommandRequest>,
    ) -> Result<Response<SendCommandResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        own(&domain, &wanted.project_id)?;
        if wanted.cmd_type.is_empty() {
            return Err(Error::invalid("cmd_type", "must be set").into());
        }
        let known = registry::SendCommandRequest {
            device_id: shape::device_id(&wanted.device_id)?.to_string(),
            command: wanted.cmd_type.clone(),
            parameters: wanted.values,
            ..Default::default()
        };
        let sent = send(&domain, known.clone()).await;
        match sent {
            // Here, no command needs to be in a catalogue.
            Err(refused) if is_unknown(&refused) => {
                let free = registry::SendCommandRequest {
                    command: String::new(),
                    name: wanted.cmd_type,
                    ..known
                };
                send(&domain, free).await?;
            }
            sent => sent?,
        }
        Ok(Response::new(SendCommandResponse { status: 200 }))
    }
}

async fn send(domain: &Domain, request: registry::SendCommandRequest) -> Result<(), Status> {
    let request = domain.request(request);
    domain
        .device_commands()
        .send_command(request)
        .await
        .map(drop)
}

/// Whether the command is not in the catalogue; the device may not be there either.
fn is_unknown(refused: &Status) -> bool {
    refused.code() == Code::NotFound && refused.message().contains("no command ")
}
