//! Requests that may come again (AIP-155): what was created by one is answered
//! to the next, within a day.

use chassis::hash::sha256;
use chassis::store::WriteTx;
use chassis::{Error, Result};
use prost::Message;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::entity::request;
use crate::ids;

/// A request that may come again.
#[derive(Clone, Debug)]
pub(crate) struct Repeatable {
    id: Uuid,
    hash: Vec<u8>,
}

impl Repeatable {
    /// The request of an id; nothing if the client chose none. `message` is
    /// all of the request but the id.
    pub(crate) fn read(request_id: &str, message: &impl Message) -> Result<Option<Self>> {
        let id = ids::parse_optional("request_id", request_id)?;
        Ok(id.map(|id| Self {
            id,
            hash: sha256(&message.encode_to_vec()).to_vec(),
        }))
    }

    /// What the same request has created before: then nothing is to be done,
    /// and nothing to be recorded (`Store::change_found`).
    pub(crate) async fn created(&self, tx: &WriteTx) -> Result<Option<Uuid>> {
        let query = request::Entity::find().filter(request::Column::RequestId.eq(self.id));
        match tx.one(query).await? {
            Some(row) if row.hash == self.hash => Ok(Some(row.resource_id)),
            Some(_) => Err(Error::invalid(
                "request_id",
                "was the id of another request; choose a new one for each",
            )),
            None => Ok(None),
        }
    }

    /// Notes what it has created.
    pub(crate) async fn note(&self, tx: &WriteTx, created: Uuid) -> Result<()> {
        let row = request::ActiveModel {
            request_id: Set(self.id),
            hash: Set(self.hash.clone()),
            resource_id: Set(created),
            create_time: Set(tx.begin_time()),
            ..Default::default()
        };
        match tx.insert(row).await {
            // The same request is being answered elsewhere: what it creates is
            // there when this one is tried again.
            Err(Error::Constraint(_)) => Err(Error::Contention),
            done => done.map(drop),
        }
    }
}
