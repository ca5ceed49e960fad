//! What keys and clients have alike: permissions that their creator holds,
//! and metadata.

use std::collections::HashMap;

use chassis::permissions::Permissions;
use chassis::{Caller, Error, Result};

/// Reads the permissions of a new key or client; refuses unknown ones, all at
/// once, and those that the creator does not hold.
pub(crate) fn granted(caller: &Caller, names: &[String], field: &str) -> Result<Permissions> {
    let unknown = names
        .iter()
        .enumerate()
        .filter(|(_, name)| Permissions::from_names([name.as_str()]).is_err());
    let violations = unknown
        .map(|(i, _)| proto::Violation {
            field: format!("{field}[{i}]"),
            rule: "permission",
            description: "is no permission; MemberService.ListRoles shows them all".to_owned(),
        })
        .collect::<Vec<_>>();
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    let wanted = Permissions::from_scope(&names.join(" "));
    caller.may_grant(wanted)?;
    Ok(wanted)
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
