//! Keys with which services encrypt the secrets that they must keep: one a
//! service, wrapped by the master key, so that the database of a service does
//! not give away what is in it.

use std::sync::Arc;

use aws_lc_rs::rand;
use chassis::store::{GlobalTx, Record, Store};
use chassis::wrap::KEY;
use chassis::{Clock, Error, Result};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::entity::data_key::{ActiveModel, Column, Entity, Model};
use crate::master_key::MasterKey;
use crate::vault::existing;

/// Makes and tells them. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct DataKeys {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) master: Arc<MasterKey>,
}

impl DataKeys {
    /// The key of a service; made if there is none yet.
    pub(crate) async fn of(&self, service: &str) -> Result<Vec<u8>> {
        let row = match self.find(service).await? {
            Some(row) => Some(row),
            None => {
                self.make(service).await?;
                self.find(service).await?
            }
        };
        let row = row.ok_or_else(|| Error::internal("the data key is gone"))?;
        self.master.unwrap(&name(service), &row.wrapped)
    }

    async fn find(&self, service: &str) -> Result<Option<Model>> {
        let tx = self.store.global("read the data key of a service").await?;
        tx.one(Entity::find().filter(Column::Service.eq(service)))
            .await
    }

    async fn make(&self, service: &str) -> Result<()> {
        let mut key = [0; KEY];
        rand::fill(&mut key).map_err(Error::internal)?;
        let row = ActiveModel {
            service: Set(service.to_owned()),
            wrapped: Set(self.master.wrap(&name(service), &key)?),
            create_time: Set(self.clock.now()),
            ..Default::default()
        };
        let record = Record::of_installation("key-management", ("dataKeys", service));
        let make = async |tx: &GlobalTx| tx.insert(row.clone()).await.map(drop);
        self.store
            .change_global("make the data key of a service", record, make)
            .await
            .or_else(existing)
    }
}

/// What is bound to a wrapped key.
pub(crate) fn name(service: &str) -> String {
    format!("data-key-{service}")
}
