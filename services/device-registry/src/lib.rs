//! The device registry: which devices a tenant has, what marks them, where
//! they are and what they can be told. Each `<noun>s` module answers the
//! calls about one kind of resource; the other modules hold what they share:
//! how lists are paged, etags compared and ids chosen.

pub mod admin;
mod attributes;
mod commands;
mod counts;
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

use chassis::peer::{ServiceName, Stack};
use chassis::server::ServiceStack;
use chassis::store::Store;
use chassis::token::Verifier;
use chassis::{Clock, audit};
use chrono::TimeDelta;
use proto::registry::command_service_server::CommandServiceServer;
use proto::registry::device_service_server::DeviceServiceServer;
use proto::registry::device_transfer_service_server::DeviceTransferServiceServer;
use proto::registry::sensor_service_server::SensorServiceServer;
use proto::registry::site_service_server::SiteServiceServer;
use proto::registry::tag_service_server::TagServiceServer;

use page_key::SealerOnce;

/// The history of the tables that [`stack`] needs.
pub use migrations::registry::Migrator;

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many devices a tenant may have that has no limit of its own.
    pub device_limit: Option<i64>,
    /// For how long a deleted device can be brought back.
    pub keep_deleted: TimeDelta,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            device_limit: None,
            keep_deleted: TimeDelta::days(30),
        }
    }
}

/// The whole service, on a database that [`Migrator`] brought up to date.
pub fn stack(store: Store, clock: Clock, verifier: Verifier, settings: Settings) -> Stack {
    tokio::spawn(purge::run(store.clone()));
    let audit = audit::service(ServiceName::DeviceRegistry, store.clone());
    let transfer = transfer::Transfer {
        store: store.clone(),
        clock: clock.clone(),
        device_limit: settings.device_limit,
        sealer: SealerOnce::default(),
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
        .with(SensorServiceServer::new(sensors))
        .with(CommandServiceServer::new(commands))
        .with(audit)
        .build()
}
