//! Secrets of webhooks as they are kept: encrypted, with a key that key
//! management has. The database alone signs nothing.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::ServiceIdentity;
use chassis::store::{GlobalTx, Store};
use chassis::wrap::WrappingKey;
use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use proto::keys::GetDataKeyRequest;
use proto::keys::credential_service_client::CredentialServiceClient;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::secret::PREFIX;
use crate::entity::webhook::{Column, Entity, Model};

/// How long to wait for key management.
const RETRY: Duration = Duration::from_secs(5);
/// How many of those that were kept plain are encrypted at a time.
const AT_ONCE: u64 = 100;

/// Encrypts and decrypts. Cheap to clone; clones share.
#[derive(Clone)]
pub(super) struct Keeper(Arc<Inner>);

struct Inner {
    peers: Peers,
    identity: ServiceIdentity,
    key: OnceCell<WrappingKey>,
}

impl Keeper {
    pub(super) fn new(peers: Peers, identity: ServiceIdentity) -> Self {
        Self(Arc::new(Inner {
            peers,
            identity,
            key: OnceCell::new(),
        }))
    }

    /// The key, which key management is asked for once. Fails as long as it
    /// can't be reached.
    pub(super) async fn key(&self) -> Result<&WrappingKey> {
        let Inner {
            peers,
            identity,
            key,
        } = &*self.0;
        let ask = async || {
            let mut keys = CredentialServiceClient::new(peers.get(ServiceName::KeyManagement));
            let request = identity.request(GetDataKeyRequest {})?;
            WrappingKey::new(&keys.get_data_key(request).await?.into_inner().key)
        };
        key.get_or_try_init(ask).await
    }

    /// Encrypts what was kept plain before there was a key.
    pub(super) async fn wrap_plain(self, store: Store) {
        while let Err(error) = self.wrap_all(&store).await {
            tracing::warn!(%error, "can't encrypt the secrets of webhooks yet");
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn wrap_all(&self, store: &Store) -> Result<()> {
        let plain = Condition::any()
            .add(Column::Secret.starts_with(PREFIX))
            .add(Column::OldSecret.starts_with(PREFIX));
        let plain = Entity::find().filter(plain).limit(AT_ONCE);
        loop {
            let tx = store.global("find secrets of webhooks that are plain");
            let rows = tx.await?.all(plain.clone()).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let key = self.key().await?;
            // The secrets stay what they are: there is nothing to record.
            let wrap = async |tx: &GlobalTx| {
                for row in &rows {
                    wrap_row(tx, key, row).await?;
                }
                Ok(())
            };
            store
                .change_global("encrypt secrets of webhooks", None, wrap)
                .await?;
        }
    }
}

/// Unless they were rotated meanwhile.
async fn wrap_row(tx: &GlobalTx, key: &WrappingKey, row: &Model) -> Result<()> {
    let (tenant, id) = (row.tenant_id, row.id);
    let wrapped = |secret: &str| match secret.starts_with(PREFIX) {
        true => wrap(key, tenant, id, secret),
        false => Ok(secret.to_owned()),
    };
    let old = row.old_secret.as_deref().map(wrapped).transpose()?;
    let update = Entity::update_many()
        .col_expr(Column::Secret, Expr::value(wrapped(&row.secret)?))
        .col_expr(Column::OldSecret, Expr::value(old))
        .filter(Column::Number.eq(row.number))
        .filter(Column::Secret.eq(&row.secret));
    tx.update_many(update).await.map(drop)
}

/// The secret of a webhook as it is kept.
pub(super) fn wrap(key: &WrappingKey, tenant: Uuid, webhook: Uuid, secret: &str) -> Result<String> {
    let wrapped = key.wrap(&name(tenant, webhook), secret.as_bytes())?;
    Ok(BASE64_STANDARD.encode(wrapped))
}

/// The secrets by which a delivery is signed now: that of the webhook, and the
/// one before for as long as both count.
pub(super) fn secrets(
    key: &WrappingKey,
    webhook: &Model,
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let old = webhook.old_secret.as_deref();
    let old = old.filter(|_| webhook.old_secret_end_time.is_some_and(|end| end > now));
    let name = name(webhook.tenant_id, webhook.id);
    let unwrap = |kept: &str| {
        if kept.starts_with(PREFIX) {
            return Some(kept.to_owned());
        }
        let wrapped = BASE64_STANDARD.decode(kept).ok()?;
        String::from_utf8(key.unwrap(&name, &wrapped)?).ok()
    };
    let all = std::iter::once(&*webhook.secret).chain(old).map(unwrap);
    all.collect::<Option<_>>()
        .ok_or_else(|| Error::internal("the secret was encrypted with another key"))
}

/// What is bound to an encrypted secret: tenants may choose the same ids.
fn name(tenant: Uuid, webhook: Uuid) -> String {
    format!("webhooks/{tenant}/{webhook}")
}
