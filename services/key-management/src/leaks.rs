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
use sea_orm::prelude::Uuid;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, UpdateMany};
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::entity::{api_key, key_policy};

use github::Github;

/// How many found keys one report may have.
const MOST: usize = 1000;
/// How many characters of where a key was found are kept.
const SOURCE: usize = 2000;

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
        if let Some((tenant, key)) = self.parts.lookup.identify(&req.api_key).await? {
            let record = Record::new(tenant, &Principal::Key(key), ("apiKeys", key));
            self.parts
                .store
                .change_global("end a key that its holder gives up", record, async |tx| {
                    let query = revoked(key, "surrendered by a holder", self.parts.clock.now());
                    tx.update_many(query).await?;
                    self.end(tx, tenant, key).await
                })
                .await?;
        }
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
    /// Does with a found key what the policy of its tenant says; whether it is one.
    async fn take(&self, presented: &str, source: &str) -> Result<bool> {
        let Some((tenant, key)) = self.parts.lookup.identify(presented).await? else {
            return Ok(false);
        };
        let now = self.parts.clock.now();
        let source: String = source.chars().take(SOURCE).collect();
        let record = Record::new(tenant, &Principal::Key(key), ("apiKeys", key));
        let action = self
            .parts
            .store
            .change_global(
                "do what a tenant wants with a key that was found",
                record,
                async |tx| {
                    let policy =
                        key_policy::Entity::find().filter(key_policy::Column::TenantId.eq(tenant));
                    let policy = tx.one(policy).await?;
                    let action = policy.and_then(|row| LeakAction::try_from(row.leak_action).ok());
                    let found = api_key::Entity::update_many()
                        .col_expr(api_key::Column::LeakTime, Expr::value(now))
                        .col_expr(api_key::Column::LeakSource, Expr::value(source))
                        .filter(api_key::Column::Id.eq(key));
                    tx.update_many(found).await?;
                    match action {
                        Some(LeakAction::Notify) => return Ok("notify"),
                        Some(LeakAction::Disable) => {
                            let disabled = api_key::Entity::update_many()
                                .col_expr(api_key::Column::Disabled, Expr::value(true))
                                .filter(api_key::Column::Id.eq(key));
                            tx.update_many(disabled).await?;
                            self.end(tx, tenant, key).await?;
                            return Ok("disable");
                        }
                        _ => {}
                    }
                    tx.update_many(revoked(key, "found where it should not be", now))
                        .await?;
                    self.end(tx, tenant, key).await?;
                    Ok("revoke")
                },
            )
            .await?;
        let from = context::current().and_then(|call| call.source);
        let from = from.map(context::network).unwrap_or_default();
        tracing::warn!(%tenant, %key, action, from, "a leaked API key was reported");
        metrics::counter!("muster_leaks_total", "action" => action).increment(1);
        Ok(true)
    }

    async fn end(&self, tx: &GlobalTx, tenant: Uuid, key: Uuid) -> Result<()> {
        let key = Revocable::Principal(Principal::Key(key));
        self.parts.revoker.write_global(tx, &key, tenant).await
    }
}

/// Revokes a key, if nobody has: the first reason stays.
fn revoked(
    key: Uuid,
    reason: &str,
    now: sea_orm::prelude::DateTimeUtc,
) -> UpdateMany<api_key::Entity> {
    api_key::Entity::update_many()
        .col_expr(api_key::Column::RevokeTime, Expr::value(now))
        .col_expr(api_key::Column::RevokeReason, Expr::value(reason))
        .filter(api_key::Column::Id.eq(key))
        .filter(api_key::Column::RevokeTime.is_null())
}
