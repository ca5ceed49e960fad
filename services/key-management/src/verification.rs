//! KeyVerificationService: whether a key is good, for services that Muster
//! does not know.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::caller::{Caller, Principal, TenantId};
use chassis::hash::sha256;
use chassis::permissions::Permissions;
use chassis::revocation::{Revocable, Revocations};
use chassis::time::timestamp;
use chassis::{Error, Result, open};
use futures::{StreamExt, TryStreamExt};
use proto::Violation;
use proto::keys::key_verification_service_server::KeyVerificationService;
use proto::keys::verify_api_key_response::Code;
use proto::keys::{
    BatchVerifyApiKeysRequest, BatchVerifyApiKeysResponse, Revoked, VerifyApiKeyRequest,
    VerifyApiKeyResponse, WatchRevokedRequest, WatchRevokedResponse,
};
use sea_orm::prelude::Uuid;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::grants;
use crate::lookup::{Known, Refusal, Refused};
use crate::revocations::Told;

/// How many keys of one request are looked at at once.
const AT_ONCE: usize = 8;

/// How many streams of revocations one tenant may have from one process.
const OF_ONE_TENANT: usize = 50;
/// How many all tenants may have: less than a connection of a gateway bears.
const OF_ALL: usize = 400;
/// How often it is looked whether a watcher is still good.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Verification {
    parts: Parts,
    watchers: Watchers,
}

impl Verification {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts,
            watchers: Watchers::default(),
        }
    }
}

/// Who watches, by tenant.
#[derive(Clone, Default)]
struct Watchers(Arc<Mutex<HashMap<Uuid, usize>>>);

/// A place among the watchers, given back when it is dropped.
struct Seat(Watchers, Uuid);

impl Watchers {
    fn seat(&self, tenant: TenantId) -> Result<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.entry(tenant.0).or_default();
        if *own >= OF_ONE_TENANT || all >= OF_ALL {
            return Err(Error::Exhausted {
                reason: "TOO_MANY_WATCHERS",
                message: "too many watch at this process; share one stream, or try again later"
                    .into(),
            });
        }
        *own += 1;
        Ok(Seat(self.clone(), tenant.0))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.1);
            }
        }
    }
}

/// Ends when the caller's credential has been revoked.
async fn is_refused(revocations: Revocations, caller: Caller) -> Error {
    let tenant = caller.tenant().0;
    let principal = caller.principal().clone();
    let mut whose = vec![Revocable::Tenant(tenant)];
    if let Principal::User(user) = principal {
        whose.push(Revocable::Member { tenant, user });
    }
    whose.push(Revocable::Principal(principal));
    while !revocations.revoked_since(&whose, caller.subject().issue_time()) {
        tokio::time::sleep(LOOK).await;
    }
    Error::Unauthenticated {
        reason: "TOKEN_REVOKED",
        message: "the credential that watches has been revoked".into(),
    }
}

#[tonic::async_trait]
impl KeyVerificationService for Verification {
    async fn verify_api_key(
        &self,
        request: Request<VerifyApiKeyRequest>,
    ) -> Result<Response<VerifyApiKeyResponse>, Status> {
        let (caller, req) = open(request)?;
        let wanted = wanted(&req.permission).ok_or_else(|| {
            let violation = no_permission("permission".to_owned());
            Error::Invalid(vec![violation])
        })?;
        let answer = self.verify(caller.tenant(), req, wanted).await?;
        Ok(Response::new(answer))
    }

    async fn batch_verify_api_keys(
        &self,
        request: Request<BatchVerifyApiKeysRequest>,
    ) -> Result<Response<BatchVerifyApiKeysResponse>, Status> {
        let (caller, req) = open(request)?;
        let (mut wanted_of_all, mut violations) = (Vec::new(), Vec::new());
        for (i, one) in req.requests.iter().enumerate() {
            match wanted(&one.permission) {
                Some(wanted) => wanted_of_all.push(wanted),
                None => violations.push(no_permission(format!("requests[{i}].permission"))),
            }
        }
        if !violations.is_empty() {
            return Err(Error::Invalid(violations).into());
        }
        let all = req.requests.into_iter().zip(wanted_of_all);
        let answers = all.map(|(one, wanted)| self.verify(caller.tenant(), one, wanted));
        let responses = futures::stream::iter(answers)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Response::new(BatchVerifyApiKeysResponse { responses }))
    }

    type WatchRevokedStream = ReceiverStream<Result<WatchRevokedResponse, Status>>;

    async fn watch_revoked(
        &self,
        request: Request<WatchRevokedRequest>,
    ) -> Result<Response<Self::WatchRevokedStream>, Status> {
        let (caller, _) = open(request)?;
        let tenant = caller.tenant();
        let seat = self.watchers.seat(tenant)?;
        // One ahead: a reader that is slow slows the sender, not the memory.
        let (to, stream) = mpsc::channel(1);
        let answer = move |batch, synchronised| revoked(tenant, batch, synchronised);
        let watch = self.parts.revoker.clone().watch(to.clone(), answer);
        let refused = is_refused(self.parts.verifier.revocations().clone(), caller);
        tokio::spawn(async move {
            let _seat = seat;
            tokio::select! {
                () = watch => {}
                refusal = refused => drop(to.send(Err(refusal.into())).await),
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Verification {
    async fn verify(
        &self,
        tenant: TenantId,
        req: VerifyApiKeyRequest,
        wanted: Permissions,
    ) -> Result<VerifyApiKeyResponse> {
        // The contract's rules let nothing else through than an address.
        let source: Option<IpAddr> = req.source.parse().ok();
        let looked_up = self.parts.lookup.key(&req.api_key, source).await?;
        let answer = match looked_up {
            Ok(known) if known.tenant != tenant.0 => refusal(Refusal::Unknown, None),
            Ok(known) if !known.permissions.covers(wanted) => VerifyApiKeyResponse {
                code: Code::PermissionMissing.into(),
                message: format!("the key does not allow {}", req.permission),
                ..details(&known)
            },
            Ok(known) => {
                let usage = &self.parts.usage;
                usage.note(known.generation, source, &req.user_agent);
                VerifyApiKeyResponse {
                    valid: true,
                    code: Code::Valid.into(),
                    message: "the key is good".to_owned(),
                    ..details(&known)
                }
            }
            Err(refused) => refused_in(tenant, &refused),
        };
        metrics::counter!("muster_key_verifications_total", "code" => label(answer.code()))
            .increment(1);
        Ok(answer)
    }
}

/// The permission that a key must have, if any; `None` if there is none of
/// that name.
fn wanted(permission: &str) -> Option<Permissions> {
    let names = (!permission.is_empty()).then_some(permission);
    Permissions::from_names(names).ok()
}

fn no_permission(field: String) -> Violation {
    Violation {
        field,
        rule: "permission",
        description: "is no permission; MemberService.ListRoles shows them all".to_owned(),
    }
}

/// Of another tenant's key nothing is told, not even that there is one.
fn refused_in(tenant: TenantId, refused: &Refused) -> VerifyApiKeyResponse {
    match refused.tenant {
        Some(of) if of != tenant.0 => refusal(Refusal::Unknown, None),
        _ => refusal(refused.why, refused.known.as_deref()),
    }
}

fn refusal(why: Refusal, known: Option<&Known>) -> VerifyApiKeyResponse {
    VerifyApiKeyResponse {
        code: why.code().into(),
        message: why.message().to_owned(),
        ..known.map(details).unwrap_or_default()
    }
}

/// What the key is.
fn details(known: &Known) -> VerifyApiKeyResponse {
    let owner = known.owner.map(|user| Principal::User(user).to_string());
    VerifyApiKeyResponse {
        principal: known.principal.to_string(),
        owner: owner.unwrap_or_default(),
        tenant_id: known.tenant.to_string(),
        tenant_number: known.tenant_number,
        permissions: known.permissions.names().map(str::to_owned).collect(),
        display_name: known.display_name.clone(),
        metadata: grants::shown(known.metadata.clone()),
        environment: known.environment.clone(),
        expire_time: known.end_time.map(timestamp),
        superseded: known.superseded,
        lookup_time: Some(timestamp(known.looked_up)),
        revocable_sha256: known.revocables.iter().map(hashed).collect(),
        ..Default::default()
    }
}

/// A subject as it is told to whoever may not know what others are called.
pub(crate) fn hashed(subject: impl ToString) -> Vec<u8> {
    sha256(subject.to_string().as_bytes()).to_vec()
}

fn label(code: Code) -> String {
    code.as_str_name()
        .trim_start_matches("CODE_")
        .to_ascii_lowercase()
}

/// What a tenant is told of a batch: its own, and what is no tenant's. The
/// subjects are hashed, so that only who knows one can find it.
fn revoked(tenant: TenantId, batch: Vec<Told>, synchronised: bool) -> WatchRevokedResponse {
    let own = batch
        .into_iter()
        .filter(|told| told.tenant.is_none_or(|of| of == tenant.0));
    let revoked = own.map(|told| Revoked {
        subject_sha256: hashed(told.subject),
        revoke_time: Some(timestamp(told.revoke_time)),
        forget_time: Some(timestamp(told.forget_time)),
    });
    WatchRevokedResponse {
        revoked: revoked.collect(),
        synchronised,
    }
}
