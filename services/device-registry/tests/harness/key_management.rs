//! What the registry alone needs of key management: a key for its secrets. How
//! the two work together is tested with the whole program.

use chassis::peer::Stack;
use proto::keys::credential_service_server::{CredentialService, CredentialServiceServer};
use proto::keys::*;
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

struct DataKey;

/// Answers that, whoever asks.
#[expect(
    clippy::disallowed_methods,
    reason = "it is behind no authorization layer"
)]
pub fn stack() -> Stack {
    chassis::server::erase(CredentialServiceServer::new(DataKey))
}

fn elsewhere() -> Status {
    Status::unimplemented("the registry is tested alone")
}

#[tonic::async_trait]
impl CredentialService for DataKey {
    async fn get_data_key(
        &self,
        _: Request<GetDataKeyRequest>,
    ) -> Result<Response<GetDataKeyResponse>, Status> {
        let key = vec![7; chassis::wrap::KEY];
        Ok(Response::new(GetDataKeyResponse { key }))
    }

    async fn exchange(
        &self,
        _: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        Err(elsewhere())
    }

    async fn report_uses(
        &self,
        _: Request<ReportUsesRequest>,
    ) -> Result<Response<ReportUsesResponse>, Status> {
        Err(elsewhere())
    }

    async fn set_tenant_state(
        &self,
        _: Request<SetTenantStateRequest>,
    ) -> Result<Response<SetTenantStateResponse>, Status> {
        Err(elsewhere())
    }

    async fn mint_user_token(
        &self,
        _: Request<MintUserTokenRequest>,
    ) -> Result<Response<MintUserTokenResponse>, Status> {
        Err(elsewhere())
    }

    async fn mint_device_token(
        &self,
        _: Request<MintDeviceTokenRequest>,
    ) -> Result<Response<MintDeviceTokenResponse>, Status> {
        Err(elsewhere())
    }

    async fn revoke(&self, _: Request<RevokeRequest>) -> Result<Response<RevokeResponse>, Status> {
        Err(elsewhere())
    }

    type WatchRevocationsStream = Empty<Result<WatchRevocationsResponse, Status>>;

    async fn watch_revocations(
        &self,
        _: Request<WatchRevocationsRequest>,
    ) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        Err(elsewhere())
    }
}
