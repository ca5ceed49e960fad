//! Webhooks and deliveries as rows and as messages.

use chassis::Result;
use chassis::mask::{Fields, field};
use chassis::time::timestamp;
use chrono::{DateTime, Utc};
use proto::registry::{Webhook, WebhookDelivery};
use sea_orm::ActiveValue::Set;

use crate::entity::{webhook, webhook_delivery};
use crate::{attributes, etag};

/// What updates may change.
pub(super) const FIELDS: Fields<Webhook> = Fields {
    message: "webhook",
    input: &[
        field!(url),
        field!(description),
        field!(event_types),
        field!(disabled),
        field!(attributes),
    ],
    output: &[
        "id",
        "number",
        "disabled_reason",
        "failing_since",
        "overlap_end_time",
        "create_time",
        "update_time",
        "etag",
    ],
};

/// The columns that the creator of a webhook, or who changes it, sets.
pub(super) fn columns(webhook: &Webhook) -> Result<webhook::ActiveModel> {
    let attributes = attributes::column("webhook.attributes", webhook.attributes.as_ref())?;
    Ok(webhook::ActiveModel {
        url: Set(webhook.url.clone()),
        description: Set(webhook.description.clone()),
        // No type has a space in it.
        event_types: Set(webhook.event_types.join(" ")),
        disabled: Set(webhook.disabled),
        attributes: Set(attributes),
        ..Default::default()
    })
}

pub(super) fn event_types(row: &webhook::Model) -> Vec<String> {
    let types = row.event_types.split(' ').filter(|text| !text.is_empty());
    types.map(str::to_owned).collect()
}

/// A webhook as the contract has it.
pub(super) fn message(row: webhook::Model, now: DateTime<Utc>) -> Webhook {
    let overlap_end = row.old_secret_end_time.filter(|end| *end > now);
    Webhook {
        event_types: event_types(&row),
        id: row.id.to_string(),
        number: row.number,
        url: row.url,
        description: row.description,
        disabled: row.disabled,
        disabled_reason: row.disabled_reason,
        failing_since: row.failing_since.map(timestamp),
        overlap_end_time: overlap_end.map(timestamp),
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
        attributes: row.attributes.as_ref().map(attributes::from_json),
    }
}

/// A delivery as the contract has it.
pub(super) fn delivery_message(row: webhook_delivery::Model) -> WebhookDelivery {
    WebhookDelivery {
        id: row.id.to_string(),
        webhook_id: row.webhook_id.to_string(),
        event_id: row.event_id.to_string(),
        event_type: row.event_type,
        resource: row.resource,
        state: row.state.into(),
        attempt_count: i32::try_from(row.attempts).unwrap_or(i32::MAX),
        last_attempt_time: row.last_attempt_time.map(timestamp),
        status_code: row.status_code.unwrap_or_default(),
        error: row.error,
        next_attempt_time: row.due_time.map(timestamp),
        create_time: Some(timestamp(row.create_time)),
    }
}
