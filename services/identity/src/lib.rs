//! Who is calling: users, their passwords and their sessions. What a user may
//! do in a tenant is tenancy's to say, and only key management signs tokens.

mod auth;
mod entity;
mod memberships;
mod passwords;
mod session_token;
mod tokens;
mod users;

use chassis::outbox::Outbox;
use chassis::peer::{Peers, ServiceName, Stack};
use chassis::server::ServiceStack;
use chassis::service_identity::ServiceIdentity;
use chassis::store::Store;
use chassis::token::Verifier;
use chassis::{Clock, Error, audit};
use proto::identity::auth_service_server::AuthServiceServer;
use proto::identity::user_service_server::UserServiceServer;
use uuid::Uuid;

pub use migrations::identity::Migrator;

/// The service behind its layers.
pub fn stack(
    store: Store,
    clock: Clock,
    peers: Peers,
    identity: ServiceIdentity,
    verifier: Verifier,
) -> Stack {
    let audit = audit::service(ServiceName::Identity, store.clone());
    let log = audit::log(ServiceName::Identity, store.clone());
    let passwords = passwords::Passwords::new();
    let outbox = Outbox::new(store.clone(), peers.clone(), identity.clone());
    let tokens = tokens::Tokens {
        peers: peers.clone(),
        identity: identity.clone(),
    };
    let memberships = memberships::Memberships { peers, identity };
    let users = users::Users {
        store: store.clone(),
        clock: clock.clone(),
        passwords: passwords.clone(),
        outbox: outbox.clone(),
        memberships: memberships.clone(),
    };
    let auth = auth::Auth {
        store,
        clock,
        passwords,
        tokens,
        outbox,
        memberships,
    };
    ServiceStack::new(ServiceName::Identity, verifier)
        .with(AuthServiceServer::new(auth))
        .with(UserServiceServer::new(users))
        .with(audit)
        .with(log)
        .build()
}

/// An id of a request; its form is the contract's rule.
fn id(field: &'static str, text: &str) -> Result<Uuid, Error> {
    text.parse()
        .map_err(|_| Error::invalid(field, "must be a UUID"))
}
