//! Lists are in the order of numbers, a tenant's by itself.

use sea_orm_migration::prelude::*;

use crate::schema::index;

/// An index of the numbers of each tenant's rows, for a table.
pub(crate) struct Migration(pub(crate) &'static str);

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0007_numbers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = index(self.0, &["tenant_id", "number"]);
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let name = format!("{}_tenant_id_number_idx", self.0);
        let index = Index::drop().name(name).table(self.0).to_owned();
        manager.drop_index(index).await
    }
}
