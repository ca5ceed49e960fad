//! How API keys are printed.

use std::collections::BTreeMap;

use proto::keys::{ApiKey, ForeignFormat};
use serde_json::Value;

use crate::client::out::{self, Show};

impl Show for ApiKey {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "NAME",
        "STATE",
        "EXPIRES",
        "LAST USED",
        "CREATED",
        "PERMISSIONS",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.display_name.clone(),
            out::state(self.state().as_str_name()),
            out::time_or(self.expire_time.as_ref(), "never"),
            out::time_or(self.last_use_time.as_ref(), "never"),
            out::time(self.create_time.as_ref()),
            self.permissions.join(" "),
        ]
    }

    fn json(&self) -> Value {
        json(self)
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        let foreign = match self.foreign_format() {
            ForeignFormat::Unspecified => String::new(),
            ForeignFormat::Base64IdSecret => "base64 of number and secret".to_owned(),
            ForeignFormat::Opaque => "opaque".to_owned(),
        };
        let limit = match self.requests_per_minute {
            0 => String::new(),
            limit => format!("{limit} requests a minute"),
        };
        vec![
            ("DESCRIPTION", self.description.clone()),
            ("OWNER", self.owner.clone()),
            ("CREATOR", self.creator.clone()),
            ("ENVIRONMENT", self.environment.clone()),
            ("NETWORKS", self.allowed_networks.join(" ")),
            ("LIMIT", limit),
            ("METADATA", out::labels(&self.metadata)),
            ("FOREIGN", foreign),
            ("REVOKED", out::time(self.revoke_time.as_ref())),
            ("REASON", self.revoke_reason.clone()),
            ("LEAKED", out::time(self.leak_time.as_ref())),
            ("FOUND AT", self.leak_source.clone()),
        ]
    }
}

/// As the JSON API has it.
pub(super) fn json(key: &ApiKey) -> Value {
    serde_json::json!({
        "id": key.id,
        "number": key.number.to_string(),
        "displayName": key.display_name,
        "description": key.description,
        "permissions": key.permissions,
        "expireTime": out::json_time(key.expire_time.as_ref()),
        "state": key.state().as_str_name(),
        "metadata": key.metadata.iter().collect::<BTreeMap<_, _>>(),
        "creator": key.creator,
        "createTime": out::json_time(key.create_time.as_ref()),
        "revokeTime": out::json_time(key.revoke_time.as_ref()),
        "owner": key.owner,
        "environment": key.environment,
        "allowedNetworks": key.allowed_networks,
        "disabled": key.disabled,
        "requestsPerMinute": key.requests_per_minute,
        "revokeReason": key.revoke_reason,
        "lastUseTime": out::json_time(key.last_use_time.as_ref()),
        "foreignFormat": key.foreign_format().as_str_name(),
        "leakTime": out::json_time(key.leak_time.as_ref()),
        "leakSource": key.leak_source,
        "updateTime": out::json_time(key.update_time.as_ref()),
    })
}
