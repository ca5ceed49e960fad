//! What keys and clients have alike: permissions that their creator holds,
//! and metadata.

use std::collections::HashMap;

use chassis::caller::Principal;
use chassis::permissions::Permissions;
use chassis::{Caller, Error, Result};
use proto::Violation;
use sea_orm::prelude::Uuid;

/// Reads the permissions of a new key or client; refuses unknown ones, all at
/// once, and those that the creator does not hold.
pub(crate) fn granted(caller: &Caller, names: &[String], field: &str) -> Result<Permissions> {
    let violations = unknown(names, field);
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    let wanted = Permissions::from_scope(&names.join(" "));
    caller.may_grant(wanted)?;
    Ok(wanted)
}

/// The names that are no permissions.
pub(crate) fn unknown(names: &[String], field: &str) -> Vec<Violation> {
    let unknown = names
        .iter()
        .enumerate()
        .filter(|(_, name)| Permissions::from_names([name.as_str()]).is_err());
    unknown
        .map(|(i, _)| Violation {
            field: format!("{field}[{i}]"),
            rule: "permission",
            description: "is no permission; MemberService.ListRoles shows them all".to_owned(),
        })
        .collect()
}

/// Metadata as it is stored.
pub(crate) fn stored(metadata: HashMap<String, String>) -> serde_json::Value {
    metadata
        .into_iter()
        .map(|(k, v)| (k, serde_json::Value::String(v)))
        .collect()
}

/// Metadata as the contract has it.
pub(crate) fn shown(metadata: serde_json::Value) -> HashMap<String, String> {
    serde_json::from_value(metadata).unwrap_or_default()
}

/// Who shall own a new key or client: nobody, which means the tenant, or the
/// calling user.
pub(crate) fn owner(caller: &Caller, wanted: &str) -> Result<Option<Uuid>> {
    match caller.principal() {
        _ if wanted.is_empty() => Ok(None),
        Principal::User(user) if caller.principal().to_string() == wanted => Ok(Some(*user)),
        _ => Err(Error::denied(
            "OWNER_NOT_CALLER",
            "the owner is the tenant, if left out, or the calling user",
        )),
    }
}
