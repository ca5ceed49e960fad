//! How API clients are printed.

use std::collections::BTreeMap;

use proto::keys::ApiClient;
use serde_json::{Value, json};

use crate::client::out::{self, Show};

impl Show for ApiClient {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "NAME",
        "CLIENT KEY",
        "TOKEN TTL",
        "STATE",
        "LAST USED",
        "CREATED",
        "PERMISSIONS",
    ];

    fn cells(&self) -> Vec<String> {
        let ttl = self.token_ttl.unwrap_or_default().seconds;
        vec![
            self.id.clone(),
            self.display_name.clone(),
            self.client_key.clone(),
            format!("{ttl}s"),
            out::active(self.disabled),
            out::time_or(self.last_use_time.as_ref(), "never"),
            out::time(self.create_time.as_ref()),
            self.permissions.join(" "),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "number": self.number.to_string(),
            "clientKey": self.client_key,
            "displayName": self.display_name,
            "permissions": self.permissions,
            "tokenTtl": out::json_span(self.token_ttl.as_ref()),
            "disabled": self.disabled,
            "metadata": self.metadata.iter().collect::<BTreeMap<_, _>>(),
            "creator": self.creator,
            "createTime": out::json_time(self.create_time.as_ref()),
            "owner": self.owner,
            "updateTime": out::json_time(self.update_time.as_ref()),
            "lastUseTime": out::json_time(self.last_use_time.as_ref()),
            "foreign": self.foreign,
        })
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        let foreign = if self.foreign { "yes" } else { "" };
        vec![
            ("OWNER", self.owner.clone()),
            ("CREATOR", self.creator.clone()),
            ("METADATA", out::labels(&self.metadata)),
            ("FOREIGN", foreign.to_owned()),
        ]
    }
}
