//! Which devices a list wants that asks by fields of the request: the same as
//! by its filter.

use chassis::Result;
use chassis::filter::{Comparator, Filter, Test, Value};
use proto::registry::ListDevicesRequest;

use crate::find::fields::Field;
use crate::ids;

/// What the fields of a request ask for: all of these.
pub(crate) fn asked(request: &ListDevicesRequest) -> Result<Vec<Filter<Field>>> {
    let mut asked = Vec::new();
    if let Some(site) = ids::parse_optional("site_id", &request.site_id)? {
        asked.push(is(Field::SiteId, Value::Id(site)));
    }
    if request.number != 0 {
        asked.push(is(Field::Number, Value::Integer(request.number)));
    }
    if request.state != 0 {
        asked.push(is(Field::State, Value::Enum(request.state)));
    }
    for (field, text) in [
        (Field::DisplayName, &request.display_name),
        (Field::SerialNumber, &request.serial_number),
        (Field::ExternalId, &request.external_id),
        (Field::Code, &request.code),
    ] {
        if !text.is_empty() {
            asked.push(is(field, Value::Text(text.clone())));
        }
    }
    let tags = ids::parse_all("tag_ids", &request.tag_ids)?;
    let tags = tags.into_iter().map(|id| is(Field::TagIds, Value::Id(id)));
    match request.any_tag && !request.tag_ids.is_empty() {
        true => asked.push(Filter::Any(tags.collect())),
        false => asked.extend(tags),
    }
    Ok(asked)
}

fn is(field: Field, value: Value) -> Filter<Field> {
    Filter::Test(Test {
        field,
        negated: false,
        comparator: Comparator::Equal,
        value,
    })
}
