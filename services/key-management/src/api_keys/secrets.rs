//! The secrets of a key: a new one beside the old one, until nobody uses that
//! any more.

use chassis::time::date_time;
use chassis::{Caller, Error, Result};
use proto::keys::{
    ExtendApiKeyRotationRequest, RotateApiKeyRequest, RotateApiKeyResponse, Rotation,
};
use sea_orm::{ActiveValue::Set, IntoActiveModel};

use super::{API_KEYS, ApiKeys, found, living, shown, usable};
use crate::entity::api_key::{ActiveModel, Model};
use crate::key_format;
use crate::policy;
use crate::rotation::{Holder, longest, overlap};
use chassis::caller::Principal;
use chassis::permissions::Permissions;

impl ApiKeys {
    pub(super) async fn rotate(
        &self,
        caller: &Caller,
        req: &RotateApiKeyRequest,
    ) -> Result<RotateApiKeyResponse> {
        let now = self.0.clock.now();
        let secret = key_format::new_secret()?;
        let hash = self.0.vault.peppers().await?.hash(&secret)?;
        let rotated = self
            .0
            .store
            .change(caller, (API_KEYS, &req.id), async |tx| {
                let row = usable(found(tx, &req.id).await?, now)?;
                may_hold(caller, &row)?;
                let policy = policy::of(tx).await?;
                let overlap = overlap(req.overlap.as_ref(), policy.as_ref(), "overlap")?;
                let key = Holder::Key(row.id);
                key.rotate(tx, &self.0.revoker, hash.into(), overlap, now)
                    .await?;
                let foreign_format = match overlap.is_zero() {
                    true => 0,
                    false => row.foreign_format,
                };
                let row = tx.update(ActiveModel {
                    foreign_format: Set(foreign_format),
                    update_time: Set(Some(now)),
                    ..row.into_active_model()
                });
                let row = row.await?;
                Ok(RotateApiKeyResponse {
                    // What it began with stays, whatever new keys begin with.
                    secret: key_format::write(&row.prefix, &row.environment, row.id, &secret),
                    rotation: Some(key.rotation(tx, now).await?),
                    api_key: Some(shown(tx, row, now).await?),
                })
            });
        rotated.await
    }

    /// Ends the overlap now.
    pub(super) async fn finish(&self, caller: &Caller, id: &str) -> Result<Rotation> {
        let now = self.0.clock.now();
        let finished = self.0.store.change(caller, (API_KEYS, id), async |tx| {
            let row = found(tx, id).await?;
            let key = Holder::Key(row.id);
            key.end_overlap(tx, &self.0.revoker, now, now).await?;
            tx.update(ActiveModel {
                // Only the secret that has just ended can have been foreign.
                foreign_format: Set(0),
                update_time: Set(Some(now)),
                ..row.into_active_model()
            })
            .await?;
            key.rotation(tx, now).await
        });
        finished.await
    }

    /// Lets the overlap end at another time.
    pub(super) async fn extend(
        &self,
        caller: &Caller,
        req: &ExtendApiKeyRotationRequest,
    ) -> Result<Rotation> {
        let now = self.0.clock.now();
        let end = req.end_time.as_ref().and_then(date_time);
        let end = end
            .filter(|end| *end > now)
            .ok_or_else(|| Error::invalid("end_time", "must be in the future"))?;
        let extended = self
            .0
            .store
            .change(caller, (API_KEYS, &req.id), async |tx| {
                let row = living(found(tx, &req.id).await?)?;
                may_hold(caller, &row)?;
                let key = Holder::Key(row.id);
                let longest = longest(policy::of(tx).await?.as_ref());
                let replaced = key.replaced(tx).await?.unwrap_or(now);
                if end > replaced + longest {
                    return Err(Error::invalid(
                        "end_time",
                        format!(
                            "is later than the tenant's policy allows: at most {} seconds after the new secret was made",
                            longest.num_seconds()
                        ),
                    ));
                }
                key.end_overlap(tx, &self.0.revoker, end, now).await?;
                let row = row.into_active_model();
                tx.update(ActiveModel {
                    update_time: Set(Some(now)),
                    ..row
                })
                .await?;
                key.rotation(tx, now).await
            });
        extended.await
    }
}

/// Whoever is told a key's secret, or lets one work for longer, holds what it
/// allows: else rotating were a way to more.
fn may_hold(caller: &Caller, row: &Model) -> Result<()> {
    let owner = row.owner.map(Principal::User);
    if owner.is_some_and(|owner| owner != *caller.principal()) {
        return Err(Error::denied(
            "OWNER_NOT_CALLER",
            "only the user who owns a key decides about its secrets",
        ));
    }
    caller.may_grant(Permissions::from_scope(&row.permissions))
}
