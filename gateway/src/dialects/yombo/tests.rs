//! Shapes that the wire's tests would not tell apart.
#![allow(clippy::unwrap_used)]

use prost_reflect::DescriptorPool;
use prost_types::value::Kind;
use proto::muster::dialect::yombo::v1::Device;
use proto::registry;
use transcoder::Problem;
use uuid::Uuid;

use super::{Sites, base62, fields, refusal, shape};

#[test]
fn a_device_has_every_field_of_the_contract_also_when_one_is_wanted() {
    let pool = DescriptorPool::decode(proto::DESCRIPTOR_SET).unwrap();
    let device = pool.get_message_by_name("muster.dialect.yombo.v1.Device");
    let names: Vec<String> = device
        .unwrap()
        .fields()
        .map(|f| f.name().to_owned())
        .collect();
    for name in &names {
        assert!(fields::pick(Device::default(), name).is_some(), "{name}");
    }
    let Some(Kind::StructValue(whole)) = fields::pick(Device::default(), "").unwrap().kind else {
        panic!("a device is an object");
    };
    assert_eq!(whole.fields.len(), names.len());
    assert!(fields::pick(Device::default(), "password").is_none());
}

#[test]
fn a_device_is_found_by_its_short_id_and_by_its_uuid() {
    let id = Uuid::from_u128(u128::MAX / 3);
    assert_eq!(shape::uuid(&base62::encode(id)), Some(id));
    assert_eq!(shape::uuid(&id.to_string()), Some(id));
    assert_eq!(shape::uuid("9ReLWm2B3a01eOOa"), None);
}

#[test]
fn a_device_stands_at_its_site() {
    let site = Uuid::from_u128(7);
    let device = registry::Device {
        display_name: "Lamp".into(),
        site_id: site.to_string(),
        state: registry::device::State::Active.into(),
        ..Default::default()
    };
    let sites = Sites::from([(site.to_string(), "Kitchen".to_owned())]);
    let shown = shape::device(Uuid::nil(), device.clone(), &sites);
    assert_eq!(
        (shown.location.as_str(), shown.full_label.as_str()),
        ("Kitchen", "Kitchen Lamp")
    );
    assert_eq!(
        (shown.location_id, shown.enabled_status),
        (base62::encode(site), 1)
    );
    let shown = shape::device(Uuid::nil(), device, &Sites::new());
    assert_eq!(
        (shown.location.as_str(), shown.full_label.as_str()),
        ("None", "Lamp")
    );
}

fn refused(error: chassis::Error) -> (u16, String) {
    let answer = refusal::answer(&Problem::new(error.into()));
    assert_eq!(answer.headers()["expires"], "-1");
    let body = String::from_utf8(answer.body().to_vec()).unwrap();
    (answer.status().as_u16(), body)
}

#[test]
fn errors_have_the_vendors_words() {
    let denied = chassis::Error::denied("PERMISSION_DENIED", "no");
    let forbidden =
        r#"{"code":403,"message":"Forbidden - No access to protected resource","comments":{}}"#;
    assert_eq!(refused(denied), (403, forbidden.into()));
    let unauthorized = r#"{"code":401,"message":"Unauthorized","comments":{}}"#;
    assert_eq!(
        refused(chassis::Error::unauthenticated("no")),
        (401, unauthorized.into())
    );
    let missing = r#"{"code":404,"message":"Device not found","comments":{}}"#;
    assert_eq!(
        refused(chassis::Error::not_found("device", "x")),
        (404, missing.into())
    );
    let long = r#"{"code":400,"message":"invalid device_id format","comments":{}}"#;
    assert_eq!(
        refused(super::bad_request("invalid device_id format")),
        (400, long.into())
    );
}
