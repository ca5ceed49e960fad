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
        let state = if self.disabled { "disabled" } else { "active" };
        vec![
            self.id.clone(),
            self.display_name.clone(),
            self.client_key.clone(),
            format!("{ttl}s"),
            state.to_owned(),
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

    fn details(&self) -> Vec<(&'static str, String)> {
        let mut details: Vec<_> = Self::COLUMNS.iter().copied().zip(self.cells()).collect();
        let foreign = if self.foreign { "yes" } else { "" };
        let more = [
            ("OWNER", self.owner.clone()),
            ("CREATOR", self.creator.clone()),
            ("METADATA", out::labels(&self.metadata)),
            ("FOREIGN", foreign.to_owned()),
        ];
        details.extend(more.into_iter().filter(|(_, value)| !value.is_empty()));
        details
    }
}
