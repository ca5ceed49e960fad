//! The order of a list (AIP-132), and places in it.

use chassis::{Error, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, IntoSimpleExpr, Order, QueryFilter, QueryOrder, Select};
use serde::{Deserialize, Serialize};

use crate::entity::device::{Column, Entity, Model};

/// What lists can be ordered by, and in which column it is.
const COLUMNS: [(&str, Column); 8] = [
    ("number", Column::Number),
    ("create_time", Column::CreateTime),
    ("update_time", Column::UpdateTime),
    ("last_seen_time", Column::LastSeenTime),
    ("display_name", Column::DisplayName),
    ("serial_number", Column::SerialNumber),
    ("external_id", Column::ExternalId),
    ("state", Column::State),
];

/// By what devices are ordered; the number breaks ties.
#[derive(Clone, Copy)]
pub(crate) struct By {
    column: Column,
    descending: bool,
}

/// The place of a device in the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// What the column holds, if anything; nothing if the order is that of numbers.
    value: Option<String>,
    number: i64,
}

impl By {
    /// Reads `order_by`.
    pub(crate) fn read(order_by: &str) -> Result<Self> {
        let mut words = order_by.split_whitespace();
        let name = words.next().unwrap_or("number");
        let descending = match (words.next(), words.next()) {
            (None, _) | (Some("asc"), None) => false,
            (Some("desc"), None) => true,
            _ => return Err(unknown()),
        };
        let column = COLUMNS.iter().find(|(known, _)| *known == name);
        let column = column.ok_or_else(unknown)?.1;
        Ok(Self { column, descending })
    }

    /// Whether the order is the one in which devices were created.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self.column, Column::Number) && !self.descending
    }

    /// The queries that together answer what lies behind a place, one after
    /// the other: first what has nothing in the column, as if that were the
    /// least, then the rest; the other way round if the order is turned round.
    pub(crate) fn behind(
        &self,
        query: &Select<Entity>,
        place: Option<&Place>,
        few: bool,
    ) -> Result<Vec<Select<Entity>>> {
        let direction = match self.descending {
            true => Order::Desc,
            false => Order::Asc,
        };
        if matches!(self.column, Column::Number) {
            let mut query = query.clone();
            // No index knows a sum: few devices are found first, then put in order.
            let position = match few {
                true => position().add(0),
                false => position(),
            };
            if let Some(place) = place {
                query = query.filter(self.beyond(position.clone(), place.number));
            }
            return Ok(vec![query.order_by(position, direction)]);
        }
        let empty = matches!(
            self.column,
            Column::LastSeenTime | Column::SerialNumber | Column::ExternalId
        );
        let mut parts = Vec::new();
        let in_empty = place.is_some_and(|place| place.value.is_none());
        if empty && (in_empty || self.descending || place.is_none()) {
            let mut query = query.clone().filter(self.column.is_null());
            if let Some(place) = place.filter(|place| place.value.is_none()) {
                query = query.filter(self.beyond(position(), place.number));
            }
            // The column says nothing here, but whose index it is.
            let ordered = query.order_by(self.column, direction.clone());
            parts.push(ordered.order_by(position(), direction.clone()));
        }
        if !(in_empty && self.descending) {
            let mut query = query.clone();
            if empty {
                query = query.filter(self.column.is_not_null());
            }
            if let Some(Place {
                value: Some(value),
                number,
            }) = place
            {
                let columns = [self.column.into_simple_expr(), position()];
                let values = [self.value(value)?, Expr::value(*number)];
                query = query.filter(self.beyond(Expr::tuple(columns), Expr::tuple(values)));
            }
            let ordered = query.order_by(self.column, direction.clone());
            parts.push(ordered.order_by(position(), direction));
        }
        if self.descending {
            parts.reverse();
        }
        Ok(parts)
    }

    fn beyond(&self, what: SimpleExpr, place: impl Into<SimpleExpr>) -> SimpleExpr {
        match self.descending {
            true => what.lt(place),
            false => what.gt(place),
        }
    }

    /// The place of a row.
    pub(crate) fn place(&self, row: &Model) -> Place {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Nanos, true);
        let value = match self.column {
            Column::CreateTime => Some(time(row.create_time)),
            Column::UpdateTime => Some(time(row.update_time)),
            Column::LastSeenTime => row.last_seen_time.map(time),
            Column::DisplayName => Some(row.display_name.clone()),
            Column::SerialNumber => row.serial_number.clone(),
            Column::ExternalId => row.external_id.clone(),
            Column::State => Some(row.state.to_string()),
            _ => None,
        };
        Place {
            value,
            number: row.number,
        }
    }

    /// What a place holds, as the column has it.
    fn value(&self, text: &str) -> Result<SimpleExpr> {
        Ok(match self.column {
            Column::DisplayName | Column::SerialNumber | Column::ExternalId => Expr::value(text),
            Column::State => Expr::value(text.parse::<i16>().map_err(Error::internal)?),
            _ => {
                let time = DateTime::parse_from_rfc3339(text).map_err(Error::internal)?;
                Expr::value(time.to_utc())
            }
        })
    }
}

/// The number, in the index of each tenant's own devices.
pub(crate) fn position() -> SimpleExpr {
    Expr::col(("devices", "position"))
}

fn unknown() -> Error {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let text = format!("must be one of {}, and may end with desc", names.join(", "));
    Error::invalid("order_by", text)
}
