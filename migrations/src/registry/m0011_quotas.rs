//! A limit of devices that is not there is that of all tenants from now on;
//! until now it was an operator's word that there is none.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

/// As the device registry keeps it: as many as can be counted.
const ANY_NUMBER: i64 = i64::MAX;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let limit = Query::update()
            .table("device_quotas")
            .value("device_limit", ANY_NUMBER)
            .and_where(Expr::col("device_limit").is_null())
            .to_owned();
        manager.execute(limit).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let limit = Query::update()
            .table("device_quotas")
            .value("device_limit", None::<i64>)
            .and_where(Expr::col("device_limit").eq(ANY_NUMBER))
            .to_owned();
        manager.execute(limit).await
    }
}
