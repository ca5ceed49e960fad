//! Callers as the authorization layer makes them: from a verified token.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use muster_chassis::peer::{Peers, ServiceName};
use muster_chassis::revocation::Revocations;
use muster_chassis::service_identity::{PrivateKey, Privileges, ServiceKeys};
use muster_chassis::token::{Claims, Verifier};
use muster_chassis::{Caller, Clock};
use proto::access::ALL_PERMISSIONS;
use uuid::Uuid;

const CALLED: ServiceName = ServiceName::DeviceRegistry;

/// A service that acts for a tenant, by a token that it signed.
pub(super) async fn of_tenant(tenant: Uuid) -> Caller {
    let (key, clock) = (PrivateKey::generate().unwrap(), Clock::system());
    let everything = Privileges {
        tenants: true,
        permissions: ALL_PERMISSIONS,
    };
    let keys = ServiceKeys::default().with("tester", &key, everything);
    let verifier = Verifier::new(
        Peers::default(),
        keys.unwrap(),
        Revocations::default(),
        clock.clone(),
    );
    let token = signed(&key, clock.now().timestamp(), tenant);
    let subject = verifier.verify_for(&token, Some(CALLED)).await.unwrap();
    subject.scoped().unwrap()
}

fn signed(key: &PrivateKey, now: i64, tenant: Uuid) -> String {
    let pem = key.to_pem();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let key = EncodingKey::from_ed_der(&BASE64_STANDARD.decode(body).unwrap());
    let header = Header {
        kid: Some("service:tester".to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    let claims = Claims {
        iss: "tester".to_owned(),
        aud: CALLED.as_str().to_owned(),
        sub: "service:tester".to_owned(),
        exp: now + 30,
        iat: now,
        tid: Some(tenant),
        ..Claims::default()
    };
    encode(&header, &claims, &key).unwrap()
}
