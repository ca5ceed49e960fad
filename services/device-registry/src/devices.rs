//! Things in the field.

use chassis::hash::sha256;
use chassis::paging::Page;
use chassis::store::{Store, WriteTx};
use chassis::{Clock, Error, Result, open, open_stream};
use proto::registry::device_service_server::DeviceService;
use proto::registry::{
    CreateDeviceRequest, DeleteDeviceRequest, DeleteDeviceResponse, Device, GetDeviceRequest,
    ListDevicesRequest, ListDevicesResponse, RecordSightingsRequest, RecordSightingsResponse,
    UpdateDeviceRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::device_row::{FIELDS, columns, message};
use crate::entity::{device, device_secret};
use crate::paged::paged;
use crate::{device_filter, etag, ids, references, sightings};

/// Answers calls about devices.
pub(crate) struct Devices {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl DeviceService for Devices {
    async fn create_device(
        &self,
        request: Request<CreateDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req.device.unwrap_or_default();
        let now = self.clock.now();
        let id = ids::chosen_or_new("device_id", &req.device_id, &self.clock)?;
        let row = device::ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            ..columns(&wanted)?
        };
        let created = self.store.change(&caller, ("devices", id), async |tx| {
            let tags = references::existing(tx, &wanted).await?;
            let row = tx.insert(row).await.map_err(taken)?;
            references::put_tags(tx, row.id, &tags).await?;
            self.set_secret(tx, row.id, &req.secret).await?;
            Ok(message(row, &tags))
        });
        Ok(Response::new(created.await?))
    }

    async fn get_device(
        &self,
        request: Request<GetDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        let tags = references::tags_on(&tx, id).await?;
        Ok(Response::new(message(row, &tags)))
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?.skip(req.skip);
        let query = device_filter::matching(&req, caller.tenant())?;
        let tx = self.store.read(&caller).await?;
        let total_size = match req.count_total {
            true => tx.count(query.clone()).await?,
            false => 0,
        };
        let rows = tx.all(paged(query, device::Column::Number, &page)).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        let mut tags = references::tags_on_all(&tx, rows.iter().map(|row| row.id)).await?;
        let devices = rows.into_iter().map(|row| {
            let tags = tags.remove(&row.id).unwrap_or_default();
            message(row, &tags)
        });
        Ok(Response::new(ListDevicesResponse {
            devices: devices.collect(),
            next_page_token,
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
            let row = tx.one(by_id(id)).await?;
            let row = row.ok_or_else(|| missing(id))?;
            etag::check(&wanted.etag, row.revision)?;
            let (number, revision) = (row.number, row.revision);
            let old_tags = references::tags_on(tx, id).await?;
            let current = message(row, &old_tags);
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, current)?;
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
            Ok(message(row, &tags))
        });
        Ok(Response::new(updated.await?))
    }

    async fn delete_device(
        &self,
        request: Request<DeleteDeviceRequest>,
    ) -> Result<Response<DeleteDeviceResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        // Its tags and secrets go with it: the schema says so.
        let query = device::Entity::delete_many().filter(device::Column::Id.eq(id));
        self.store
            .change(&caller, ("devices", id), async |tx| {
                tx.delete_found(query, || missing(id)).await
            })
            .await?;
        Ok(Response::new(DeleteDeviceResponse {}))
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
    /// Keeps what the device proves itself by, if anything: as a hash.
    async fn set_secret(&self, tx: &WriteTx, device: Uuid, secret: &str) -> Result<()> {
        if secret.is_empty() {
            return Ok(());
        }
        let row = device_secret::ActiveModel {
            id: Set(self.clock.new_id()),
            device_id: Set(device),
            hash: Set(sha256(secret.as_bytes()).to_vec()),
            create_time: Set(self.clock.now()),
            ..Default::default()
        };
        tx.insert(row).await.map(drop)
    }
}

fn by_id(id: Uuid) -> Select<device::Entity> {
    device::Entity::find().filter(device::Column::Id.eq(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("device", id)
}

fn taken(error: Error) -> Error {
    error.unique(&[
        ("serial_number", "device.serial_number"),
        ("external_id", "device.external_id"),
        ("code", "device.code"),
        ("id", "device_id"),
    ])
}
