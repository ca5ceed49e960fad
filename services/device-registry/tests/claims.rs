//! Devices that register themselves by a key that their fleet shares.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;

use chrono::TimeDelta;
use futures::future::join_all;
use harness::Registry;
use muster_device_registry::Settings;
use prost_types::{FieldMask, Timestamp};
use proto::registry::authenticate_device_request::{Device as Named, Proof};
use proto::registry::claim_key_service_client::ClaimKeyServiceClient;
use proto::registry::device::State;
use proto::registry::device_authentication_service_client::DeviceAuthenticationServiceClient;
use proto::registry::*;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

on_both_databases!(
    a_device_becomes_what_the_template_says_and_proves_itself_by_its_own_secret,
    who_asks_again_gets_the_same_device_until_it_is_in_use,
    who_has_a_good_secret_of_the_device_claims_it_anew,
    a_device_that_is_awaited_is_claimed_and_one_that_is_in_use_is_not,
    uses_are_counted_exactly_also_at_the_same_time,
    one_device_is_made_of_claims_at_the_same_time,
    a_key_that_is_wrong_over_or_disabled_claims_nothing,
    nobody_takes_a_name_of_another_device,
    a_template_refers_to_what_there_is,
    a_key_whose_tag_is_gone_claims_nothing_and_can_be_disabled,
    a_key_is_changed_and_deleted_and_its_secret_shown_once,
);

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    info.map(|info| info.reason.clone()).unwrap_or_default()
}

async fn key(registry: &Registry, key: ClaimKey) -> (String, ClaimKey) {
    let request = registry.request(CreateClaimKeyRequest {
        claim_key: Some(ClaimKey {
            display_name: "batch".to_owned(),
            ..key
        }),
        ..Default::default()
    });
    let mut client = ClaimKeyServiceClient::new(registry.peer());
    let made = client.create_claim_key(request).await.unwrap().into_inner();
    (made.secret, made.claim_key.unwrap())
}

async fn get(registry: &Registry, id: &str) -> ClaimKey {
    let request = registry.request(GetClaimKeyRequest { id: id.to_owned() });
    let mut client = ClaimKeyServiceClient::new(registry.peer());
    client.get_claim_key(request).await.unwrap().into_inner()
}

fn of(claim_key: &str, serial_number: &str) -> ClaimDeviceRequest {
    ClaimDeviceRequest {
        claim_key: claim_key.to_owned(),
        serial_number: serial_number.to_owned(),
        ..Default::default()
    }
}

async fn claim(
    registry: &Registry,
    request: ClaimDeviceRequest,
) -> Result<ClaimDeviceResponse, Status> {
    let mut client = ClaimKeyServiceClient::new(registry.peer());
    let claimed = client.claim_device(Request::new(request)).await?;
    Ok(claimed.into_inner())
}

async fn is_valid(registry: &Registry, serial_number: &str, secret: &str) -> bool {
    let request = registry.request(AuthenticateDeviceRequest {
        device: Some(Named::SerialNumber(serial_number.to_owned())),
        proof: Some(Proof::Secret(secret.to_owned())),
        issue_token: false,
    });
    let mut client = DeviceAuthenticationServiceClient::new(registry.peer());
    let answer = client.authenticate_device(request).await.unwrap();
    answer.into_inner().valid
}

async fn a_device_becomes_what_the_template_says_and_proves_itself_by_its_own_secret(
    registry: Registry,
) {
    let tag = registry.tag("new").await.unwrap();
    let site = registry.site("hall").await.unwrap().id;
    let template = DeviceTemplate {
        display_name: "Pump {serial_number}".to_owned(),
        tag_ids: vec![tag.clone()],
        site_id: site.clone(),
        labels: [("batch".to_owned(), "7".to_owned())].into(),
        ..Default::default()
    };
    let wanted = ClaimKey {
        template: Some(template),
        ..Default::default()
    };
    let (secret, key) = key(&registry, wanted).await;
    assert!(secret.starts_with("musterclaim_"), "{secret}");
    let claimed = claim(&registry, of(&secret, "s-1")).await.unwrap();
    assert_eq!(claimed.state(), State::Active);
    let device = registry.get(&claimed.device_id).await.unwrap();
    assert_eq!(device.display_name, "Pump s-1");
    assert_eq!(device.serial_number, "s-1");
    assert_eq!((device.tag_ids, device.site_id), (vec![tag], site));
    assert_eq!(device.labels["batch"], "7");
    assert!(is_valid(&registry, "s-1", &claimed.secret).await);
    let after = get(&registry, &key.id).await;
    assert_eq!(after.use_count, 1);
    assert!(after.last_use_time.is_some());
    let own = ClaimDeviceRequest {
        secret: "a secret of its own choice".to_owned(),
        ..of(&secret, "s-2")
    };
    let claimed = claim(&registry, own).await.unwrap();
    assert_eq!(claimed.secret, "", "it knows it");
    assert!(is_valid(&registry, "s-2", "a secret of its own choice").await);
    let certificate = ClaimDeviceRequest {
        certificate_sha256: "ab".repeat(32),
        ..of(&secret, "s-3")
    };
    let claimed = claim(&registry, certificate).await.unwrap();
    assert_eq!(claimed.secret, "");
}

async fn who_asks_again_gets_the_same_device_until_it_is_in_use(registry: Registry) {
    let (secret, key) = key(&registry, ClaimKey::default()).await;
    let first = claim(&registry, of(&secret, "s-1")).await.unwrap();
    let second = claim(&registry, of(&secret, "s-1")).await.unwrap();
    assert_eq!(first.device_id, second.device_id);
    assert_ne!(first.secret, second.secret);
    assert_eq!(get(&registry, &key.id).await.use_count, 1);
    assert!(!is_valid(&registry, "s-1", &first.secret).await);
    assert!(is_valid(&registry, "s-1", &second.secret).await);
    let refused = claim(&registry, of(&secret, "s-1")).await.unwrap_err();
    assert_eq!(reason(&refused), "ALREADY_CLAIMED");
    assert!(is_valid(&registry, "s-1", &second.secret).await);
    // Another key claims nothing that this one has.
    let unused = claim(&registry, of(&secret, "s-2")).await.unwrap();
    let (other, _) = self::key(&registry, ClaimKey::default()).await;
    let refused = claim(&registry, of(&other, "s-2")).await.unwrap_err();
    assert_eq!(reason(&refused), "ALREADY_CLAIMED");
    assert!(is_valid(&registry, "s-2", &unused.secret).await);
}

async fn who_has_a_good_secret_of_the_device_claims_it_anew(registry: Registry) {
    let (secret, _) = key(&registry, ClaimKey::default()).await;
    let first = claim(&registry, of(&secret, "s-1")).await.unwrap();
    assert!(is_valid(&registry, "s-1", &first.secret).await);
    let wrong = ClaimDeviceRequest {
        current_secret: "not the secret of it".to_owned(),
        ..of(&secret, "s-1")
    };
    let refused = claim(&registry, wrong).await.unwrap_err();
    assert_eq!(reason(&refused), "ALREADY_CLAIMED");
    let anew = ClaimDeviceRequest {
        current_secret: first.secret.clone(),
        ..of(&secret, "s-1")
    };
    let second = claim(&registry, anew).await.unwrap();
    assert_eq!(second.device_id, first.device_id);
    assert!(is_valid(&registry, "s-1", &second.secret).await);
    for _ in 0..500 {
        if !is_valid(&registry, "s-1", &first.secret).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the old secret is still good");
}

async fn a_device_that_is_awaited_is_claimed_and_one_that_is_in_use_is_not(registry: Registry) {
    let (secret, key) = key(&registry, ClaimKey::default()).await;
    let device = |serial_number: &str, state: State| Device {
        display_name: serial_number.to_owned(),
        serial_number: serial_number.to_owned(),
        state: state.into(),
        ..Default::default()
    };
    let awaited = device("s-1", State::Provisioned);
    let awaited = registry.create(awaited).await.unwrap();
    let claimed = claim(&registry, of(&secret, "s-1")).await.unwrap();
    assert_eq!(claimed.device_id, awaited.id);
    assert_eq!(claimed.state(), State::Active);
    assert_eq!(get(&registry, &key.id).await.use_count, 1);
    assert!(is_valid(&registry, "s-1", &claimed.secret).await);
    for state in [State::Active, State::Disabled] {
        let serial_number = format!("s-{state:?}");
        registry
            .create(device(&serial_number, state))
            .await
            .unwrap();
        let refused = claim(&registry, of(&secret, &serial_number)).await;
        assert_eq!(reason(&refused.unwrap_err()), "ALREADY_CLAIMED");
    }
}

async fn uses_are_counted_exactly_also_at_the_same_time(registry: Registry) {
    let limited = ClaimKey {
        max_uses: 5,
        ..Default::default()
    };
    let (secret, key) = key(&registry, limited).await;
    let claims = (0..15).map(|i| claim(&registry, of(&secret, &format!("s-{i}"))));
    let claims = join_all(claims.collect::<Vec<_>>()).await;
    let refused: Vec<_> = claims.iter().filter_map(|c| c.as_ref().err()).collect();
    assert_eq!(refused.len(), 10);
    for refusal in refused {
        assert_eq!(refusal.code(), Code::ResourceExhausted);
        assert_eq!(reason(refusal), "CLAIM_KEY_USED_UP");
    }
    assert_eq!(get(&registry, &key.id).await.use_count, 5);
    let all = registry.list(ListDevicesRequest::default()).await.unwrap();
    assert_eq!(all.devices.len(), 5);
    // One that has claimed may ask again.
    let serial_number = &all.devices[0].serial_number;
    claim(&registry, of(&secret, serial_number)).await.unwrap();
}

async fn one_device_is_made_of_claims_at_the_same_time(registry: Registry) {
    let (secret, key) = key(&registry, ClaimKey::default()).await;
    let claims = (0..8).map(|_| claim(&registry, of(&secret, "s-1")));
    let claims = join_all(claims.collect::<Vec<_>>()).await;
    let claims: Vec<_> = claims.into_iter().map(Result::unwrap).collect();
    assert!(claims.iter().all(|c| c.device_id == claims[0].device_id));
    assert_eq!(get(&registry, &key.id).await.use_count, 1);
    let mut good = 0;
    for claimed in &claims {
        good += usize::from(is_valid(&registry, "s-1", &claimed.secret).await);
    }
    assert_eq!(good, 1, "the last one counts");
}

async fn a_key_that_is_wrong_over_or_disabled_claims_nothing(registry: Registry) {
    let end = registry.clock.now() + TimeDelta::hours(1);
    let ends = ClaimKey {
        expire_time: Some(Timestamp {
            seconds: end.timestamp(),
            nanos: 0,
        }),
        ..Default::default()
    };
    let (secret, mut key) = key(&registry, ends).await;
    let mut wrong = secret.clone();
    let last = wrong.pop();
    wrong.push(if last == Some('a') { 'b' } else { 'a' });
    for wrong in [
        wrong.as_str(),
        "x",
        &secret.replace("musterclaim", "muster"),
    ] {
        let refused = claim(&registry, of(wrong, "s-1")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(reason(&refused), "CLAIM_KEY_UNKNOWN");
    }
    // From where nobody knows is not from there.
    for (disabled, networks, expected) in [
        (true, vec![], "CLAIM_KEY_DISABLED"),
        (
            false,
            vec!["192.0.2.0/24".to_owned()],
            "NETWORK_NOT_ALLOWED",
        ),
    ] {
        (key.disabled, key.networks) = (disabled, networks);
        key.etag.clear();
        let change = registry.request(UpdateClaimKeyRequest {
            claim_key: Some(key.clone()),
            update_mask: Some(FieldMask {
                paths: vec!["disabled".to_owned(), "networks".to_owned()],
            }),
        });
        let mut client = ClaimKeyServiceClient::new(registry.peer());
        client.update_claim_key(change).await.unwrap();
        let refused = claim(&registry, of(&secret, "s-1")).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(reason(&refused), expected);
    }
    registry.clock.advance(TimeDelta::hours(2));
    let refused = claim(&registry, of(&secret, "s-1")).await.unwrap_err();
    assert_eq!(reason(&refused), "CLAIM_KEY_EXPIRED");
    let all = registry.list(ListDevicesRequest::default()).await.unwrap();
    assert!(all.devices.is_empty());
}

async fn nobody_takes_a_name_of_another_device(registry: Registry) {
    let (secret, _) = key(&registry, ClaimKey::default()).await;
    let device = Device {
        display_name: "pump".to_owned(),
        external_id: "pump-7".to_owned(),
        ..Default::default()
    };
    let device = registry.create(device).await.unwrap();
    for name in ["pump-7", &device.id] {
        let refused = claim(&registry, of(&secret, name)).await.unwrap_err();
        assert_eq!(reason(&refused), "ALREADY_CLAIMED");
    }
}

async fn a_template_refers_to_what_there_is(registry: Registry) {
    let absent = registry.clock.new_id().to_string();
    let request = registry.request(CreateClaimKeyRequest {
        claim_key: Some(ClaimKey {
            display_name: "batch".to_owned(),
            networks: vec!["nowhere".to_owned()],
            template: Some(DeviceTemplate {
                site_id: absent.clone(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    });
    let mut client = ClaimKeyServiceClient::new(registry.peer());
    let refused = client.create_claim_key(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

async fn a_key_whose_tag_is_gone_claims_nothing_and_can_be_disabled(registry: Registry) {
    let tag = registry.tag("gone").await.unwrap();
    let wanted = ClaimKey {
        template: Some(DeviceTemplate {
            tag_ids: vec![tag.clone()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let (secret, key) = key(&registry, wanted).await;
    let delete = registry.request(DeleteTagRequest { id: tag });
    registry.tags().delete_tag(delete).await.unwrap();
    let refused = claim(&registry, of(&secret, "s-1")).await.unwrap_err();
    assert_eq!(reason(&refused), "CLAIM_KEY_TEMPLATE");
    let mut changed = key.clone();
    changed.disabled = true;
    changed.template.as_mut().unwrap().display_name = "Pump".to_owned();
    let mut client = ClaimKeyServiceClient::new(registry.peer());
    for (path, is_done) in [("template", false), ("disabled", true)] {
        let change = registry.request(UpdateClaimKeyRequest {
            claim_key: Some(changed.clone()),
            update_mask: Some(FieldMask {
                paths: vec![path.to_owned()],
            }),
        });
        let done = client.update_claim_key(change).await;
        assert_eq!(done.is_ok(), is_done, "{path}");
    }
    let after = get(&registry, &key.id).await;
    assert_eq!((after.disabled, after.template), (true, key.template));
}

async fn a_key_is_changed_and_deleted_and_its_secret_shown_once(registry: Registry) {
    let (secret, key) = key(&registry, ClaimKey::default()).await;
    let mut client = ClaimKeyServiceClient::new(registry.peer());
    let list = registry.request(ListClaimKeysRequest::default());
    let listed = client.list_claim_keys(list).await.unwrap().into_inner();
    assert_eq!(listed.claim_keys, std::slice::from_ref(&key));
    assert!(!format!("{listed:?}").contains(&secret));
    let stale = ClaimKey {
        etag: "7".to_owned(),
        ..key.clone()
    };
    let change = registry.request(UpdateClaimKeyRequest {
        claim_key: Some(stale),
        update_mask: None,
    });
    let refused = client.update_claim_key(change).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    let delete = registry.request(DeleteClaimKeyRequest { id: key.id.clone() });
    client.delete_claim_key(delete).await.unwrap();
    let refused = claim(&registry, of(&secret, "s-1")).await.unwrap_err();
    assert_eq!(reason(&refused), "CLAIM_KEY_UNKNOWN");
}

#[tokio::test]
async fn a_claim_takes_of_the_tenants_devices_as_any_creation_does() {
    let settings = Settings {
        device_limit: Some(1),
        ..Default::default()
    };
    let registry = Registry::on_sqlite_with(settings).await;
    let (secret, key) = key(&registry, ClaimKey::default()).await;
    claim(&registry, of(&secret, "s-1")).await.unwrap();
    let refused = claim(&registry, of(&secret, "s-2")).await.unwrap_err();
    assert_eq!(reason(&refused), "DEVICE_LIMIT");
    assert_eq!(get(&registry, &key.id).await.use_count, 1);
}
