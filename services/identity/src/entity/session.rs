//! Logins that go on. `tenant_id` is that of the user's account.

use sea_orm::entity::prelude::*;

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sessions")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub number: i64,
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub user_id: Uuid,
    /// SHA-256: the secret is random, so it needs no slow hash.
    pub secret_hash: Vec<u8>,
    pub create_time: DateTimeUtc,
    pub expire_time: DateTimeUtc,
    /// When the session was ended before its time.
    pub end_time: Option<DateTimeUtc>,
}

impl Model {
    /// Whether the session goes on.
    pub(crate) fn is_live(&self, now: DateTimeUtc) -> bool {
        self.end_time.is_none() && now < self.expire_time
    }
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Without the secret's hash.
impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
