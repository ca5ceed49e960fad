//! Which commands a list wants.

use chassis::paging::Page;
use chassis::store::ReadTx;
use chassis::{Caller, Result};
use proto::registry::ListDeviceCommandsRequest;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};

use super::order::moment;
use super::{state, whose};
use crate::entity::device_command::{Column, Entity};
use crate::ids;

/// The commands that a request asks for, on all pages.
pub(crate) fn matching(
    req: &ListDeviceCommandsRequest,
    caller: &Caller,
    tx: &ReadTx,
) -> Result<Select<Entity>> {
    let device = ids::parse_optional("device_id", &req.device_id)?;
    let batch = ids::parse_optional("batch_id", &req.batch_id)?;
    let from = moment("from_time", req.from_time.as_ref())?;
    let until = moment("until_time", req.until_time.as_ref())?;
    let name = (!req.name.is_empty()).then_some(req.name.as_str());
    let own = whose::own_device(caller.principal());
    Ok(Entity::find()
        .filter(state::is(req.state(), tx.begin_time()))
        .apply_if(own, |query, id| query.filter(Column::DeviceId.eq(id)))
        .apply_if(device, |query, id| query.filter(Column::DeviceId.eq(id)))
        .apply_if(batch, |query, id| query.filter(Column::BatchId.eq(id)))
        .apply_if(name, |query, name| query.filter(Column::Name.eq(name)))
        .apply_if(from, |query, time| {
            query.filter(Column::CreateTime.gte(time))
        })
        .apply_if(until, |query, time| {
            query.filter(Column::CreateTime.lt(time))
        }))
}

/// The rows of one page, newest first.
pub(crate) fn newest_first(query: Select<Entity>, page: &Page) -> Select<Entity> {
    query
        .apply_if(page.after, |query, after| {
            query.filter(Column::Number.lt(after))
        })
        .order_by_desc(Column::Number)
        .limit(page.limit())
        .offset((page.skip > 0).then_some(page.skip))
}
