//! Translations that the wire's tests would not tell apart.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proto::muster::dialect::hardwario::v1::*;
use proto::registry;
use proto::tenancy::{MyTenant, Tenant};
use tonic::{Code, Status};
use transcoder::Problem;
use uuid::Uuid;

use super::{refusal, shape};

const A: &str = "5f6b5b4e-3b4c-4c4c-8c8c-8c8c8c8c8c8c";
const B: &str = "0189f3f4-9549-78ed-959c-cf4a0b28e28c";

fn page(change: impl FnOnce(&mut ListSpaceDevicesRequest)) -> Option<registry::ListDevicesRequest> {
    let mut wanted = ListSpaceDevicesRequest::default();
    change(&mut wanted);
    shape::device_page(wanted).ok()
}

#[test]
fn the_tags_of_a_query_are_read_also_as_the_vendors_client_writes_them() {
    for (value, ids) in [(A.to_owned(), vec![A]), (format!("{A}[]={B}"), vec![B, A])] {
        let found = page(|w| w.tag_ids = HashMap::from([(String::new(), value)])).unwrap();
        assert_eq!(
            (found.tag_ids, found.any_tag),
            (ids.iter().map(|i| (*i).to_owned()).collect(), true)
        );
    }
    assert!(page(|w| w.tag_ids = HashMap::from([(String::new(), "x".into())])).is_none());
}

#[test]
fn an_order_that_is_not_served_is_refused() {
    assert!(page(|w| w.sort_by = "colour".into()).is_none());
    assert!(page(|w| w.order_by = "down".into()).is_none());
}

#[test]
fn every_documented_order_is_served() {
    for (sort_by, order_by, order) in [
        ("", "", "number"),
        ("id", "asc", "number"),
        ("id", "desc", "number desc"),
        ("name", "desc", "display_name desc"),
        ("serial_number", "", "serial_number"),
        ("external_id", "", "external_id"),
        ("last_seen", "desc", "last_seen_time desc"),
        ("session_id", "", "number"),
    ] {
        let found = page(|w| (w.sort_by, w.order_by) = (sort_by.into(), order_by.into()));
        assert_eq!(found.unwrap().order_by, order);
    }
}

#[test]
fn owners_and_admins_are_admins_and_everybody_else_is_a_user() {
    for (role, shown) in [
        ("owner", "admin"),
        ("admin", "admin"),
        ("viewer", "user"),
        ("", "user"),
    ] {
        let tenant = Some(Tenant::default());
        let mine = MyTenant {
            tenant,
            role: role.into(),
        };
        assert_eq!(shape::space(mine).user_role, shown);
    }
}

#[test]
fn a_change_holds_only_what_the_request_held() {
    let change = shape::change(UpdateDeviceRequest {
        comment: Some(String::new()),
        tags: Some(prost_types::ListValue::default()),
        ..Default::default()
    });
    let mask = change.unwrap().update_mask.unwrap();
    assert_eq!(mask.paths, ["description", "tag_ids"]);
    let secret = UpdateDeviceRequest {
        secret: Some("x".into()),
        ..Default::default()
    };
    assert!(shape::change(secret).is_err());
}

#[test]
fn a_new_device_is_created_in_the_requests_space_only() {
    let (here, there): (Uuid, Uuid) = (A.parse().unwrap(), B.parse().unwrap());
    let new = |space_id: &str| NewDevice {
        space_id: space_id.into(),
        ..Default::default()
    };
    assert!(shape::new_device(here, new("")).is_ok());
    assert!(shape::new_device(here, new(A)).is_ok());
    assert!(shape::new_device(there, new(A)).is_err());
}

#[test]
fn fields_are_told_by_the_vendors_names() {
    for (field, name) in [
        ("device.display_name", "name"),
        ("device.tag_ids[2]", "tags[2]"),
        ("tag_ids", "tag_ids"),
        ("secret", "token"),
        ("device.labels[\"a.b\"]", "label[\"a.b\"]"),
        ("tag.color", "color"),
        ("webhook.description", "name"),
        ("webhook.event_types[1]", "triggers[1]"),
        ("webhook.url", "url"),
        ("connector.triggers", "triggers"),
        ("offset", "offset"),
    ] {
        assert_eq!(refusal::named(field), name);
    }
}

fn refused(error: impl Into<Status>) -> (u16, String) {
    let answer = refusal::answer(&Problem::new(error.into()));
    let body = String::from_utf8(answer.body().to_vec()).unwrap();
    (answer.status().as_u16(), body)
}

#[test]
fn errors_are_json_strings_but_for_a_device_that_does_not_exist() {
    let not_found = chassis::Error::not_found("device", A);
    assert_eq!(refused(not_found), (404, "not found".into()));
    let not_found = chassis::Error::not_found("tag", A);
    assert_eq!(
        refused(not_found),
        (404, format!("\"there is no tag {A}\""))
    );
    let taken = chassis::Error::AlreadyExists {
        field: "device.serial_number".into(),
        message: "device.serial_number is taken".into(),
    };
    assert_eq!(
        refused(taken),
        (409, "\"serial_number is taken by another one\"".into())
    );
    let invalid = chassis::Error::invalid("device.display_name", "must be set");
    assert_eq!(refused(invalid), (400, "\"name: must be set\"".into()));
    assert_eq!(
        refused(Status::new(Code::Unauthenticated, "no")),
        (401, "\"no\"".into())
    );
}
