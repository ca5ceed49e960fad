//! Asks Muster what a credential is.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use proto::keys::key_verification_service_client::KeyVerificationServiceClient;
use proto::keys::token_service_client::TokenServiceClient;
use proto::keys::{
    IntrospectTokenRequest, IntrospectTokenResponse, VerifyApiKeyRequest, VerifyApiKeyResponse,
    WatchRevokedRequest, WatchRevokedResponse,
};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::credential::Presented;
use crate::principal::Principal;
use crate::refusal::Refusal;
use crate::revoked::{Subject, micros};

/// How long an answer may take, with all that is tried.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before asking again after an answer that was lost.
const AGAIN: Duration = Duration::from_millis(100);
/// How often a question is asked whose answer is lost: Muster ends connections
/// from time to time, so that calls find its new processes.
const TRIES: usize = 3;

/// The longest that Muster takes of each.
const LONGEST_KEY: usize = 1024;
const LONGEST_TOKEN: usize = 8192;
const LONGEST_USER_AGENT: usize = 1000;

/// Bytes that a message may have: the first one of the stream tells everything
/// that was revoked within the hour.
const LARGEST: usize = 64 << 20;

/// Muster, and the key by which this service asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Muster {
    keys: KeyVerificationServiceClient<Channel>,
    tokens: TokenServiceClient<Channel>,
    authorization: AsciiMetadataValue,
}

/// From where a credential was presented, and by what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) source: Option<IpAddr>,
    pub(crate) user_agent: String,
}

/// What Muster says of a credential that is good.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) principal: Principal,
    /// When the credential was looked up, in microseconds since 1970.
    pub(crate) moment: Option<i64>,
    /// Whose revocation ends it.
    pub(crate) revocables: Vec<Subject>,
}

impl Muster {
    pub(crate) fn new(channel: Channel, authorization: AsciiMetadataValue) -> Self {
        Self {
            keys: KeyVerificationServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST),
            tokens: TokenServiceClient::new(channel),
            authorization,
        }
    }

    /// What a credential is.
    pub(crate) async fn ask(
        &self,
        presented: &Presented,
        origin: &Origin,
    ) -> Result<Answer, Refusal> {
        match presented {
            Presented::ApiKey(key) if key.len() > LONGEST_KEY => Err(Refusal::malformed()),
            Presented::Token(token) if token.len() > LONGEST_TOKEN => Err(Refusal::token()),
            Presented::ApiKey(key) => {
                let message = VerifyApiKeyRequest {
                    api_key: key.clone(),
                    permission: String::new(),
                    source: origin.source.map(|ip| ip.to_string()).unwrap_or_default(),
                    user_agent: shortened(&origin.user_agent),
                };
                let ask = || {
                    let (mut keys, request) = (self.keys.clone(), self.request(message.clone()));
                    async move { keys.verify_api_key(request).await }
                };
                of_key(patiently(ask).await?)
            }
            Presented::Token(token) => {
                let message = IntrospectTokenRequest {
                    access_token: token.clone(),
                };
                let ask = || {
                    let (mut tokens, request) =
                        (self.tokens.clone(), self.request(message.clone()));
                    async move { tokens.introspect_token(request).await }
                };
                of_token(patiently(ask).await?)
            }
        }
    }

    /// Everything that is revoked, and then what will be.
    pub(crate) async fn watch(&self) -> Result<Streaming<WatchRevokedResponse>, Status> {
        let mut request = Request::new(WatchRevokedRequest {});
        self.authorize(&mut request);
        Ok(self.keys.clone().watch_revoked(request).await?.into_inner())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        self.authorize(&mut request);
        request.set_timeout(PATIENCE);
        request
    }

    fn authorize<T>(&self, request: &mut Request<T>) {
        let value = self.authorization.clone();
        request.metadata_mut().insert("authorization", value);
    }
}

/// Whether Muster does not take the key of this service, or lets it not ask.
pub(crate) fn is_refused(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied
    )
}

/// The answer to a question; what is lost is asked for again. What no answer
/// comes to is not found out.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, Refusal>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let asked = tokio::time::timeout(PATIENCE, async {
        let mut tried = 1;
        loop {
            match ask().await {
                Err(status) if is_lost(&status) && tried < TRIES => tried += 1,
                answer => return answer,
            }
            tokio::time::sleep(AGAIN).await;
        }
    });
    let status = match asked.await {
        Ok(Ok(answer)) => return Ok(answer.into_inner()),
        Ok(Err(status)) => status,
        Err(_) => Status::deadline_exceeded("no answer in time"),
    };
    if is_refused(&status) {
        tracing::error!(%status, "Muster does not let this service's key verify others");
    } else if is_lost(&status) {
        // The stream has ended as well, and that is told once.
        tracing::debug!(%status, "can't ask Muster");
    } else {
        tracing::warn!(%status, "Muster does not answer");
    }
    Err(Refusal::Unavailable)
}

/// Whether a question may not have arrived.
fn is_lost(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled
    )
}

fn of_key(said: VerifyApiKeyResponse) -> Result<Answer, Refusal> {
    if !said.valid {
        return Err(Refusal::key(said.code(), said.message));
    }
    Ok(Answer {
        moment: said.lookup_time.as_ref().map(micros),
        revocables: subjects(&said.revocable_sha256),
        principal: Principal {
            principal: said.principal,
            owner: said.owner,
            tenant_id: said.tenant_id,
            permissions: said.permissions.into_iter().collect(),
            display_name: said.display_name,
            metadata: said.metadata,
            environment: said.environment,
            expire_time: said.expire_time.and_then(|time| time.try_into().ok()),
            superseded: said.superseded,
        },
    })
}

fn of_token(said: IntrospectTokenResponse) -> Result<Answer, Refusal> {
    if !said.active {
        return Err(Refusal::token());
    }
    let expiry = u64::try_from(said.exp).unwrap_or_default();
    let scope = said.scope.split(' ').filter(|word| !word.is_empty());
    let permissions: BTreeSet<_> = scope.map(ToOwned::to_owned).collect();
    Ok(Answer {
        moment: said.lookup_time.as_ref().map(micros),
        revocables: subjects(&said.revocable_sha256),
        principal: Principal {
            principal: said.sub,
            tenant_id: said.tenant_id,
            permissions,
            expire_time: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(expiry)),
            ..Principal::default()
        },
    })
}

fn subjects(told: &[Vec<u8>]) -> Vec<Subject> {
    let subjects = told.iter().map(|hash| hash.as_slice().try_into());
    subjects.filter_map(Result::ok).collect()
}

/// As much of it as Muster takes.
fn shortened(user_agent: &str) -> String {
    user_agent.chars().take(LONGEST_USER_AGENT).collect()
}

impl Answer {
    /// Whether Muster says as of when it holds, and what ends it.
    pub(crate) fn may_be_remembered(&self) -> bool {
        self.moment.is_some() && !self.revocables.is_empty()
    }

    /// Whether the credential has not expired, by this machine's clock.
    pub(crate) fn is_current(&self) -> bool {
        #[expect(clippy::disallowed_methods, reason = "the one look at the clock")]
        let now = SystemTime::now();
        self.principal.expire_time.is_none_or(|end| now < end)
    }
}
