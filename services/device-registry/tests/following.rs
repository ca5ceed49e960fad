//! Devices are followed: listed, and told of as they change.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use chassis::store::Record;
use chrono::TimeDelta;
use harness::Registry;
use proto::registry::device_change::Change;
use proto::registry::device_watch_service_client::DeviceWatchServiceClient;
use proto::registry::removed_device::Reason;
use proto::registry::watch_devices_response::Event;
use proto::registry::*;
use tokio::sync::oneshot;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;
use uuid::Uuid;

on_both_databases!(
    devices_are_listed_and_then_told_of_as_they_change,
    a_device_that_a_filter_is_no_longer_true_of_is_removed,
    whoever_comes_back_misses_nothing,
    whoever_asks_now_and_then_hears_the_same,
    a_reader_who_is_slow_hears_of_every_device,
    a_token_is_good_for_its_own_filter_and_tenant_and_not_for_ever,
    what_was_deleted_purged_or_brought_back_is_told,
    a_change_that_commits_late_is_told_to_whoever_comes_back,
);

fn named(name: &str) -> Device {
    Device {
        display_name: name.to_owned(),
        ..Default::default()
    }
}

struct Watch(Streaming<WatchDevicesResponse>, String);

impl Watch {
    async fn begin(registry: &Registry, filter: &str, token: &str) -> Result<Self, Status> {
        let request = registry.request(WatchDevicesRequest {
            filter: filter.to_owned(),
            resume_token: token.to_owned(),
            ..Default::default()
        });
        let mut client = DeviceWatchServiceClient::new(registry.peer());
        let stream = client.watch_devices(request).await?.into_inner();
        Ok(Self(stream, token.to_owned()))
    }

    async fn next(&mut self) -> Event {
        let next = tokio::time::timeout(Duration::from_secs(20), self.0.message());
        let message = next.await.expect("something is told").unwrap().unwrap();
        if !message.resume_token.is_empty() {
            self.1 = message.resume_token;
        }
        message.event.unwrap()
    }

    /// Everything up to `synced`: the names of the devices.
    async fn listed(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            match self.next().await {
                Event::Device(device) => names.push(device.display_name),
                Event::Synced(_) => return names,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn changed(&mut self) -> Device {
        match self.next().await {
            Event::Changed(device) => device,
            other => panic!("{other:?}"),
        }
    }

    async fn removed(&mut self) -> (String, Reason) {
        match self.next().await {
            Event::Removed(removed) => (removed.id.clone(), removed.reason()),
            other => panic!("{other:?}"),
        }
    }
}

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().map(|i| i.reason.clone()).unwrap()
}

async fn rename(registry: &Registry, id: &str, name: &str) {
    let device = Device {
        id: id.to_owned(),
        ..named(name)
    };
    registry.update(device, &["display_name"]).await.unwrap();
}

async fn delete(registry: &Registry, id: &str, purge: bool) {
    let request = registry.request(DeleteDeviceRequest {
        id: id.to_owned(),
        purge,
        ..Default::default()
    });
    registry.devices().delete_device(request).await.unwrap();
}

async fn devices_are_listed_and_then_told_of_as_they_change(registry: Registry) {
    let a = registry.create(named("a")).await.unwrap();
    registry.create(named("b")).await.unwrap();
    let mut watch = Watch::begin(&registry, "", "").await.unwrap();
    assert_eq!(watch.listed().await, ["a", "b"]);
    let c = registry.create(named("c")).await.unwrap();
    assert_eq!(watch.changed().await, c);
    rename(&registry, &a.id, "A").await;
    assert_eq!(watch.changed().await.display_name, "A");
    let registry = registry.for_another_tenant();
    let mut theirs = Watch::begin(&registry, "", "").await.unwrap();
    assert!(theirs.listed().await.is_empty());
    let d = registry.create(named("d")).await.unwrap();
    assert_eq!(theirs.changed().await, d);
}

async fn a_device_that_a_filter_is_no_longer_true_of_is_removed(registry: Registry) {
    let a = registry.create(named("pump a")).await.unwrap();
    registry.create(named("fan")).await.unwrap();
    let filter = "display_name = \"pump*\"";
    let mut watch = Watch::begin(&registry, filter, "").await.unwrap();
    assert_eq!(watch.listed().await, ["pump a"]);
    rename(&registry, &a.id, "fan a").await;
    assert_eq!(watch.removed().await, (a.id.clone(), Reason::Filtered));
    rename(&registry, &a.id, "pump b").await;
    assert_eq!(watch.changed().await.display_name, "pump b");
}

async fn whoever_comes_back_misses_nothing(registry: Registry) {
    let a = registry.create(named("a")).await.unwrap();
    let mut watch = Watch::begin(&registry, "", "").await.unwrap();
    watch.listed().await;
    let token = watch.1.clone();
    drop(watch);
    let b = registry.create(named("b")).await.unwrap();
    rename(&registry, &a.id, "A").await;
    rename(&registry, &a.id, "AA").await;
    delete(&registry, &b.id, true).await;
    let mut watch = Watch::begin(&registry, "", &token).await.unwrap();
    // Devices are told of as they are now, and may be more than once.
    let (mut renamed, mut purged) = (false, false);
    while !(renamed && purged) {
        match watch.next().await {
            Event::Changed(device) => {
                assert_eq!((&device.id, &*device.display_name), (&a.id, "AA"));
                renamed = true;
            }
            Event::Removed(removed) => {
                assert_eq!((&removed.id, removed.reason()), (&b.id, Reason::Purged));
                purged = true;
            }
            other => panic!("{other:?}"),
        }
    }
    let token = watch.1.clone();
    drop(watch);
    let mut watch = Watch::begin(&registry, "", &token).await.unwrap();
    let c = registry.create(named("c")).await.unwrap();
    loop {
        match watch.next().await {
            Event::Changed(device) if device == c => break,
            // What was told last may come again.
            Event::Changed(device) if device.id == a.id => {}
            Event::Removed(removed) if removed.id == b.id => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn changes(
    registry: &Registry,
    token: &str,
    page_size: i32,
) -> Result<ListDeviceChangesResponse, Status> {
    let request = registry.request(ListDeviceChangesRequest {
        resume_token: token.to_owned(),
        page_size,
        ..Default::default()
    });
    let mut client = DeviceWatchServiceClient::new(registry.peer());
    Ok(client.list_device_changes(request).await?.into_inner())
}

/// Asks until all is told: what, and where to go on.
async fn all_changes(registry: &Registry, token: &str) -> (Vec<String>, String) {
    let (mut told, mut token) = (Vec::new(), token.to_owned());
    loop {
        let page = changes(registry, &token, 2).await.unwrap();
        assert!(page.changes.len() <= 2);
        told.extend(page.changes.into_iter().map(|one| match one.change {
            Some(Change::Device(device)) => device.display_name,
            Some(Change::Removed(removed)) => format!("{:?}", removed.reason()),
            None => panic!("nothing is told"),
        }));
        token = page.resume_token;
        if page.up_to_date {
            return (told, token);
        }
    }
}

async fn whoever_asks_now_and_then_hears_the_same(registry: Registry) {
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        ids.push(registry.create(named(name)).await.unwrap().id);
    }
    let (told, token) = all_changes(&registry, "").await;
    assert_eq!(told, ["a", "b", "c", "d", "e"]);
    assert_eq!(all_changes(&registry, &token).await.0, Vec::<String>::new());
    for id in &ids {
        rename(&registry, id, "x").await;
    }
    delete(&registry, &ids[4], false).await;
    let (told, later) = all_changes(&registry, &token).await;
    // On pages of their own, changes of one device may be told twice.
    assert_eq!(told[..4], ["x", "x", "x", "x"]);
    assert_eq!(told.last().unwrap(), "Deleted");
    assert!(all_changes(&registry, &later).await.0.is_empty());
    // A stream goes on where the last answer ended.
    let mut watch = Watch::begin(&registry, "", &later).await.unwrap();
    rename(&registry, &ids[0], "y").await;
    assert_eq!(watch.changed().await.display_name, "y");
}

async fn a_reader_who_is_slow_hears_of_every_device(registry: Registry) {
    let mut watch = Watch::begin(&registry, "", "").await.unwrap();
    watch.listed().await;
    let mut expected = BTreeSet::new();
    for i in 0..150 {
        let name = format!("device {i}");
        registry.create(named(&name)).await.unwrap();
        expected.insert(name);
    }
    let mut told = BTreeSet::new();
    while told.len() < expected.len() {
        told.insert(watch.changed().await.display_name);
    }
    assert_eq!(told, expected);
}

async fn a_token_is_good_for_its_own_filter_and_tenant_and_not_for_ever(registry: Registry) {
    let token = changes(&registry, "", 0).await.unwrap().resume_token;
    let other = Watch::begin(&registry, "number > 3", &token).await;
    assert_eq!(other.err().unwrap().code(), Code::InvalidArgument);
    for made_up in ["x", "AgAA"] {
        let refused = changes(&registry, made_up, 0).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    registry.clock.advance(TimeDelta::days(31));
    let refused = changes(&registry, &token, 0).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "RESUME_TOKEN_EXPIRED");
    registry.clock.advance(TimeDelta::days(-31));
    let registry = registry.for_another_tenant();
    let refused = changes(&registry, &token, 0).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

async fn what_was_deleted_purged_or_brought_back_is_told(registry: Registry) {
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(registry.create(named(name)).await.unwrap().id);
    }
    let mut watch = Watch::begin(&registry, "", "").await.unwrap();
    watch.listed().await;
    let request = registry.request(BatchDeleteDevicesRequest {
        ids: ids[1..].to_vec(),
        purge: false,
    });
    registry
        .devices()
        .batch_delete_devices(request)
        .await
        .unwrap();
    let mut told = [watch.removed().await, watch.removed().await];
    told.sort_by_key(|(id, _)| id.clone());
    let mut deleted = ids[1..].to_vec();
    deleted.sort();
    assert_eq!(told, [0, 1].map(|i| (deleted[i].clone(), Reason::Deleted)));
    let request = registry.request(UndeleteDeviceRequest {
        id: ids[1].clone(),
        ..Default::default()
    });
    registry.devices().undelete_device(request).await.unwrap();
    assert_eq!(watch.changed().await.display_name, "b");
    delete(&registry, &ids[2], true).await;
    assert_eq!(watch.removed().await, (ids[2].clone(), Reason::Purged));
}

/// On SQLite there is one writer, so nothing commits late.
async fn a_change_that_commits_late_is_told_to_whoever_comes_back(registry: Registry) {
    if !registry.is_postgres {
        return;
    }
    let late = registry.create(named("late")).await.unwrap();
    let id: Uuid = late.id.parse().unwrap();
    let (wrote, written) = oneshot::channel();
    let (commit, may_commit) = oneshot::channel::<()>();
    let channels = std::sync::Mutex::new(Some((wrote, may_commit)));
    let (store, tenant) = (registry.store.clone(), registry.tenant);
    let slow = tokio::spawn(async move {
        let channels = &channels;
        store
            .change_global("a change that commits late", None, async move |tx| {
                let record = Record::by_service("device-registry", tenant, ("devices", id));
                tx.record(&[record]).await?;
                let (wrote, may_commit) = channels.lock().unwrap().take().unwrap();
                wrote.send(()).unwrap();
                may_commit.await.unwrap();
                Ok(())
            })
            .await
    });
    written.await.unwrap();
    // Later numbers and transactions commit first, and are told.
    registry.create(named("early")).await.unwrap();
    let (told, token) = all_changes(&registry, "").await;
    assert_eq!(told, ["late", "early"]);
    let mut watch = Watch::begin(&registry, "", &token).await.unwrap();
    registry.create(named("earlier")).await.unwrap();
    assert_eq!(watch.changed().await.display_name, "earlier");
    let token_in_between = watch.1.clone();
    commit.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(watch.changed().await.display_name, "late");
    assert_eq!(
        all_changes(&registry, &token_in_between).await.0,
        ["late"],
        "and nothing else is told again"
    );
    let mut told = all_changes(&registry, &token).await.0;
    told.sort();
    assert_eq!(told, ["earlier", "late"]);
}
