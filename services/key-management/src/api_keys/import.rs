//! Keys of other systems that go on as they are.

use chassis::{Caller, Error, Result};
use proto::Violation;
use proto::keys::{ApiKey, ImportApiKeyRequest};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::{ApiKeys, New, chosen};
use crate::entity::generation;
use crate::foreign;

impl ApiKeys {
    pub(super) async fn import(&self, caller: &Caller, req: ImportApiKeyRequest) -> Result<ApiKey> {
        let format = req.format();
        let known = req.secret.and_then(|secret| secret.known);
        let known = known.ok_or_else(|| Error::invalid("secret", "is required"))?;
        let key = req.api_key.unwrap_or_default();
        let mut wrong = foreign::wrong(format, &req.foreign_id, &known);
        if !key.owner.is_empty() {
            wrong.push(Violation {
                field: "api_key.owner".to_owned(),
                rule: "value",
                description: "must be empty: imported keys belong to the tenant".to_owned(),
            });
        }
        if !wrong.is_empty() {
            return Err(Error::Invalid(wrong));
        }
        let peppers = self.0.vault.peppers().await?;
        let digest = foreign::digest(format, &req.foreign_id, &known)?;
        let has_id = foreign::has_id(format.into());
        let field = if has_id { "foreign_id" } else { "secret" };
        let lookups = peppers.lookups(&digest);
        if self.is_taken(caller, lookups, has_id).await? {
            return Err(Error::AlreadyExists {
                field: field.into(),
                message: format!("{field} is taken by another one").into(),
            });
        }
        let new = New {
            id: chosen(&req.api_key_id).unwrap_or_else(|| self.0.clock.new_id()),
            owner: None,
            kept: foreign::kept(&peppers, &digest, known)?,
            foreign_format: format.into(),
        };
        let imported = self.insert(caller, &key, new).await;
        imported.map_err(|error| error.unique(&[("lookup", field)]))
    }

    /// Whether there is a key that is found by one of these. Whose keys have
    /// ids, may have the same as those of another tenant: another system's.
    async fn is_taken(&self, caller: &Caller, lookups: Vec<Vec<u8>>, has_id: bool) -> Result<bool> {
        let tx = self
            .0
            .store
            .global("whether a foreign key is known")
            .await?;
        let mut query =
            generation::Entity::find().filter(generation::Column::Lookup.is_in(lookups));
        if has_id {
            query = query.filter(generation::Column::TenantId.eq(caller.tenant().0));
        }
        Ok(tx.one(query).await?.is_some())
    }
}
