//! Lists, oldest first, a page at a time.

use chassis::paging::Page;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};

/// The rows of one page of a query. `number` is the column that grows with time.
pub(crate) fn paged<E: EntityTrait>(query: Select<E>, number: E::Column, page: &Page) -> Select<E> {
    query
        .apply_if(page.after, |query, after| query.filter(number.gt(after)))
        .order_by_asc(number)
        .limit(page.limit())
        // No OFFSET unless asked: it costs what it skips.
        .offset((page.skip > 0).then_some(page.skip))
}
