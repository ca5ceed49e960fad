//! How credentials are printed.

use std::collections::BTreeMap;

use proto::registry::DeviceCredential;
use serde_json::{Value, json};

use crate::client::out::{self, Show};

impl Show for DeviceCredential {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "KIND",
        "STATE",
        "EXPIRES",
        "LAST USED",
        "CREATED",
        "NAME",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            out::word(self.kind().as_str_name(), "KIND_"),
            out::active(self.disabled),
            out::time_or(self.not_after.as_ref(), "never"),
            out::time_or(self.last_use_time.as_ref(), "never"),
            out::time(self.create_time.as_ref()),
            self.display_name.clone(),
        ]
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DEVICE", self.device_id.clone()),
            ("DESCRIPTION", self.description.clone()),
            ("LABELS", out::labels(&self.labels)),
            ("SHA-256", self.certificate_sha256.clone()),
            ("AUTHORITY", self.authority_id.clone()),
            ("NOT BEFORE", out::time(self.not_before.as_ref())),
            ("FIRST USED", out::time(self.first_use_time.as_ref())),
            ("UPDATED", out::time(self.update_time.as_ref())),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "deviceId": self.device_id,
            "displayName": self.display_name,
            "description": self.description,
            "labels": self.labels.iter().collect::<BTreeMap<_, _>>(),
            "kind": self.kind().as_str_name(),
            "certificateSha256": self.certificate_sha256,
            "authorityId": self.authority_id,
            "notBefore": out::json_time(self.not_before.as_ref()),
            "notAfter": out::json_time(self.not_after.as_ref()),
            "disabled": self.disabled,
            "firstUseTime": out::json_time(self.first_use_time.as_ref()),
            "lastUseTime": out::json_time(self.last_use_time.as_ref()),
            "createTime": out::json_time(self.create_time.as_ref()),
            "updateTime": out::json_time(self.update_time.as_ref()),
            "etag": self.etag,
        })
    }
}
