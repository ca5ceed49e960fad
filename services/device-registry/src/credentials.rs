//! What devices prove themselves by. A change of it is recorded as one of the
//! device, whose remembered answers it makes worthless.

pub(crate) mod proof;
pub(crate) mod row;

use chassis::error::Constraint;
use chassis::paging::Page;
use chassis::store::{ReadTx, Store, WriteTx};
use chassis::{Clock, Error, Result, open};
use chrono::TimeDelta;
use proto::registry::device_credential_service_server::DeviceCredentialService;
use proto::registry::{
    CreateDeviceCredentialRequest, CreateDeviceCredentialResponse, DeleteDeviceCredentialRequest,
    DeleteDeviceCredentialResponse, DeviceCredential, GetDeviceCredentialRequest,
    ListDeviceCredentialsRequest, ListDeviceCredentialsResponse, RotateDeviceCredentialRequest,
    RotateDeviceCredentialResponse, UpdateDeviceCredentialRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::device;
use crate::entity::device_credential::{ActiveModel, Column, Entity, Model};
use crate::paged::paged;
use crate::{etag, ids};
use proof::Proof;
use row::{FIELDS, columns, message};

/// For how long a credential that is rotated away stays good if nobody says.
const OVERLAP: TimeDelta = TimeDelta::days(1);

/// Answers calls about credentials.
pub(crate) struct Credentials {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl DeviceCredentialService for Credentials {
    async fn create_device_credential(
        &self,
        request: Request<CreateDeviceCredentialRequest>,
    ) -> Result<Response<CreateDeviceCredentialResponse>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req.credential.unwrap_or_default();
        let device = ids::parse("device_id", &req.device_id)?;
        let proof = Proof::of(&wanted, &req.secret, &req.certificate)?;
        let id = ids::chosen_or_new("credential_id", &req.credential_id, &self.clock)?;
        let now = self.clock.now();
        let row = new(&proof, columns(&wanted)?, (id, device), now);
        let created = self.store.change(&caller, of(device, id), async |tx| {
            lock(tx, device).await?;
            proof::add(tx, device, row, now).await.map_err(refused)
        });
        Ok(Response::new(CreateDeviceCredentialResponse {
            credential: Some(message(created.await?)),
            secret: proof.shown(),
        }))
    }

    async fn get_device_credential(
        &self,
        request: Request<GetDeviceCredentialRequest>,
    ) -> Result<Response<DeviceCredential>, Status> {
        let (caller, req) = open(request)?;
        let device = ids::parse("device_id", &req.device_id)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(device, id)).await?;
        Ok(Response::new(message(row.ok_or_else(|| missing(id))?)))
    }

    async fn list_device_credentials(
        &self,
        request: Request<ListDeviceCredentialsRequest>,
    ) -> Result<Response<ListDeviceCredentialsResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?;
        let device = ids::parse("device_id", &req.device_id)?;
        let tx = self.store.read(&caller).await?;
        is_there(&tx, device).await?;
        let query = Entity::find().filter(Column::DeviceId.eq(device));
        let rows = tx.all(paged(query, Column::Number, &page)).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        Ok(Response::new(ListDeviceCredentialsResponse {
            credentials: rows.into_iter().map(message).collect(),
            next_page_token,
        }))
    }

    async fn update_device_credential(
        &self,
        request: Request<UpdateDeviceCredentialRequest>,
    ) -> Result<Response<DeviceCredential>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .credential
            .ok_or_else(|| Error::invalid("credential", "must be set"))?;
        let device = ids::parse("credential.device_id", &wanted.device_id)?;
        let id = ids::parse("credential.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self.store.change(&caller, of(device, id), async |tx| {
            let row = found(tx, device, id, &wanted.etag).await?;
            let (number, revision) = (row.number, row.revision);
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, message(row))?;
            tx.update(ActiveModel {
                number: Unchanged(number),
                update_time: Set(now),
                revision: Set(revision + 1),
                ..columns(&merged)?
            })
            .await
        });
        Ok(Response::new(message(updated.await?)))
    }

    async fn delete_device_credential(
        &self,
        request: Request<DeleteDeviceCredentialRequest>,
    ) -> Result<Response<DeleteDeviceCredentialResponse>, Status> {
        let (caller, req) = open(request)?;
        let device = ids::parse("device_id", &req.device_id)?;
        let id = ids::parse("id", &req.id)?;
        let query = Entity::delete_many()
            .filter(Column::Id.eq(id))
            .filter(Column::DeviceId.eq(device));
        self.store
            .change(&caller, of(device, id), async |tx| {
                tx.delete_found(query, || missing(id)).await
            })
            .await?;
        Ok(Response::new(DeleteDeviceCredentialResponse {}))
    }

    async fn rotate_device_credential(
        &self,
        request: Request<RotateDeviceCredentialRequest>,
    ) -> Result<Response<RotateDeviceCredentialResponse>, Status> {
        let (caller, req) = open(request)?;
        let device = ids::parse("device_id", &req.device_id)?;
        let id = ids::parse("id", &req.id)?;
        let (now, next) = (self.clock.now(), self.clock.new_id());
        let overlap = req
            .overlap
            .map_or(OVERLAP, |d| TimeDelta::seconds(d.seconds));
        // Made once, however often the transaction is tried.
        let secret = Proof::secret(&req.secret)?;
        let rotated = self.store.change(&caller, of(device, id), async |tx| {
            lock(tx, device).await?;
            let old = found(tx, device, id, &req.etag).await?;
            let proof = successor(&old, &req, &secret)?;
            let end = old
                .not_after
                .map_or(now + overlap, |end| end.min(now + overlap));
            let said = ActiveModel {
                display_name: Set(old.display_name.clone()),
                description: Set(old.description.clone()),
                labels: Set(old.labels.clone()),
                disabled: Set(false),
                ..Default::default()
            };
            let replaced = tx
                .update(ActiveModel {
                    number: Unchanged(old.number),
                    not_after: Set(Some(end)),
                    update_time: Set(now),
                    revision: Set(old.revision + 1),
                    ..Default::default()
                })
                .await?;
            let row = new(&proof, said, (next, device), now);
            let row = proof::add(tx, device, row, now).await.map_err(refused)?;
            Ok((proof, row, replaced))
        });
        let (proof, row, replaced) = rotated.await?;
        Ok(Response::new(RotateDeviceCredentialResponse {
            credential: Some(message(row)),
            secret: proof.shown(),
            replaced: Some(message(replaced)),
        }))
    }
}

/// What follows a credential: the same kind of thing.
fn successor(old: &Model, req: &RotateDeviceCredentialRequest, secret: &Proof) -> Result<Proof> {
    match (
        &old.secret_hash,
        &old.certificate_sha256,
        req.certificate.as_str(),
    ) {
        (Some(_), _, "") => Ok(secret.clone()),
        (None, Some(_), pem) if !pem.is_empty() && req.secret.is_empty() => {
            Proof::certificate("certificate", pem)
        }
        (None, Some(_), _) => Err(Error::invalid(
            "certificate",
            "must be the certificate that follows, in PEM",
        )),
        (Some(_), ..) => Err(Error::invalid("certificate", "a secret follows a secret")),
        _ => Err(Error::precondition(
            "NOT_ROTATED",
            "the authority issues new certificates by itself; there is nothing to rotate",
        )),
    }
}

/// The row of a new credential.
fn new(
    proof: &Proof,
    said: ActiveModel,
    (id, device): (Uuid, Uuid),
    now: sea_orm::prelude::DateTimeUtc,
) -> ActiveModel {
    let bare = proof::bare(proof, id, device, now);
    ActiveModel {
        id: bare.id,
        device_id: bare.device_id,
        create_time: bare.create_time,
        update_time: bare.update_time,
        revision: bare.revision,
        secret_hash: bare.secret_hash,
        certificate_sha256: bare.certificate_sha256,
        authority_id: bare.authority_id,
        ..said
    }
}

/// A credential as records of changes name it.
fn of(device: Uuid, id: Uuid) -> (&'static str, String) {
    ("devices", format!("{device}/credentials/{id}"))
}

fn by_id(device: Uuid, id: Uuid) -> Select<Entity> {
    Entity::find()
        .filter(Column::Id.eq(id))
        .filter(Column::DeviceId.eq(device))
}

async fn found(tx: &WriteTx, device: Uuid, id: Uuid, tag: &str) -> Result<Model> {
    let row = tx.one(by_id(device, id)).await?;
    let row = row.ok_or_else(|| missing(id))?;
    etag::check(tag, row.revision)?;
    Ok(row)
}

fn device_of(id: Uuid) -> Select<device::Entity> {
    device::Entity::find()
        .filter(device::Column::Id.eq(id))
        .filter(device::Column::DeleteTime.is_null())
}

/// Locks a device, so that nobody else gives it a credential.
async fn lock(tx: &WriteTx, device: Uuid) -> Result<()> {
    let row = tx.one(device_of(device)).await?;
    row.map(drop)
        .ok_or_else(|| Error::not_found("device", device))
}

async fn is_there(tx: &ReadTx, device: Uuid) -> Result<()> {
    let row = tx.one(device_of(device)).await?;
    row.map(drop)
        .ok_or_else(|| Error::not_found("device", device))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("credential", id)
}

fn refused(error: Error) -> Error {
    match error {
        Error::Constraint(Constraint::Reference(_)) => {
            Error::invalid("credential.authority_id", "there is no such authority")
        }
        error => error.unique(&[
            ("certificate_sha256", "credential.certificate_sha256"),
            ("id", "credential_id"),
        ]),
    }
}
