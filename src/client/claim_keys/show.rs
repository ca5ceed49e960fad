//! How claim keys are printed.

use std::collections::BTreeMap;

use proto::registry::{ClaimKey, DeviceTemplate};
use serde_json::{Value, json};

use crate::client::out::{self, Show};

impl Show for ClaimKey {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "NAME",
        "STATE",
        "USES",
        "EXPIRES",
        "LAST USED",
        "CREATED",
        "NETWORKS",
    ];

    fn cells(&self) -> Vec<String> {
        let uses = match self.max_uses {
            0 => self.use_count.to_string(),
            most => format!("{} of {most}", self.use_count),
        };
        vec![
            self.id.clone(),
            self.display_name.clone(),
            out::active(self.disabled),
            uses,
            out::time_or(self.expire_time.as_ref(), "never"),
            out::time_or(self.last_use_time.as_ref(), "never"),
            out::time(self.create_time.as_ref()),
            self.networks.join(" "),
        ]
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        let template = self.template.clone().unwrap_or_default();
        let state = match template.state {
            0 => String::new(),
            _ => out::state(template.state().as_str_name()),
        };
        vec![
            ("DESCRIPTION", self.description.clone()),
            ("DEVICE NAME", template.display_name),
            ("DEVICE STATE", state),
            ("TAGS", template.tag_ids.join(" ")),
            ("SITE", template.site_id),
            ("LABELS", out::labels(&template.labels)),
            ("UPDATED", out::time(self.update_time.as_ref())),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "displayName": self.display_name,
            "description": self.description,
            "maxUses": self.max_uses.to_string(),
            "useCount": self.use_count.to_string(),
            "expireTime": out::json_time(self.expire_time.as_ref()),
            "networks": self.networks,
            "template": self.template.as_ref().map(template_json),
            "disabled": self.disabled,
            "lastUseTime": out::json_time(self.last_use_time.as_ref()),
            "createTime": out::json_time(self.create_time.as_ref()),
            "updateTime": out::json_time(self.update_time.as_ref()),
            "etag": self.etag,
        })
    }
}

fn template_json(template: &DeviceTemplate) -> Value {
    json!({
        "displayName": template.display_name,
        "tagIds": template.tag_ids,
        "siteId": template.site_id,
        "labels": template.labels.iter().collect::<BTreeMap<_, _>>(),
        "state": template.state().as_str_name(),
    })
}
