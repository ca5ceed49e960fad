//! The contract's rules, on the contract's own messages.

use std::collections::HashSet;

use muster_proto::muster::identity::v1 as identity;
use muster_proto::muster::keys::v1 as keys;
use muster_proto::muster::registry::v1 as registry;
use muster_proto::muster::tenancy::v1 as tenancy;
use muster_proto::validate::{MAX_VIOLATIONS, Validate};

const UUID: &str = "0198f0e4-6b7e-7c3a-9d7e-2f6f0d9f4a11";

/// Asserts which fields break which rules, each as `field: rule`.
#[track_caller]
fn broken(message: &impl Validate, expected: &[&str]) {
    let violations = message.violations();
    let found: HashSet<_> = violations
        .iter()
        .map(|v| format!("{}: {}", v.field, v.rule))
        .collect();
    assert_eq!(found, expected.iter().map(|e| e.to_string()).collect());
    assert_eq!(
        violations.len(),
        expected.len(),
        "one violation for each rule"
    );
}

/// Asserts that a message keeps to the contract.
#[track_caller]
fn fine(message: &impl Validate) {
    broken(message, &[]);
}

/// Asserts what a person is told of the only violation.
#[track_caller]
fn told(message: &impl Validate, expected: &str) {
    let violations = message.violations();
    let told: Vec<_> = violations.iter().map(|v| v.description.as_str()).collect();
    assert_eq!(told, [expected]);
}

fn device() -> registry::Device {
    registry::Device {
        display_name: "Pump".into(),
        ..Default::default()
    }
}

fn create(device: registry::Device) -> registry::CreateDeviceRequest {
    registry::CreateDeviceRequest {
        device: Some(device),
        ..Default::default()
    }
}

fn client() -> keys::ApiClient {
    keys::ApiClient::default()
}

fn duration(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

#[test]
fn a_required_message_has_to_be_set() {
    broken(
        &registry::CreateDeviceRequest::default(),
        &["device: required"],
    );
    told(&registry::CreateDeviceRequest::default(), "must be set");
    fine(&create(device()));
}

#[test]
fn the_path_names_the_field_from_the_request() {
    let location = registry::Location {
        latitude: Some(91.0),
        ..Default::default()
    };
    let device = registry::Device {
        location: Some(location),
        ..device()
    };
    broken(
        &create(device.clone()),
        &["device.location.latitude: double.gte_lte"],
    );
    broken(&device, &["location.latitude: double.gte_lte"]);
    told(&device, "must be at least -90 and at most 90");
}

#[test]
fn lengths_are_in_characters() {
    let named = |name: String| registry::Device {
        display_name: name,
        ..Default::default()
    };
    fine(&named("é".repeat(200)));
    broken(&named("é".repeat(201)), &["display_name: string.max_len"]);
    told(&named("é".repeat(201)), "must have at most 200 characters");
    broken(&named(String::new()), &["display_name: string.min_len"]);
    told(&named(String::new()), "must have at least 1 character");
}

#[test]
fn a_field_without_presence_is_checked_when_it_is_zero() {
    broken(&registry::GetDeviceRequest::default(), &["id: string.uuid"]);
    broken(&keys::RenewTokenRequest::default(), &["number: int64.gt"]);
    fine(&keys::RenewTokenRequest { number: 1 });
}

#[test]
fn an_ignored_zero_is_not_checked() {
    fine(&registry::CreateDeviceRequest {
        device_id: String::new(),
        ..create(device())
    });
    fine(&registry::CreateDeviceRequest {
        device_id: UUID.into(),
        ..create(device())
    });
    let request = registry::CreateDeviceRequest {
        device_id: "x".into(),
        secret: "short".into(),
        ..create(device())
    };
    broken(
        &request,
        &["device_id: string.uuid", "secret: string.min_len"],
    );
}

#[test]
fn an_unset_optional_is_not_checked() {
    let location = |latitude, altitude| registry::Location {
        latitude,
        altitude,
        ..Default::default()
    };
    fine(&location(None, None));
    fine(&location(Some(-90.0), Some(0.0)));
    broken(
        &location(Some(f64::NAN), None),
        &["latitude: double.gte_lte"],
    );
    broken(
        &location(None, Some(f64::INFINITY)),
        &["altitude: double.finite"],
    );
}

#[test]
fn patterns_are_searched_as_they_are_written() {
    let coded = |code: &str| registry::Device {
        code: code.into(),
        ..device()
    };
    fine(&coded(""));
    fine(&coded("pump-1"));
    for code in ["-pump", "a", "pump 1", "pümp", "pump\n"] {
        broken(&coded(code), &["code: string.pattern"]);
    }
    told(
        &coded("-"),
        "must match the pattern `^[a-zA-Z0-9][a-zA-Z0-9_-]{1,199}$`",
    );
}

#[test]
fn every_item_of_a_list_is_checked() {
    let tagged = |ids: &[&str]| registry::Device {
        tag_ids: ids.iter().map(|id| id.to_string()).collect(),
        ..device()
    };
    fine(&tagged(&[UUID]));
    broken(
        &create(tagged(&[UUID, "x"])),
        &["device.tag_ids[1]: string.uuid"],
    );
    broken(&tagged(&[UUID, UUID]), &["tag_ids: repeated.unique"]);
    let rules = ["tag_ids: repeated.max_items", "tag_ids: repeated.unique"];
    broken(&tagged(&[UUID; 101]), &rules);
}

#[test]
fn every_entry_of_a_map_is_checked() {
    let labelled = |key: &str, value: String| registry::Device {
        labels: [("ok".into(), "ok".into()), (key.to_owned(), value)].into(),
        ..device()
    };
    fine(&labelled("floor", "2".into()));
    broken(
        &labelled("floor", "2".repeat(1025)),
        &["labels[\"floor\"]: string.max_len"],
    );
    broken(&labelled("", "2".into()), &["labels[\"\"]: string.min_len"]);
    told(
        &labelled("", "2".into()),
        "key must have at least 1 character",
    );
    let labels = (0..65).map(|n| (n.to_string(), String::new())).collect();
    let crowded = registry::Device { labels, ..device() };
    broken(&crowded, &["labels: map.max_pairs"]);
    told(&crowded, "must have at most 64 entries");
}

#[test]
fn an_enum_has_to_be_defined() {
    let in_state = |state| registry::Device { state, ..device() };
    fine(&in_state(registry::device::State::Disabled as i32));
    broken(&in_state(99), &["state: enum.defined_only"]);
    broken(&in_state(-1), &["state: enum.defined_only"]);
}

#[test]
fn the_member_of_a_oneof_that_is_set_is_checked() {
    use keys::get_api_key_request::Key;
    let get = |key| keys::GetApiKeyRequest { key };
    broken(&get(None), &["key: required"]);
    told(&get(None), "one of `id`, `number` must be set");
    broken(&get(Some(Key::Id("x".into()))), &["id: string.uuid"]);
    broken(&get(Some(Key::Number(0))), &["number: int64.gt"]);
    fine(&get(Some(Key::Number(7))));
}

#[test]
fn a_duration_is_compared_as_a_whole() {
    let lasting = |token_ttl| keys::ApiClient {
        token_ttl,
        ..client()
    };
    fine(&lasting(None));
    fine(&lasting(duration(60, 0)));
    fine(&lasting(duration(3600, 0)));
    fine(&lasting(duration(59, 1_000_000_000)));
    for wrong in [
        duration(59, 999_999_999),
        duration(3600, 1),
        duration(-60, 0),
    ] {
        broken(&lasting(wrong), &["token_ttl: duration.gte_lte"]);
    }
    told(
        &lasting(duration(0, 0)),
        "must be at least 60s and at most 3600s",
    );
}

#[test]
fn a_text_can_have_a_few_values_only() {
    let member = |role: &str| tenancy::Member {
        user_id: UUID.into(),
        role: role.into(),
        ..Default::default()
    };
    fine(&member("viewer"));
    broken(&member("Viewer"), &["role: string.in"]);
    told(
        &member(""),
        "must be one of `owner`, `admin`, `operator`, `viewer`",
    );
}

#[test]
fn an_e_mail_address_is_one() {
    let user = |email: &str| identity::User {
        email: email.into(),
        ..Default::default()
    };
    fine(&user("a@example.com"));
    broken(&user("a@"), &["email: string.email"]);
}

#[test]
fn a_message_is_checked_within_a_response_too() {
    let devices = vec![device(), registry::Device::default()];
    let response = registry::ListDevicesResponse {
        devices,
        ..Default::default()
    };
    broken(&response, &["devices[1].display_name: string.min_len"]);
}

#[test]
fn a_message_without_rules_keeps_to_them() {
    fine(&registry::BatchDeleteDevicesResponse {});
    fine(&keys::GetJwksRequest {});
}

#[test]
fn no_description_quotes_a_value() {
    let secret = "hunter2 hunter2 hunter2";
    let client_secret = secret.to_owned();
    let api_client = Some(keys::ApiClient {
        client_key: secret.into(),
        ..client()
    });
    let request = keys::CreateApiClientRequest {
        api_client,
        client_secret,
        ..Default::default()
    };
    broken(
        &request,
        &[
            "api_client.client_key: string.pattern",
            "client_secret: string.pattern",
        ],
    );
    assert!(!format!("{:?}", request.violations()).contains("hunter2"));
}

#[test]
fn a_request_full_of_violations_is_answered_with_some() {
    let tag_ids = vec![String::new(); 100_000];
    let violations = create(registry::Device {
        tag_ids,
        ..device()
    })
    .violations();
    assert_eq!(violations.len(), MAX_VIOLATIONS);
}

#[test]
fn no_text_may_hold_a_nul() {
    use muster_proto::keys::{ApiKey, CreateApiKeyRequest};
    let key = ApiKey {
        display_name: "a".to_owned(),
        metadata: [("k".to_owned(), "\0".to_owned())].into(),
        ..ApiKey::default()
    };
    let request = CreateApiKeyRequest {
        api_key: Some(key),
        ..Default::default()
    };
    let violations = request.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!(violations[0].field, "api_key.metadata[\"k\"]");
    assert_eq!(violations[0].rule, "string.no_nul");
}
