//! Devices that are known by certificates.

use super::*;

crate::on_both_databases!(
    a_certificate_is_known_by_its_fingerprint,
    an_authority_lets_in_whom_its_certificates_name,
    an_authority_that_lets_every_device_in_is_overruled_by_a_credential,
);

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
