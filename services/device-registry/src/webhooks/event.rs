//! Changes as events: what they are called, and what is told of them.

use std::collections::HashMap;
use std::sync::LazyLock;

use chassis::{Error, Result};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use proto::audit::AuditEvent;
use proto::registry::Device;
use serde_json::{Value, json};

/// What methods do, and how that is told.
const VERBS: [(&str, &str); 17] = [
    ("Add", "added"),
    ("Claim", "claimed"),
    ("Create", "created"),
    ("Delete", "deleted"),
    ("Disable", "disabled"),
    ("Enable", "enabled"),
    ("Import", "imported"),
    ("Issue", "issued"),
    ("Move", "moved"),
    ("Remove", "removed"),
    ("Resume", "resumed"),
    ("Revoke", "revoked"),
    ("Rotate", "rotated"),
    ("Set", "set"),
    ("Suspend", "suspended"),
    ("Undelete", "undeleted"),
    ("Update", "updated"),
];

static DEVICE: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(proto::DESCRIPTOR_SET).ok()?;
    pool.get_message_by_name("muster.registry.v1.Device")
});

/// What a test is called.
pub(crate) const TEST: &str = "webhook.test";

/// What a change is called, such as `device.created`.
pub(crate) fn event_type(event: &AuditEvent) -> String {
    let collection = event.resource.split('/').next().unwrap_or_default();
    let kind = match collection {
        "apiKeys" => "key",
        "apiClients" => "client",
        other => other.strip_suffix('s').unwrap_or(other),
    };
    format!("{kind}.{}", verb(collection, &event.method))
}

fn verb(collection: &str, method: &str) -> &'static str {
    let name = method.rsplit('/').next().unwrap_or_default();
    let name = name.strip_prefix("Batch").unwrap_or(name);
    let known = VERBS.iter().find(|(verb, _)| name.starts_with(verb));
    match known {
        Some((_, told)) => told,
        // What the service does with devices by itself.
        None if collection == "devices" && name.is_empty() => "purged",
        None => "changed",
    }
}

/// Whether one of some patterns is about an event of this type.
pub(crate) fn is_chosen(patterns: &[String], event_type: &str) -> bool {
    let kind = event_type.split('.').next().unwrap_or_default();
    patterns.iter().any(|pattern| {
        let all = pattern.strip_suffix(".*");
        pattern == "*" || pattern == event_type || all == Some(kind)
    })
}

/// What is sent: thin, so that a receiver asks for what it needs, but with the
/// device as it is now.
pub(crate) fn body(event: &AuditEvent, device: Option<Device>) -> Result<String> {
    written(&event_type(event), event, device)
}

/// What is sent as a test.
pub(crate) fn test(event: &AuditEvent) -> Result<String> {
    written(TEST, event, None)
}

fn written(event_type: &str, event: &AuditEvent, device: Option<Device>) -> Result<String> {
    let time = event.time.unwrap_or_default();
    let mut data = json!({
        "eventId": event.id,
        "resource": event.resource,
        "actor": event.actor,
        "method": event.method,
        "requestId": event.request_id,
        "service": event.service,
    });
    if let Some(device) = device {
        data["device"] = json_of(&device)?;
    }
    let body = json!({
        "type": event_type,
        "timestamp": time.to_string(),
        "data": data,
    });
    Ok(body.to_string())
}

/// A device as the API shows it.
fn json_of(device: &Device) -> Result<Value> {
    let descriptor = DEVICE.clone();
    let descriptor = descriptor.ok_or_else(|| Error::internal("the contract has no devices"))?;
    let message = DynamicMessage::decode(descriptor, &*device.encode_to_vec());
    serde_json::to_value(message.map_err(Error::internal)?).map_err(Error::internal)
}

/// The ids of the devices that some changes are of.
pub(crate) fn devices<'a>(events: impl Iterator<Item = &'a AuditEvent>) -> Vec<uuid::Uuid> {
    let ids = events.filter_map(|event| event.resource.strip_prefix("devices/")?.parse().ok());
    let ids: HashMap<_, _> = ids.map(|id| (id, ())).collect();
    ids.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(resource: &str, method: &str) -> AuditEvent {
        AuditEvent {
            resource: resource.to_owned(),
            method: method.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn an_event_is_called_by_its_thing_and_what_was_done() {
        for (resource, method, expected) in [
            ("devices/1", "DeviceService/CreateDevice", "device.created"),
            (
                "devices/1",
                "DeviceService/BatchDeleteDevices",
                "device.deleted",
            ),
            (
                "devices/1",
                "DeviceService/UndeleteDevice",
                "device.undeleted",
            ),
            ("devices/1", "", "device.purged"),
            ("apiKeys/1", "ApiKeyService/RevokeApiKey", "key.revoked"),
            ("members/1", "MemberService/CreateMember", "member.created"),
            ("tags/1", "TagService/Frobnicate", "tag.changed"),
        ] {
            let method = match method {
                "" => String::new(),
                method => format!("muster.x.v1.{method}"),
            };
            assert_eq!(event_type(&event(resource, &method)), expected);
        }
    }

    #[test]
    fn patterns_choose_one_type_or_a_kind_or_all() {
        let chosen = |pattern: &str, event: &str| is_chosen(&[pattern.to_owned()], event);
        assert!(chosen("*", "key.revoked"));
        assert!(chosen("key.*", "key.revoked"));
        assert!(chosen("key.revoked", "key.revoked"));
        assert!(!chosen("key.created", "key.revoked"));
        assert!(!chosen("ke.*", "key.revoked"));
        assert!(!is_chosen(&[], "key.revoked"));
    }
}
