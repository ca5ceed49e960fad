//! What devices prove themselves by, and whether it is good.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod certificates;
#[path = "../harness/mod.rs"]
mod harness;
mod secrets;

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

/// DER of a PEM.
mod pem {
    use base64::Engine;

    pub(super) fn parse(pem: &str) -> Vec<u8> {
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        let text: String = lines.collect();
        base64::prelude::BASE64_STANDARD.decode(text).unwrap()
    }
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

/// The tables are taken away: what is remembered is answered without them.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "takes away what a store made")]
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
