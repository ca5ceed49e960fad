//! One page of the devices that a request wants.

use std::collections::HashMap;

use chassis::filter::{self, Filter, Test, Value};
use chassis::paging::{self, Sealer};
use chassis::store::ReadTx;
use chassis::{Error, Result};
use prost::Message;
use proto::registry::ListDevicesRequest;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, Select};
use uuid::Uuid;

use super::fields::{Devices, Field};
use super::matches::matches;
use super::order::{By, Place};
use super::sql;
use crate::entity::device::{Column, Entity, Model};
use crate::entity::tag;
use crate::{device_filter, ids, references};

/// Devices that one page looks at, at most, when no index knows the filter.
const LOOKED_AT: usize = 10_000;
/// Devices that are read at a time then.
const CHUNK: usize = 500;

/// What a request wants, understood.
pub(crate) struct Wanted {
    query: Select<Entity>,
    filter: Option<Filter<Field>>,
    /// Whether the query finds nothing that the filter is not true of.
    exact: bool,
    /// Whether the database is to begin with what the filter is true of.
    few: bool,
    by: By,
    after: Option<Place>,
    size: usize,
    skip: u64,
    /// Decides which devices there are, and in which order.
    identity: [Vec<u8>; 2],
}

/// One page.
pub(crate) struct Found {
    pub(crate) rows: Vec<Model>,
    pub(crate) tags: HashMap<Uuid, Vec<Uuid>>,
    pub(crate) next_page_token: String,
}

impl Wanted {
    /// Understands a request. Names of tags become ids, as they are now.
    pub(crate) async fn read(
        tx: &ReadTx,
        request: &ListDevicesRequest,
        sealer: &Sealer,
    ) -> Result<Self> {
        let by = By::read(&request.order_by)?;
        let identity = identity(tx, request);
        let after = match (request.page_token.as_str(), request.after_id.as_str()) {
            ("", "") => None,
            ("", id) => Some(place_of(tx, id, by).await?),
            (token, _) => {
                let place = sealer.open(&parts(&identity), token)?;
                Some(serde_json::from_slice(&place).map_err(Error::internal)?)
            }
        };
        let mut query = Entity::find();
        if !request.show_deleted {
            query = query.filter(Column::DeleteTime.is_null());
        }
        let mut asked = device_filter::asked(request)?;
        if let Some(filter) = filter::read(&Devices, &request.filter)? {
            asked.push(with_tag_ids(tx, filter).await?);
        }
        let filter = (!asked.is_empty()).then_some(Filter::All(asked));
        let (mut exact, mut few) = (true, false);
        if let Some(filter) = &filter {
            let found = sql::narrow(tx, filter).await?;
            query = query.filter(found.narrow);
            (exact, few) = (found.exact, found.few);
        }
        let skip = u64::try_from(request.skip).unwrap_or_default();
        if skip > 0 && !(exact && by.is_number()) {
            let text = "is only for lists in the order of numbers whose filter an index knows: \
                        use page_token";
            return Err(Error::invalid("skip", text));
        }
        Ok(Self {
            query,
            filter,
            exact,
            few,
            by,
            after,
            size: usize::try_from(paging::size(request.page_size)).unwrap_or(usize::MAX),
            skip,
            identity,
        })
    }

    /// How many devices there are on all pages.
    pub(crate) async fn count(&self, tx: &ReadTx) -> Result<u64> {
        let mut query = self.query.clone();
        if let Some(filter) = self.filter.as_ref().filter(|_| !self.exact) {
            let whole: Option<Condition> = sql::whole(filter, tx.tenant());
            let whole = whole.ok_or_else(|| {
                let text = "can't be told for a filter on attributes, descriptions or places";
                Error::invalid("count_total", text)
            })?;
            query = query.filter(whole);
        }
        #[cfg(test)]
        super::plans::note(tx, &query).await;
        tx.count(query).await
    }

    /// The page.
    pub(crate) async fn page(&self, tx: &ReadTx, sealer: &Sealer) -> Result<Found> {
        let mut after = self.after.clone();
        let (mut rows, mut tags) = (Vec::new(), HashMap::new());
        let (mut looked_at, mut more) = (0, true);
        while more && rows.len() < self.size && looked_at < LOOKED_AT {
            let limit = match self.exact {
                true => self.size - rows.len() + 1,
                false => CHUNK,
            };
            let found = self.behind(tx, after.as_ref(), limit).await?;
            looked_at += found.len();
            more = found.len() == limit;
            let on = references::tags_on_all(tx, found.iter().map(|row| row.id)).await?;
            for row in found {
                if rows.len() == self.size {
                    more = true;
                    break;
                }
                after = Some(self.by.place(&row));
                let tags_on = on.get(&row.id).cloned().unwrap_or_default();
                let fits = |filter| matches(filter, &row, &tags_on);
                if self.exact || self.filter.as_ref().is_none_or(fits) {
                    tags.insert(row.id, tags_on);
                    rows.push(row);
                }
            }
        }
        let next = after.filter(|_| more);
        let next_page_token = match next {
            Some(place) => {
                let place = serde_json::to_vec(&place).map_err(Error::internal)?;
                sealer.seal(&parts(&self.identity), &place)
            }
            None => String::new(),
        };
        Ok(Found {
            rows,
            tags,
            next_page_token,
        })
    }

    /// Some rows behind a place.
    async fn behind(&self, tx: &ReadTx, after: Option<&Place>, limit: usize) -> Result<Vec<Model>> {
        let mut rows = Vec::new();
        for query in self.by.behind(&self.query, after, self.few)? {
            let left = u64::try_from(limit - rows.len()).unwrap_or_default();
            let skip = (self.skip > 0 && after.is_none()).then_some(self.skip);
            let query = query.limit(left).offset(skip);
            #[cfg(test)]
            super::plans::note(tx, &query).await;
            rows.extend(tx.all(query).await?);
            if rows.len() == limit {
                break;
            }
        }
        Ok(rows)
    }
}

fn parts(identity: &[Vec<u8>; 2]) -> [&[u8]; 2] {
    [&identity[0], &identity[1]]
}

/// The tenant, and all of a request but which page of it, and what is shown of
/// the devices.
fn identity(tx: &ReadTx, request: &ListDevicesRequest) -> [Vec<u8>; 2] {
    let query = ListDevicesRequest {
        page_size: 0,
        page_token: String::new(),
        skip: 0,
        after_id: String::new(),
        count_total: false,
        read_mask: None,
        ..request.clone()
    };
    [tx.tenant().0.as_bytes().to_vec(), query.encode_to_vec()]
}

/// The place of a device that a client received last. It may be deleted by now.
async fn place_of(tx: &ReadTx, id: &str, by: By) -> Result<Place> {
    let id = ids::parse("after_id", id)?;
    let row = tx.one(Entity::find().filter(Column::Id.eq(id))).await?;
    match row {
        Some(row) => Ok(by.place(&row)),
        None => Err(Error::invalid(
            "after_id",
            format!("there is no device {id}"),
        )),
    }
}

/// Asks for tags by their ids. A tag that does not exist is on no device.
pub(crate) async fn with_tag_ids(tx: &ReadTx, filter: Filter<Field>) -> Result<Filter<Field>> {
    let names = tag_names(&filter);
    let ids: HashMap<String, Uuid> = match names.is_empty() {
        true => HashMap::new(),
        false => {
            let query = tag::Entity::find().filter(tag::Column::DisplayName.is_in(names));
            let tags = tx.all(query).await?.into_iter();
            tags.map(|tag| (tag.display_name, tag.id)).collect()
        }
    };
    Ok(with_ids(filter, &ids))
}

/// The names of tags that a filter asks for.
pub(crate) fn tag_names(filter: &Filter<Field>) -> Vec<String> {
    let named = |test: &&Test<Field>| test.field == Field::Tags;
    let name = |test: &Test<Field>| match &test.value {
        Value::Text(name) => Some(name.clone()),
        _ => None,
    };
    let tests = filter.tests();
    tests.into_iter().filter(named).filter_map(name).collect()
}

/// Asks for the ids in place of the names of tags.
pub(crate) fn with_ids(filter: Filter<Field>, ids: &HashMap<String, Uuid>) -> Filter<Field> {
    filter.replace(&|test| match (&test.field, &test.value) {
        (Field::Tags, Value::Text(name)) => match (ids.get(name), test.negated) {
            (Some(id), _) => Filter::Test(Test {
                field: Field::TagIds,
                value: Value::Id(*id),
                ..test
            }),
            (None, true) => Filter::All(Vec::new()),
            (None, false) => Filter::Any(Vec::new()),
        },
        _ => Filter::Test(test),
    })
}
