//! With what credential: API keys, API clients, tokens and signing keys.
//!
//! This service alone signs tokens ([`signer`]). It looks presented
//! credentials up ([`lookup`]) and trades them for short-lived tokens
//! ([`credentials`]), keeps only keyed hashes of secrets ([`vault`]) in
//! generations that overlap ([`rotation`]), counts how they are used
//! ([`usage`]), and tells every verifier what it must no longer accept
//! ([`revocations`]).

#![recursion_limit = "256"]

pub mod admin;
mod api_clients;
mod api_keys;
mod client_row;
mod credentials;
mod data_keys;
mod entity;
mod foreign;
mod grants;
mod introspection;
mod issued;
pub use chassis::key_format;
mod leaks;
mod lookup;
mod master_key;
mod policy;
mod revocations;
mod rotation;
mod signer;
mod signing_keys;
mod tokens;
mod usage;
mod vault;
mod verification;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chassis::peer::{Peers, ServiceName, Stack};
use chassis::server::ServiceStack;
use chassis::service_identity::ServiceIdentity;
use chassis::store::Store;
use chassis::token::Verifier;
use chassis::{Clock, audit};
use proto::keys::api_client_service_server::ApiClientServiceServer;
use proto::keys::api_key_service_server::ApiKeyServiceServer;
use proto::keys::credential_service_server::CredentialServiceServer;
use proto::keys::key_policy_service_server::KeyPolicyServiceServer;
use proto::keys::key_verification_service_server::KeyVerificationServiceServer;
use proto::keys::leak_service_server::LeakServiceServer;
use proto::keys::token_service_server::TokenServiceServer;

pub use master_key::MasterKey;
pub use migrations::keys::Migrator;
pub use signing_keys::{Algorithm, State};

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `iss` of every token, best the URL at which clients reach the gateway.
    pub issuer: String,
    /// What new API keys begin with; see [`key_format::is_prefix`].
    pub key_prefix: String,
    /// How new signing keys sign.
    pub algorithm: Algorithm,
    /// How long a signing key signs before a new one does; zero: for ever.
    pub signing_key_life: Duration,
    /// File with the public keys of GitHub's secret scanning, JSON.
    pub github_keys: Option<PathBuf>,
}

/// How long a signing key signs if the operator does not say.
const SIGNING_KEY_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

impl Default for Settings {
    fn default() -> Self {
        Self {
            issuer: "muster".to_owned(),
            key_prefix: key_format::PREFIX.to_owned(),
            algorithm: Algorithm::default(),
            signing_key_life: SIGNING_KEY_LIFE,
            github_keys: None,
        }
    }
}

/// What the service's parts are made of. Cheap to clone; clones share.
#[derive(Clone)]
struct Parts {
    store: Store,
    clock: Clock,
    settings: Arc<Settings>,
    verifier: Verifier,
    vault: vault::Vault,
    data_keys: data_keys::DataKeys,
    signer: signer::Signer,
    revoker: revocations::Revoker,
    usage: usage::Usage,
    lookup: lookup::Lookup,
    peers: Peers,
    identity: ServiceIdentity,
}

/// The service behind its layers.
pub fn stack(
    store: Store,
    clock: Clock,
    peers: Peers,
    identity: ServiceIdentity,
    verifier: Verifier,
    master: MasterKey,
    settings: Settings,
) -> Stack {
    let audit = audit::service(ServiceName::KeyManagement, store.clone());
    let log = audit::log(ServiceName::KeyManagement, store.clone());
    let master = Arc::new(master);
    let usage = usage::Usage::new(store.clone(), clock.clone());
    let vault = vault::Vault::new(store.clone(), master.clone(), clock.clone());
    let data_keys = data_keys::DataKeys {
        store: store.clone(),
        clock: clock.clone(),
        master: master.clone(),
    };
    let revocations = verifier.revocations().clone();
    let signer = signer::Signer::new(store.clone(), master, clock.clone(), &settings, revocations);
    tokio::spawn(signer.clone().keep());
    tokio::spawn(vault.clone().keep());
    let parts = Parts {
        signer,
        revoker: revocations::Revoker::new(store.clone(), clock.clone()),
        lookup: lookup::Lookup::new(
            store.clone(),
            clock.clone(),
            vault.clone(),
            verifier.revocations().clone(),
            peers.clone(),
            identity.clone(),
            usage.clone(),
        ),
        settings: Arc::new(settings),
        verifier: verifier.clone(),
        store,
        clock,
        vault,
        data_keys,
        usage,
        peers,
        identity,
    };
    ServiceStack::new(ServiceName::KeyManagement, verifier)
        .with(ApiKeyServiceServer::new(api_keys::ApiKeys(parts.clone())))
        .with(ApiClientServiceServer::new(api_clients::ApiClients(
            parts.clone(),
        )))
        .with(KeyPolicyServiceServer::new(policy::Policies(parts.clone())))
        .with(KeyVerificationServiceServer::new(
            verification::Verification::new(parts.clone()),
        ))
        .with(LeakServiceServer::new(leaks::Leaks::new(parts.clone())))
        .with(TokenServiceServer::new(tokens::Tokens(parts.clone())))
        .with(CredentialServiceServer::new(credentials::Credentials(
            parts,
        )))
        .with(audit)
        .with(log)
        .build()
}
