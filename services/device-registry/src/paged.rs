//! Lists, oldest first, a page at a time.

use sea_orm::sea_query::{Expr, ExprTrait};

use chassis::paging::Page;
use sea_orm::{
    ColumnTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select,
};

/// The rows of one page of a query. `number` is the column that grows with time.
pub(crate) fn paged<E: EntityTrait>(query: Select<E>, number: E::Column, page: &Page) -> Select<E> {
    query
        .apply_if(page.after, |query, after| query.filter(number.gt(after)))
        .order_by_asc(number)
        .limit(page.limit())
        // No OFFSET unless asked: it costs what it skips.
        .offset((page.skip > 0).then_some(page.skip))
}

/// The same of what few rows are, such as those with some ids: SQLite, which
/// knows no counts, would rather go through all that a tenant has in this order
/// than look for them; of a sum, no index knows the order.
pub(crate) fn paged_few<E: EntityTrait>(
    query: Select<E>,
    number: E::Column,
    page: &Page,
) -> Select<E> {
    let number = || ExprTrait::add(Expr::col((E::default(), number)), 0);
    query
        .apply_if(page.after, |query, after| query.filter(number().gt(after)))
        .order_by(number(), Order::Asc)
        .limit(page.limit())
        .offset((page.skip > 0).then_some(page.skip))
}
