//! With what credential: API keys, API clients, tokens and signing keys.
//!
//! This service alone signs tokens. It trades any presented credential for a
//! short-lived token ([`credentials`]), keeps only keyed hashes of secrets
//! ([`master_key`]), and tells every verifier what it must no longer accept
//! ([`revocations`]).

mod api_clients;
mod api_keys;
mod credentials;
mod entity;
mod grants;
mod key_format;
mod master_key;
mod revocations;
mod signer;
mod tokens;

use chassis::peer::{Peers, ServiceName, Stack};
use chassis::server::ServiceStack;
use chassis::service_identity::ServiceIdentity;
use chassis::store::Store;
use chassis::token::Verifier;
use chassis::{Clock, audit};
use proto::keys::api_client_service_server::ApiClientServiceServer;
use proto::keys::api_key_service_server::ApiKeyServiceServer;
use proto::keys::credential_service_server::CredentialServiceServer;
use proto::keys::token_service_server::TokenServiceServer;

pub use master_key::MasterKey;
pub use migrations::keys::Migrator;

/// The service behind its layers.
pub fn stack(
    store: Store,
    clock: Clock,
    peers: Peers,
    identity: ServiceIdentity,
    verifier: Verifier,
    master: MasterKey,
) -> Stack {
    let audit = audit::service(ServiceName::KeyManagement, store.clone());
    let master = std::sync::Arc::new(master);
    let signer = signer::Signer::new(store.clone(), master.clone(), clock.clone());
    let revocations = revocations::Revoker::new(store.clone(), clock.clone());
    let keys = api_keys::ApiKeys {
        store: store.clone(),
        clock: clock.clone(),
        master: master.clone(),
        revoker: revocations.clone(),
    };
    let clients = api_clients::ApiClients {
        store: store.clone(),
        clock: clock.clone(),
        master: master.clone(),
        revoker: revocations.clone(),
    };
    let tokens = tokens::Tokens {
        store: store.clone(),
        clock: clock.clone(),
        signer: signer.clone(),
        revoker: revocations.clone(),
    };
    let credentials = credentials::Credentials {
        store,
        clock,
        master,
        signer,
        revoker: revocations,
        peers,
        identity,
    };
    ServiceStack::new(ServiceName::KeyManagement, verifier)
        .with(ApiKeyServiceServer::new(keys))
        .with(ApiClientServiceServer::new(clients))
        .with(TokenServiceServer::new(tokens))
        .with(CredentialServiceServer::new(credentials))
        .with(audit)
        .build()
}
