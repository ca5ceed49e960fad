//! Things in the field.

use std::collections::{HashMap, HashSet};

use chassis::store::{ReadTx, Resource, Store, WriteTx, in_one_order};
use chassis::{Clock, Error, Result, open, open_stream};
use proto::registry::device_service_server::DeviceService;
use proto::registry::{
    BatchDeleteDevicesRequest, BatchDeleteDevicesResponse, BatchGetDevicesRequest,
    BatchGetDevicesResponse, CreateDeviceRequest, DeleteDeviceRequest, Device, DeviceQuota,
    GetDeviceQuotaRequest, GetDeviceRequest, ListDevicesRequest, ListDevicesResponse,
    RecordSightingsRequest, RecordSightingsResponse, UndeleteDeviceRequest, UpdateDeviceRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Select};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::credentials::proof::{self, Proof};
use crate::device_row::{FIELDS, columns, message};
use crate::entity::device;
use crate::find::pages::Wanted;
use crate::page_key::SealerOnce;
use crate::read_mask::ReadMask;
use crate::requests::Repeatable;
use crate::{Settings, etag, ids, labels, lifecycle, quota, references, sightings};

/// Answers calls about devices.
pub(crate) struct Devices {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) sealer: SealerOnce,
}

#[tonic::async_trait]
impl DeviceService for Devices {
    async fn create_device(
        &self,
        request: Request<CreateDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let (caller, mut req) = open(request)?;
        let request_id = std::mem::take(&mut req.request_id);
        let repeatable = Repeatable::read(&request_id, &req)?;
        let mut wanted = req.device.unwrap_or_default();
        wanted.set_state(lifecycle::begin(wanted.state())?);
        let now = self.clock.now();
        let id = ids::chosen_or_new("device_id", &req.device_id, &self.clock)?;
        let row = device::ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            ..columns(&wanted)?
        };
        let created = self.store.change_found(&caller, async |tx| {
            if let Some(repeatable) = &repeatable
                && let Some(created) = repeatable.created(tx).await?
            {
                return Ok((one(tx, created).await?, Vec::new()));
            }
            let tags = references::existing(tx, &wanted).await?;
            let row = tx.insert(row).await.map_err(taken)?;
            quota::take(tx, 1, self.settings.device_limit).await?;
            references::put_tags(tx, row.id, &tags).await?;
            labels::put(tx, row.id, &wanted).await?;
            self.set_secret(tx, row.id, &req.secret).await?;
            if let Some(repeatable) = &repeatable {
                repeatable.note(tx, row.id).await?;
            }
            let made = Resource::from(("devices", row.id));
            Ok((message(row, &tags), vec![made]))
        });
        Ok(Response::new(created.await?))
    }

    async fn get_device(
        &self,
        request: Request<GetDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let (caller, req) = open(request)?;
        let mask = ReadMask::read(req.read_mask.as_ref())?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        Ok(Response::new(mask.apply(one(&tx, id).await?)))
    }

    async fn batch_get_devices(
        &self,
        request: Request<BatchGetDevicesRequest>,
    ) -> Result<Response<BatchGetDevicesResponse>, Status> {
        let (caller, req) = open(request)?;
        let mask = ReadMask::read(req.read_mask.as_ref())?;
        let wanted = ids::parse_all("ids", &req.ids)?;
        let tx = self.store.read(&caller).await?;
        let query = device::Entity::find().filter(device::Column::Id.is_in(wanted.iter().copied()));
        let rows = tx.all(query).await?;
        let tags = references::tags_on_all(&tx, rows.iter().map(|row| row.id)).await?;
        let rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
        let device = |id: &Uuid| {
            let row = rows.get(id).cloned().ok_or_else(|| missing(*id))?;
            let tags = tags.get(id).map(Vec::as_slice).unwrap_or_default();
            Ok(mask.apply(message(row, tags)))
        };
        let devices = wanted.iter().map(device).collect::<Result<_>>()?;
        Ok(Response::new(BatchGetDevicesResponse { devices }))
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        let (caller, req) = open(request)?;
        let mask = ReadMask::read(req.read_mask.as_ref())?;
        let sealer = self.sealer.get(&self.store).await?;
        let tx = self.store.read(&caller).await?;
        let wanted = Wanted::read(&tx, &req, &sealer).await?;
        let total_size = match req.count_total {
            true => wanted.count(&tx).await?,
            false => 0,
        };
        let mut found = wanted.page(&tx, &sealer).await?;
        let devices = found.rows.into_iter().map(|row| {
            let tags = found.tags.remove(&row.id).unwrap_or_default();
            mask.apply(message(row, &tags))
        });
        Ok(Response::new(ListDevicesResponse {
            devices: devices.collect(),
            next_page_token: found.next_page_token,
            total_size: total_size.cast_signed(),
        }))
    }

    async fn update_device(
        &self,
        request: Request<UpdateDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .device
            .ok_or_else(|| Error::invalid("device", "must be set"))?;
        let id = ids::parse("device.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self.store.change(&caller, ("devices", id), async |tx| {
            let row = kept(tx, id).await?;
            etag::check(&wanted.etag, row.revision)?;
            let (number, revision) = (row.number, row.revision);
            let old_tags = references::tags_on(tx, id).await?;
            let current = message(row, &old_tags);
            let (state, old_labels) = (current.state(), current.labels.clone());
            let mut merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, current)?;
            merged.set_state(lifecycle::change(state, merged.state())?);
            let tags = references::existing(tx, &merged).await?;
            let change = device::ActiveModel {
                number: Unchanged(number),
                update_time: Set(now),
                revision: Set(revision + 1),
                ..columns(&merged)?
            };
            let row = tx.update(change).await.map_err(taken)?;
            if tags != old_tags {
                references::take_tags_off(tx, id).await?;
                references::put_tags(tx, id, &tags).await?;
            }
            if merged.labels != old_labels {
                labels::replace(tx, id, &merged).await?;
            }
            Ok(message(row, &tags))
        });
        Ok(Response::new(updated.await?))
    }

    async fn delete_device(
        &self,
        request: Request<DeleteDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let deleted = self.store.change(&caller, ("devices", id), async |tx| {
            let row = tx.one(by_id(id)).await?;
            let row = row.filter(|row| req.purge || row.delete_time.is_none());
            let row = row.ok_or_else(|| missing(id))?;
            etag::check(&req.etag, row.revision)?;
            let tags = references::tags_on(tx, id).await?;
            if req.purge {
                purge_now(tx, &[id]).await?;
                return Ok(message(row, &tags));
            }
            let row = tx.update(self.deleted(&row)).await?;
            Ok(message(row, &tags))
        });
        Ok(Response::new(deleted.await?))
    }

    async fn undelete_device(
        &self,
        request: Request<UndeleteDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let now = self.clock.now();
        let undeleted = self.store.change(&caller, ("devices", id), async |tx| {
            let row = tx.one(by_id(id)).await?;
            let row = row.ok_or_else(|| missing(id))?;
            etag::check(&req.etag, row.revision)?;
            if row.delete_time.is_none() {
                return Err(Error::AlreadyExists {
                    field: "id".into(),
                    message: "the device is not deleted".into(),
                });
            }
            let change = device::ActiveModel {
                number: Unchanged(row.number),
                delete_time: Set(None),
                purge_time: Set(None),
                update_time: Set(now),
                revision: Set(row.revision + 1),
                ..Default::default()
            };
            let row = tx.update(change).await.map_err(taken)?;
            let tags = references::tags_on(tx, id).await?;
            Ok(message(row, &tags))
        });
        Ok(Response::new(undeleted.await?))
    }

    async fn batch_delete_devices(
        &self,
        request: Request<BatchDeleteDevicesRequest>,
    ) -> Result<Response<BatchDeleteDevicesResponse>, Status> {
        let (caller, req) = open(request)?;
        let wanted = ids::parse_all("ids", &req.ids)?;
        let records: Vec<Resource> = wanted.iter().map(|id| ("devices", *id).into()).collect();
        let deleted = self.store.change_many(&caller, records, async |tx| {
            let query =
                device::Entity::find().filter(device::Column::Id.is_in(wanted.iter().copied()));
            let mut rows = tx.all(in_one_order(query).lock_exclusive()).await?;
            rows.retain(|row| req.purge || row.delete_time.is_none());
            let found: HashSet<_> = rows.iter().map(|row| row.id).collect();
            if let Some(id) = wanted.iter().find(|id| !found.contains(id)) {
                return Err(missing(*id));
            }
            if req.purge {
                return purge_now(tx, &wanted).await;
            }
            for row in &rows {
                tx.update(self.deleted(row)).await?;
            }
            Ok(())
        });
        deleted.await?;
        Ok(Response::new(BatchDeleteDevicesResponse {}))
    }

    async fn get_device_quota(
        &self,
        request: Request<GetDeviceQuotaRequest>,
    ) -> Result<Response<DeviceQuota>, Status> {
        let (caller, _) = open(request)?;
        let tx = self.store.read(&caller).await?;
        let default = self.settings.device_limit;
        let (device_count, device_limit) = quota::told(&tx, default).await?;
        Ok(Response::new(DeviceQuota {
            device_count,
            device_limit,
        }))
    }

    async fn record_sightings(
        &self,
        request: Request<Streaming<RecordSightingsRequest>>,
    ) -> Result<Response<RecordSightingsResponse>, Status> {
        let (caller, messages) = open_stream(request)?;
        let told = sightings::record(&self.store, &self.clock, &caller, messages).await?;
        Ok(Response::new(told))
    }
}

impl Devices {
    /// A device that can be brought back until its purge time.
    fn deleted(&self, row: &device::Model) -> device::ActiveModel {
        let now = self.clock.now();
        device::ActiveModel {
            number: Unchanged(row.number),
            delete_time: Set(Some(now)),
            purge_time: Set(Some(now + self.settings.keep_deleted)),
            update_time: Set(now),
            revision: Set(row.revision + 1),
            ..Default::default()
        }
    }

    /// Keeps what the device proves itself by, if anything: as a hash.
    async fn set_secret(&self, tx: &WriteTx, device: Uuid, secret: &str) -> Result<()> {
        if secret.is_empty() {
            return Ok(());
        }
        let proof = Proof::secret(secret)?;
        let row = proof::bare(&proof, self.clock.new_id(), device, self.clock.now());
        tx.insert(row).await.map(drop)
    }
}

fn by_id(id: Uuid) -> Select<device::Entity> {
    device::Entity::find().filter(device::Column::Id.eq(id))
}

/// A device with its tags, deleted or not (AIP-164).
async fn one(tx: &ReadTx, id: Uuid) -> Result<Device> {
    let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
    let tags = references::tags_on(tx, id).await?;
    Ok(message(row, &tags))
}

/// A device that is to be changed, which is not for one that is deleted.
async fn kept(tx: &WriteTx, id: Uuid) -> Result<device::Model> {
    let row = tx.one(by_id(id)).await?;
    row.filter(|row| row.delete_time.is_none())
        .ok_or_else(|| missing(id))
}

/// Devices are gone for good. Their tags, labels and secrets go with them: the
/// schema says so.
async fn purge_now(tx: &WriteTx, ids: &[Uuid]) -> Result<()> {
    let query = device::Entity::delete_many().filter(device::Column::Id.is_in(ids.iter().copied()));
    let gone = tx.delete(query).await?;
    quota::give_back(tx, gone.cast_signed()).await
}

fn missing(id: Uuid) -> Error {
    Error::not_found("device", id)
}

/// Says which field of a device another one has the value of.
pub(crate) fn taken(error: Error) -> Error {
    error.unique(&[
        ("serial_number", "device.serial_number"),
        ("external_id", "device.external_id"),
        ("code", "device.code"),
        ("id", "device_id"),
    ])
}
