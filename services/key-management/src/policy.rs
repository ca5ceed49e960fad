//! KeyPolicyService: what the keys of a tenant may be.

use chassis::error::Constraint;
use chassis::mask::{Fields, field};
use chassis::permissions::Permissions;
use chassis::store::ReadTx;
use chassis::time::timestamp;
use chassis::{Error, Result, open};
use proto::Violation;
use proto::keys::key_policy_service_server::KeyPolicyService;
use proto::keys::{GetKeyPolicyRequest, KeyPolicy, UpdateKeyPolicyRequest};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::EntityTrait;
use sea_orm::prelude::DateTimeUtc;
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::entity::key_policy::{ActiveModel, Entity, Model};
use crate::grants;

/// The longest life or overlap that a policy can name, in seconds: a hundred
/// years, so that moments can be told.
const LONGEST: i64 = 100 * 366 * 24 * 3600;

/// What updates may change.
const FIELDS: Fields<KeyPolicy> = Fields {
    message: "key_policy",
    input: &[
        field!(max_life),
        field!(expiry_required),
        field!(allowed_permissions),
        field!(max_overlap),
        field!(leak_action),
    ],
    output: &["update_time"],
};

pub(crate) struct Policies(pub(crate) Parts);

#[tonic::async_trait]
impl KeyPolicyService for Policies {
    async fn get_key_policy(
        &self,
        request: Request<GetKeyPolicyRequest>,
    ) -> Result<Response<KeyPolicy>, Status> {
        let (caller, _) = open(request)?;
        let tx = self.0.store.read(&caller).await?;
        let row = of(&tx).await?;
        Ok(Response::new(row.map(shown).unwrap_or_default()))
    }

    async fn update_key_policy(
        &self,
        request: Request<UpdateKeyPolicyRequest>,
    ) -> Result<Response<KeyPolicy>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req.key_policy.unwrap_or_default();
        let mask = req.update_mask.as_ref();
        let now = self.0.clock.now();
        let what = ("tenants", format!("{}/keyPolicy", caller.tenant().0));
        let row = self
            .0
            .store
            .change(&caller, what, async |tx| {
                let row = tx.one(Entity::find()).await?;
                let number = row.as_ref().map(|row| row.number);
                let current = row.map(shown).unwrap_or_default();
                let columns = columns(&FIELDS.merge(mask, &wanted, current)?, now)?;
                let Some(number) = number else {
                    return tx.insert(columns).await.map_err(made_meanwhile);
                };
                tx.update(ActiveModel {
                    number: Unchanged(number),
                    ..columns
                })
                .await
            })
            .await?;
        Ok(Response::new(shown(row)))
    }
}

/// The policy of the transaction's tenant, if it has one.
pub(crate) async fn of(tx: &ReadTx) -> Result<Option<Model>> {
    tx.one(Entity::find()).await
}

/// Whoever else made the first row has it: this change is made anew upon that.
fn made_meanwhile(error: Error) -> Error {
    match error {
        Error::Constraint(Constraint::Unique(_)) => Error::Contention,
        error => error,
    }
}

fn columns(policy: &KeyPolicy, now: DateTimeUtc) -> Result<ActiveModel> {
    let mut violations = grants::unknown(
        &policy.allowed_permissions,
        "key_policy.allowed_permissions",
    );
    let mut seconds = |duration: &Option<prost_types::Duration>, field: &str| {
        let duration = duration.as_ref()?;
        if duration.nanos != 0 || duration.seconds > LONGEST {
            violations.push(Violation {
                field: format!("key_policy.{field}"),
                rule: "value",
                description: "must be whole seconds, and at most a hundred years".to_owned(),
            });
        }
        Some(duration.seconds)
    };
    let max_life = seconds(&policy.max_life, "max_life");
    let max_overlap = seconds(&policy.max_overlap, "max_overlap");
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    Ok(ActiveModel {
        max_life: Set(max_life),
        expiry_required: Set(policy.expiry_required),
        allowed_permissions: Set(policy.allowed_permissions.join(" ")),
        max_overlap: Set(max_overlap),
        leak_action: Set(policy.leak_action),
        update_time: Set(now),
        ..Default::default()
    })
}

fn shown(row: Model) -> KeyPolicy {
    let duration = |seconds| prost_types::Duration { seconds, nanos: 0 };
    KeyPolicy {
        max_life: row.max_life.map(duration),
        expiry_required: row.expiry_required,
        allowed_permissions: Permissions::from_scope(&row.allowed_permissions)
            .names()
            .map(str::to_owned)
            .collect(),
        max_overlap: row.max_overlap.map(duration),
        leak_action: row.leak_action,
        update_time: Some(timestamp(row.update_time)),
    }
}
