//! What devices prove themselves by, and whether it is good.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;

use chrono::TimeDelta;
use futures::future::join_all;
use harness::Registry;
use prost_types::{FieldMask, Timestamp};
use proto::registry::authenticate_device_request::{Device as Named, Proof};
use proto::registry::device::State;
use proto::registry::device_authentication_service_client::DeviceAuthenticationServiceClient;
use proto::registry::device_authority::NamedBy;
use proto::registry::device_authority_service_client::DeviceAuthorityServiceClient;
use proto::registry::device_credential_service_client::DeviceCredentialServiceClient;
use proto::registry::{DeviceVerdict as Verdict, *};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use sea_orm::{ConnectionTrait, Database};
use tonic::{Code, Status};

on_both_databases!(
    a_device_is_let_in_by_its_secret_whatever_it_is_called,
    what_is_not_good_is_told_by_its_reason,
    a_name_of_two_devices_is_nobodys,
    a_secret_is_replaced_with_an_overlap,
    a_device_has_no_more_credentials_than_it_may_also_at_the_same_time,
    a_certificate_is_known_by_its_fingerprint,
    an_authority_lets_in_whom_its_certificates_name,
    an_authority_that_lets_every_device_in_is_overruled_by_a_credential,
    what_is_taken_from_a_device_is_taken_at_once_though_it_was_remembered,
    who_presents_wrong_secrets_is_slowed_down_and_who_is_at_work_is_not,
    the_first_use_is_noted_before_it_is_answered_and_the_last_one_later,
    a_secret_of_a_new_device_is_a_credential,
);

const SECRET: &str = "a secret that nobody can guess";

async fn device(registry: &Registry, serial_number: &str) -> Device {
    let device = Device {
        display_name: "pump".to_owned(),
        serial_number: serial_number.to_owned(),
        external_id: format!("{serial_number}-ext"),
        code: format!("{}-code", serial_number.replace('.', "-")),
        labels: [("region".to_owned(), "eu".to_owned())].into(),
        ..Default::default()
    };
    registry.create(device).await.unwrap()
}

async fn create(
    registry: &Registry,
    request: CreateDeviceCredentialRequest,
) -> Result<CreateDeviceCredentialResponse, Status> {
    let mut client = DeviceCredentialServiceClient::new(registry.peer());
    let created = client.create_device_credential(registry.request(request));
    Ok(created.await?.into_inner())
}

/// A new secret of a device, and its credential.
async fn secret(registry: &Registry, device: &Device) -> (String, DeviceCredential) {
    let request = CreateDeviceCredentialRequest {
        device_id: device.id.clone(),
        ..Default::default()
    };
    let created = create(registry, request).await.unwrap();
    (created.secret, created.credential.unwrap())
}

async fn update(registry: &Registry, credential: DeviceCredential, path: &str) -> DeviceCredential {
    let request = UpdateDeviceCredentialRequest {
        credential: Some(DeviceCredential {
            etag: String::new(),
            ..credential
        }),
        update_mask: Some(FieldMask {
            paths: vec![path.to_owned()],
        }),
    };
    let mut client = DeviceCredentialServiceClient::new(registry.peer());
    let updated = client.update_device_credential(registry.request(request));
    updated.await.unwrap().into_inner()
}

async fn authenticate(
    registry: &Registry,
    device: Option<Named>,
    proof: Proof,
) -> AuthenticateDeviceResponse {
    let request = AuthenticateDeviceRequest {
        device,
        proof: Some(proof),
        issue_token: false,
    };
    let mut client = DeviceAuthenticationServiceClient::new(registry.peer());
    let answer = client.authenticate_device(registry.request(request));
    answer.await.unwrap().into_inner()
}

/// What is said of a device that presents a secret.
async fn verdict(registry: &Registry, device: &Device, secret: &str) -> Verdict {
    let named = Some(Named::SerialNumber(device.serial_number.clone()));
    let answer = authenticate(registry, named, Proof::Secret(secret.to_owned())).await;
    assert_eq!(answer.valid, answer.verdict() == Verdict::Valid);
    answer.verdict()
}

/// Waits until a change is heard of.
async fn until(registry: &Registry, device: &Device, secret: &str, wanted: Verdict) {
    for _ in 0..500 {
        if verdict(registry, device, secret).await == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{wanted:?} did not come about");
}

async fn by_certificate(registry: &Registry, pem: &str) -> AuthenticateDeviceResponse {
    authenticate(registry, None, Proof::Certificate(pem.to_owned())).await
}

fn at(time: chrono::DateTime<chrono::Utc>) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: time.timestamp(),
        nanos: 0,
    })
}

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

async fn rotate(
    registry: &Registry,
    credential: &DeviceCredential,
    overlap: i64,
) -> Result<RotateDeviceCredentialResponse, Status> {
    let request = registry.request(RotateDeviceCredentialRequest {
        device_id: credential.device_id.clone(),
        id: credential.id.clone(),
        overlap: Some(prost_types::Duration {
            seconds: overlap,
            nanos: 0,
        }),
        ..Default::default()
    });
    let mut client = DeviceCredentialServiceClient::new(registry.peer());
    Ok(client.rotate_device_credential(request).await?.into_inner())
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

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str, of: Option<&Authority>) -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = match of {
        Some(of) => params.signed_by(&key, &of.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Authority {
        pem: certificate.pem(),
        issuer: Issuer::new(params, key),
    }
}

/// A device's certificate.
fn issue(of: &Authority, name: &str, change: impl FnOnce(&mut CertificateParams)) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![format!("{name}.example.com")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    params.signed_by(&key, &of.issuer).unwrap().pem()
}

async fn trust(registry: &Registry, authority: DeviceAuthority) -> Result<DeviceAuthority, Status> {
    let request = registry.request(CreateDeviceAuthorityRequest {
        authority: Some(authority),
        ..Default::default()
    });
    let mut client = DeviceAuthorityServiceClient::new(registry.peer());
    Ok(client.create_device_authority(request).await?.into_inner())
}

async fn a_certificate_is_known_by_its_fingerprint(registry: Registry) {
    let (one, two) = (
        device(&registry, "s-1").await,
        device(&registry, "s-2").await,
    );
    let pem = issue(&authority("nobody", None), "whoever", |_| {});
    let request = |device: &Device| CreateDeviceCredentialRequest {
        device_id: device.id.clone(),
        certificate: pem.clone(),
        ..Default::default()
    };
    let created = create(&registry, request(&one)).await.unwrap();
    assert_eq!(created.secret, "");
    let credential = created.credential.unwrap();
    assert_eq!(credential.kind(), device_credential::Kind::Certificate);
    let again = create(&registry, request(&two)).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    let answer = by_certificate(&registry, &pem).await;
    assert_eq!(answer.device.unwrap().id, one.id);
    assert!(answer.expire_time.is_some());
    let der = pem::parse(&pem);
    for proof in [
        Proof::CertificateDer(der),
        Proof::CertificateSha256(credential.certificate_sha256.clone()),
    ] {
        let answer = authenticate(&registry, None, proof).await;
        assert_eq!(answer.verdict(), Verdict::Valid);
    }
    let named = Some(Named::SerialNumber("s-2".to_owned()));
    let answer = authenticate(&registry, named, Proof::Certificate(pem.clone())).await;
    assert_eq!(answer.verdict(), Verdict::Unknown, "it is another's");
    let unknown = Proof::CertificateSha256("00".repeat(32));
    let answer = authenticate(&registry, None, unknown).await;
    assert_eq!(answer.verdict(), Verdict::Unknown);
}

/// DER of a PEM.
mod pem {
    use base64::Engine;

    pub(super) fn parse(pem: &str) -> Vec<u8> {
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        let text: String = lines.collect();
        base64::prelude::BASE64_STANDARD.decode(text).unwrap()
    }
}

async fn an_authority_lets_in_whom_its_certificates_name(registry: Registry) {
    let root = authority("Root", None);
    let between = authority("Line 2", Some(&root));
    let stranger = authority("Root", None);
    let message = |pem: &str| DeviceAuthority {
        display_name: "Factory".to_owned(),
        certificate: pem.to_owned(),
        ..Default::default()
    };
    let no_authority = issue(&root, "s-1", |_| {});
    let refused = trust(&registry, message(&no_authority)).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let trusted = trust(&registry, message(&root.pem)).await.unwrap();
    assert_eq!(trusted.subject, "CN=Root");
    let device = device(&registry, "s-1").await;
    let direct = issue(&root, "s-1", |_| {});
    let answer = by_certificate(&registry, &direct).await;
    assert_eq!(answer.verdict(), Verdict::Unknown, "it has no credential");
    let credential = create(
        &registry,
        CreateDeviceCredentialRequest {
            device_id: device.id.clone(),
            credential: Some(DeviceCredential {
                authority_id: trusted.id.clone(),
                ..Default::default()
            }),
            ..Default::default()
        },
    );
    let credential = credential.await.unwrap().credential.unwrap();
    assert_eq!(credential.kind(), device_credential::Kind::Authority);
    let chained = issue(&between, "s-1", |_| {}) + &between.pem;
    for pem in [&direct, &chained, &direct] {
        let answer = by_certificate(&registry, pem).await;
        assert_eq!(answer.verdict(), Verdict::Valid);
        assert_eq!(answer.credential_id, credential.id);
    }
    let ended = issue(&root, "s-1", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let early = issue(&root, "s-1", |params| {
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
    });
    let server = issue(&root, "s-1", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (pem, expected) in [
        (ended, Verdict::Expired),
        (early, Verdict::NotYetValid),
        (server, Verdict::Unknown),
        (issue(&stranger, "s-1", |_| {}), Verdict::Unknown),
        (issue(&root, "s-2", |_| {}), Verdict::Unknown),
        // Without the one between, nobody knows whose it is.
        (issue(&between, "s-1", |_| {}), Verdict::Unknown),
    ] {
        assert_eq!(by_certificate(&registry, &pem).await.verdict(), expected);
    }
    let mut client = DeviceAuthorityServiceClient::new(registry.peer());
    let delete = registry.request(DeleteDeviceAuthorityRequest { id: trusted.id });
    client.delete_device_authority(delete).await.unwrap();
    let answer = eventually(&registry, &direct, Verdict::Unknown).await;
    assert_eq!(answer, Verdict::Unknown);
}

/// What is said of a certificate in the end.
async fn eventually(registry: &Registry, pem: &str, wanted: Verdict) -> Verdict {
    let mut said = Verdict::Unspecified;
    for _ in 0..500 {
        said = by_certificate(registry, pem).await.verdict();
        if said == wanted {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    said
}

async fn an_authority_that_lets_every_device_in_is_overruled_by_a_credential(registry: Registry) {
    let root = authority("Root", None);
    let trusted = DeviceAuthority {
        display_name: "Factory".to_owned(),
        certificate: root.pem.clone(),
        any_device: true,
        named_by: NamedBy::DnsName.into(),
        ..Default::default()
    };
    let trusted = trust(&registry, trusted).await.unwrap();
    let device = device(&registry, "s-1.example.com").await;
    let pem = issue(&root, "s-1", |_| {});
    let answer = by_certificate(&registry, &pem).await;
    assert_eq!(answer.verdict(), Verdict::Valid);
    assert_eq!(answer.credential_id, "");
    assert_eq!(answer.device.unwrap().id, device.id);
    let disabled = CreateDeviceCredentialRequest {
        device_id: device.id.clone(),
        credential: Some(DeviceCredential {
            authority_id: trusted.id,
            disabled: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    create(&registry, disabled).await.unwrap();
    let said = eventually(&registry, &pem, Verdict::Disabled).await;
    assert_eq!(said, Verdict::Disabled);
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

/// The tables are taken away: what is remembered is answered without them.
#[tokio::test]
async fn a_warm_answer_reads_no_table() {
    let registry = Registry::on_sqlite().await;
    let device = device(&registry, "s-1").await;
    let (secret, _) = secret(&registry, &device).await;
    let named = || Some(Named::SerialNumber("s-1".to_owned()));
    let request = |secret: &str| {
        registry.request(AuthenticateDeviceRequest {
            device: named(),
            proof: Some(Proof::Secret(secret.to_owned())),
            issue_token: false,
        })
    };
    let url = format!("sqlite://{}", registry.file().display());
    let database = Database::connect(url).await.unwrap();
    let run = async |sql: &str| database.execute_unprepared(sql).await.unwrap();
    // Looked up after everything that was made was heard of.
    let mut client = DeviceAuthenticationServiceClient::new(registry.peer());
    let mut warm = false;
    for _ in 0..100 {
        client.authenticate_device(request(&secret)).await.unwrap();
        run("ALTER TABLE device_credentials RENAME TO gone").await;
        run("ALTER TABLE devices RENAME TO gone_too").await;
        warm = client.authenticate_device(request(&secret)).await.is_ok();
        let cold = client.authenticate_device(request(SECRET)).await;
        assert!(cold.is_err(), "without the tables nobody new is let in");
        run("ALTER TABLE gone_too RENAME TO devices").await;
        run("ALTER TABLE gone RENAME TO device_credentials").await;
        if warm {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(warm);
}
