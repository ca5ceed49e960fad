//! How the services of one installation know each other: each signs short
//! tokens with a key of its own, derived from the installation's secret.

use std::fmt;

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use proto::access::Permission;
use tonic::metadata::MetadataValue;
use uuid::Uuid;

use crate::caller::{Caller, Principal, Subject, TenantId};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::permissions::Permissions;
use crate::token::Claims;

/// `aud` of tokens between services: no user's token has it.
const AUDIENCE: &str = "muster-services";
/// How long a token between services lives, in seconds: one call.
const LIFE: i64 = 60;

/// The secret that all services of one installation share.
#[derive(Clone)]
pub struct ServiceSecret(hmac::Key);

impl fmt::Debug for ServiceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceSecret(..)")
    }
}

impl ServiceSecret {
    /// Takes at least 32 random bytes.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The identity of one service.
    pub fn identity(&self, name: &'static str, clock: Clock) -> ServiceIdentity {
        ServiceIdentity {
            name,
            key: EncodingKey::from_secret(self.derive(name).as_ref()),
            clock,
        }
    }

    fn derive(&self, name: &str) -> hmac::Tag {
        hmac::sign(&self.0, format!("service:{name}").as_bytes())
    }

    /// The subject of a token that the named service signed.
    pub(crate) fn verify(&self, name: &str, token: &str, now: DateTime<Utc>) -> Result<Subject> {
        let refused =
            || Error::unauthenticated("the token is not one of this installation's services");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.set_audience(&[AUDIENCE]);
        let key = DecodingKey::from_secret(self.derive(name).as_ref());
        let claims = decode::<Claims>(token, &key, &validation)
            .map_err(|_| refused())?
            .claims;
        let principal = Principal::parse(&claims.sub).ok_or_else(refused)?;
        let named = matches!(&principal, Principal::Service(service) if service == name);
        if !named || claims.exp <= now.timestamp() {
            return Err(refused());
        }
        Ok(Subject::verified(&claims, principal))
    }
}

/// What a service proves itself by to the others.
#[derive(Clone)]
pub struct ServiceIdentity {
    name: &'static str,
    key: EncodingKey,
    clock: Clock,
}

/// The tenant that a service acts for in a call.
#[derive(Clone, Copy, Debug)]
pub struct OnBehalfOf {
    /// The tenant.
    pub tenant: Uuid,
    /// Its short id; 0 if the service does not know it.
    pub number: i64,
}

impl From<&Caller> for OnBehalfOf {
    fn from(caller: &Caller) -> Self {
        Self {
            tenant: caller.tenant().0,
            number: caller.tenant_number(),
        }
    }
}

impl From<TenantId> for OnBehalfOf {
    fn from(tenant: TenantId) -> Self {
        Self {
            tenant: tenant.0,
            number: 0,
        }
    }
}

impl ServiceIdentity {
    /// A request that acts for no tenant.
    pub fn request<T>(&self, message: T) -> Result<tonic::Request<T>> {
        self.sign(None, &[], message)
    }

    /// A request that acts for a tenant, with the permissions that it needs there.
    pub fn request_for<T>(
        &self,
        tenant: impl Into<OnBehalfOf>,
        permissions: &[Permission],
        message: T,
    ) -> Result<tonic::Request<T>> {
        self.sign(Some(tenant.into()), permissions, message)
    }

    fn sign<T>(
        &self,
        tenant: Option<OnBehalfOf>,
        permissions: &[Permission],
        message: T,
    ) -> Result<tonic::Request<T>> {
        let now = self.clock.now().timestamp();
        let claims = Claims {
            iss: self.name.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: format!("service:{}", self.name),
            exp: now + LIFE,
            iat: now,
            scope: permissions
                .iter()
                .copied()
                .collect::<Permissions>()
                .to_scope(),
            tid: tenant.map(|t| t.tenant),
            tno: tenant.map(|t| t.number).unwrap_or_default(),
            ..Claims::default()
        };
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(format!("service:{}", self.name));
        let token = encode(&header, &claims, &self.key).map_err(Error::internal)?;
        let mut request = tonic::Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", bearer(&token)?);
        Ok(request)
    }
}

/// A token as the value of an `authorization` header that no log shows.
pub fn bearer(token: &str) -> Result<MetadataValue<tonic::metadata::Ascii>> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(Error::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn token(identity: &ServiceIdentity) -> String {
        let request = identity.request(()).unwrap();
        let value = request
            .metadata()
            .get("authorization")
            .unwrap()
            .to_str()
            .unwrap();
        value.strip_prefix("Bearer ").unwrap().to_owned()
    }

    #[test]
    fn a_service_is_known_by_its_own_key_and_for_one_call_only() {
        let (ours, other) = (ServiceSecret::new(&[1; 32]), ServiceSecret::new(&[2; 32]));
        let clock = Clock::system();
        let token = token(&ours.identity("identity", clock.clone()));
        let known = ours.verify("identity", &token, clock.now()).unwrap();
        assert_eq!(
            *known.principal(),
            Principal::Service("identity".to_owned())
        );
        assert!(ours.verify("tenancy", &token, clock.now()).is_err());
        assert!(other.verify("identity", &token, clock.now()).is_err());
        clock.advance(TimeDelta::seconds(LIFE + 1));
        assert!(ours.verify("identity", &token, clock.now()).is_err());
    }
}
