//! Whoever tries wrong credentials is slowed down, by the address that they
//! come from: whatever key management remembers of nobody is cheap to make up.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chassis::Error;
use chassis::peer::Stack;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{ServiceExt, service_fn};

use crate::limits::{Bucket, Limit, Rate, forgetful, household};

/// How many credentials of one address are tried at once: what is on its way
/// is not counted yet.
const AT_ONCE: usize = 64;

/// Methods that anybody may call with a secret, which may be wrong.
const GUESSABLE: [&str; 3] = [
    "/muster.identity.v1.AuthService/Login",
    "/muster.identity.v1.AuthService/Refresh",
    "/muster.dialect.hardwario.v1.HardwarioService/Login",
];
/// Each call of these costs as much as a wrong credential: whoever finds keys
/// need not find many.
const REPORTS: &str = "/muster.keys.v1.LeakService/";

/// Counts wrong credentials. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Failures(Option<Counted>);

#[derive(Clone)]
struct Counted {
    rate: Rate,
    addresses: moka::sync::Cache<IpAddr, Arc<Address>>,
}

struct Address {
    rate: Rate,
    bucket: Bucket,
    /// Until when the bucket is empty.
    empty: Mutex<Option<Instant>>,
    at_once: Arc<Semaphore>,
}

/// A credential that is being tried.
pub(crate) struct Attempt(Option<(Arc<Address>, OwnedSemaphorePermit)>);

impl Failures {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self(rate.map(|rate| Counted {
            rate,
            addresses: forgetful(rate.refill()),
        }))
    }

    /// Lets an address try a credential, unless too many of it were wrong.
    pub(crate) async fn attempt(&self, source: Option<IpAddr>) -> Result<Attempt, Status> {
        let (Some(counted), Some(source)) = (&self.0, source) else {
            return Ok(Attempt(None));
        };
        let address = counted.addresses.get_with(household(source), || {
            Arc::new(Address {
                rate: counted.rate,
                bucket: Bucket::new(Limit::Failures, counted.rate),
                empty: Mutex::default(),
                at_once: Arc::new(Semaphore::new(AT_ONCE)),
            })
        });
        address.check()?;
        let permit = address.at_once.clone().acquire_owned().await;
        let permit = permit.map_err(Error::internal)?;
        // Others were wrong in the meantime.
        address.check()?;
        Ok(Attempt(Some((address, permit))))
    }

    /// What answers a public method: its refusals are counted if it takes a
    /// secret.
    pub(crate) async fn watch(
        &self,
        path: &str,
        source: Option<IpAddr>,
        stack: Stack,
    ) -> Result<Stack, Status> {
        let report = path.starts_with(REPORTS);
        if !report && !GUESSABLE.contains(&path) {
            return Ok(stack);
        }
        let attempt = Arc::new(self.attempt(source).await?);
        if report {
            attempt.failed();
            return Ok(stack);
        }
        let watched = service_fn(move |request: http::Request<Body>| {
            let (stack, attempt) = (stack.clone(), attempt.clone());
            async move {
                let answer = stack.oneshot(request).await;
                let answer =
                    answer.unwrap_or_else(|e| Status::unavailable(e.to_string()).into_http());
                if Status::from_header_map(answer.headers())
                    .is_some_and(|status| status.code() == Code::Unauthenticated)
                {
                    attempt.failed();
                }
                Ok::<_, Infallible>(answer)
            }
        });
        #[expect(clippy::disallowed_methods, reason = "what is behind it is authorized")]
        Ok(chassis::server::erase(watched))
    }
}

impl Attempt {
    /// The credential was wrong.
    pub(crate) fn failed(&self) {
        if let Some((address, _)) = &self.0 {
            address.failed();
        }
    }
}

impl Address {
    fn check(&self) -> Result<(), Status> {
        let empty = *self.empty();
        let wait = empty.and_then(|until| until.checked_duration_since(Instant::now()));
        match wait.filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(self.bucket.level(0).refusal(wait)),
            None => Ok(()),
        }
    }

    fn failed(&self) {
        let wait = match self.bucket.take() {
            Ok(level) if !level.is_reached() => return,
            Ok(_) => self.rate.interval(),
            Err(wait) => wait,
        };
        *self.empty() = Some(Instant::now() + wait);
    }

    fn empty(&self) -> MutexGuard<'_, Option<Instant>> {
        self.empty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use proto::access::{Requirement, requirement};

    use super::*;

    fn failures(rate: &str) -> Failures {
        Failures::new(Rate::parse(rate).unwrap())
    }

    #[tokio::test]
    async fn an_address_whose_credentials_were_wrong_too_often_tries_no_more() {
        let failures = failures("1/h,3");
        let source: Option<IpAddr> = "2001:db8::1".parse().ok();
        for _ in 0..3 {
            failures.attempt(source).await.unwrap().failed();
        }
        let neighbour = "2001:db8::2".parse().ok();
        for source in [source, neighbour] {
            let refusal = failures.attempt(source).await.err().unwrap();
            assert_eq!(refusal.code(), Code::ResourceExhausted);
        }
        let stranger = "2001:db8:0:1::1".parse().ok();
        for _ in 0..5 {
            failures.attempt(stranger).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_tried_at_once_is_no_way_around() {
        let failures = failures("1/h,3");
        let source: Option<IpAddr> = "192.0.2.1".parse().ok();
        let tried = (0..1000).map(|_| async {
            let attempt = failures.attempt(source).await?;
            tokio::task::yield_now().await;
            attempt.failed();
            Ok::<_, Status>(())
        });
        let tried = futures::future::join_all(tried).await;
        let tried = tried.iter().filter(|tried| tried.is_ok()).count();
        assert!((3..=AT_ONCE + 3).contains(&tried), "{tried}");
    }

    #[test]
    fn every_public_method_that_takes_a_secret_is_watched() {
        let pool = DescriptorPool::decode(proto::DESCRIPTOR_SET).unwrap();
        let methods = pool
            .services()
            .flat_map(|s| s.methods().collect::<Vec<_>>());
        let paths = methods.map(|m| format!("/{}/{}", m.parent_service().full_name(), m.name()));
        let public = paths.filter(|path| matches!(requirement(path), Some(Requirement::Public)));
        // Of the first service, clients are looked up as any credential is.
        let harmless = [
            "/muster.oauth.v1.OAuthService/",
            "TokenService/GetIssuer",
            "TokenService/GetJwks",
        ];
        let missed = public.filter(|path| {
            let is_watched = path.starts_with(REPORTS) || GUESSABLE.contains(&path.as_str());
            !is_watched && !harmless.iter().any(|part| path.contains(part))
        });
        assert_eq!(missed.collect::<Vec<_>>(), Vec::<String>::new());
    }
}
