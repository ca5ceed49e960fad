//! The dialect's shapes to the domain's, and back.

use std::collections::HashMap;

use chassis::{Error, Result};
use prost_types::value::Kind;
use prost_types::{FieldMask, ListValue, Struct};
use proto::muster::dialect::hardwario::v1::*;
use proto::registry;
use proto::tenancy::{CreateTenantRequest, MyTenant, Tenant};
use uuid::Uuid;

use super::MOST;
use super::tags::Tags;

/// A UUID that a request names.
pub(super) fn uuid(field: &str, text: &str) -> Result<Uuid> {
    text.parse()
        .map_err(|_| Error::invalid(field, "must be a UUID"))
}

/// A tenant as a space.
pub(super) fn space(mine: MyTenant) -> Space {
    let tenant = mine.tenant.unwrap_or_default();
    let user_role = match mine.role.as_str() {
        "owner" | "admin" => "admin",
        _ => "user",
    };
    Space {
        id: tenant.id,
        name: tenant.display_name,
        r#type: "team".into(),
        owner_id: None,
        user_role: user_role.into(),
        created_at: tenant.create_time,
    }
}

/// A tenant that the caller just made, as a space.
pub(super) fn own_space(tenant: Tenant) -> Space {
    space(MyTenant {
        tenant: Some(tenant),
        role: "owner".into(),
    })
}

/// A new space as the domain creates it.
pub(super) fn new_space(new: CreateSpaceRequest) -> CreateTenantRequest {
    CreateTenantRequest {
        tenant: Some(Tenant {
            display_name: new.name,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What a list of devices asks of the domain.
pub(super) fn device_page(wanted: ListSpaceDevicesRequest) -> Result<registry::ListDevicesRequest> {
    Ok(registry::ListDevicesRequest {
        page_size: wanted.limit.unwrap_or(MOST),
        after_id: wanted.offset,
        order_by: order(&wanted.sort_by, &wanted.order_by)?,
        display_name: wanted.name,
        serial_number: wanted.serial_number,
        external_id: wanted.external_id,
        tag_ids: tag_ids(wanted.tag_ids)?,
        any_tag: wanted.tag_filter_logic != "all",
        ..Default::default()
    })
}

/// What the count of devices asks of the domain.
pub(super) fn counted(wanted: CountDevicesRequest) -> Result<registry::ListDevicesRequest> {
    Ok(registry::ListDevicesRequest {
        page_size: 1,
        count_total: true,
        display_name: wanted.name,
        serial_number: wanted.serial_number,
        external_id: wanted.external_id,
        tag_ids: tag_ids(wanted.tag_ids)?,
        any_tag: wanted.tag_filter_logic != "all",
        ..Default::default()
    })
}

/// The order of a list, as the domain has it.
fn order(sort_by: &str, order_by: &str) -> Result<String> {
    let column = match sort_by {
        // Of devices of which none has a session, all orders are right.
        "" | "id" | "session_id" => "number",
        "name" => "display_name",
        "serial_number" | "external_id" => sort_by,
        "last_seen" => "last_seen_time",
        _ => {
            let known = "id, name, serial_number, external_id, last_seen or session_id";
            return Err(Error::invalid("sort_by", format!("must be {known}")));
        }
    };
    match order_by {
        "" | "asc" => Ok(column.to_owned()),
        "desc" => Ok(format!("{column} desc")),
        _ => Err(Error::invalid("order_by", "must be asc or desc")),
    }
}

/// The tags of `tag_ids[]=<uuid>`. A client of the vendor's writes several as
/// `tag_ids[]=<uuid>[]=<uuid>`.
fn tag_ids(given: HashMap<String, String>) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for text in given.values().flat_map(|value| value.split("[]=")) {
        ids.push(uuid("tag_ids", text)?.to_string());
    }
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// A new device as the domain creates it.
pub(super) fn new_device(space: Uuid, new: NewDevice) -> Result<registry::CreateDeviceRequest> {
    if !new.space_id.is_empty() && uuid("space_id", &new.space_id)? != space {
        return Err(Error::invalid("space_id", "is not the request's space"));
    }
    let ids = new.tags.iter().enumerate();
    let tag_ids = ids.map(|(i, tag)| tag_id(i, &tag.id));
    Ok(registry::CreateDeviceRequest {
        device: Some(registry::Device {
            display_name: new.name,
            serial_number: new.serial_number,
            external_id: new.external_id,
            description: new.comment,
            labels: new.label,
            tag_ids: tag_ids.collect::<Result<_>>()?,
            ..Default::default()
        }),
        device_id: String::new(),
        secret: new.token,
        ..Default::default()
    })
}

fn tag_id(index: usize, id: &str) -> Result<String> {
    Ok(uuid(&format!("tags[{index}].id"), id)?.to_string())
}

/// Refuses the tags that are not among those which are known.
pub(super) fn all_known(tag_ids: &[&String], known: &Tags) -> Result<()> {
    let strange = tag_ids.iter().enumerate();
    let violations: Vec<_> = strange
        .filter(|(_, id)| !known.contains_key(**id))
        .map(|(i, id)| proto::Violation {
            field: format!("tags[{i}].id"),
            rule: "value",
            description: format!("there is no tag {id}"),
        })
        .collect();
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(violations))
    }
}

/// A change of a device: what the request holds, and nothing else.
pub(super) fn change(change: UpdateDeviceRequest) -> Result<registry::UpdateDeviceRequest> {
    if change.secret.is_some() || change.secret_type.is_some() {
        return Err(Error::precondition(
            "SECRET_IMMUTABLE",
            "secret: a device's secret can't be changed here",
        ));
    }
    let mut device = registry::Device {
        id: change.id,
        ..Default::default()
    };
    let mut paths = Vec::new();
    if let Some(name) = change.name {
        device.display_name = name;
        paths.push("display_name");
    }
    if let Some(comment) = change.comment {
        device.description = comment;
        paths.push("description");
    }
    if let Some(label) = change.label {
        device.labels = labels(label)?;
        paths.push("labels");
    }
    if let Some(tags) = change.tags {
        device.tag_ids = referred(tags)?;
        paths.push("tag_ids");
    }
    if let Some(external_id) = change.external_id {
        device.external_id = external_id;
        paths.push("external_id");
    }
    Ok(registry::UpdateDeviceRequest {
        device: Some(device),
        update_mask: Some(mask(&paths)),
    })
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    }
}

fn labels(label: Struct) -> Result<HashMap<String, String>> {
    let fields = label.fields.into_iter();
    fields
        .map(|(key, value)| match value.kind {
            Some(Kind::StringValue(text)) => Ok((key, text)),
            _ => Err(Error::invalid(
                format!("label[{key:?}]"),
                "must be a string",
            )),
        })
        .collect()
}

/// The ids of `[{"id": …}]`.
fn referred(tags: ListValue) -> Result<Vec<String>> {
    let tags = tags.values.into_iter().enumerate();
    tags.map(|(i, tag)| {
        let Some(Kind::StructValue(tag)) = tag.kind else {
            return Err(Error::invalid(format!("tags[{i}]"), "must be an object"));
        };
        match tag.fields.get("id").and_then(|id| id.kind.as_ref()) {
            Some(Kind::StringValue(id)) => tag_id(i, id),
            _ => Err(Error::invalid(format!("tags[{i}].id"), "must be a UUID")),
        }
    })
    .collect()
}

/// A device as the dialect shows it.
pub(super) fn device(space: Uuid, device: registry::Device, tags: &Tags) -> Device {
    let on_it = device.tag_ids.into_iter();
    Device {
        id: device.id,
        space_id: space.to_string(),
        name: device.display_name,
        comment: filled(device.description),
        created_at: device.create_time,
        last_seen: device.last_seen_time,
        external_id: filled(device.external_id),
        label: device.labels,
        serial_number: filled(device.serial_number),
        tags: on_it
            .map(|id| match tags.get(&id) {
                Some(known) => tag(known),
                None => Tag {
                    id,
                    ..Default::default()
                },
            })
            .collect(),
        ..Default::default()
    }
}

/// A tag as the dialect shows it.
pub(super) fn tag(tag: &registry::Tag) -> Tag {
    Tag {
        id: tag.id.clone(),
        created_at: tag.create_time,
        name: Some(tag.display_name.clone()),
        color: filled(tag.color.clone()),
    }
}

/// A new tag as the domain creates it.
pub(super) fn new_tag(new: CreateTagRequest) -> registry::CreateTagRequest {
    registry::CreateTagRequest {
        tag: Some(registry::Tag {
            display_name: new.name,
            color: new.color,
            ..Default::default()
        }),
        tag_id: new.id,
    }
}

/// A change of a tag: what the request holds, and nothing else.
pub(super) fn tag_change(change: UpdateTagRequest) -> registry::UpdateTagRequest {
    let mut paths = Vec::new();
    if change.name.is_some() {
        paths.push("display_name");
    }
    if change.color.is_some() {
        paths.push("color");
    }
    registry::UpdateTagRequest {
        tag: Some(registry::Tag {
            id: change.id,
            display_name: change.name.unwrap_or_default(),
            color: change.color.unwrap_or_default(),
            ..Default::default()
        }),
        update_mask: Some(mask(&paths)),
    }
}

/// A text that is null when there is none.
fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
