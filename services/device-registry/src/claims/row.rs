//! A claim key as a row and as a message.

use std::net::IpAddr;

use chassis::mask::{Fields, field};
use chassis::time::timestamp;
use chassis::{Error, Result};
use ipnet::IpNet;
use prost::Message;
use proto::Violation;
use proto::registry::{ClaimKey, DeviceTemplate};
use sea_orm::ActiveValue::Set;

use crate::credentials::row::time;
use crate::entity::claim_key::{ActiveModel, Model};
use crate::etag;

/// What updates may change.
pub(super) const FIELDS: Fields<ClaimKey> = Fields {
    message: "claim_key",
    input: &[
        field!(display_name),
        field!(description),
        field!(max_uses),
        field!(expire_time),
        field!(networks),
        field!(template),
        field!(disabled),
    ],
    output: &[
        "id",
        "use_count",
        "last_use_time",
        "create_time",
        "update_time",
        "etag",
    ],
};

/// The columns that the creator of a claim key, or who changes it, sets.
pub(super) fn columns(key: &ClaimKey) -> Result<ActiveModel> {
    let networks = key.networks.iter().enumerate();
    let networks = networks.map(|(i, text)| network(text).ok_or(i));
    let (networks, wrong): (Vec<_>, Vec<_>) = networks.partition(Result::is_ok);
    let wrong: Vec<_> = wrong
        .into_iter()
        .filter_map(Result::err)
        .map(no_network)
        .collect();
    if !wrong.is_empty() {
        return Err(Error::Invalid(wrong));
    }
    let networks = networks
        .into_iter()
        .flatten()
        .map(|network| network.to_string());
    Ok(ActiveModel {
        display_name: Set(key.display_name.clone()),
        description: Set(key.description.clone()),
        max_uses: Set((key.max_uses > 0).then_some(key.max_uses)),
        expire_time: Set(time("claim_key.expire_time", key.expire_time.as_ref())?),
        networks: Set(networks.collect::<Vec<_>>().join(" ")),
        template: Set(key.template.clone().unwrap_or_default().encode_to_vec()),
        disabled: Set(key.disabled),
        ..ActiveModel::default()
    })
}

fn no_network(i: usize) -> Violation {
    Violation {
        field: format!("claim_key.networks[{i}]"),
        rule: "network",
        description: "is no network, such as 192.0.2.0/24 or 2001:db8::/32, and no address"
            .to_owned(),
    }
}

fn network(text: &str) -> Option<IpNet> {
    let address = || {
        text.parse::<IpAddr>()
            .map(|a| IpNet::from(a.to_canonical()))
    };
    let network = text.parse::<IpNet>().or_else(|_| address()).ok()?;
    Some(network.trunc())
}

/// Whether a key may be used from an address.
pub(super) fn allows(row: &Model, source: Option<IpAddr>) -> bool {
    let mut networks = row
        .networks
        .split_whitespace()
        .filter_map(|text| text.parse::<IpNet>().ok());
    row.networks.is_empty()
        || source.is_some_and(|source| networks.any(|n| n.contains(&source.to_canonical())))
}

/// What the devices of a key become.
pub(super) fn template(row: &Model) -> Result<DeviceTemplate> {
    DeviceTemplate::decode(row.template.as_slice()).map_err(Error::internal)
}

/// A claim key as the contract has it.
pub(super) fn message(row: Model) -> Result<ClaimKey> {
    let template = template(&row)?;
    Ok(ClaimKey {
        id: row.id.to_string(),
        display_name: row.display_name,
        description: row.description,
        max_uses: row.max_uses.unwrap_or_default(),
        use_count: row.use_count,
        expire_time: row.expire_time.map(timestamp),
        networks: row.networks.split_whitespace().map(str::to_owned).collect(),
        template: (template != DeviceTemplate::default()).then_some(template),
        disabled: row.disabled,
        last_use_time: row.last_use_time.map(timestamp),
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
    })
}
