//! LeakService: keys that were found where they should not be. Whoever has a
//! key may report or end it; no answer says whether it is one, except to
//! GitHub, whose signature was checked.

mod github;

use chassis::caller::Principal;
use chassis::revocation::Revocable;
use chassis::store::{GlobalTx, Record};
use chassis::{Error, Result, context, open_public};
use proto::HttpBody;
use proto::keys::key_policy::LeakAction;
use proto::keys::leak_service_server::LeakService;
use proto::keys::{
    ReportLeakRequest, ReportLeakResponse, SurrenderApiKeyRequest, SurrenderApiKeyResponse,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, UpdateMany};
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::entity::api_key::Column as Key;
use crate::entity::{api_key, key_policy};
use crate::lookup::Identified;

use github::Github;

/// How many found keys one report may have.
const MOST: usize = 1000;
/// How many characters of where a key was found are kept.
const SOURCE: usize = 2000;
/// What is done about a secret, or a key, that has ended.
const ENDED: &str = "ended";

pub(crate) struct Leaks {
    parts: Parts,
    github: Github,
}

impl Leaks {
    pub(crate) fn new(parts: Parts) -> Self {
        let github = Github::new(parts.settings.github_keys.clone());
        Self { parts, github }
    }
}

#[tonic::async_trait]
impl LeakService for Leaks {
    async fn surrender_api_key(
        &self,
        request: Request<SurrenderApiKeyRequest>,
    ) -> Result<Response<SurrenderApiKeyResponse>, Status> {
        let req = open_public(request)?;
        self.surrender(&req.api_key).await?;
        Ok(Response::new(SurrenderApiKeyResponse {}))
    }

    async fn report_leak(
        &self,
        request: Request<ReportLeakRequest>,
    ) -> Result<Response<ReportLeakResponse>, Status> {
        let req = open_public(request)?;
        self.take(&req.api_key, &req.source).await?;
        Ok(Response::new(ReportLeakResponse {}))
    }

    async fn report_github_leaks(
        &self,
        request: Request<HttpBody>,
    ) -> Result<Response<HttpBody>, Status> {
        let (metadata, _, body) = request.into_parts();
        self.github.check(&metadata, &body.data).await?;
        let found = github::read(&body.data, MOST)?;
        let mut labels = Vec::with_capacity(found.len());
        for found in found {
            let known = self.take(&found.token, &found.url).await?;
            labels.push(found.label(known));
        }
        let data = serde_json::to_vec(&labels).map_err(Error::internal)?;
        Ok(Response::new(HttpBody {
            content_type: "application/json".to_owned(),
            data,
        }))
    }
}

impl Leaks {
    /// Revokes a key by a secret that still works.
    async fn surrender(&self, presented: &str) -> Result<()> {
        let found = self.parts.lookup.identify(presented).await?;
        let Some(found) = found.filter(|found| !found.ended) else {
            return Ok(());
        };
        let done = self
            .parts
            .store
            .change_global(
                "end a key that its holder gives up",
                record(&found),
                async |tx| self.revoke(tx, &found, "surrendered by a holder").await,
            )
            .await;
        if_any(done).map(drop)
    }

    /// Does with a found key what the policy of its tenant says; whether it is
    /// one, and not what was rotated away long before.
    async fn take(&self, presented: &str, source: &str) -> Result<bool> {
        let Some(found) = self.parts.lookup.identify(presented).await? else {
            return Ok(false);
        };
        let source: String = source.chars().take(SOURCE).collect();
        let done = self
            .parts
            .store
            .change_global(
                "do what a tenant wants with a key that was found",
                record(&found),
                async |tx| {
                    self.note(tx, &found, source).await?;
                    match found.ended {
                        // The key's present secret was not found.
                        true => Ok(ENDED),
                        false => self.act(tx, &found).await,
                    }
                },
            )
            .await;
        let action = if_any(done)?.unwrap_or(ENDED);
        let Identified { tenant, key, .. } = found;
        let from = context::current().and_then(|call| call.source);
        let from = from.map(context::network).unwrap_or_default();
        tracing::warn!(%tenant, %key, action, from, "a leaked API key was reported");
        metrics::counter!("muster_leaks_total", "action" => action).increment(1);
        Ok(!found.ended)
    }

    /// Notes when and where a key was found, if it is not revoked.
    async fn note(&self, tx: &GlobalTx, found: &Identified, source: String) -> Result<()> {
        let noted = living(found)
            .col_expr(Key::LeakTime, Expr::value(self.parts.clock.now()))
            .col_expr(Key::LeakSource, Expr::value(source));
        match tx.update_many(noted).await? {
            0 => Err(nothing(found)),
            _ => Ok(()),
        }
    }

    /// What the policy says of a secret that works; what was done.
    async fn act(&self, tx: &GlobalTx, found: &Identified) -> Result<&'static str> {
        let policy =
            key_policy::Entity::find().filter(key_policy::Column::TenantId.eq(found.tenant));
        let policy = tx.one(policy).await?;
        match policy.and_then(|row| LeakAction::try_from(row.leak_action).ok()) {
            Some(LeakAction::Notify) => Ok("notify"),
            Some(LeakAction::Disable) => {
                let disabled = living(found)
                    .col_expr(Key::Disabled, Expr::value(true))
                    .filter(Key::Disabled.eq(false));
                if tx.update_many(disabled).await? > 0 {
                    self.end(tx, found).await?;
                }
                Ok("disable")
            }
            _ => {
                self.revoke(tx, found, "found where it should not be")
                    .await?;
                Ok("revoke")
            }
        }
    }

    /// Revokes a key, if nobody has: the first reason stays.
    async fn revoke(&self, tx: &GlobalTx, found: &Identified, reason: &str) -> Result<()> {
        let revoked = living(found)
            .col_expr(Key::RevokeTime, Expr::value(self.parts.clock.now()))
            .col_expr(Key::RevokeReason, Expr::value(reason));
        match tx.update_many(revoked).await? {
            0 => Err(nothing(found)),
            _ => self.end(tx, found).await,
        }
    }

    async fn end(&self, tx: &GlobalTx, found: &Identified) -> Result<()> {
        let key = Revocable::Principal(Principal::Key(found.key));
        let revoker = &self.parts.revoker;
        revoker.write_global(tx, &key, found.tenant).await
    }
}

/// Nobody has logged in, so nobody is known: the key stands for whoever has it.
fn record(found: &Identified) -> Record {
    let actor = Principal::Key(found.key);
    Record::new(found.tenant, &actor, ("apiKeys", found.key))
}

/// A change of a key that is not revoked.
fn living(found: &Identified) -> UpdateMany<api_key::Entity> {
    api_key::Entity::update_many()
        .filter(Key::Id.eq(found.key))
        .filter(Key::RevokeTime.is_null())
}

/// Nothing is left to change, so nothing goes into the record either.
fn nothing(found: &Identified) -> Error {
    Error::not_found("living API key", found.key)
}

/// What was done, if there was anything to do.
fn if_any<T>(done: Result<T>) -> Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
