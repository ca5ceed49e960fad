//! The schema of a service in a PostgreSQL database: bringing it up to date,
//! and locking it down.
//!
//! One schema and one role a service. The login that migrates owns the
//! tables; the role that the service runs as owns nothing, may use its own
//! schema only, and is bound by row-level security: it sees the rows of the
//! tenant that its transaction was opened for, whatever a statement asks for.

use std::sync::Arc;

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement,
};
use sea_orm_migration::{MigrationStatus, MigratorTrait};

use super::Postgres;
use crate::error::{Error, Result};
use crate::peer::ServiceName;

/// The setting that names a transaction's tenant; policies read it.
pub(super) const TENANT: &str = "muster.tenant";
/// The setting that lets a transaction see all tenants.
pub(super) const ALL_TENANTS: &str = "muster.all_tenants";

/// Who migrates waits for whoever migrates already: in `pg_advisory_lock`.
const LOCK: i64 = 0x006d_7573_7465_7200;

/// A service's place in a PostgreSQL database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The schema.
    pub name: &'static str,
    /// The role that the service runs as.
    pub role: &'static str,
}

impl Schema {
    /// The schema of a service.
    pub fn of(service: ServiceName) -> Self {
        let (name, role) = match service {
            ServiceName::Identity => ("identity", "muster_identity"),
            ServiceName::Tenancy => ("tenancy", "muster_tenancy"),
            ServiceName::DeviceRegistry => ("device_registry", "muster_device_registry"),
            ServiceName::KeyManagement => ("key_management", "muster_key_management"),
        };
        Self { name, role }
    }
}

/// One migration, and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its name, such as `m0001_devices`.
    pub name: String,
    /// Whether it was applied.
    pub applied: bool,
}

/// Brings a service's schema up to date. Safe to run by many at once: they
/// wait for each other. Answers the migrations that it applied.
pub async fn up<M: MigratorTrait>(database: &Postgres, schema: Schema) -> Result<Vec<String>> {
    let owner = Owner::connect(database, schema).await?;
    owner.create(schema).await?;
    let pending = owner.status::<M>().await?;
    M::up(&owner.0, None).await.map_err(Error::internal)?;
    owner.lock_down(schema).await?;
    let pending = pending.into_iter().filter(|migration| !migration.applied);
    Ok(pending.map(|migration| migration.name).collect())
}

/// Takes the last `steps` migrations back. Answers which.
pub async fn down<M: MigratorTrait>(
    database: &Postgres,
    schema: Schema,
    steps: u32,
) -> Result<Vec<String>> {
    let owner = Owner::connect(database, schema).await?;
    owner.create(schema).await?;
    let before = owner.status::<M>().await?;
    M::down(&owner.0, Some(steps))
        .await
        .map_err(Error::internal)?;
    let after = owner.status::<M>().await?;
    let gone = |was: &Migration, is: &Migration| was.applied && !is.applied;
    let gone = before.iter().zip(&after).filter(|(was, is)| gone(was, is));
    Ok(gone.map(|(was, _)| was.name.clone()).collect())
}

/// Every migration that the program knows, oldest first.
pub async fn status<M: MigratorTrait>(
    database: &Postgres,
    schema: Schema,
) -> Result<Vec<Migration>> {
    let owner = Owner::connect(database, schema).await?;
    if owner.exists(schema).await? {
        return owner.status::<M>().await;
    }
    let missing = |name: &String| Migration {
        name: name.clone(),
        applied: false,
    };
    Ok(names::<M>().iter().map(missing).collect())
}

/// The names of all migrations.
pub(super) fn names<M: MigratorTrait>() -> Arc<[String]> {
    let names = M::migrations().into_iter();
    names.map(|migration| migration.name().to_owned()).collect()
}

/// Refuses a database that lacks a migration. One that has more than the
/// program knows is welcome: it was migrated for the next version.
pub(super) async fn is_complete(pool: &DatabaseConnection, names: &[String]) -> Result<()> {
    let query = Statement::from_string(
        pool.get_database_backend(),
        "SELECT version FROM seaql_migrations",
    );
    let applied = pool.query_all_raw(query).await;
    let applied = match applied {
        Ok(rows) => rows,
        // The table or the role is not there yet, or not for us.
        Err(error) if is_missing(&error) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let applied = applied
        .iter()
        .map(|row| row.try_get::<String>("", "version"))
        .collect::<Result<Vec<_>, _>>()?;
    match names.iter().find(|name| !applied.contains(name)) {
        None => Ok(()),
        Some(missing) => Err(Error::precondition(
            "DATABASE_NOT_MIGRATED",
            format!("the database lacks the migration {missing}: run `muster migrate up`"),
        )),
    }
}

fn is_missing(error: &DbErr) -> bool {
    match crate::error::sql_state(error).as_deref() {
        // undefined_table
        Some("42P01") => true,
        // invalid_parameter_value: there is no such role to connect as
        Some("22023") => matches!(error, DbErr::Conn(_)),
        _ => false,
    }
}

/// The login that owns the tables, with the lock that only one migrator has.
pub(super) struct Owner(pub(super) DatabaseConnection);

impl Owner {
    #[expect(clippy::disallowed_methods, reason = "not for requests")]
    pub(super) async fn connect(database: &Postgres, schema: Schema) -> Result<Self> {
        let mut options = ConnectOptions::new(&database.url);
        options
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .sqlx_logging(false);
        options.map_sqlx_postgres_opts(move |postgres| {
            // Migrations that move rows see them all, though policies bind the owner too.
            let settings = [
                ("search_path", schema.name),
                (ALL_TENANTS, "on"),
                // Not that a table is there already.
                ("client_min_messages", "warning"),
            ];
            postgres
                .application_name("muster migrate")
                .options(settings)
        });
        // Whoever migrates is told the cause, which a client would not be.
        let owner = Database::connect(options).await.map_err(Error::internal)?;
        let owner = Self(owner);
        // Held until the one connection closes.
        owner
            .run(&format!("SELECT pg_advisory_lock({LOCK})"))
            .await?;
        Ok(owner)
    }

    async fn run(&self, sql: &str) -> Result<()> {
        let done = self.0.execute_unprepared(sql).await;
        done.map(drop).map_err(Error::internal)
    }

    async fn exists(&self, schema: Schema) -> Result<bool> {
        let sql =
            "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'seaql_migrations'";
        let query = Statement::from_sql_and_values(DbBackend::Postgres, sql, [schema.name.into()]);
        Ok(self.0.query_one_raw(query).await?.is_some())
    }

    async fn status<M: MigratorTrait>(&self) -> Result<Vec<Migration>> {
        let migrations = M::get_migration_with_status(&self.0).await?;
        let shown = |migration: &sea_orm_migration::Migration| Migration {
            name: migration.name().to_owned(),
            applied: migration.status() == MigrationStatus::Applied,
        };
        Ok(migrations.iter().map(shown).collect())
    }

    /// Makes the schema and the role, and makes the login a member of it.
    async fn create(&self, schema: Schema) -> Result<()> {
        let Schema { name, role } = schema;
        // Roles belong to all databases of a server: another one may make it meanwhile.
        self.run(&format!(
            "DO $$ BEGIN
               IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                 CREATE ROLE {role} NOLOGIN;
               END IF;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
             END $$;
             DO $$ BEGIN
               IF NOT pg_has_role(current_user, '{role}', 'USAGE') THEN
                 GRANT {role} TO CURRENT_USER;
               END IF;
             END $$;
             CREATE SCHEMA IF NOT EXISTS {name};"
        ))
        .await
    }

    /// Gives the role what it needs, and binds it to a tenant's rows: every
    /// table with a column `tenant_id`, whoever forgets it.
    async fn lock_down(&self, schema: Schema) -> Result<()> {
        let Schema { name, role } = schema;
        self.run(&format!(
            "GRANT USAGE ON SCHEMA {name} TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {role};
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {name} TO {role};
             REVOKE INSERT, UPDATE, DELETE ON {name}.seaql_migrations FROM {role};
             -- What happened stays.
             REVOKE UPDATE, DELETE ON {name}.events FROM {role};
             DO $$ DECLARE owned text; BEGIN
               FOR owned IN
                 SELECT format('%I.%I', n.nspname, c.relname)
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = '{name}' AND c.relkind IN ('r', 'p')
                   AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
                   AND EXISTS (SELECT FROM pg_attribute a
                               WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
               LOOP
                 EXECUTE 'ALTER TABLE ' || owned || ' ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY';
                 EXECUTE 'CREATE POLICY one_tenant ON ' || owned
                   || ' USING (tenant_id = NULLIF(current_setting(''{TENANT}'', true), '''')::uuid)';
                 EXECUTE 'CREATE POLICY all_tenants ON ' || owned
                   || ' USING (current_setting(''{ALL_TENANTS}'', true) = ''on'')';
               END LOOP;
             END $$;"
        ))
        .await
    }
}
