//! Whose commands somebody receives: a device's own, or those of a gateway's
//! devices.

use std::collections::HashSet;

use chassis::caller::{Caller, Principal};
use chassis::filter::{self, Filter};
use chassis::store::ReadTx;
use chassis::{Error, Result};
use proto::registry::device::State;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, QueryTrait};
use uuid::Uuid;

use super::calls::Called;
use crate::entity::{device, device_command};
use crate::find::fields::{Devices, Field};
use crate::find::{pages, sql};
use crate::ids;

/// The states in which a device is told something.
const TOLD: [State; 2] = [State::Active, State::Provisioned];

/// Whose commands are received.
pub(crate) enum Whose {
    /// Of these devices.
    Named(Vec<Uuid>),
    /// Of the devices that match.
    Matching(Filter<Field>),
}

impl Whose {
    /// What a request for commands names. A device receives its own only.
    pub(crate) async fn read(
        tx: &ReadTx,
        caller: &Caller,
        device_id: &str,
        device_ids: &[String],
        filter: &str,
    ) -> Result<Self> {
        let mut named = ids::parse_all("device_ids", device_ids)?;
        named.extend(ids::parse_optional("device_id", device_id)?);
        let filter = filter::read(&Devices, filter)?;
        if let Some(own) = own_device(caller.principal()) {
            if filter.is_some() || named.iter().any(|id| *id != own) {
                return Err(Error::denied(
                    "OTHER_DEVICE",
                    "a device receives its own commands only",
                ));
            }
            return Ok(Self::Named(vec![own]));
        }
        match (filter, named.is_empty()) {
            (Some(filter), true) => {
                condition(tx, filter.clone()).await?;
                Ok(Self::Matching(filter))
            }
            (None, false) => {
                existing(tx, &named).await?;
                Ok(Self::Named(named))
            }
            (Some(_), false) => Err(Error::invalid(
                "filter",
                "is not for devices that are named",
            )),
            (None, true) => Err(Error::invalid(
                "device_id",
                "or device_ids or filter must be set",
            )),
        }
    }

    /// What wakes the receiver.
    pub(crate) fn keys(&self, caller: &Caller) -> Vec<Called> {
        let tenant = caller.tenant().0;
        match self {
            Self::Named(devices) => devices.iter().map(|id| (tenant, Some(*id))).collect(),
            Self::Matching(_) => vec![(tenant, None)],
        }
    }

    /// The commands that are theirs. The store confines the statement but not
    /// what is nested in it, so the tenant is named here.
    pub(crate) async fn theirs(&self, tx: &ReadTx) -> Result<Condition> {
        let devices = told(tx.tenant().0);
        let mut theirs = Condition::all();
        let devices = match self {
            Self::Named(named) => {
                let named = named.iter().copied();
                theirs = theirs.add(device_command::Column::DeviceId.is_in(named.clone()));
                devices.add(device::Column::Id.is_in(named))
            }
            Self::Matching(filter) => devices.add(condition(tx, filter.clone()).await?),
        };
        let devices = device::Entity::find()
            .select_only()
            .column(device::Column::Id)
            .filter(devices)
            .into_query();
        Ok(theirs.add(device_command::Column::DeviceId.in_subquery(devices)))
    }
}

/// The devices of a tenant that are told something.
pub(crate) fn told(tenant: Uuid) -> Condition {
    Condition::all()
        .add(device::Column::TenantId.eq(tenant))
        .add(device::Column::DeleteTime.is_null())
        .add(device::Column::State.is_in(TOLD.map(i32::from)))
}

/// The device that is calling, if it is one.
pub(crate) fn own_device(principal: &Principal) -> Option<Uuid> {
    match principal {
        Principal::Device(id) => Some(*id),
        _ => None,
    }
}

/// Refuses what is not for devices.
pub(crate) fn refuse_devices(caller: &Caller) -> Result<()> {
    match own_device(caller.principal()) {
        None => Ok(()),
        Some(_) => Err(Error::denied("OTHER_DEVICE", "this is not for devices")),
    }
}

/// Refuses a device that is told nothing.
pub(crate) fn refuse_unused(row: &device::Model) -> Result<()> {
    let state = State::try_from(i32::from(row.state)).unwrap_or_default();
    if TOLD.contains(&state) {
        return Ok(());
    }
    let text = format!("the device {} is {}", row.id, state.as_str_name());
    Err(Error::precondition("DEVICE_NOT_IN_USE", text))
}

/// Devices that are named and there, in the order of their ids' mention.
pub(crate) async fn existing(tx: &ReadTx, named: &[Uuid]) -> Result<Vec<device::Model>> {
    let query = device::Entity::find()
        .filter(device::Column::Id.is_in(named.iter().copied()))
        .filter(device::Column::DeleteTime.is_null());
    let found = tx.all(query).await?;
    let there: HashSet<_> = found.iter().map(|row| row.id).collect();
    match named.iter().find(|id| !there.contains(id)) {
        None => Ok(found),
        Some(missing) => Err(Error::not_found("device", missing)),
    }
}

/// A filter as the database knows it.
pub(crate) async fn condition(tx: &ReadTx, filter: Filter<Field>) -> Result<Condition> {
    let filter = pages::with_tag_ids(tx, filter).await?;
    sql::whole(&filter, tx.tenant()).ok_or_else(unknown)
}

/// Why a filter is refused.
pub(crate) fn unknown() -> Error {
    let text = "must not ask for attributes, descriptions or places: give the devices a label";
    Error::invalid("filter", text)
}
