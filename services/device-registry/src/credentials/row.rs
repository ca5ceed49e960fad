//! A credential as a row and as a message.

use std::collections::HashMap;

use chassis::mask::{Fields, field};
use chassis::time::{date_time, timestamp};
use chassis::{Error, Result};
use prost_types::Timestamp;
use proto::registry::DeviceCredential;
use proto::registry::device_credential::Kind;
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::DateTimeUtc;
use serde_json::Value as Json;

use crate::certificates::hex;
use crate::entity::device_credential::{ActiveModel, Model};
use crate::etag;

/// What updates may change.
pub(super) const FIELDS: Fields<DeviceCredential> = Fields {
    message: "credential",
    input: &[
        field!(display_name),
        field!(description),
        field!(labels),
        field!(not_before),
        field!(not_after),
        field!(disabled),
    ],
    output: &[
        "id",
        "device_id",
        "kind",
        "certificate_sha256",
        "authority_id",
        "first_use_time",
        "last_use_time",
        "create_time",
        "update_time",
        "etag",
    ],
};

/// The columns that the creator of a credential, or who changes it, sets.
pub(super) fn columns(credential: &DeviceCredential) -> Result<ActiveModel> {
    let not_before = time("credential.not_before", credential.not_before.as_ref())?;
    let not_after = time("credential.not_after", credential.not_after.as_ref())?;
    if not_before
        .zip(not_after)
        .is_some_and(|(from, to)| to <= from)
    {
        return Err(Error::invalid(
            "credential.not_after",
            "must be after not_before",
        ));
    }
    let labels = credential.labels.iter();
    let labels: Json = labels
        .map(|(key, value)| (key.clone(), Json::from(value.as_str())))
        .collect();
    Ok(ActiveModel {
        display_name: Set(credential.display_name.clone()),
        description: Set(credential.description.clone()),
        labels: Set(labels),
        not_before: Set(not_before),
        not_after: Set(not_after),
        disabled: Set(credential.disabled),
        ..ActiveModel::default()
    })
}

/// The time in a field that may be unset.
pub(crate) fn time(field: &str, time: Option<&Timestamp>) -> Result<Option<DateTimeUtc>> {
    let wrong = || Error::invalid(field, "must be between the years 1 and 9999");
    time.map(|time| date_time(time).ok_or_else(wrong))
        .transpose()
}

/// A credential as the contract has it.
pub(super) fn message(row: Model) -> DeviceCredential {
    let kind = match (&row.secret_hash, row.authority_id) {
        (Some(_), _) => Kind::Secret,
        (_, Some(_)) => Kind::Authority,
        _ => Kind::Certificate,
    };
    let fingerprint = row.certificate_sha256.as_deref().map(hex);
    DeviceCredential {
        id: row.id.to_string(),
        device_id: row.device_id.to_string(),
        display_name: row.display_name,
        description: row.description,
        labels: labels(&row.labels),
        kind: kind.into(),
        certificate_sha256: fingerprint.unwrap_or_default(),
        authority_id: row
            .authority_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
        not_before: row.not_before.map(timestamp),
        not_after: row.not_after.map(timestamp),
        disabled: row.disabled,
        first_use_time: row.first_use_time.map(timestamp),
        last_use_time: row.last_use_time.or(row.first_use_time).map(timestamp),
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
    }
}

/// Labels as they are stored.
pub(crate) fn labels(labels: &Json) -> HashMap<String, String> {
    let labels = labels.as_object().into_iter().flatten();
    labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}
