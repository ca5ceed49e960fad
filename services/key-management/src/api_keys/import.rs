//! Keys of other systems that go on as they are.

use chassis::{Caller, Error, Result};
use proto::Violation;
use proto::keys::{ApiKey, ForeignFormat, ImportApiKeyRequest};

use super::{ApiKeys, New, chosen};
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
        let new = New {
            id: chosen(&req.api_key_id).unwrap_or_else(|| self.0.clock.new_id()),
            owner: None,
            kept: foreign::kept(&peppers, format, &req.foreign_id, known)?,
            foreign_format: format.into(),
        };
        let imported = self.insert(caller, &key, new).await;
        imported.map_err(|error| {
            error.unique(&[(
                "lookup",
                match format {
                    ForeignFormat::Base64IdSecret => "foreign_id",
                    _ => "secret",
                },
            )])
        })
    }
}
