//! The lives of devices: from being created once, however often it is asked,
//! to being gone for good; and how many there may be.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;

use chassis::caller::TenantId;
use chassis::peer::{Peer, Peers, ServiceName};
use chassis::revocation::Revocations;
use chassis::service_identity::{PrivateKey, Privileges, ServiceIdentity, ServiceKeys};
use chassis::token::Verifier;
use chrono::TimeDelta;
use futures::future::join_all;
use harness::Registry;
use muster_device_registry::{Settings, admin};
use prost_types::FieldMask;
use proto::access::ALL_PERMISSIONS;
use proto::registry::device::State;
use proto::registry::device_service_client::DeviceServiceClient;
use proto::registry::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

on_both_databases!(
    a_deleted_device_is_hidden_comes_back_and_leaves_its_names_to_others,
    what_is_purged_is_gone_for_good,
    a_state_is_reached_by_the_ways_of_a_life_only,
    the_same_request_creates_one_device_also_at_the_same_time,
    several_devices_are_read_and_deleted_together_or_not_at_all,
    an_answer_has_the_fields_of_the_mask_only,
    a_limit_holds_exactly_against_many_at_once,
    a_limit_of_all_tenants_holds_from_their_first_device,
    a_limit_of_all_tenants_is_the_one_of_now,
);

fn named(name: &str) -> Device {
    Device {
        display_name: name.to_owned(),
        ..Default::default()
    }
}

fn serial(serial_number: &str) -> Device {
    Device {
        serial_number: serial_number.to_owned(),
        ..named("pump")
    }
}

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

async fn delete(registry: &Registry, id: &str, purge: bool) -> Result<Device, Status> {
    let request = registry.request(DeleteDeviceRequest {
        id: id.to_owned(),
        purge,
        ..Default::default()
    });
    let deleted = registry.devices().delete_device(request).await?;
    Ok(deleted.into_inner())
}

async fn undelete(registry: &Registry, id: &str) -> Result<Device, Status> {
    let request = registry.request(UndeleteDeviceRequest {
        id: id.to_owned(),
        ..Default::default()
    });
    Ok(registry
        .devices()
        .undelete_device(request)
        .await?
        .into_inner())
}

async fn listed(registry: &Registry, show_deleted: bool) -> usize {
    let request = ListDevicesRequest {
        show_deleted,
        ..Default::default()
    };
    registry.list(request).await.unwrap().devices.len()
}

async fn a_deleted_device_is_hidden_comes_back_and_leaves_its_names_to_others(registry: Registry) {
    let device = registry.create(serial("7")).await.unwrap();
    let deleted = delete(&registry, &device.id, false).await.unwrap();
    let kept = deleted.purge_time.unwrap().seconds - deleted.delete_time.unwrap().seconds;
    assert_eq!(kept, TimeDelta::days(30).num_seconds());
    assert_eq!(
        (
            listed(&registry, false).await,
            listed(&registry, true).await
        ),
        (0, 1)
    );
    // It can be looked at, but neither changed nor deleted again.
    assert_eq!(registry.get(&device.id).await.unwrap(), deleted);
    let changed = Device {
        id: device.id.clone(),
        ..named("other")
    };
    let refused = registry
        .update(changed, &["display_name"])
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let refused = delete(&registry, &device.id, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    // Its serial number is free, until it wants to come back.
    let other = registry.create(serial("7")).await.unwrap();
    let refused = undelete(&registry, &device.id).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    delete(&registry, &other.id, true).await.unwrap();
    let back = undelete(&registry, &device.id).await.unwrap();
    assert_eq!((back.delete_time, back.purge_time), (None, None));
    assert_eq!(listed(&registry, false).await, 1);
    let refused = undelete(&registry, &device.id).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
}

async fn what_is_purged_is_gone_for_good(registry: Registry) {
    let device = registry.create(serial("7")).await.unwrap();
    delete(&registry, &device.id, true).await.unwrap();
    assert_eq!(
        registry.get(&device.id).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(listed(&registry, true).await, 0);
    let device = registry.create(serial("7")).await.unwrap();
    delete(&registry, &device.id, false).await.unwrap();
    delete(&registry, &device.id, true).await.unwrap();
    assert_eq!(listed(&registry, true).await, 0);
}

async fn a_state_is_reached_by_the_ways_of_a_life_only(registry: Registry) {
    let device = Device {
        state: State::Provisioned.into(),
        ..named("pump")
    };
    let device = registry.create(device).await.unwrap();
    assert_eq!(device.state(), State::Provisioned);
    let to = async |state: State| {
        let device = Device {
            id: device.id.clone(),
            state: state.into(),
            ..Default::default()
        };
        registry.update(device, &["state"]).await
    };
    for refused in [State::Disabled, State::Decommissioned] {
        let refused = to(refused).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "STATE_TRANSITION");
        assert!(
            refused.message().contains("next can be STATE_ACTIVE"),
            "{refused}"
        );
    }
    for state in [
        State::Active,
        State::Disabled,
        State::Active,
        State::Disabled,
    ] {
        assert_eq!(to(state).await.unwrap().state(), state);
    }
    assert_eq!(
        to(State::Decommissioned).await.unwrap().state(),
        State::Decommissioned
    );
    assert_eq!(
        reason(&to(State::Active).await.unwrap_err()),
        "STATE_TRANSITION"
    );
    let born_dead = Device {
        state: State::Decommissioned.into(),
        ..named("pump")
    };
    let refused = registry.create(born_dead).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

async fn the_same_request_creates_one_device_also_at_the_same_time(registry: Registry) {
    let request_id = Uuid::from_u128(7).to_string();
    let create = async |name: &str| {
        let request = registry.request(CreateDeviceRequest {
            device: Some(named(name)),
            request_id: request_id.clone(),
            ..Default::default()
        });
        registry.devices().create_device(request).await
    };
    let made = join_all((0..8).map(|_| create("pump"))).await;
    let ids: Vec<_> = made
        .into_iter()
        .map(|made| made.unwrap().into_inner().id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(listed(&registry, true).await, 1);
    let told = registry.recorded("devices").await;
    assert_eq!(told, [format!("devices/{}", ids[0])]);
    let refused = create("another").await.unwrap_err();
    let details = refused.get_error_details();
    assert_eq!(
        details.bad_request().unwrap().field_violations[0].field,
        "request_id"
    );
}

async fn several_devices_are_read_and_deleted_together_or_not_at_all(registry: Registry) {
    let (a, b) = (
        registry.create(named("a")).await.unwrap(),
        registry.create(named("b")).await.unwrap(),
    );
    let get = async |ids: Vec<String>| {
        let request = registry.request(BatchGetDevicesRequest {
            ids,
            ..Default::default()
        });
        let answer = registry.devices().batch_get_devices(request).await;
        answer.map(|answer| answer.into_inner().devices)
    };
    let both = vec![b.id.clone(), a.id.clone(), b.id.clone()];
    assert_eq!(get(both).await.unwrap(), [b.clone(), a.clone(), b.clone()]);
    let nobody = Uuid::nil().to_string();
    let refused = get(vec![a.id.clone(), nobody.clone()]).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let delete = async |ids: Vec<String>| {
        let request = registry.request(BatchDeleteDevicesRequest { ids, purge: false });
        registry.devices().batch_delete_devices(request).await
    };
    let refused = delete(vec![a.id.clone(), nobody]).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(listed(&registry, false).await, 2);
    delete(vec![a.id, b.id]).await.unwrap();
    assert_eq!(
        (
            listed(&registry, false).await,
            listed(&registry, true).await
        ),
        (0, 2)
    );
}

async fn an_answer_has_the_fields_of_the_mask_only(registry: Registry) {
    let device = registry.create(serial("7")).await.unwrap();
    let get = async |paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = registry.request(GetDeviceRequest {
            id: device.id.clone(),
            read_mask: Some(FieldMask { paths }),
        });
        registry.devices().get_device(request).await
    };
    let only = Device {
        serial_number: "7".to_owned(),
        etag: device.etag.clone(),
        ..Default::default()
    };
    assert_eq!(
        get(&["serial_number", "etag"]).await.unwrap().into_inner(),
        only
    );
    assert_eq!(get(&["*"]).await.unwrap().into_inner(), device);
    let refused = get(&["serial_number", "colour"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

async fn a_limit_holds_exactly_against_many_at_once(registry: Registry) {
    let tenant = TenantId(registry.tenant);
    registry.create(named("first")).await.unwrap();
    let there = admin::set_device_limit(&registry.store, tenant, Some(5))
        .await
        .unwrap();
    assert_eq!(there, 1);
    let made = join_all((0..20).map(|_| registry.create(named("pump")))).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (4, 16));
    for refused in refused {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refused), "DEVICE_LIMIT");
    }
    let one = made[0].as_ref().unwrap();
    // What is deleted can come back, so it keeps its place until it is gone.
    delete(&registry, &one.id, false).await.unwrap();
    assert!(registry.create(named("pump")).await.is_err());
    delete(&registry, &one.id, true).await.unwrap();
    registry.create(named("pump")).await.unwrap();
    let quota = registry.request(GetDeviceQuotaRequest {});
    let quota = registry.devices().get_device_quota(quota).await.unwrap();
    let quota = quota.into_inner();
    assert_eq!((quota.device_count, quota.device_limit), (5, Some(5)));
    admin::set_device_limit(&registry.store, tenant, None)
        .await
        .unwrap();
    registry.create(named("pump")).await.unwrap();
}

/// Another process on the same database, which has a limit of all tenants.
struct Limited(DeviceServiceClient<Peer>, ServiceIdentity, TenantId);

impl Limited {
    fn beside(registry: &Registry, device_limit: i64) -> Self {
        let (key, clock) = (PrivateKey::generate().unwrap(), registry.clock.clone());
        let everything = Privileges {
            tenants: true,
            permissions: ALL_PERMISSIONS,
        };
        let keys = ServiceKeys::default().with("device-registry", &key, everything);
        let (peers, revocations) = (Peers::default(), Revocations::default());
        let verifier = Verifier::new(peers.clone(), keys.unwrap(), revocations, clock.clone());
        let identity = ServiceIdentity::new("device-registry", &key, clock.clone());
        let settings = Settings {
            device_limit: Some(device_limit),
            ..Settings::default()
        };
        let stack = muster_device_registry::stack(
            registry.store.clone(),
            clock,
            peers.clone(),
            identity.clone(),
            verifier,
            settings,
        );
        peers.set(ServiceName::DeviceRegistry, stack);
        let client = DeviceServiceClient::new(peers.get(ServiceName::DeviceRegistry));
        Self(client, identity, TenantId(registry.tenant))
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let request = self.1.request_for(self.2, ALL_PERMISSIONS, message);
        request.unwrap()
    }

    async fn create(&self) -> Result<(), Status> {
        let request = self.request(CreateDeviceRequest {
            device: Some(named("pump")),
            ..Default::default()
        });
        self.0.clone().create_device(request).await.map(drop)
    }

    async fn quota(&self) -> (i64, Option<i64>) {
        let request = self.request(GetDeviceQuotaRequest {});
        let quota = self.0.clone().get_device_quota(request).await.unwrap();
        let quota = quota.into_inner();
        (quota.device_count, quota.device_limit)
    }
}

async fn a_limit_of_all_tenants_is_the_one_of_now(registry: Registry) {
    let before = Limited::beside(&registry, 2);
    before.create().await.unwrap();
    before.create().await.unwrap();
    assert_eq!(reason(&before.create().await.unwrap_err()), "DEVICE_LIMIT");
    let raised = Limited::beside(&registry, 3);
    assert_eq!(raised.quota().await, (2, Some(3)));
    raised.create().await.unwrap();
    assert_eq!(reason(&raised.create().await.unwrap_err()), "DEVICE_LIMIT");
    assert_eq!(raised.quota().await, (3, Some(3)));
    // What the operator says of one tenant stays, whatever the default is.
    for (own, there) in [(Some(4), 4), (None, 5)] {
        let set = admin::set_device_limit(&registry.store, before.2, own);
        set.await.unwrap();
        before.create().await.unwrap();
        assert_eq!(before.quota().await, (there, own));
    }
}

async fn a_limit_of_all_tenants_holds_from_their_first_device(registry: Registry) {
    let limited = Limited::beside(&registry, 3);
    let made = join_all((0..10).map(|_| limited.create())).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 3);
    let registry = registry.for_another_tenant();
    let other = Limited::beside(&registry, 3);
    other.create().await.unwrap();
}
