//! Tenants. Each owns its own row: `tenant_id` is the row's id too.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenants")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub number: i64,
    pub tenant_id: Uuid,
    pub display_name: String,
    pub parent: Option<Uuid>,
    /// As it was itself suspended or resumed.
    pub state: State,
    /// Whether a tenant above it is suspended, and all of it with that one.
    pub suspended_above: bool,
    /// How often it became or ceased to be refused.
    pub revision: i64,
    pub create_time: DateTimeUtc,
    pub update_time: DateTimeUtc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(
    rs_type = "String",
    db_type = "String(StringLen::N(16))",
    rename_all = "snake_case"
)]
pub(crate) enum State {
    Active,
    Suspended,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Whether everything of it is refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.suspended_above || self.state == State::Suspended
    }
}
