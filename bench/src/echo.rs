//! The least that a tonic service can be: what Muster is measured against.

use std::net::SocketAddr;

use proto::keys::key_verification_service_server::{
    KeyVerificationService, KeyVerificationServiceServer,
};
use proto::keys::{
    BatchVerifyApiKeysRequest, BatchVerifyApiKeysResponse, VerifyApiKeyRequest,
    VerifyApiKeyResponse, WatchRevokedRequest, WatchRevokedResponse,
};
use tonic::codegen::BoxStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::Failure;

struct Echo;

#[tonic::async_trait]
impl KeyVerificationService for Echo {
    async fn verify_api_key(
        &self,
        request: Request<VerifyApiKeyRequest>,
    ) -> Result<Response<VerifyApiKeyResponse>, Status> {
        // As long as an answer of Muster.
        Ok(Response::new(VerifyApiKeyResponse {
            valid: true,
            principal: request.into_inner().api_key,
            permissions: vec!["devices.read".to_owned()],
            tenant_id: "0198c5a2-7d1e-7bd0-9a3c-000000000001".to_owned(),
            ..Default::default()
        }))
    }

    async fn batch_verify_api_keys(
        &self,
        _: Request<BatchVerifyApiKeysRequest>,
    ) -> Result<Response<BatchVerifyApiKeysResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    type WatchRevokedStream = BoxStream<WatchRevokedResponse>;

    async fn watch_revoked(
        &self,
        _: Request<WatchRevokedRequest>,
    ) -> Result<Response<Self::WatchRevokedStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

/// Answers until it is killed.
pub(crate) async fn serve(listen: SocketAddr) -> Result<(), Failure> {
    let service = KeyVerificationServiceServer::new(Echo);
    Server::builder().add_service(service).serve(listen).await?;
    Ok(())
}
