//! The device registry: which devices a tenant has, what marks them, where
//! they are, whose, and what they can be told. Each `<noun>s` module answers the
//! calls about one kind of resource; the other modules hold what they share:
//! how lists are paged, etags compared and ids chosen.

pub mod admin;
mod attributes;
mod authentication;
mod authorities;
mod certificates;
mod claims;
mod commands;
mod counts;
mod credentials;
mod customers;
mod device_commands;
mod device_filter;
mod device_row;
mod devices;
mod entity;
mod etag;
mod find;
mod ids;
mod labels;
mod lifecycle;
mod page_key;
mod paged;
#[cfg(test)]
mod plan;
mod purge;
mod quota;
mod read_mask;
mod references;
mod requests;
mod sensors;
mod sightings;
mod site_tree;
mod sites;
mod tags;
mod transfer;
mod watch;
mod webhooks;

use chassis::peer::{Peers, ServiceName, Stack};
use chassis::server::ServiceStack;
use chassis::service_identity::ServiceIdentity;
use chassis::store::Store;
use chassis::token::Verifier;
use chassis::{Clock, audit};
use chrono::TimeDelta;
use proto::registry::claim_key_service_server::ClaimKeyServiceServer;
use proto::registry::command_service_server::CommandServiceServer;
use proto::registry::customer_service_server::CustomerServiceServer;
use proto::registry::device_authentication_service_server::DeviceAuthenticationServiceServer;
use proto::registry::device_authority_service_server::DeviceAuthorityServiceServer;
use proto::registry::device_command_service_server::DeviceCommandServiceServer;
use proto::registry::device_credential_service_server::DeviceCredentialServiceServer;
use proto::registry::device_service_server::DeviceServiceServer;
use proto::registry::device_transfer_service_server::DeviceTransferServiceServer;
use proto::registry::device_watch_service_server::DeviceWatchServiceServer;
use proto::registry::sensor_service_server::SensorServiceServer;
use proto::registry::site_service_server::SiteServiceServer;
use proto::registry::tag_service_server::TagServiceServer;
use proto::registry::webhook_service_server::WebhookServiceServer;

use page_key::SealerOnce;

pub use webhooks::guard::Reach;

/// The history of the tables that [`stack`] needs.
pub use migrations::registry::Migrator;

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many devices a tenant may have that has no limit of its own.
    pub device_limit: Option<i64>,
    /// For how long a deleted device can be brought back.
    pub keep_deleted: TimeDelta,
    /// For how long a command is kept after its end.
    pub keep_commands: TimeDelta,
    /// Where webhooks may point, besides the public internet.
    pub webhooks: Reach,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            device_limit: None,
            keep_deleted: TimeDelta::days(30),
            keep_commands: TimeDelta::days(30),
            webhooks: Reach::default(),
        }
    }
}

/// The whole service, on a database that [`Migrator`] brought up to date.
pub fn stack(
    store: Store,
    clock: Clock,
    peers: Peers,
    identity: ServiceIdentity,
    verifier: Verifier,
    settings: Settings,
) -> Stack {
    let reach = settings.webhooks.clone();
    let webhooks = webhooks::Webhooks::new(store.clone(), clock.clone(), &peers, &identity, reach);
    tokio::spawn(purge::run(store.clone()));
    let device_commands = device_commands::DeviceCommands::new(
        store.clone(),
        clock.clone(),
        verifier.revocations().clone(),
        settings.keep_commands,
    );
    let audit = audit::service(ServiceName::DeviceRegistry, store.clone());
    let transfer = transfer::Transfer {
        store: store.clone(),
        clock: clock.clone(),
        device_limit: settings.device_limit,
        sealer: SealerOnce::default(),
    };
    let log = audit::log(ServiceName::DeviceRegistry, store.clone());
    let credentials = credentials::Credentials {
        store: store.clone(),
        clock: clock.clone(),
    };
    let authorities = authorities::Authorities {
        store: store.clone(),
        clock: clock.clone(),
    };
    let authentication =
        authentication::Authentication::new(store.clone(), clock.clone(), peers, identity);
    let claims = claims::Claims {
        store: store.clone(),
        clock: clock.clone(),
        settings: settings.clone(),
    };
    let (devices, tags, sites) = (
        devices::Devices {
            store: store.clone(),
            clock: clock.clone(),
            settings,
            sealer: SealerOnce::default(),
        },
        tags::Tags {
            store: store.clone(),
            clock: clock.clone(),
        },
        sites::Sites {
            store: store.clone(),
            clock: clock.clone(),
        },
    );
    let customers = customers::Customers {
        store: store.clone(),
        clock: clock.clone(),
    };
    let watches = watch::Watches::new(store.clone(), clock.clone());
    let sensors = sensors::Sensors {
        store: store.clone(),
        clock: clock.clone(),
    };
    let commands = commands::Commands { store, clock };
    ServiceStack::new(ServiceName::DeviceRegistry, verifier)
        .with(DeviceServiceServer::new(devices))
        .with(DeviceTransferServiceServer::new(transfer))
        .with(TagServiceServer::new(tags))
        .with(SiteServiceServer::new(sites))
        .with(CustomerServiceServer::new(customers))
        .with(SensorServiceServer::new(sensors))
        .with(CommandServiceServer::new(commands))
        .with(DeviceCommandServiceServer::new(device_commands))
        .with(DeviceWatchServiceServer::new(watches))
        .with(WebhookServiceServer::new(webhooks))
        .with(DeviceCredentialServiceServer::new(credentials))
        .with(DeviceAuthorityServiceServer::new(authorities))
        .with(DeviceAuthenticationServiceServer::new(authentication))
        .with(ClaimKeyServiceServer::new(claims))
        .with(audit)
        .with(log)
        .build()
}
