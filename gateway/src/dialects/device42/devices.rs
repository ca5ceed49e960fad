//! Devices between Device42's form and Muster's. What the registry has no
//! field for is kept in the attributes of the same name.

use std::collections::HashMap;

use chassis::time::date_time;
use chassis::{Error, Result};
use chrono::SecondsFormat;
use prost_types::FieldMask;
use proto::muster::dialect::device42::v1 as dialect;
use proto::registry::{CreateDeviceRequest, Device, ListDevicesRequest, UpdateDeviceRequest};

use super::attributes::{keep_text, text};
use super::customers::CUSTOMER_ID;
use super::values::{Page, Written, changed, names};
use super::{buildings, customers, in_service, look, tags};
use crate::domain::Domain;

/// What a device may be.
const TYPES: [&str; 6] = [
    "physical", "virtual", "blade", "cluster", "other", "unknown",
];

/// Devices with all that is known of them. Tags, buildings and customers are
/// asked for once, and only if there are any.
pub(super) async fn shown(
    domain: &Domain,
    devices: Vec<Device>,
    nulls: bool,
) -> Result<Vec<dialect::Device>> {
    let mut tag_names = HashMap::new();
    if devices.iter().any(|device| !device.tag_ids.is_empty()) {
        let tags = tags::all(domain).await?.into_iter();
        tag_names.extend(tags.map(|tag| (tag.id, tag.display_name)));
    }
    let mut building_names = HashMap::new();
    if devices.iter().any(|device| !device.site_id.is_empty()) {
        let sites = buildings::all(domain).await?.into_iter();
        building_names.extend(sites.map(|site| (site.id, site.display_name)));
    }
    let customers = customers::of(domain, &devices).await?;
    let shown = devices.into_iter().map(|device| {
        let customer = customers.get(&text(&device.attributes, CUSTOMER_ID));
        let name = customer.map(|one| one.display_name.clone());
        let tags = device.tag_ids.iter();
        let tags = tags.filter_map(|id| tag_names.get(id).cloned()).collect();
        let building = building_names.get(&device.site_id).cloned();
        dialect::Device {
            tags,
            place: building.map(dialect::device::Place::Building),
            customer: blank(name.unwrap_or_default(), nulls),
            customer_id: customer.map(|one| one.number),
            ..without_references(device, nulls)
        }
    });
    Ok(shown.collect())
}

fn without_references(device: Device, nulls: bool) -> dialect::Device {
    let kind = match text(&device.attributes, "type") {
        kind if kind.is_empty() => "unknown".to_owned(),
        kind => kind,
    };
    let updated = device.update_time.as_ref().and_then(date_time);
    let mut labels: Vec<_> = device.labels.iter().collect();
    labels.sort();
    let custom_fields = labels.into_iter().map(|(key, value)| dialect::CustomField {
        key: key.clone(),
        value: value.clone(),
        notes: None,
    });
    dialect::Device {
        id: device.number,
        device_id: device.number,
        r#type: kind,
        asset_no: blank(text(&device.attributes, "asset_no"), nulls),
        service_level: blank(text(&device.attributes, "service_level"), nulls),
        in_service: in_service::of(&device),
        custom_fields: custom_fields.collect(),
        is_it_switch: "no".into(),
        is_it_virtual_host: "no".into(),
        is_it_blade_host: "no".into(),
        last_updated: updated
            .map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
            .unwrap_or_default(),
        name: device.display_name,
        serial_no: blank(device.serial_number, nulls),
        uuid: blank(device.external_id, nulls),
        notes: device.description,
        ..Default::default()
    }
}

/// A device with little but its name.
pub(super) fn name(device: Device, nulls: bool) -> dialect::DeviceName {
    dialect::DeviceName {
        asset_no: blank(text(&device.attributes, "asset_no"), nulls),
        device_id: device.number,
        device_url: format!("/api/1.0/devices/id/{}/", device.number),
        name: device.display_name,
        serial_no: blank(device.serial_number, nulls),
        uuid: blank(device.external_id, nulls),
    }
}

/// What is unset is an empty text, or null if the client wants that.
fn blank(text: String, nulls: bool) -> Option<String> {
    (!nulls || !text.is_empty()).then_some(text)
}

/// One page of the devices that match, and how many match in all.
pub(super) async fn list(
    domain: &Domain,
    wanted: dialect::ListDevicesRequest,
    page: Page,
) -> Result<(Vec<Device>, i64)> {
    let Some(list) = filter(domain, wanted).await? else {
        return Ok((Vec::new(), 0));
    };
    if !list.filter.is_empty() {
        return look::walk(domain, list, page).await;
    }
    let list = ListDevicesRequest {
        page_size: page.limit,
        skip: page.offset,
        count_total: true,
        ..list
    };
    let found = domain.devices().list_devices(domain.request(list)).await?;
    let found = found.into_inner();
    Ok((found.devices, found.total_size))
}

/// What a list asks of the registry; nothing if it asks for a tag or building
/// that is not there. Filters that can't be served are refused.
async fn filter(
    domain: &Domain,
    wanted: dialect::ListDevicesRequest,
) -> Result<Option<ListDevicesRequest>> {
    let Some(customer) = customers::id_of(domain, &wanted.customer).await? else {
        return Ok(None);
    };
    let kept = look::kept(&[
        ("type", &wanted.r#type),
        ("service_level", &wanted.service_level),
        (CUSTOMER_ID, &customer),
        ("asset_no", &wanted.asset_no),
    ]);
    if wanted.device_id < 0 {
        return Err(Error::invalid("device_id", "must be higher than 0"));
    }
    let kept = match wanted.in_service.as_str() {
        "" => kept,
        text => look::both(&kept, in_service::clause(text)?),
    };
    let mut list = ListDevicesRequest {
        number: wanted.device_id,
        display_name: wanted.name,
        serial_number: wanted.serial_no,
        external_id: wanted.uuid,
        filter: kept,
        ..Default::default()
    };
    if !wanted.building.is_empty() {
        let Some(site) = buildings::by_name(domain, &wanted.building).await? else {
            return Ok(None);
        };
        list.site_id = site.id;
    }
    let (any, all) = (names(&wanted.tags), names(&wanted.tags_and));
    if !any.is_empty() && !all.is_empty() {
        return Err(Error::invalid("tags_and", "can't be given beside tags"));
    }
    let asked = if any.is_empty() { all } else { any.clone() };
    if !asked.is_empty() {
        let tags = tags::all(domain).await?.into_iter();
        let tags = tags.filter(|tag| asked.contains(&tag.display_name.as_str()));
        list.tag_ids = tags.map(|tag| tag.id).collect();
        list.any_tag = !any.is_empty();
        let found = list.tag_ids.len();
        if found == 0 || (!list.any_tag && found < asked.len()) {
            return Ok(None);
        }
    }
    Ok(Some(list))
}

/// The device that a path names.
pub(super) async fn get(domain: &Domain, wanted: &dialect::GetDeviceRequest) -> Result<Device> {
    let list = |serial: &str, name: &str| ListDevicesRequest {
        serial_number: serial.to_owned(),
        display_name: name.to_owned(),
        ..Default::default()
    };
    let (found, asked) = if !wanted.serial_no.is_empty() {
        let list = list(&wanted.serial_no, "");
        (one(domain, list).await?, &wanted.serial_no)
    } else if !wanted.name.is_empty() {
        let list = list("", &wanted.name);
        (one(domain, list).await?, &wanted.name)
    } else if !wanted.asset_no.is_empty() {
        let list = ListDevicesRequest {
            filter: look::kept(&[("asset_no", &wanted.asset_no)]),
            ..Default::default()
        };
        (look::only(domain, list).await?, &wanted.asset_no)
    } else {
        return by_number(domain, wanted.device_id).await;
    };
    found.ok_or_else(|| Error::not_found("device", asked))
}

/// The device with a number.
pub(super) async fn by_number(domain: &Domain, number: i64) -> Result<Device> {
    let missing = || Error::not_found("device", number);
    // As a filter, 0 would mean any.
    if number <= 0 {
        return Err(missing());
    }
    let list = ListDevicesRequest {
        number,
        ..Default::default()
    };
    one(domain, list).await?.ok_or_else(missing)
}

/// The only device that matches; an error if there are several.
async fn one(domain: &Domain, list: ListDevicesRequest) -> Result<Option<Device>> {
    let list = ListDevicesRequest {
        page_size: 2,
        ..list
    };
    let found = domain.devices().list_devices(domain.request(list)).await?;
    let mut devices = found.into_inner().devices.into_iter();
    match (devices.next(), devices.next()) {
        (Some(device), Some(_)) => Err(look::ambiguous(&device.display_name)),
        (device, _) => Ok(device),
    }
}

/// Adds a device, or changes the one that the request names.
pub(super) async fn put(
    domain: &Domain,
    wanted: dialect::PutDeviceRequest,
) -> Result<(Device, Written)> {
    let before = named(domain, &wanted).await?;
    let mut device = after(before.clone().unwrap_or_default(), &wanted)?;
    if device.display_name.is_empty() {
        return Err(Error::invalid("name", "is required"));
    }
    if let Some(building) = &wanted.building {
        device.site_id = buildings::id_of(domain, building).await?;
    }
    let add = names(wanted.tags.as_deref().unwrap_or_default());
    let remove = names(wanted.tags_remove.as_deref().unwrap_or_default());
    if let Some(id) = customers::wanted(domain, &wanted).await? {
        keep_text(&mut device.attributes, CUSTOMER_ID, &id);
    }
    device.tag_ids = tags::change(domain, device.tag_ids, &add, &remove).await?;
    match before {
        Some(before) => update(domain, before, device).await,
        None => create(domain, device).await,
    }
}

/// The device that a change is about, if it is there: by its id, uuid, serial
/// number or name, whichever first leads to one.
pub(super) async fn named(
    domain: &Domain,
    wanted: &dialect::PutDeviceRequest,
) -> Result<Option<Device>> {
    if wanted.device_id != 0 {
        return by_number(domain, wanted.device_id).await.map(Some);
    }
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let by_uuid = given(&wanted.uuid).map(|external_id| ListDevicesRequest {
        external_id,
        ..Default::default()
    });
    let by_serial = given(&wanted.serial_no).map(|serial_number| ListDevicesRequest {
        serial_number,
        ..Default::default()
    });
    let by_name = given(&wanted.name).map(|display_name| ListDevicesRequest {
        display_name,
        ..Default::default()
    });
    for list in [by_uuid, by_serial, by_name].into_iter().flatten() {
        if let Some(device) = one(domain, list).await? {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

async fn create(domain: &Domain, device: Device) -> Result<(Device, Written)> {
    let create = CreateDeviceRequest {
        device: Some(device),
        ..Default::default()
    };
    let device = domain
        .devices()
        .create_device(domain.request(create))
        .await?;
    Ok((device.into_inner(), Written::New))
}

async fn update(domain: &Domain, before: Device, device: Device) -> Result<(Device, Written)> {
    let paths = differences(&before, &device);
    if paths.is_empty() {
        return Ok((before, Written::Unchanged));
    }
    let update = UpdateDeviceRequest {
        device: Some(device),
        update_mask: Some(FieldMask { paths }),
    };
    let device = domain
        .devices()
        .update_device(domain.request(update))
        .await?;
    Ok((device.into_inner(), Written::Updated))
}

/// The device as it shall be, but for tags, building and customer: what is not
/// given stays.
fn after(mut device: Device, wanted: &dialect::PutDeviceRequest) -> Result<Device> {
    let set = |field: &mut String, wanted: &Option<String>| {
        if let Some(text) = wanted {
            field.clone_from(text);
        }
    };
    set(&mut device.display_name, &wanted.name);
    set(&mut device.display_name, &wanted.new_name);
    set(&mut device.serial_number, &wanted.serial_no);
    set(&mut device.external_id, &wanted.uuid);
    set(&mut device.description, &wanted.notes);
    if let Some(text) = &wanted.in_service {
        in_service::put(&mut device, text)?;
    }
    if let Some(kind) = &wanted.r#type
        && !TYPES.contains(&kind.as_str())
    {
        let why = format!("must be one of {}", TYPES.join(", "));
        return Err(Error::invalid("type", why));
    }
    for (name, wanted) in [
        ("type", &wanted.r#type),
        ("service_level", &wanted.service_level),
        ("asset_no", &wanted.asset_no),
    ] {
        if let Some(text) = wanted {
            keep_text(&mut device.attributes, name, text);
        }
    }
    Ok(device)
}

fn differences(before: &Device, after: &Device) -> Vec<String> {
    changed(&[
        ("display_name", before.display_name != after.display_name),
        ("serial_number", before.serial_number != after.serial_number),
        ("external_id", before.external_id != after.external_id),
        ("description", before.description != after.description),
        ("tag_ids", before.tag_ids != after.tag_ids),
        ("attributes", before.attributes != after.attributes),
        ("site_id", before.site_id != after.site_id),
        ("state", before.state != after.state),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> dialect::PutDeviceRequest {
        dialect::PutDeviceRequest {
            name: Some("db-1".into()),
            serial_no: Some("S1".into()),
            r#type: Some("virtual".into()),
            in_service: Some("no".into()),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_put_is_shown_again() {
        let device = after(Device::default(), &wanted()).unwrap();
        let shown = without_references(device, true);
        assert_eq!(
            (shown.name.as_str(), shown.r#type.as_str()),
            ("db-1", "virtual")
        );
        assert_eq!(shown.serial_no.as_deref(), Some("S1"));
        assert!(!shown.in_service && shown.uuid.is_none());
    }

    #[test]
    fn the_same_again_changes_nothing() {
        let device = after(Device::default(), &wanted()).unwrap();
        let again = after(device.clone(), &wanted()).unwrap();
        assert_eq!(differences(&device, &again), [""; 0]);
        let renamed = dialect::PutDeviceRequest {
            new_name: Some("db-2".into()),
            ..wanted()
        };
        let renamed = after(device.clone(), &renamed).unwrap();
        assert_eq!(differences(&device, &renamed), ["display_name"]);
    }

    #[test]
    fn blank_is_null_only_if_the_client_wants_that() {
        assert_eq!(blank(String::new(), true), None);
        assert_eq!(blank(String::new(), false).as_deref(), Some(""));
        let name = name(Device::default(), false);
        assert_eq!(name.device_url, "/api/1.0/devices/id/0/");
    }

    #[test]
    fn a_type_that_there_is_not_is_refused() {
        let odd = dialect::PutDeviceRequest {
            r#type: Some("toaster".into()),
            ..wanted()
        };
        let refusal = tonic::Status::from(after(Device::default(), &odd).unwrap_err());
        assert!(
            refusal
                .message()
                .starts_with("type: must be one of physical")
        );
    }
}
