//! Whether a device is who it says.
//!
//! What was good is remembered by its hash with the moment at which it was
//! looked up, by the clock of the database; a change of the device at that
//! moment or later makes it worthless ([`changes`]). So a call that is warm
//! runs no SQL, and what is taken from a device is taken everywhere within a
//! second. What was wrong is not remembered.

mod changes;
mod failures;
pub(crate) mod find;
mod told;
mod usage;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chassis::caller::Principal;
use chassis::caller::TenantId;
use chassis::hash::sha256;
use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::ServiceIdentity;
use chassis::store::Store;
use chassis::time::timestamp;
use chassis::{Caller, Clock, Error, Result, open};
use chrono::{DateTime, Utc};
use proto::keys::MintDeviceTokenRequest;
use proto::keys::credential_service_client::CredentialServiceClient;
use proto::registry::authenticate_device_request::{Device as Named, Proof as Presents};
use proto::registry::check_device_request::Device as Checked;
use proto::registry::device_authentication_service_server::DeviceAuthenticationService;
use proto::registry::{
    AuthenticateDeviceRequest, AuthenticateDeviceResponse, CheckDeviceRequest, CheckDeviceResponse,
    Device, DeviceIdentity, DeviceVerdict as Verdict, GetCallingDeviceRequest,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::certificates::{Presented, unhex};
use crate::entity::device_credential::{Column, Entity};
use crate::{device_row, ids, references};
use changes::Changes;
use failures::Failures;
use told::told;
use usage::Usage;

/// How many answers are remembered.
const REMEMBERED: u64 = 100_000;
/// How long: what nobody uses need not stay.
const LIFE: Duration = Duration::from_secs(300);
/// How coarse the last use is, in seconds.
const COARSE: i64 = 60;

/// Answers calls about who a device is.
pub(crate) struct Authentication {
    store: Store,
    clock: Clock,
    peers: Peers,
    identity: ServiceIdentity,
    known: moka::sync::Cache<[u8; 32], Arc<Known>>,
    changes: Changes,
    failures: Failures,
    usage: Usage,
}

/// What a device is named by.
enum Name {
    Id(Uuid),
    SerialNumber(String),
    ExternalId(String),
    Code(String),
    Any(String),
}

/// What a device presents.
enum Proof {
    /// SHA-256 of its secret.
    Secret([u8; 32]),
    Fingerprint([u8; 32]),
    Certificate(Presented),
}

/// A device that may act, as it was looked up.
struct Known {
    looked_up: DateTime<Utc>,
    device: Uuid,
    identity: DeviceIdentity,
    /// The id and the number of its credential, if it has one of its own.
    credential: Option<(Uuid, i64)>,
    is_first: bool,
    /// When what it presented stops being good.
    end: Option<DateTime<Utc>>,
    /// When its use was last noted, in seconds since 1970.
    noted: AtomicI64,
}

impl Known {
    fn new(
        looked_up: DateTime<Utc>,
        device: Uuid,
        identity: DeviceIdentity,
        end: Option<DateTime<Utc>>,
    ) -> Self {
        Self {
            looked_up,
            device,
            identity,
            credential: None,
            is_first: false,
            end,
            noted: AtomicI64::new(0),
        }
    }
}

#[tonic::async_trait]
impl DeviceAuthenticationService for Authentication {
    async fn authenticate_device(
        &self,
        request: Request<AuthenticateDeviceRequest>,
    ) -> Result<Response<AuthenticateDeviceResponse>, Status> {
        let (caller, req) = open(request)?;
        let wants_token = req.issue_token;
        let verdict = self.authenticate(&caller, req).await?;
        let label = verdict.as_ref().err().copied().unwrap_or(Verdict::Valid);
        let label = label.as_str_name().trim_start_matches("DEVICE_VERDICT_");
        metrics::counter!("muster_device_authentications_total", "verdict" => label.to_ascii_lowercase())
            .increment(1);
        let answer = match verdict {
            Ok(known) => self.welcome(&caller, &known, wants_token).await?,
            Err(why) => AuthenticateDeviceResponse {
                verdict: why.into(),
                message: told(why).to_owned(),
                ..Default::default()
            },
        };
        Ok(Response::new(answer))
    }

    async fn check_device(
        &self,
        request: Request<CheckDeviceRequest>,
    ) -> Result<Response<CheckDeviceResponse>, Status> {
        let (caller, req) = open(request)?;
        let name = match req.device {
            Some(Checked::Id(id)) => Name::Id(ids::parse("id", &id)?),
            Some(Checked::Username(name)) => Name::Any(name),
            None => return Err(Error::invalid("device", "must be set").into()),
        };
        let answer = match self.check(&caller, &name).await? {
            Ok(known) => CheckDeviceResponse {
                valid: true,
                verdict: Verdict::Valid.into(),
                device: Some(known.identity.clone()),
            },
            Err(why) => CheckDeviceResponse {
                verdict: why.into(),
                ..Default::default()
            },
        };
        Ok(Response::new(answer))
    }

    async fn get_calling_device(
        &self,
        request: Request<GetCallingDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let (caller, _) = open(request)?;
        let Principal::Device(id) = *caller.principal() else {
            return Err(Error::denied(
                "DEVICE_REQUIRED",
                "only a device may do this, with its own token",
            )
            .into());
        };
        let tx = self.store.read(&caller).await?;
        let row = find::named(&tx, &Name::Id(id)).await?;
        // Its token may live on for some minutes.
        let row = row.filter(|row| find::in_use(&tx, row, None).is_ok());
        let row =
            row.ok_or_else(|| Error::denied("DEVICE_NOT_ACTIVE", told(Verdict::DeviceNotActive)))?;
        let tags = references::tags_on(&tx, id).await?;
        Ok(Response::new(device_row::message(row, &tags)))
    }
}

impl Authentication {
    pub(crate) fn new(store: Store, clock: Clock, peers: Peers, identity: ServiceIdentity) -> Self {
        let known = moka::sync::Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_live(LIFE)
            .build();
        Self {
            changes: Changes::follow(&store),
            usage: Usage::new(store.clone()),
            failures: Failures::new(),
            known,
            store,
            clock,
            peers,
            identity,
        }
    }

    async fn authenticate(
        &self,
        caller: &Caller,
        req: AuthenticateDeviceRequest,
    ) -> Result<Result<Arc<Known>, Verdict>> {
        let name = name(req.device)?;
        let Some(proof) = proof(req.proof)? else {
            return Ok(Err(Verdict::Malformed));
        };
        if name.is_none() && matches!(proof, Proof::Secret(_)) {
            return Err(Error::invalid("device", "must be set beside a secret"));
        }
        let tenant = caller.tenant().0;
        let named = digest(tenant, name.as_ref(), None);
        let digest = digest(tenant, name.as_ref(), Some(&proof));
        let now = self.clock.now();
        if let Some(known) = self.remembered(caller.tenant(), &digest) {
            return Ok(still(known, now));
        }
        let guessable = matches!(proof, Proof::Secret(_));
        if guessable && self.failures.too_many(&named, Instant::now()) {
            return Ok(Err(Verdict::TooManyFailures));
        }
        // Boxed, for what is remembered must not pay for its size.
        let find = Box::pin(async {
            let tx = self.store.read(caller).await?;
            let found = find::find(&tx, name.as_ref(), &proof, now).await?;
            drop(tx);
            match found {
                Ok(known) if known.is_first => self.first_use(caller, known).await,
                found => Ok(found),
            }
        });
        let found = find.await?;
        if guessable && matches!(found, Err(Verdict::Unknown)) {
            self.failures.count(named, Instant::now());
        }
        Ok(found.map(|known| {
            let known = Arc::new(known);
            self.known.insert(digest, known.clone());
            known
        }))
    }

    async fn check(&self, caller: &Caller, name: &Name) -> Result<Result<Arc<Known>, Verdict>> {
        let digest = digest(caller.tenant().0, Some(name), None);
        if let Some(known) = self.remembered(caller.tenant(), &digest) {
            return Ok(Ok(known));
        }
        let tx = self.store.read(caller).await?;
        let Some(device) = find::named(&tx, name).await? else {
            return Ok(Err(Verdict::Unknown));
        };
        Ok(find::in_use(&tx, &device, None).map(|known| {
            let known = Arc::new(known);
            self.known.insert(digest, known.clone());
            known
        }))
    }

    fn remembered(&self, tenant: TenantId, digest: &[u8; 32]) -> Option<Arc<Known>> {
        let known = self.known.get(digest)?;
        let good = self
            .changes
            .is_unchanged(tenant, known.device, known.looked_up);
        good.then_some(known)
    }

    /// Writes that a credential is used for the first time, before that is
    /// answered: from then on nobody claims the device anew without it.
    async fn first_use(&self, caller: &Caller, known: Known) -> Result<Result<Known, Verdict>> {
        let Some((id, _)) = known.credential else {
            return Ok(Ok(known));
        };
        let now = self.clock.now();
        let note = Entity::update_many()
            .col_expr(Column::FirstUseTime, Expr::value(now))
            .filter(Column::Id.eq(id))
            .filter(Column::FirstUseTime.is_null());
        let is_there = self
            .store
            .observe("note the first use of a credential", caller, async |tx| {
                if tx.update_many(note).await? > 0 {
                    return Ok(true);
                }
                let row = tx.one(Entity::find().filter(Column::Id.eq(id))).await?;
                Ok(row.is_some())
            })
            .await?;
        Ok(is_there.then_some(known).ok_or(Verdict::Unknown))
    }

    async fn welcome(
        &self,
        caller: &Caller,
        known: &Known,
        wants_token: bool,
    ) -> Result<AuthenticateDeviceResponse> {
        let now = self.clock.now();
        if let Some((_, number)) = known.credential
            && now.timestamp() - known.noted.load(Ordering::Relaxed) >= COARSE
        {
            known.noted.store(now.timestamp(), Ordering::Relaxed);
            self.usage.note(number, now);
        }
        let mut answer = AuthenticateDeviceResponse {
            valid: true,
            verdict: Verdict::Valid.into(),
            message: told(Verdict::Valid).to_owned(),
            device: Some(known.identity.clone()),
            credential_id: known
                .credential
                .map(|(id, _)| id.to_string())
                .unwrap_or_default(),
            expire_time: known.end.map(timestamp),
            ..Default::default()
        };
        if wants_token {
            let message = MintDeviceTokenRequest {
                device_id: known.device.to_string(),
                lookup_time: Some(timestamp(known.looked_up)),
                end_time: known.end.map(timestamp),
            };
            let request = self.identity.request_for(caller, &[], message)?;
            let mut keys = CredentialServiceClient::new(self.peers.get(ServiceName::KeyManagement));
            let token = keys.mint_device_token(request).await?.into_inner();
            answer.device_token = token.access_token;
            answer.device_token_expire_time = token.expire_time;
        }
        Ok(answer)
    }
}

/// What only time changes.
fn still(known: Arc<Known>, now: DateTime<Utc>) -> Result<Arc<Known>, Verdict> {
    match known.end.is_some_and(|end| end <= now) {
        true => Err(Verdict::Expired),
        false => Ok(known),
    }
}

fn name(device: Option<Named>) -> Result<Option<Name>> {
    Ok(Some(match device {
        Some(Named::Id(id)) => Name::Id(ids::parse("id", &id)?),
        Some(Named::SerialNumber(text)) => Name::SerialNumber(text),
        Some(Named::ExternalId(text)) => Name::ExternalId(text),
        Some(Named::Code(text)) => Name::Code(text),
        Some(Named::Username(text)) => Name::Any(text),
        None => return Ok(None),
    }))
}

/// What is presented; nothing if that is no certificate.
fn proof(presents: Option<Presents>) -> Result<Option<Proof>> {
    Ok(match presents {
        Some(Presents::Secret(secret)) => Some(Proof::Secret(sha256(secret.as_bytes()))),
        Some(Presents::Certificate(pem)) => Presented::from_pem(&pem).map(Proof::Certificate),
        Some(Presents::CertificateDer(der)) => Presented::from_der(der).map(Proof::Certificate),
        Some(Presents::CertificateSha256(hex)) => unhex(&hex)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Proof::Fingerprint),
        None => return Err(Error::invalid("proof", "must be set")),
    })
}

/// What an answer is remembered by: nothing of it can run into the next.
fn digest(tenant: Uuid, name: Option<&Name>, proof: Option<&Proof>) -> [u8; 32] {
    let mut bytes = tenant.as_bytes().to_vec();
    let (kind, text) = match name {
        Some(Name::Id(id)) => (b'i', id.to_string()),
        Some(Name::SerialNumber(text)) => (b's', text.clone()),
        Some(Name::ExternalId(text)) => (b'e', text.clone()),
        Some(Name::Code(text)) => (b'c', text.clone()),
        Some(Name::Any(text)) => (b'a', text.clone()),
        None => (b'-', String::new()),
    };
    bytes.push(kind);
    bytes.extend(text.len().to_be_bytes());
    bytes.extend(text.as_bytes());
    match proof {
        Some(Proof::Secret(hash)) => bytes.extend([b"s", &hash[..]].concat()),
        Some(Proof::Fingerprint(hash)) => bytes.extend([b"f", &hash[..]].concat()),
        Some(Proof::Certificate(presented)) => {
            bytes.extend([b"c", presented.bytes().as_slice()].concat());
        }
        None => {}
    }
    sha256(&bytes)
}
