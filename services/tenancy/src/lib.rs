//! On whose behalf: tenants, who is a member of which, in which role, and
//! what a role allows. Users are identity's; here they are ids only.

mod entity;
mod members;
mod roles;
mod tenants;
mod tree;

use chassis::outbox::Outbox;
use chassis::peer::{Peers, ServiceName, Stack};
use chassis::server::ServiceStack;
use chassis::service_identity::ServiceIdentity;
use chassis::store::Store;
use chassis::token::Verifier;
use chassis::{Clock, Error, audit};
use proto::tenancy::member_service_server::MemberServiceServer;
use proto::tenancy::tenant_service_server::TenantServiceServer;
use uuid::Uuid;

pub use migrations::tenancy::Migrator;

/// The service behind its layers.
pub fn stack(
    store: Store,
    clock: Clock,
    peers: Peers,
    identity: ServiceIdentity,
    verifier: Verifier,
) -> Stack {
    let audit = audit::service(ServiceName::Tenancy, store.clone());
    let log = audit::log(ServiceName::Tenancy, store.clone());
    let outbox = Outbox::new(store.clone(), peers.clone(), identity.clone());
    let tenants = tenants::Tenants {
        store: store.clone(),
        clock: clock.clone(),
        outbox: outbox.clone(),
    };
    let members = members::Members {
        store,
        clock,
        peers,
        identity,
        outbox,
    };
    ServiceStack::new(ServiceName::Tenancy, verifier)
        .with(TenantServiceServer::new(tenants))
        .with(MemberServiceServer::new(members))
        .with(audit)
        .with(log)
        .build()
}

/// An id of a request; its form is the contract's rule.
fn id(field: &'static str, text: &str) -> Result<Uuid, Error> {
    text.parse()
        .map_err(|_| Error::invalid(field, "must be a UUID"))
}
