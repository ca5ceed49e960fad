//! Whoever tries wrong credentials is slowed down, by the address that they
//! come from: whatever key management remembers of nobody is cheap to make up.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chassis::peer::Stack;
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{ServiceExt, service_fn};

use crate::limits::{Level, Limit, Rate, forgetful, household};

/// How many credentials of one address are tried at once, however many of them
/// may be wrong.
const AT_ONCE: u32 = 64;

/// Methods that anybody may call with a secret, which may be wrong.
const GUESSABLE: [&str; 4] = [
    "/muster.identity.v1.AuthService/Login",
    "/muster.identity.v1.AuthService/Refresh",
    "/muster.dialect.hardwario.v1.HardwarioService/Login",
    "/muster.registry.v1.ClaimKeyService/ClaimDevice",
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
    tries: Mutex<Tries>,
    /// Whether there is room may be asked again, by one after the other.
    ended: Notify,
}

/// What an address tries, and may still do wrong: GCRA, of which no more is
/// tried at once than is left, so that nothing is taken for what is right.
struct Tries {
    rate: Rate,
    /// When all is left again.
    full: Instant,
    running: u32,
}

/// A credential that is being tried.
pub(crate) struct Attempt(Option<Counting>);

struct Counting {
    address: Arc<Address>,
    wrong: AtomicBool,
}

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
                tries: Mutex::new(Tries::new(counted.rate, Instant::now())),
                ended: Notify::new(),
            })
        });
        address.enter().await?;
        Ok(Attempt(Some(Counting {
            address,
            wrong: AtomicBool::new(false),
        })))
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
        if let Some(counting) = &self.0
            && !counting.wrong.swap(true, Ordering::Relaxed)
        {
            counting.address.tries().failed(Instant::now());
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.address.tries().running -= 1;
        self.address.ended.notify_one();
    }
}

impl Address {
    /// Waits until what runs leaves room for another one to be wrong.
    async fn enter(&self) -> Result<(), Status> {
        loop {
            let entered = self.tries().enter(Instant::now());
            if let Ok(false) = entered {
                self.ended.notified().await;
                continue;
            }
            // There may be room for more, or none for anybody.
            self.ended.notify_one();
            return entered.map(|_| ()).map_err(|wait| {
                let rate = self.tries().rate;
                Level::reached(Limit::Failures, rate).refusal(wait)
            });
        }
    }

    fn tries(&self) -> MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tries {
    fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            full: now,
            running: 0,
        }
    }

    /// Whether another one may begin; else how long nothing is left.
    fn enter(&mut self, now: Instant) -> Result<bool, Duration> {
        let left = self.left(now);
        if left == 0 {
            let most = self.rate.burst().saturating_sub(1);
            let again = self.rate.interval() * most;
            return Err(self.spent(now).saturating_sub(again));
        }
        let room = self.running < left.min(AT_ONCE);
        self.running += u32::from(room);
        Ok(room)
    }

    fn failed(&mut self, now: Instant) {
        self.full = self.full.max(now) + self.rate.interval();
    }

    fn left(&self, now: Instant) -> u32 {
        let spent = self.spent(now).as_nanos();
        let spent = spent.div_ceil(self.rate.interval().as_nanos());
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        self.rate.burst().saturating_sub(spent)
    }

    fn spent(&self, now: Instant) -> Duration {
        self.full.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use prost_reflect::DescriptorPool;
    use proto::access::{Requirement, requirement};

    use super::*;

    fn failures(rate: &str) -> Failures {
        Failures::new(Rate::parse(rate, NonZeroU32::MIN).unwrap())
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
    async fn what_is_tried_at_once_is_no_way_around_also_not_after_a_while() {
        let failures = failures("10/s,3");
        let source: Option<IpAddr> = "192.0.2.1".parse().ok();
        let begun = Instant::now();
        let mut wrong = 0;
        for _ in 0..3 {
            let tried = (0..1000).map(|_| async {
                let attempt = failures.attempt(source).await?;
                tokio::task::yield_now().await;
                attempt.failed();
                Ok::<_, Status>(())
            });
            let tried = futures::future::join_all(tried).await;
            wrong += tried.iter().filter(|tried| tried.is_ok()).count();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let given_back = begun.elapsed().as_millis() / 100;
        let most = 3 + usize::try_from(given_back).unwrap();
        assert!((3 + 2..=most).contains(&wrong), "{wrong} of {most}");
    }

    #[tokio::test]
    async fn what_is_right_waits_for_its_turn_and_costs_nothing() {
        let failures = failures("1/h,3");
        let source: Option<IpAddr> = "192.0.2.1".parse().ok();
        let tried = (0..1000).map(|_| async {
            let _attempt = failures.attempt(source).await?;
            tokio::task::yield_now().await;
            Ok::<_, Status>(())
        });
        let tried = futures::future::join_all(tried).await;
        assert!(tried.iter().all(Result::is_ok));
        // Whoever goes away while waiting leaves the turn to the next.
        let held = [(); 3].map(|()| failures.attempt(source));
        let held = futures::future::join_all(held).await;
        let mut gone = Box::pin(failures.attempt(source));
        assert!(futures::poll!(&mut gone).is_pending());
        let mut next = Box::pin(failures.attempt(source));
        assert!(futures::poll!(&mut next).is_pending());
        drop(held);
        drop(gone);
        next.await.unwrap();
    }

    #[tokio::test]
    async fn an_attempt_is_wrong_only_once() {
        let failures = failures("1/h,2");
        let source: Option<IpAddr> = "192.0.2.1".parse().ok();
        let attempt = failures.attempt(source).await.unwrap();
        attempt.failed();
        attempt.failed();
        drop(attempt);
        failures.attempt(source).await.unwrap();
    }

    #[test]
    fn after_each_refill_one_is_tried() {
        let rate = Rate::parse("1/s,2", NonZeroU32::MIN).unwrap().unwrap();
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut tries = Tries::new(rate, begun);
        for _ in 0..2 {
            assert_eq!(tries.enter(at(0)), Ok(true));
        }
        assert_eq!(tries.enter(at(0)), Ok(false), "both may be wrong");
        for _ in 0..2 {
            tries.failed(at(0));
            tries.running -= 1;
        }
        assert_eq!(tries.enter(at(100)), Err(Duration::from_millis(900)));
        for second in 1..5 {
            let now = at(second * 1000);
            assert_eq!(tries.enter(now), Ok(true));
            assert_eq!(tries.enter(now), Ok(false));
            tries.failed(now);
            tries.running -= 1;
            assert_eq!(tries.enter(now), Err(Duration::from_secs(1)));
        }
        assert_eq!(tries.left(at(6000)), 2, "and in time all is as it was");
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
