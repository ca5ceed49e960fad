//! What the database can find of a filter, by its indexes.

use chassis::Result;
use chassis::caller::TenantId;
use chassis::filter::{Comparator, Filter, Test, Value};
use chassis::store::ReadTx;
use sea_orm::sea_query::{
    Expr, ExprTrait, Func, SelectStatement, SimpleExpr, SubQueryStatement, UnionType,
};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, IntoSimpleExpr, QueryFilter, QuerySelect, QueryTrait,
    Select,
};

use super::fields::Field;
use crate::entity::device::Column;
use crate::entity::{device_label, device_tag};

/// What the database finds of a filter.
pub(crate) struct Found {
    /// True of every device that the filter is true of; each part of it is in
    /// an index.
    pub(crate) narrow: Condition,
    /// Whether it is true of no other device.
    pub(crate) exact: bool,
    /// Whether it is true of few devices, which the database is to begin with.
    pub(crate) few: bool,
}

/// What more devices than this have is looked up for each device, in the order
/// of the list, until a page is full; of what fewer have, the devices are found
/// and put in order. So neither costs as much as there are devices.
const COMMON: u64 = 2_000;

/// The part of a filter that indexes know.
pub(crate) async fn narrow(tx: &ReadTx, filter: &Filter<Field>) -> Result<Found> {
    let mut common = Vec::new();
    for test in filter.tests() {
        if is_common(tx, test).await? {
            common.push(test);
        }
    }
    let found = narrowed(filter, tx.tenant(), &common);
    Ok(found.unwrap_or_else(|| Found {
        narrow: Condition::all(),
        exact: false,
        few: false,
    }))
}

/// Whether the field is in rows of other tables.
fn is_of_rows(field: &Field) -> bool {
    use Field::{Label, Labels, TagIds, Tags};
    matches!(field, Label(_) | Labels | TagIds | Tags)
}

/// Whether many devices have the label or the tag that is asked for.
async fn is_common(tx: &ReadTx, test: &Test<Field>) -> Result<bool> {
    if test.negated {
        return Ok(false);
    }
    let tenant = tx.tenant();
    // The database counts no further than it must.
    Ok(match &test.field {
        Field::Labels | Field::Label(_) => {
            let query = labels(tenant, &test.field, &test.value);
            !tx.all(query.offset(COMMON).limit(1)).await?.is_empty()
        }
        Field::Tags | Field::TagIds => {
            let query = tags(tenant, &test.value);
            !tx.all(query.offset(COMMON).limit(1)).await?.is_empty()
        }
        _ => false,
    })
}

fn narrowed(filter: &Filter<Field>, tenant: TenantId, common: &[&Test<Field>]) -> Option<Found> {
    match filter {
        Filter::All(filters) => {
            let parts = filters.iter().map(|f| narrowed(f, tenant, common));
            let parts: Vec<_> = parts.collect();
            let exact = parts
                .iter()
                .all(|part| part.as_ref().is_some_and(|p| p.exact));
            let few = parts.iter().flatten().any(|part| part.few);
            let known = parts.into_iter().flatten();
            let narrow = known.fold(Condition::all(), |all, part| all.add(part.narrow));
            Some(Found { narrow, exact, few })
        }
        // Of alternatives, one that no index knows may be true of any device.
        Filter::Any(filters) if filters.is_empty() => Some(Found {
            narrow: Condition::all().add(Expr::value(1).eq(0)),
            exact: true,
            few: false,
        }),
        Filter::Any(filters) if let Some(ids) = of_rows(filters, tenant, common) => Some(Found {
            narrow: Condition::all().add(ids),
            exact: true,
            few: true,
        }),
        Filter::Any(filters) => {
            let parts = filters.iter().map(|f| narrowed(f, tenant, common));
            let parts: Vec<_> = parts.collect::<Option<_>>()?;
            let exact = parts.iter().all(|part| part.exact);
            let few = parts.iter().all(|part| part.few);
            let alternatives = parts.into_iter().map(|part| part.narrow);
            let narrow = alternatives.fold(Condition::any(), Condition::add);
            Some(Found { narrow, exact, few })
        }
        // Nearly all devices are not something: no index helps.
        Filter::Test(test) if test.negated => None,
        Filter::Test(test) => {
            let is_common = common.contains(&test);
            let narrow = match is_common {
                true => had(test, tenant)?,
                false => indexed(test, tenant)?,
            };
            Some(Found {
                narrow: Condition::all().add(narrow),
                exact: true,
                few: !is_common && is_of_rows(&test.field),
            })
        }
    }
}

/// The devices that have one of some labels or tags, none of which is common:
/// one list of ids, for PostgreSQL goes through all devices if it is to look
/// each up in one list or another.
fn of_rows(
    filters: &[Filter<Field>],
    tenant: TenantId,
    common: &[&Test<Field>],
) -> Option<SimpleExpr> {
    let lists = flat(filters).into_iter().map(|filter| match filter {
        Filter::Test(test) if !test.negated && !common.contains(&test) => with(test, tenant),
        _ => None,
    });
    let mut lists = lists.collect::<Option<Vec<_>>>()?.into_iter();
    let first = lists.next()?;
    let all = lists.fold(first, |mut all, list| {
        all.union(UnionType::Distinct, list).take()
    });
    Some(Column::Id.in_subquery(all))
}

/// Alternatives without those in which they are nested, and without those that
/// are never true.
fn flat(filters: &[Filter<Field>]) -> Vec<&Filter<Field>> {
    let nested = filters.iter().flat_map(|filter| match filter {
        Filter::Any(inner) => flat(inner),
        filter => vec![filter],
    });
    nested.collect()
}

/// The ids of the devices that have a label or a tag.
fn with(test: &Test<Field>, tenant: TenantId) -> Option<SelectStatement> {
    Some(match &test.field {
        Field::Labels | Field::Label(_) => {
            let query = labels(tenant, &test.field, &test.value).select_only();
            query.column(device_label::Column::DeviceId).into_query()
        }
        Field::TagIds | Field::Tags => {
            let query = tags(tenant, &test.value).select_only();
            query.column(device_tag::Column::DeviceId).into_query()
        }
        _ => return None,
    })
}

/// All of a filter as SQL, for counting; `None` if it asks for what is no
/// column.
pub(crate) fn whole(filter: &Filter<Field>, tenant: TenantId) -> Option<Condition> {
    Some(match filter {
        Filter::All(filters) => filters
            .iter()
            .try_fold(Condition::all(), |all, f| Some(all.add(whole(f, tenant)?)))?,
        Filter::Any(filters) if filters.is_empty() => Condition::all().add(Expr::value(1).eq(0)),
        Filter::Any(filters) if let Some(ids) = of_rows(filters, tenant, &[]) => {
            Condition::all().add(ids)
        }
        Filter::Any(filters) => filters
            .iter()
            .try_fold(Condition::any(), |any, f| Some(any.add(whole(f, tenant)?)))?,
        Filter::Test(test) => {
            let is = indexed(test, tenant)?;
            Condition::all().add(match test.negated {
                // Of nothing, SQL says neither yes nor no.
                true => Expr::from(Func::coalesce([is, Expr::value(false)])).not(),
                false => is,
            })
        }
    })
}

/// A comparison, not negated, that an index knows.
fn indexed(test: &Test<Field>, tenant: TenantId) -> Option<SimpleExpr> {
    let (column, value) = match &test.field {
        Field::Id => (Column::Id, id(&test.value)?),
        Field::SiteId => (Column::SiteId, id(&test.value)?),
        Field::Number => match &test.value {
            Value::Integer(number) => (Column::Number, Expr::value(*number)),
            _ => return Some(Expr::value(1).eq(1)),
        },
        Field::State => match &test.value {
            Value::Enum(state) => (Column::State, Expr::value(*state)),
            _ => return Some(Expr::value(1).eq(1)),
        },
        Field::DisplayName => return Some(text(Column::DisplayName, &test.value)),
        Field::SerialNumber => return Some(text(Column::SerialNumber, &test.value)),
        Field::ExternalId => return Some(text(Column::ExternalId, &test.value)),
        Field::Code => return Some(text(Column::Code, &test.value)),
        Field::Labels | Field::Label(_) | Field::TagIds | Field::Tags => {
            return Some(Column::Id.in_subquery(with(test, tenant)?));
        }
        Field::LastSeenTime => (Column::LastSeenTime, time(&test.value)?),
        Field::CreateTime => (Column::CreateTime, time(&test.value)?),
        Field::UpdateTime => (Column::UpdateTime, time(&test.value)?),
        _ => return None,
    };
    let column = column.into_simple_expr();
    Some(match test.comparator {
        _ if test.value == Value::Anything => column.is_not_null(),
        Comparator::Less => column.lt(value),
        Comparator::LessOrEqual => column.lte(value),
        Comparator::Greater => column.gt(value),
        Comparator::GreaterOrEqual => column.gte(value),
        Comparator::Equal | Comparator::Has => column.eq(value),
        Comparator::NotEqual => column.ne(value),
    })
}

fn id(value: &Value) -> Option<SimpleExpr> {
    match value {
        Value::Id(id) => Some(Expr::value(*id)),
        Value::Anything => Some(Expr::value(0)),
        _ => None,
    }
}

fn time(value: &Value) -> Option<SimpleExpr> {
    match value {
        Value::Time(time) => Some(Expr::value(*time)),
        Value::Anything => Some(Expr::value(0)),
        _ => None,
    }
}

/// A text that is stored as nothing if it is empty.
fn text(column: Column, value: &Value) -> SimpleExpr {
    let column = column.into_simple_expr();
    match value {
        Value::Text(text) if text.is_empty() => column.is_null(),
        Value::Prefix(prefix) if prefix.is_empty() => Expr::value(1).eq(1),
        Value::Anything => column.is_not_null(),
        value => begins(column, value),
    }
}

/// Texts are compared byte by byte, so what begins alike lies together.
fn begins(column: SimpleExpr, value: &Value) -> SimpleExpr {
    match value {
        Value::Text(text) => column.eq(text.as_str()),
        Value::Prefix(prefix) => {
            let from = column.clone().gte(prefix.as_str());
            match after(prefix) {
                Some(after) => from.and(column.lt(after)),
                None => from,
            }
        }
        _ => Expr::value(1).eq(1),
    }
}

/// The first text behind all that begin so.
fn after(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = (last..=char::MAX).nth(1);
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// Labels as they are asked for. The store confines a statement but not what is
/// nested in it, so the tenant is named here.
fn labels(tenant: TenantId, field: &Field, value: &Value) -> Select<device_label::Entity> {
    use device_label::Column as Label;
    let query = device_label::Entity::find().filter(Label::TenantId.eq(tenant.0));
    match (field, value) {
        (Field::Label(key), value) => query
            .filter(Label::Key.eq(key.as_str()))
            .filter(begins(Label::Value.into_simple_expr(), value)),
        (_, Value::Text(key)) => query.filter(Label::Key.eq(key.as_str())),
        _ => query,
    }
}

/// Tags on devices; the tenant is named as above.
fn tags(tenant: TenantId, value: &Value) -> Select<device_tag::Entity> {
    use device_tag::Column as Tag;
    let query = device_tag::Entity::find().filter(Tag::TenantId.eq(tenant.0));
    match value {
        Value::Id(tag) => query.filter(Tag::TagId.eq(*tag)),
        _ => query,
    }
}

/// Whether a device has the label or the tag: asked for each device, for no
/// database makes a join of a value, as of EXISTS, which it may then begin with
/// all devices that have it.
fn had(test: &Test<Field>, tenant: TenantId) -> Option<SimpleExpr> {
    let device = Column::Id.into_simple_expr();
    let query = match &test.field {
        Field::Labels | Field::Label(_) => {
            let of = device_label::Column::DeviceId.into_simple_expr().eq(device);
            let query = labels(tenant, &test.field, &test.value).filter(of);
            query
                .select_only()
                .expr(Expr::value(1))
                .limit(1)
                .into_query()
        }
        Field::Tags | Field::TagIds => {
            let of = device_tag::Column::DeviceId.into_simple_expr().eq(device);
            let query = tags(tenant, &test.value).filter(of);
            query
                .select_only()
                .expr(Expr::value(1))
                .limit(1)
                .into_query()
        }
        _ => return None,
    };
    let value = SimpleExpr::SubQuery(None, Box::new(SubQueryStatement::from(query)));
    Some(value.is_not_null())
}
