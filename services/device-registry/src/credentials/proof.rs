//! What a credential is made of when it is created: a secret, a certificate or
//! an authority.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use chassis::hash::sha256;
use chassis::store::WriteTx;
use chassis::{Error, Result, key_format};
use proto::registry::DeviceCredential;
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::certificates::{Presented, unhex};
use crate::entity::device_credential::{ActiveModel, Column, Entity, Model};
use crate::ids;

/// How many credentials that have not ended a device may have.
const MOST: usize = 16;

/// What a new credential is.
#[derive(Clone)]
pub(crate) enum Proof {
    /// SHA-256 of a secret; and the secret if it was generated.
    Secret { hash: [u8; 32], shown: String },
    /// SHA-256 of a certificate.
    Certificate(Vec<u8>),
    /// An authority, by its id.
    Authority(Uuid),
}

impl Proof {
    /// A secret: the chosen one, or a new one.
    pub(crate) fn secret(chosen: &str) -> Result<Self> {
        let generated = match chosen {
            "" => key_format::new_secret()?,
            _ => String::new(),
        };
        let secret = if chosen.is_empty() {
            &generated
        } else {
            chosen
        };
        Ok(Self::Secret {
            hash: sha256(secret.as_bytes()),
            shown: generated,
        })
    }

    /// The certificate in a field of a request.
    pub(crate) fn certificate(field: &str, pem: &str) -> Result<Self> {
        let presented = Presented::from_pem(pem);
        let presented = presented
            .ok_or_else(|| Error::invalid(field, "is no certificate (X.509 version 3) in PEM"))?;
        Ok(Self::Certificate(presented.sha256().to_vec()))
    }

    /// The certificate of a fingerprint that keeps the contract's rule.
    pub(crate) fn fingerprint(field: &str, hex: &str) -> Result<Self> {
        let bytes = unhex(hex).ok_or_else(|| Error::invalid(field, "is no SHA-256"))?;
        Ok(Self::Certificate(bytes))
    }

    /// What the request for a credential says that it shall be: one thing.
    pub(crate) fn of(wanted: &DeviceCredential, secret: &str, pem: &str) -> Result<Self> {
        let (fingerprint, authority) = (&wanted.certificate_sha256, &wanted.authority_id);
        let chosen = [secret, pem, fingerprint, authority];
        if chosen.iter().filter(|text| !text.is_empty()).count() > 1 {
            return Err(Error::invalid(
                "credential",
                "is one of a secret, a certificate and an authority; create one for each",
            ));
        }
        match (pem, fingerprint.as_str(), authority.as_str()) {
            ("", "", "") => Self::secret(secret),
            ("", "", id) => Ok(Self::Authority(ids::parse("credential.authority_id", id)?)),
            ("", hex, _) => Self::fingerprint("credential.certificate_sha256", hex),
            (pem, ..) => Self::certificate("certificate", pem),
        }
    }

    /// The secret if it was generated: shown once.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Secret { shown, .. } => shown.clone(),
            _ => String::new(),
        }
    }

    /// The columns that say what a credential is.
    pub(crate) fn columns(&self) -> ActiveModel {
        let mut row = ActiveModel {
            secret_hash: Set(None),
            certificate_sha256: Set(None),
            authority_id: Set(None),
            ..Default::default()
        };
        match self {
            Self::Secret { hash, .. } => row.secret_hash = Set(Some(hash.to_vec())),
            Self::Certificate(hash) => row.certificate_sha256 = Set(Some(hash.clone())),
            Self::Authority(id) => row.authority_id = Set(Some(*id)),
        }
        row
    }
}

/// A credential of which nothing is said but what it is.
pub(crate) fn bare(proof: &Proof, id: Uuid, device: Uuid, now: DateTimeUtc) -> ActiveModel {
    ActiveModel {
        id: Set(id),
        device_id: Set(device),
        create_time: Set(now),
        update_time: Set(now),
        revision: Set(1),
        display_name: Set(String::new()),
        description: Set(String::new()),
        labels: Set(serde_json::json!({})),
        disabled: Set(false),
        ..proof.columns()
    }
}

/// All credentials of a device.
pub(crate) async fn all(tx: &WriteTx, device: Uuid) -> Result<Vec<Model>> {
    tx.all(Entity::find().filter(Column::DeviceId.eq(device)))
        .await
}

/// Adds a credential to a device that the transaction has locked, so that it
/// gets no more than it may have. Of too many, those that have ended go.
pub(crate) async fn add(
    tx: &WriteTx,
    device: Uuid,
    row: ActiveModel,
    now: DateTimeUtc,
) -> Result<Model> {
    let rows = all(tx, device).await?;
    if rows.len() >= MOST {
        let ended = rows
            .iter()
            .filter(|row| row.not_after.is_some_and(|end| end <= now));
        let ended: Vec<_> = ended.map(|row| row.number).collect();
        if rows.len() - ended.len() >= MOST {
            return Err(Error::Exhausted {
                reason: "CREDENTIAL_LIMIT",
                message: format!("a device has at most {MOST} credentials; delete one first")
                    .into(),
            });
        }
        let ended = Entity::delete_many().filter(Column::Number.is_in(ended));
        tx.delete(ended).await?;
    }
    tx.insert(row).await
}

/// Whether a secret is that of a credential, in the same time whatever it is.
pub(crate) fn is_secret(row: &Model, hash: &[u8; 32]) -> bool {
    let known = row.secret_hash.as_deref().unwrap_or_default();
    verify_slices_are_equal(known, hash).is_ok()
}
