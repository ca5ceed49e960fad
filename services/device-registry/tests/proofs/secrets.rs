//! Devices that are known by secrets, and what holds of all that they prove themselves by.

use super::*;

crate::on_both_databases!(
    a_device_is_let_in_by_its_secret_whatever_it_is_called,
    what_is_not_good_is_told_by_its_reason,
    a_name_of_two_devices_is_nobodys,
    a_secret_is_replaced_with_an_overlap,
    a_device_has_no_more_credentials_than_it_may_also_at_the_same_time,
    what_is_taken_from_a_device_is_taken_at_once_though_it_was_remembered,
    who_presents_wrong_secrets_is_slowed_down_and_who_is_at_work_is_not,
    the_first_use_is_noted_before_it_is_answered_and_the_last_one_later,
    a_secret_of_a_new_device_is_a_credential,
);

async fn a_device_is_let_in_by_its_secret_whatever_it_is_called(registry: Registry) {
    let device = device(&registry, "s-1").await;
    let (secret, credential) = secret(&registry, &device).await;
    assert!(secret.len() >= 36);
    assert_eq!(credential.kind(), device_credential::Kind::Secret);
    let names = [
        Named::Id(device.id.clone()),
        Named::SerialNumber("s-1".to_owned()),
        Named::ExternalId("s-1-ext".to_owned()),
        Named::Code("s-1-code".to_owned()),
        Named::Username(device.id.clone()),
        Named::Username("s-1".to_owned()),
        Named::Username("s-1-ext".to_owned()),
        Named::Username("s-1-code".to_owned()),
    ];
    // Twice: looked up, and remembered.
    for name in names.iter().chain(&names) {
        let answer = authenticate(&registry, Some(name.clone()), Proof::Secret(secret.clone()));
        let answer = answer.await;
        assert!(answer.valid, "{name:?}: {answer:?}");
        assert_eq!(answer.credential_id, credential.id);
        let identity = answer.device.unwrap();
        assert_eq!(identity.id, device.id);
        assert_eq!(identity.tenant_id, registry.tenant.to_string());
        assert_eq!(identity.state(), State::Active);
        assert_eq!(identity.labels, device.labels);
        let wrong = Proof::Secret(format!("{secret}x"));
        let answer = authenticate(&registry, Some(name.clone()), wrong).await;
        assert_eq!(answer.verdict(), Verdict::Unknown, "{name:?}");
        assert_eq!(answer.device, None);
    }
    let other = registry.for_another_tenant();
    assert_eq!(verdict(&other, &device, &secret).await, Verdict::Unknown);
}

async fn what_is_not_good_is_told_by_its_reason(registry: Registry) {
    let mut device = device(&registry, "s-1").await;
    let (secret, mut credential) = secret(&registry, &device).await;
    let now = registry.clock.now();
    for (path, expected) in [
        ("disabled", Verdict::Disabled),
        ("not_before", Verdict::NotYetValid),
        ("not_after", Verdict::Expired),
    ] {
        assert_eq!(verdict(&registry, &device, &secret).await, Verdict::Valid);
        credential.disabled = path == "disabled";
        credential.not_before = (path == "not_before")
            .then(|| at(now + TimeDelta::hours(1)))
            .flatten();
        credential.not_after = (path == "not_after")
            .then(|| at(now - TimeDelta::hours(1)))
            .flatten();
        update(&registry, credential.clone(), path).await;
        until(&registry, &device, &secret, expected).await;
        credential.disabled = false;
        (credential.not_before, credential.not_after) = (None, None);
        update(&registry, credential.clone(), path).await;
        until(&registry, &device, &secret, Verdict::Valid).await;
    }
    device.set_state(State::Disabled);
    device.etag.clear();
    registry.update(device.clone(), &["state"]).await.unwrap();
    until(&registry, &device, &secret, Verdict::DeviceNotActive).await;
    // Whoever does not know the secret does not get to know that either.
    assert_eq!(verdict(&registry, &device, SECRET).await, Verdict::Unknown);
    device.set_state(State::Active);
    registry.update(device.clone(), &["state"]).await.unwrap();
    assert_eq!(verdict(&registry, &device, &secret).await, Verdict::Valid);
    let delete = registry.request(DeleteDeviceRequest {
        id: device.id.clone(),
        ..Default::default()
    });
    registry.devices().delete_device(delete).await.unwrap();
    until(&registry, &device, &secret, Verdict::Unknown).await;
    let garbage = by_certificate(&registry, "no certificate").await;
    assert_eq!(garbage.verdict(), Verdict::Malformed);
}

async fn a_name_of_two_devices_is_nobodys(registry: Registry) {
    let one = device(&registry, "s-1").await;
    let (secret, _) = secret(&registry, &one).await;
    let namesake = Device {
        display_name: "other".to_owned(),
        external_id: "s-1".to_owned(),
        ..Default::default()
    };
    registry.create(namesake).await.unwrap();
    let answer = authenticate(
        &registry,
        Some(Named::Username("s-1".to_owned())),
        Proof::Secret(secret.clone()),
    );
    assert_eq!(answer.await.verdict(), Verdict::Unknown);
    assert_eq!(verdict(&registry, &one, &secret).await, Verdict::Valid);
}

async fn a_secret_is_replaced_with_an_overlap(registry: Registry) {
    let device = device(&registry, "s-1").await;
    let (old, credential) = secret(&registry, &device).await;
    assert_eq!(verdict(&registry, &device, &old).await, Verdict::Valid);
    let rotated = rotate(&registry, &credential, 3600).await.unwrap();
    let replaced = rotated.replaced.unwrap();
    assert_eq!(replaced.id, credential.id);
    assert!(replaced.not_after.is_some());
    let new = rotated.secret;
    assert_ne!(new, old);
    for secret in [&old, &new] {
        assert_eq!(verdict(&registry, &device, secret).await, Verdict::Valid);
    }
    // The old one is remembered, and ends all the same.
    registry.clock.advance(TimeDelta::hours(2));
    assert_eq!(verdict(&registry, &device, &old).await, Verdict::Expired);
    assert_eq!(verdict(&registry, &device, &new).await, Verdict::Valid);
    let next = rotated.credential.unwrap();
    let rotated = rotate(&registry, &next, 0).await.unwrap();
    until(&registry, &device, &new, Verdict::Expired).await;
    let newest = verdict(&registry, &device, &rotated.secret).await;
    assert_eq!(newest, Verdict::Valid);
}

async fn a_device_has_no_more_credentials_than_it_may_also_at_the_same_time(registry: Registry) {
    let device = device(&registry, "s-1").await;
    let request = || CreateDeviceCredentialRequest {
        device_id: device.id.clone(),
        ..Default::default()
    };
    let made = join_all((0..20).map(|_| create(&registry, request()))).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 16);
    for refusal in refused {
        assert_eq!(refusal.unwrap_err().code(), Code::ResourceExhausted);
    }
    // One that has ended makes room.
    let first = made[0].as_ref().unwrap().credential.clone().unwrap();
    rotate(&registry, &first, 0).await.unwrap();
    create(&registry, request()).await.unwrap_err();
    let mut ended = made[1].as_ref().unwrap().credential.clone().unwrap();
    ended.not_after = at(registry.clock.now() - TimeDelta::hours(1));
    update(&registry, ended, "not_after").await;
    create(&registry, request()).await.unwrap();
}

async fn what_is_taken_from_a_device_is_taken_at_once_though_it_was_remembered(registry: Registry) {
    let device = device(&registry, "s-1").await;
    let (secret, credential) = secret(&registry, &device).await;
    let until = async |wanted| until(&registry, &device, &secret, wanted).await;
    until(Verdict::Valid).await;
    let mut changed = device.clone();
    changed.etag.clear();
    changed.set_state(State::Disabled);
    registry.update(changed.clone(), &["state"]).await.unwrap();
    until(Verdict::DeviceNotActive).await;
    changed.set_state(State::Active);
    registry.update(changed, &["state"]).await.unwrap();
    until(Verdict::Valid).await;
    let mut client = DeviceCredentialServiceClient::new(registry.peer());
    let delete = registry.request(DeleteDeviceCredentialRequest {
        device_id: device.id.clone(),
        id: credential.id,
    });
    client.delete_device_credential(delete).await.unwrap();
    until(Verdict::Unknown).await;
}

async fn who_presents_wrong_secrets_is_slowed_down_and_who_is_at_work_is_not(registry: Registry) {
    let device = device(&registry, "s-1").await;
    let (secret, _) = secret(&registry, &device).await;
    assert_eq!(verdict(&registry, &device, &secret).await, Verdict::Valid);
    for _ in 0..10 {
        assert_eq!(verdict(&registry, &device, SECRET).await, Verdict::Unknown);
    }
    let slowed = verdict(&registry, &device, SECRET).await;
    assert_eq!(slowed, Verdict::TooManyFailures);
    let other = self::device(&registry, "s-2").await;
    assert_eq!(verdict(&registry, &other, SECRET).await, Verdict::Unknown);
}

async fn the_first_use_is_noted_before_it_is_answered_and_the_last_one_later(registry: Registry) {
    let device = device(&registry, "s-1").await;
    let (secret, credential) = secret(&registry, &device).await;
    let read = async || {
        let request = registry.request(GetDeviceCredentialRequest {
            device_id: device.id.clone(),
            id: credential.id.clone(),
        });
        let mut client = DeviceCredentialServiceClient::new(registry.peer());
        let read = client.get_device_credential(request).await;
        read.unwrap().into_inner()
    };
    assert_eq!(read().await.first_use_time, None);
    assert_eq!(verdict(&registry, &device, &secret).await, Verdict::Valid);
    let first = read().await.first_use_time;
    assert!(first.is_some());
    registry.clock.advance(TimeDelta::minutes(5));
    assert_eq!(verdict(&registry, &device, &secret).await, Verdict::Valid);
    for _ in 0..500 {
        let read = read().await;
        assert_eq!(read.first_use_time, first);
        let seconds = |time: Option<Timestamp>| time.map_or(0, |time| time.seconds);
        if seconds(read.last_use_time) - seconds(first) >= 290 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the last use was not noted");
}

async fn a_secret_of_a_new_device_is_a_credential(registry: Registry) {
    let request = registry.request(CreateDeviceRequest {
        device: Some(Device {
            display_name: "pump".to_owned(),
            serial_number: "s-1".to_owned(),
            ..Default::default()
        }),
        secret: SECRET.to_owned(),
        ..Default::default()
    });
    let device = registry.devices().create_device(request).await.unwrap();
    let device = device.into_inner();
    assert_eq!(verdict(&registry, &device, SECRET).await, Verdict::Valid);
    let list = registry.request(ListDeviceCredentialsRequest {
        device_id: device.id,
        ..Default::default()
    });
    let mut client = DeviceCredentialServiceClient::new(registry.peer());
    let listed = client.list_device_credentials(list).await.unwrap();
    assert_eq!(listed.into_inner().credentials.len(), 1);
}
