//! How webhooks and deliveries are printed.

use proto::registry::{Webhook, WebhookDelivery};
use serde_json::{Value, json};

use crate::client::out::{self, Show};

impl Show for Webhook {
    const COLUMNS: &'static [&'static str] = &["ID", "URL", "STATE", "CREATED", "EVENTS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.url.clone(),
            state(self),
            out::time(self.create_time.as_ref()),
            self.event_types.join(" "),
        ]
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        vec![
            ("NUMBER", self.number.to_string()),
            ("DESCRIPTION", self.description.clone()),
            ("FAILING SINCE", out::time(self.failing_since.as_ref())),
            ("OLD SECRET ENDS", out::time(self.overlap_end_time.as_ref())),
            ("UPDATED", out::time(self.update_time.as_ref())),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "number": self.number.to_string(),
            "url": self.url,
            "description": self.description,
            "eventTypes": self.event_types,
            "disabled": self.disabled,
            "disabledReason": self.disabled_reason,
            "failingSince": out::json_time(self.failing_since.as_ref()),
            "overlapEndTime": out::json_time(self.overlap_end_time.as_ref()),
            "createTime": out::json_time(self.create_time.as_ref()),
            "updateTime": out::json_time(self.update_time.as_ref()),
            "etag": self.etag,
        })
    }
}

/// Whether it is told anything, and if not, why.
fn state(webhook: &Webhook) -> String {
    match webhook.disabled_reason.as_str() {
        "" if !webhook.disabled && webhook.failing_since.is_some() => "failing".to_owned(),
        "" => out::active(webhook.disabled),
        reason => format!("disabled: {}", reason.to_ascii_lowercase()),
    }
}

impl Show for WebhookDelivery {
    const COLUMNS: &'static [&'static str] = &[
        "ID", "EVENT", "RESOURCE", "STATE", "ATTEMPTS", "TAKEN UP", "NEXT", "ERROR",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.event_type.clone(),
            self.resource.clone(),
            out::state(self.state().as_str_name()),
            self.attempt_count.to_string(),
            out::time(self.create_time.as_ref()),
            out::time(self.next_attempt_time.as_ref()),
            self.error.clone(),
        ]
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        let status = match self.status_code {
            0 => String::new(),
            status => status.to_string(),
        };
        vec![
            ("ANSWERED", status),
            ("TRIED", out::time(self.last_attempt_time.as_ref())),
            ("EVENT ID", self.event_id.clone()),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "webhookId": self.webhook_id,
            "eventId": self.event_id,
            "eventType": self.event_type,
            "resource": self.resource,
            "state": self.state().as_str_name(),
            "attemptCount": self.attempt_count,
            "lastAttemptTime": out::json_time(self.last_attempt_time.as_ref()),
            "statusCode": self.status_code,
            "error": self.error,
            "nextAttemptTime": out::json_time(self.next_attempt_time.as_ref()),
            "createTime": out::json_time(self.create_time.as_ref()),
        })
    }
}
