//! The key that page tokens are sealed with: one for the whole service, made by
//! whichever process needs it first.

use std::sync::OnceLock;

use aws_lc_rs::rand;
use chassis::paging::Sealer;
use chassis::store::{GlobalTx, Record, Store};
use chassis::{Error, Result};
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use sea_orm::sea_query::OnConflict;

use crate::entity::page_key;

/// The only row.
const NUMBER: i64 = 1;

/// What seals page tokens, once it is known.
#[derive(Default)]
pub(crate) struct SealerOnce(OnceLock<Sealer>);

impl SealerOnce {
    pub(crate) async fn get(&self, store: &Store) -> Result<Sealer> {
        if let Some(sealer) = self.0.get() {
            return Ok(sealer.clone());
        }
        let tx = store.global("read the key of page tokens").await?;
        let key = match tx.one(page_key::Entity::find()).await? {
            Some(row) => row.key,
            None => make(store).await?,
        };
        // Of two that are set at once, both are the same.
        Ok(self.0.get_or_init(|| Sealer::new(&key)).clone())
    }
}

async fn make(store: &Store) -> Result<Vec<u8>> {
    let mut key = [0; 32];
    rand::fill(&mut key).map_err(|_| Error::internal("no random numbers"))?;
    let record = Record::of_installation("device-registry", ("pageKeys", NUMBER));
    let make = async |tx: &GlobalTx| {
        let row = page_key::ActiveModel {
            number: Set(NUMBER),
            key: Set(key.to_vec()),
        };
        let there = OnConflict::column(page_key::Column::Number)
            .do_nothing()
            .to_owned();
        tx.upsert(page_key::Entity::insert(row).on_conflict(there))
            .await?;
        tx.one(page_key::Entity::find()).await
    };
    let row = store
        .change_global("make the key of page tokens", record, make)
        .await?;
    row.map(|row| row.key)
        .ok_or_else(|| Error::internal("the key of page tokens is gone"))
}
