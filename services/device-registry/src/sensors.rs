//! What devices measure with.

use chassis::caller::TenantId;
use chassis::mask::{Fields, field};
use chassis::paging::Page;
use chassis::store::{Store, WriteTx};
use chassis::time::timestamp;
use chassis::{Clock, Error, Result, open};
use proto::registry::sensor_service_server::SensorService;
use proto::registry::{
    CreateSensorRequest, DeleteSensorRequest, DeleteSensorResponse, GetSensorRequest,
    ListSensorsRequest, ListSensorsResponse, Sensor, UpdateSensorRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QuerySelect, QueryTrait, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::{device, sensor};
use crate::paged::{paged, paged_few};
use crate::{attributes, etag, ids};

/// What updates may change.
const FIELDS: Fields<Sensor> = Fields {
    message: "sensor",
    input: &[
        field!(code),
        field!(description),
        field!(external_id),
        field!(brand),
        field!(fallback),
        field!(attributes),
    ],
    output: &[
        "id",
        "number",
        "device_id",
        "create_time",
        "update_time",
        "etag",
    ],
};

/// Answers calls about sensors.
pub(crate) struct Sensors {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl SensorService for Sensors {
    async fn create_sensor(
        &self,
        request: Request<CreateSensorRequest>,
    ) -> Result<Response<Sensor>, Status> {
        let (caller, req) = open(request)?;
        let now = self.clock.now();
        let id = ids::chosen_or_new("sensor_id", &req.sensor_id, &self.clock)?;
        let wanted = req.sensor.unwrap_or_default();
        let device = ids::parse("sensor.device_id", &wanted.device_id)?;
        let row = sensor::ActiveModel {
            id: Set(id),
            device_id: Set(device),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            ..columns(wanted)?
        };
        let created = self.store.change(&caller, ("sensors", id), async |tx| {
            hold(tx, device).await?;
            tx.insert(row).await.map_err(taken)
        });
        Ok(Response::new(message(created.await?)))
    }

    async fn get_sensor(
        &self,
        request: Request<GetSensorRequest>,
    ) -> Result<Response<Sensor>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        Ok(Response::new(message(row)))
    }

    async fn list_sensors(
        &self,
        request: Request<ListSensorsRequest>,
    ) -> Result<Response<ListSensorsResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?;
        let tx = self.store.read(&caller).await?;
        let query = matching(&req)?.filter(is_of_deleted(tx.tenant()).not());
        let query = match req.device_ids.len() > 1 || !req.numbers.is_empty() {
            true => paged_few(query, sensor::Column::Number, &page),
            false => paged(query, sensor::Column::Number, &page),
        };
        let rows = tx.all(query).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        Ok(Response::new(ListSensorsResponse {
            sensors: rows.into_iter().map(message).collect(),
            next_page_token,
        }))
    }

    async fn update_sensor(
        &self,
        request: Request<UpdateSensorRequest>,
    ) -> Result<Response<Sensor>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .sensor
            .ok_or_else(|| Error::invalid("sensor", "must be set"))?;
        let id = ids::parse("sensor.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self.store.change(&caller, ("sensors", id), async |tx| {
            let row = tx.one(by_id(id)).await?;
            let row = row.ok_or_else(|| missing(id))?;
            etag::check(&wanted.etag, row.revision)?;
            let (number, revision) = (row.number, row.revision);
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, message(row))?;
            let row = tx.update(sensor::ActiveModel {
                number: Unchanged(number),
                update_time: Set(now),
                revision: Set(revision + 1),
                ..columns(merged)?
            });
            row.await.map_err(taken)
        });
        Ok(Response::new(message(updated.await?)))
    }

    async fn delete_sensor(
        &self,
        request: Request<DeleteSensorRequest>,
    ) -> Result<Response<DeleteSensorResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let query = sensor::Entity::delete_many().filter(sensor::Column::Id.eq(id));
        self.store
            .change(&caller, ("sensors", id), async |tx| {
                tx.delete_found(query, || missing(id)).await
            })
            .await?;
        Ok(Response::new(DeleteSensorResponse {}))
    }
}

fn by_id(id: Uuid) -> Select<sensor::Entity> {
    sensor::Entity::find().filter(sensor::Column::Id.eq(id))
}

/// Sees to it that a device is there, and stays until the sensor is.
async fn hold(tx: &WriteTx, id: Uuid) -> Result<()> {
    let query = device::Entity::find()
        .filter(device::Column::Id.eq(id))
        .filter(device::Column::DeleteTime.is_null());
    match tx.one(query).await? {
        Some(_) => Ok(()),
        None => Err(Error::not_found("device", id)),
    }
}

fn missing(id: Uuid) -> Error {
    Error::not_found("sensor", id)
}

fn taken(error: Error) -> Error {
    error.unique(&[
        ("external_id", "sensor.external_id"),
        ("fallback", "sensor.fallback"),
        ("code", "sensor.code"),
        ("id", "sensor_id"),
    ])
}

/// Whether the device of a sensor is deleted: asked of each sensor, for no
/// database makes a join of a value, as of EXISTS, which would go through all.
/// The store confines a statement but not what is nested in it, so the tenant
/// is named here.
fn is_of_deleted(tenant: TenantId) -> SimpleExpr {
    let this = Expr::col((device::Entity, device::Column::Id));
    let deleted = device::Entity::find()
        .select_only()
        .expr(Expr::value(1))
        .filter(device::Column::TenantId.eq(tenant.0))
        .filter(device::Column::DeleteTime.is_not_null())
        .filter(this.equals((sensor::Entity, sensor::Column::DeviceId)))
        .limit(1)
        .into_query();
    let deleted = SimpleExpr::SubQuery(None, Box::new(deleted.into()));
    deleted.is_not_null()
}

/// The sensors that a request asks for, on all pages.
fn matching(request: &ListSensorsRequest) -> Result<Select<sensor::Entity>> {
    let devices = ids::parse_all("device_ids", &request.device_ids)?;
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let numbers = request.numbers.clone();
    Ok(sensor::Entity::find()
        .apply_if((!devices.is_empty()).then_some(devices), |query, ids| {
            query.filter(sensor::Column::DeviceId.is_in(ids))
        })
        .apply_if(given(&request.code), |query, code| {
            query.filter(sensor::Column::Code.eq(code))
        })
        .apply_if(given(&request.external_id), |query, id| {
            query.filter(sensor::Column::ExternalId.eq(id))
        })
        .apply_if((!numbers.is_empty()).then_some(numbers), |query, n| {
            query.filter(sensor::Column::Number.is_in(n))
        }))
}

/// The columns that the creator of a sensor, or who changes it, sets.
fn columns(sensor: Sensor) -> Result<sensor::ActiveModel> {
    let attributes = attributes::column("sensor.attributes", sensor.attributes.as_ref())?;
    let external_id = sensor.external_id;
    Ok(sensor::ActiveModel {
        code: Set(sensor.code),
        description: Set(sensor.description),
        // Only nothing may be there twice.
        external_id: Set((!external_id.is_empty()).then_some(external_id)),
        brand: Set(sensor.brand),
        fallback: Set(sensor.fallback),
        attributes: Set(attributes),
        ..Default::default()
    })
}

/// A sensor as the contract has it.
fn message(row: sensor::Model) -> Sensor {
    Sensor {
        id: row.id.to_string(),
        number: row.number,
        device_id: row.device_id.to_string(),
        code: row.code,
        description: row.description,
        external_id: row.external_id.unwrap_or_default(),
        brand: row.brand,
        fallback: row.fallback,
        attributes: row.attributes.as_ref().map(attributes::from_json),
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
    }
}
