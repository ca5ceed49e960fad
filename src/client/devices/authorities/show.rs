//! How authorities are printed.

use proto::registry::DeviceAuthority;
use serde_json::{Value, json};

use crate::client::out::{self, Show};

impl Show for DeviceAuthority {
    const COLUMNS: &'static [&'static str] = &[
        "ID", "NAME", "STATE", "NAMED BY", "NAMES", "ENDS", "SUBJECT",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.display_name.clone(),
            out::active(self.disabled),
            out::word(self.named_by().as_str_name(), "NAMED_BY_"),
            out::word(self.names().as_str_name(), "NAMES_"),
            out::time(self.not_after.as_ref()),
            self.subject.clone(),
        ]
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        let any = if self.any_device { "yes" } else { "no" };
        vec![
            ("ANY DEVICE", any.to_owned()),
            ("SHA-256", self.certificate_sha256.clone()),
            ("CREATED", out::time(self.create_time.as_ref())),
            ("UPDATED", out::time(self.update_time.as_ref())),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "displayName": self.display_name,
            "certificate": self.certificate,
            "certificateSha256": self.certificate_sha256,
            "subject": self.subject,
            "notAfter": out::json_time(self.not_after.as_ref()),
            "namedBy": self.named_by().as_str_name(),
            "names": self.names().as_str_name(),
            "anyDevice": self.any_device,
            "disabled": self.disabled,
            "createTime": out::json_time(self.create_time.as_ref()),
            "updateTime": out::json_time(self.update_time.as_ref()),
            "etag": self.etag,
        })
    }
}
