//! Devices by what the registry keeps in attributes, where no index knows it:
//! every device is looked at. And what is done with one device besides.

use chassis::{Error, Result};
use prost_types::FieldMask;
use proto::muster::dialect::device42::v1 as dialect;
use proto::registry::{DeleteDeviceRequest, Device, ListDevicesRequest, UpdateDeviceRequest};

use super::devices;
use super::values::{Page, Written};
use crate::domain::Domain;

/// The filters of the one list as those of the other: they take the same.
pub(super) fn filters(wanted: dialect::ListDeviceNamesRequest) -> dialect::ListDevicesRequest {
    dialect::ListDevicesRequest {
        device_id: wanted.device_id,
        name: wanted.name,
        serial_no: wanted.serial_no,
        uuid: wanted.uuid,
        in_service: wanted.in_service,
        tags: wanted.tags,
        tags_and: wanted.tags_and,
        building: wanted.building,
        r#type: wanted.r#type,
        service_level: wanted.service_level,
        customer: wanted.customer,
        asset_no: wanted.asset_no,
        include_cols: wanted.include_cols,
        blankasnull: wanted.blankasnull,
        limit: wanted.limit,
        offset: wanted.offset,
    }
}

/// The filter of devices that keep these texts; empty if there are none.
pub(super) fn kept(texts: &[(&str, &String)]) -> String {
    let given = texts.iter().filter(|(_, text)| !text.is_empty());
    let clauses = given.map(|(name, text)| match (*name, text.as_str()) {
        // What is nowhere said to be of a type is shown as unknown.
        ("type", "unknown") => {
            "(attributes.type = \"unknown\" OR NOT attributes.type:*)".to_owned()
        }
        (name, text) => format!("attributes.{name} = {}", quoted(text)),
    });
    clauses.collect::<Vec<_>>().join(" AND ")
}

/// What two filters leave; the first may be empty.
pub(super) fn both(one: &str, other: &str) -> String {
    match one {
        "" => other.to_owned(),
        one => format!("{one} AND {other}"),
    }
}

/// A text in the registry's language of filters.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('*', "\\*"))
}

/// One page of the devices that match, and how many match in all.
pub(super) async fn walk(
    domain: &Domain,
    list: ListDevicesRequest,
    page: Page,
) -> Result<(Vec<Device>, i64)> {
    let (mut devices, mut total) = (Vec::new(), 0);
    let limit = usize::try_from(page.limit).unwrap_or_default();
    let mut page_token = String::new();
    loop {
        let list = ListDevicesRequest {
            page_size: 1000,
            page_token,
            ..list.clone()
        };
        let found = domain.devices().list_devices(domain.request(list)).await?;
        let found = found.into_inner();
        for device in found.devices {
            if total >= i64::from(page.offset) && devices.len() < limit {
                devices.push(device);
            }
            total += 1;
        }
        page_token = found.next_page_token;
        if page_token.is_empty() {
            return Ok((devices, total));
        }
    }
}

/// The only device that matches; an error if there are several.
pub(super) async fn only(domain: &Domain, list: ListDevicesRequest) -> Result<Option<Device>> {
    let page = Page::new(2, 0)?;
    let (devices, _) = walk(domain, list, page).await?;
    let mut devices = devices.into_iter();
    match (devices.next(), devices.next()) {
        (Some(device), Some(_)) => Err(ambiguous(&device.display_name)),
        (device, _) => Ok(device),
    }
}

pub(super) fn ambiguous(name: &str) -> Error {
    let text = "several devices are named so: say which by device_id, serial_no or uuid";
    Error::precondition("AMBIGUOUS", format!("{name}: {text}"))
}

/// Takes a device out of use.
pub(super) async fn archive(domain: &Domain, number: i64) -> Result<Device> {
    let device = devices::by_number(domain, number).await?;
    let delete = DeleteDeviceRequest {
        id: device.id.clone(),
        ..Default::default()
    };
    let delete = domain.request(delete);
    domain.devices().delete_device(delete).await?;
    Ok(device)
}

/// Sets a label of the device that the request names, or takes it off.
pub(super) async fn put_custom_field(
    domain: &Domain,
    wanted: dialect::PutCustomFieldRequest,
) -> Result<(Device, Written)> {
    if wanted.key.is_empty() {
        return Err(Error::invalid("key", "is required"));
    }
    let named = dialect::PutDeviceRequest {
        device_id: wanted.device_id.max(wanted.id),
        name: wanted.name,
        serial_no: wanted.serial_no,
        uuid: wanted.uuid,
        ..Default::default()
    };
    let device = devices::named(domain, &named).await?;
    let mut device = device
        .ok_or_else(|| Error::not_found("device", named.name.as_deref().unwrap_or_default()))?;
    let before = device.labels.get(&wanted.key).cloned().unwrap_or_default();
    if before == wanted.value {
        return Ok((device, Written::Unchanged));
    }
    match wanted.value.is_empty() {
        true => device.labels.remove(&wanted.key),
        false => device.labels.insert(wanted.key, wanted.value),
    };
    let update = UpdateDeviceRequest {
        device: Some(device),
        update_mask: Some(FieldMask {
            paths: vec!["labels".to_owned()],
        }),
    };
    let update = domain.request(update);
    let device = domain.devices().update_device(update).await?;
    Ok((device.into_inner(), Written::Updated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_asked_for_in_the_registrys_language() {
        let (kind, level, none) = ("unknown".to_owned(), "A \"B*".to_owned(), String::new());
        let filter = kept(&[
            ("type", &kind),
            ("service_level", &level),
            ("asset_no", &none),
        ]);
        assert_eq!(
            filter,
            "(attributes.type = \"unknown\" OR NOT attributes.type:*) AND \
             attributes.service_level = \"A \\\"B\\*\""
        );
    }
}
