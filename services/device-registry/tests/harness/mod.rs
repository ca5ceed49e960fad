//! The service on a database of its own, called through its stack.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, of which each file uses its part"
)]

mod key_management;

use std::io::Write;

use chassis::Clock;
use chassis::caller::TenantId;
use chassis::peer::{Peer, Peers, ServiceName};
use chassis::revocation::Revocations;
use chassis::service_identity::{PrivateKey, Privileges, ServiceIdentity, ServiceKeys};
use chassis::store::schema::{self, Schema};
use chassis::store::{Postgres, Store};
use chassis::token::Verifier;
use muster_device_registry::{Migrator, Settings};
use prost_types::FieldMask;
use proto::access::ALL_PERMISSIONS;
use proto::audit::ListAuditEventsRequest;
use proto::audit::audit_service_client::AuditServiceClient;
use proto::registry::device_service_client::DeviceServiceClient;
use proto::registry::sensor_service_client::SensorServiceClient;
use proto::registry::site_service_client::SiteServiceClient;
use proto::registry::tag_service_client::TagServiceClient;
use proto::registry::*;
use tonic::{Request, Status};
use uuid::Uuid;

/// Runs each of these functions on a SQLite file and on PostgreSQL.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Registry::on_sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(registry) = super::Registry::on_postgres().await {
                    super::$name(registry).await;
                }
            })*
        }
    };
}

/// A service on a database of its own, which lives as long as this.
pub struct Registry {
    peers: Peers,
    verifier: Verifier,
    identity: ServiceIdentity,
    pub tenant: Uuid,
    pub clock: Clock,
    pub store: Store,
    pub is_postgres: bool,
    folder: tempfile::TempDir,
}

impl Registry {
    pub async fn on_sqlite() -> Self {
        Self::on_sqlite_with(Settings::default()).await
    }

    pub async fn on_sqlite_with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.db");
        let clock = Clock::system();
        let store = Store::sqlite::<Migrator>(&file, &clock).await;
        Self::on(store.unwrap(), clock, folder, settings, false)
    }

    /// None, and says so loudly, if there is no server.
    pub async fn on_postgres() -> Option<Self> {
        Self::on_postgres_with(Settings::default()).await
    }

    pub async fn on_postgres_with(settings: Settings) -> Option<Self> {
        let server = match test_database::try_postgres() {
            Ok(server) => server,
            Err(why) => {
                not_run(why);
                return None;
            }
        };
        let schema = Schema::of(ServiceName::DeviceRegistry);
        let owner = database(server.create_database().await);
        schema::up::<Migrator>(&owner, schema).await.unwrap();
        let login = database(server.create_login(&owner.url, schema.role).await);
        let clock = Clock::system();
        let store = Store::postgres::<Migrator>(&login, schema, &clock).await;
        Some(Self::on(
            store.unwrap(),
            clock,
            tempfile::tempdir().unwrap(),
            settings,
            true,
        ))
    }

    fn on(
        store: Store,
        clock: Clock,
        folder: tempfile::TempDir,
        settings: Settings,
        is_postgres: bool,
    ) -> Self {
        let key = PrivateKey::generate().unwrap();
        let everything = Privileges {
            tenants: true,
            permissions: ALL_PERMISSIONS,
        };
        let keys = ServiceKeys::default().with("device-registry", &key, everything);
        let peers = Peers::default();
        let verifier = Verifier::new(
            peers.clone(),
            keys.unwrap(),
            Revocations::default(),
            clock.clone(),
        );
        // It follows its own record of changes, and who tests it holds all permissions.
        let identity = ServiceIdentity::new("device-registry", &key, clock.clone());
        let stack = muster_device_registry::stack(
            store.clone(),
            clock.clone(),
            peers.clone(),
            identity.clone(),
            verifier.clone(),
            settings,
        );
        peers.set(ServiceName::DeviceRegistry, stack);
        Self {
            peers,
            verifier,
            identity,
            clock,
            store,
            is_postgres,
            tenant: Uuid::from_u128(1),
            folder,
        }
    }

    /// The same, with key management beside it: who keeps secrets asks for a key.
    pub async fn with_key_management(self) -> Self {
        let (clock, peers) = (self.clock.clone(), self.peers.clone());
        let verifier = self.verifier.clone();
        let stack = key_management::stack(self.folder.path(), clock, peers, verifier).await;
        self.peers.set(ServiceName::KeyManagement, stack);
        self
    }

    /// The same service, called for another tenant.
    pub fn for_another_tenant(self) -> Self {
        Self {
            tenant: Uuid::from_u128(2),
            ..self
        }
    }

    /// The file of a registry on SQLite.
    pub fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("r.db")
    }

    pub fn devices(&self) -> DeviceServiceClient<Peer> {
        DeviceServiceClient::new(self.peer())
    }

    pub async fn create(&self, device: Device) -> Result<Device, Status> {
        let request = self.request(CreateDeviceRequest {
            device: Some(device),
            ..Default::default()
        });
        Ok(self.devices().create_device(request).await?.into_inner())
    }

    pub async fn get(&self, id: &str) -> Result<Device, Status> {
        let request = self.request(GetDeviceRequest {
            id: id.to_owned(),
            ..Default::default()
        });
        Ok(self.devices().get_device(request).await?.into_inner())
    }

    pub async fn update(&self, device: Device, paths: &[&str]) -> Result<Device, Status> {
        let request = self.request(UpdateDeviceRequest {
            device: Some(device),
            update_mask: Some(FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
        });
        Ok(self.devices().update_device(request).await?.into_inner())
    }

    pub async fn list(&self, request: ListDevicesRequest) -> Result<ListDevicesResponse, Status> {
        let request = self.request(request);
        Ok(self.devices().list_devices(request).await?.into_inner())
    }

    pub async fn names(&self, request: ListDevicesRequest) -> Vec<String> {
        let devices = self.list(request).await.unwrap().devices;
        devices.into_iter().map(|d| d.display_name).collect()
    }

    pub async fn tag(&self, name: &str) -> Result<String, Status> {
        let tag = Tag {
            display_name: name.to_owned(),
            ..Default::default()
        };
        let request = self.request(CreateTagRequest {
            tag: Some(tag),
            ..Default::default()
        });
        let tag = TagServiceClient::new(self.peer())
            .create_tag(request)
            .await?;
        Ok(tag.into_inner().id)
    }

    pub async fn site(&self, name: &str) -> Result<Site, Status> {
        let site = Site {
            display_name: name.to_owned(),
            ..Default::default()
        };
        let request = self.request(CreateSiteRequest {
            site: Some(site),
            ..Default::default()
        });
        let site = SiteServiceClient::new(self.peer())
            .create_site(request)
            .await?;
        Ok(site.into_inner())
    }

    /// Of what in a collection changes are recorded.
    pub async fn recorded(&self, collection: &str) -> Vec<String> {
        let request = self.request(ListAuditEventsRequest {
            resource: collection.to_owned(),
            ..Default::default()
        });
        let mut client = AuditServiceClient::new(self.peer());
        let told = client.list_audit_events(request).await.unwrap();
        let events = told.into_inner().audit_events.into_iter();
        events.map(|event| event.resource).collect()
    }

    pub fn tags(&self) -> TagServiceClient<Peer> {
        TagServiceClient::new(self.peer())
    }

    pub fn sites(&self) -> SiteServiceClient<Peer> {
        SiteServiceClient::new(self.peer())
    }

    pub fn sensors(&self) -> SensorServiceClient<Peer> {
        SensorServiceClient::new(self.peer())
    }

    pub fn peer(&self) -> Peer {
        self.peers.get(ServiceName::DeviceRegistry)
    }

    pub fn request<T>(&self, message: T) -> Request<T> {
        self.identity
            .request_for(TenantId(self.tenant), ALL_PERMISSIONS, message)
            .unwrap()
    }
}

fn database(url: String) -> Postgres {
    Postgres {
        connections: 4,
        ..Postgres::new(url)
    }
}

#[track_caller]
fn not_run(why: &str) {
    let test = std::thread::current();
    let told = format!("NOT RUN: {}: {why}", test.name().unwrap_or("a test"));
    let _ = writeln!(std::io::stderr(), "{told}");
    let must = std::env::var("MUSTER_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!must, "{told}");
}
