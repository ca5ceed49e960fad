//! Who issues the certificates of a tenant's devices.

use chassis::hash::sha256;
use chassis::mask::{Fields, field};
use chassis::paging::Page;
use chassis::store::Store;
use chassis::time::timestamp;
use chassis::{Clock, Error, Result, open};
use proto::registry::device_authority::{NamedBy, Names};
use proto::registry::device_authority_service_server::DeviceAuthorityService;
use proto::registry::{
    CreateDeviceAuthorityRequest, DeleteDeviceAuthorityRequest, DeleteDeviceAuthorityResponse,
    DeviceAuthority, GetDeviceAuthorityRequest, ListDeviceAuthoritiesRequest,
    ListDeviceAuthoritiesResponse, UpdateDeviceAuthorityRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::certificates::{Authority, hex, to_pem};
use crate::entity::device_authority::{ActiveModel, Column, Entity, Model};
use crate::paged::paged;
use crate::{etag, ids};

/// How many a tenant may have: each is tried for a certificate that is new.
const MOST: u64 = 20;

/// What updates may change.
const FIELDS: Fields<DeviceAuthority> = Fields {
    message: "authority",
    input: &[
        field!(display_name),
        field!(named_by),
        field!(names),
        field!(any_device),
        field!(disabled),
    ],
    output: &[
        "id",
        "certificate",
        "certificate_sha256",
        "subject",
        "not_after",
        "create_time",
        "update_time",
        "etag",
    ],
};

/// Answers calls about authorities.
pub(crate) struct Authorities {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl DeviceAuthorityService for Authorities {
    async fn create_device_authority(
        &self,
        request: Request<CreateDeviceAuthorityRequest>,
    ) -> Result<Response<DeviceAuthority>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req.authority.unwrap_or_default();
        let read = Authority::read("authority.certificate", &wanted.certificate)?;
        let now = self.clock.now();
        let id = ids::chosen_or_new("authority_id", &req.authority_id, &self.clock)?;
        let row = ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            certificate_sha256: Set(sha256(&read.der).to_vec()),
            certificate: Set(read.der),
            subject: Set(read.subject),
            not_after: Set(read.not_after),
            ..columns(&wanted)
        };
        let created = self
            .store
            .change(&caller, ("deviceAuthorities", id), async |tx| {
                if tx.count(Entity::find()).await? >= MOST {
                    return Err(Error::Exhausted {
                        reason: "AUTHORITY_LIMIT",
                        message: format!("a tenant has at most {MOST} authorities").into(),
                    });
                }
                tx.insert(row).await.map_err(taken)
            });
        Ok(Response::new(message(created.await?)))
    }

    async fn get_device_authority(
        &self,
        request: Request<GetDeviceAuthorityRequest>,
    ) -> Result<Response<DeviceAuthority>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        Ok(Response::new(message(row)))
    }

    async fn list_device_authorities(
        &self,
        request: Request<ListDeviceAuthoritiesRequest>,
    ) -> Result<Response<ListDeviceAuthoritiesResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?;
        let query = paged(Entity::find(), Column::Number, &page);
        let rows = self.store.read(&caller).await?.all(query).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        Ok(Response::new(ListDeviceAuthoritiesResponse {
            authorities: rows.into_iter().map(message).collect(),
            next_page_token,
        }))
    }

    async fn update_device_authority(
        &self,
        request: Request<UpdateDeviceAuthorityRequest>,
    ) -> Result<Response<DeviceAuthority>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .authority
            .ok_or_else(|| Error::invalid("authority", "must be set"))?;
        let id = ids::parse("authority.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self
            .store
            .change(&caller, ("deviceAuthorities", id), async |tx| {
                let row = tx.one(by_id(id)).await?;
                let row = row.ok_or_else(|| missing(id))?;
                etag::check(&wanted.etag, row.revision)?;
                let (number, revision) = (row.number, row.revision);
                let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, message(row))?;
                tx.update(ActiveModel {
                    number: Unchanged(number),
                    update_time: Set(now),
                    revision: Set(revision + 1),
                    ..columns(&merged)
                })
                .await
            });
        Ok(Response::new(message(updated.await?)))
    }

    async fn delete_device_authority(
        &self,
        request: Request<DeleteDeviceAuthorityRequest>,
    ) -> Result<Response<DeleteDeviceAuthorityResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let query = Entity::delete_many().filter(Column::Id.eq(id));
        self.store
            .change(&caller, ("deviceAuthorities", id), async |tx| {
                tx.delete_found(query, || missing(id)).await
            })
            .await?;
        Ok(Response::new(DeleteDeviceAuthorityResponse {}))
    }
}

fn by_id(id: Uuid) -> Select<Entity> {
    Entity::find().filter(Column::Id.eq(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("authority", id)
}

fn taken(error: Error) -> Error {
    error.unique(&[
        ("certificate_sha256", "authority.certificate"),
        ("id", "authority_id"),
    ])
}

/// The columns that the creator of an authority, or who changes it, sets.
fn columns(authority: &DeviceAuthority) -> ActiveModel {
    let named_by = match authority.named_by() {
        NamedBy::Unspecified => NamedBy::CommonName,
        named_by => named_by,
    };
    let names = match authority.names() {
        Names::Unspecified => Names::SerialNumber,
        names => names,
    };
    ActiveModel {
        display_name: Set(authority.display_name.clone()),
        named_by: Set(named_by as i16),
        names: Set(names as i16),
        any_device: Set(authority.any_device),
        disabled: Set(authority.disabled),
        ..ActiveModel::default()
    }
}

/// An authority as the contract has it.
fn message(row: Model) -> DeviceAuthority {
    DeviceAuthority {
        id: row.id.to_string(),
        display_name: row.display_name,
        certificate: to_pem(&row.certificate),
        certificate_sha256: hex(&row.certificate_sha256),
        subject: row.subject,
        not_after: Some(timestamp(row.not_after)),
        named_by: row.named_by.into(),
        names: row.names.into(),
        any_device: row.any_device,
        disabled: row.disabled,
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
    }
}
