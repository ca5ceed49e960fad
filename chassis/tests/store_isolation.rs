//! PostgreSQL itself keeps tenants apart, and services: what the application
//! would forget to ask for, the database does not give. Plain SQL without any
//! filter, in a session as a service opens it, on every table that there is.

#![allow(missing_docs, clippy::unwrap_used)]

mod store_support;

#[path = "store_support/catalogue.rs"]
mod catalogue;

use catalogue::{Table, session};
use muster_chassis::peer::ServiceName;
use muster_chassis::store::schema::{self, Schema};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use store_support::{Migrator, SCHEMA, close, plain, run, server, settings};
use uuid::Uuid;

/// Insufficient privilege: of the role, or by a policy.
const REFUSED: &str = "42501";
/// A row that others refer to, or that refers to what is not there yet.
const REFERENCE: &str = "23503";

const OURS: Uuid = Uuid::from_u128(1);
const THEIRS: Uuid = Uuid::from_u128(2);

/// A migrated database, and a session of one service in it.
struct World {
    url: String,
    schema: Schema,
    tables: Vec<Table>,
    session: PgConnection,
}

impl World {
    /// One for each service, on one database; the device registry has the
    /// tests' own tables too.
    async fn all() -> Option<Vec<Self>> {
        let server = server()?;
        let url = server.create_database().await;
        let database = settings(&url);
        for service in ServiceName::ALL {
            let place = Schema::of(service);
            match service {
                ServiceName::Identity => {
                    schema::up::<migrations::identity::Migrator>(&database, place).await
                }
                ServiceName::Tenancy => {
                    schema::up::<migrations::tenancy::Migrator>(&database, place).await
                }
                ServiceName::DeviceRegistry => {
                    assert_eq!(place, SCHEMA);
                    schema::up::<Migrator>(&database, place).await
                }
                ServiceName::KeyManagement => {
                    schema::up::<migrations::keys::Migrator>(&database, place).await
                }
            }
            .unwrap();
        }
        let mut worlds = Vec::new();
        for schema in ServiceName::ALL.map(Schema::of) {
            let login = server.create_login(&url, schema.role).await;
            let tables = catalogue::tables(&mut plain(&url).await, schema.name).await;
            worlds.push(Self {
                session: session(&login, schema).await,
                url: url.clone(),
                schema,
                tables,
            });
        }
        Some(worlds)
    }

    fn owned(&self) -> Vec<Table> {
        let mut owned = self.tables.clone();
        owned.retain(|table| table.has("tenant_id"));
        assert!(owned.len() >= 2, "{}: {owned:?}", self.schema.name);
        owned
    }

    async fn tenant(&mut self, tenant: Uuid) {
        self.set("muster.tenant", &tenant.to_string()).await;
    }

    async fn set(&mut self, name: &str, value: &str) {
        let sql = format!("SELECT set_config('{name}', '{value}', false)");
        run(&mut self.session, &sql).await.unwrap();
    }

    /// How many rows a statement touched, or the state by which it was refused.
    async fn try_run(&mut self, sql: &str) -> Result<u64, String> {
        run(&mut self.session, sql).await.map_err(|error| {
            let state = error.as_database_error().and_then(|e| e.code());
            state.expect("the database answers").into_owned()
        })
    }

    async fn refuses(&mut self, sql: &str) {
        let done = self.try_run(sql).await;
        assert_eq!(done, Err(REFUSED.to_owned()), "{sql}");
    }

    async fn count(&mut self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        let row = sqlx::query(sql).fetch_one(&mut self.session).await.unwrap();
        row.get(0)
    }

    /// Runs a statement for each table, however they refer to each other.
    async fn for_each(&mut self, tables: &[Table], statement: impl Fn(&Table) -> String) {
        let mut left: Vec<_> = tables.to_vec();
        while !left.is_empty() {
            let mut later = Vec::new();
            for table in &left {
                match self.try_run(&statement(table)).await {
                    Ok(_) => (),
                    Err(state) if state == REFERENCE => later.push(table.clone()),
                    Err(state) => panic!("{}: {state}", statement(table)),
                }
            }
            assert!(later.len() < left.len(), "no order for {later:?}");
            left = later;
        }
    }

    /// A row of each tenant in each table, which each tenant makes itself.
    async fn with_rows_of_two(mut self) -> Self {
        let owned = self.owned();
        for tenant in [OURS, THEIRS] {
            self.tenant(tenant).await;
            self.for_each(&owned, |table| table.insert(tenant)).await;
        }
        self.tenant(OURS).await;
        self
    }
}

/// Runs a test for each service on a database with rows of two tenants.
macro_rules! for_each_service {
    ($($name:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            for world in World::all().await.unwrap_or_default() {
                checks::$name(world.with_rows_of_two().await).await;
            }
        })*
    };
}

for_each_service!(
    a_query_without_a_filter_finds_rows_of_the_tenant_only,
    a_change_without_a_filter_reaches_rows_of_the_tenant_only,
    no_row_is_made_for_or_given_to_another_tenant,
    without_a_tenant_nothing_is_seen_or_made,
    what_happened_and_what_was_migrated_can_not_be_changed,
    a_service_can_not_lift_the_policies,
    a_service_owns_nothing_and_reaches_no_other,
);

mod checks {
    use super::*;

    pub(super) async fn a_query_without_a_filter_finds_rows_of_the_tenant_only(mut world: World) {
        for Table { name, .. } in world.owned() {
            let all = world.count(&format!("SELECT count(*) FROM {name}")).await;
            let foreign = format!("SELECT count(*) FROM {name} WHERE tenant_id = '{THEIRS}'");
            assert_eq!((all, world.count(&foreign).await), (1, 0), "{name}");
            // Nor by the numbers that all tenants share, nor by a join.
            let guess = format!("SELECT count(*) FROM {name} WHERE number BETWEEN 0 AND 100");
            assert_eq!(world.count(&guess).await, 1, "{name}");
            let join = format!("SELECT count(*) FROM {name} a CROSS JOIN {name} b");
            assert_eq!(world.count(&join).await, 1, "{name}");
        }
        world.tenant(THEIRS).await;
        for Table { name, .. } in world.owned() {
            let mine = format!("SELECT count(*) FROM {name} WHERE tenant_id = '{THEIRS}'");
            assert_eq!(world.count(&mine).await, 1, "{name}");
        }
    }

    pub(super) async fn a_change_without_a_filter_reaches_rows_of_the_tenant_only(
        mut world: World,
    ) {
        let mut owned = world.owned();
        owned.retain(|table| table.name != "events");
        for Table { name, .. } in &owned {
            let sql = format!("UPDATE {name} SET number = number WHERE true");
            assert_eq!(world.try_run(&sql).await, Ok(1), "{name}");
            world.refuses(&format!("TRUNCATE {name} CASCADE")).await;
        }
        let delete = |table: &Table| format!("DELETE FROM {}", table.name);
        world.for_each(&owned, delete).await;
        for Table { name, .. } in &owned {
            let count = format!("SELECT count(*) FROM {name}");
            assert_eq!(world.count(&count).await, 0, "{name}");
        }
        world.tenant(THEIRS).await;
        for Table { name, .. } in &owned {
            let count = format!("SELECT count(*) FROM {name}");
            assert_eq!(world.count(&count).await, 1, "{name} of the other tenant");
        }
    }

    pub(super) async fn no_row_is_made_for_or_given_to_another_tenant(mut world: World) {
        let third = Uuid::from_u128(3);
        for table in world.owned() {
            let name = &table.name;
            world.refuses(&table.insert(THEIRS)).await;
            world.refuses(&table.insert(third)).await;
            if name != "events" {
                let give = format!("UPDATE {name} SET tenant_id = '{THEIRS}'");
                world.refuses(&give).await;
            }
            let upsert = format!(
                "{} ON CONFLICT (number) DO UPDATE SET number = excluded.number",
                table.insert(THEIRS)
            );
            world.refuses(&upsert).await;
        }
    }

    pub(super) async fn without_a_tenant_nothing_is_seen_or_made(mut world: World) {
        // Never set, and emptied as after a transaction that had set it.
        run(&mut world.session, "RESET muster.tenant")
            .await
            .unwrap();
        for nothing in ["RESET muster.tenant", "SET muster.tenant = ''"] {
            run(&mut world.session, nothing).await.unwrap();
            for table in world.owned() {
                let name = &table.name;
                let count = format!("SELECT count(*) FROM {name}");
                assert_eq!(world.count(&count).await, 0, "{name}");
                if name != "events" {
                    let update = format!("UPDATE {name} SET number = number");
                    assert_eq!(world.try_run(&update).await, Ok(0), "{name}");
                    let delete = format!("DELETE FROM {name}");
                    assert_eq!(world.try_run(&delete).await, Ok(0), "{name}");
                }
                world.refuses(&table.insert(Uuid::from_u128(3))).await;
            }
        }
    }

    pub(super) async fn what_happened_and_what_was_migrated_can_not_be_changed(mut world: World) {
        for all in ["off", "on"] {
            world.set("muster.all_tenants", all).await;
            for sql in [
                "UPDATE events SET actor = 'nobody'",
                "DELETE FROM events",
                "TRUNCATE events",
                "UPDATE seaql_migrations SET version = 'none'",
                "DELETE FROM seaql_migrations",
                "INSERT INTO seaql_migrations VALUES ('none', 0)",
            ] {
                world.refuses(sql).await;
            }
        }
    }

    pub(super) async fn a_service_can_not_lift_the_policies(mut world: World) {
        let schema = world.schema.name;
        for Table { name, .. } in world.owned() {
            for sql in [
                format!("ALTER TABLE {name} DISABLE ROW LEVEL SECURITY"),
                format!("ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY"),
                format!("DROP POLICY one_tenant ON {name}"),
                format!("CREATE POLICY mine ON {name} USING (true)"),
                format!("ALTER TABLE {name} ADD COLUMN more int"),
                format!("DROP TABLE {name}"),
                format!("CREATE TRIGGER t BEFORE INSERT ON {name} EXECUTE FUNCTION f()"),
                // Refused when it is asked for, rather than answered with all rows.
                format!("SET row_security = off; SELECT * FROM {name}"),
            ] {
                world.refuses(&sql).await;
                run(&mut world.session, "RESET row_security").await.unwrap();
            }
        }
        for sql in [
            format!("ALTER ROLE {} BYPASSRLS", world.schema.role),
            format!("DROP SCHEMA {schema} CASCADE"),
            format!("CREATE TABLE {schema}.more (n int)"),
            format!("CREATE VIEW {schema}.more AS SELECT * FROM events"),
            format!("CREATE FUNCTION {schema}.more() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
            "CREATE TABLE public.more (n int)".to_owned(),
            "CREATE SCHEMA more".to_owned(),
            "CREATE ROLE more".to_owned(),
            "SET session_replication_role = replica".to_owned(),
        ] {
            world.refuses(&sql).await;
        }
        // Back to the login, which is nobody either.
        run(&mut world.session, "RESET ROLE; SET ROLE NONE")
            .await
            .unwrap();
        for Table { name, .. } in world.owned() {
            let count = format!("SELECT count(*) FROM {schema}.{name}");
            assert_eq!(world.count(&count).await, 1, "{name}");
            let lift = format!("ALTER TABLE {schema}.{name} DISABLE ROW LEVEL SECURITY");
            world.refuses(&lift).await;
        }
    }

    pub(super) async fn a_service_owns_nothing_and_reaches_no_other(mut world: World) {
        let role = world.schema.role;
        let powers = format!(
            "SELECT count(*) FROM pg_roles WHERE rolname IN ('{role}', session_user)
             AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)"
        );
        assert_eq!(world.count(&powers).await, 0);
        let owns = format!(
            "SELECT count(*) FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
             WHERE d.deptype = 'o' AND r.rolname IN ('{role}', session_user)"
        );
        assert_eq!(world.count(&owns).await, 0);
        let member = format!(
            "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
             WHERE r.rolname = '{role}'"
        );
        assert_eq!(world.count(&member).await, 0);
        for other in ServiceName::ALL.map(Schema::of) {
            if other == world.schema {
                continue;
            }
            for table in catalogue::tables(&mut plain(&world.url).await, other.name).await {
                let from = format!("{}.{}", other.name, table.name);
                world.refuses(&format!("SELECT * FROM {from}")).await;
                world.refuses(&format!("DELETE FROM {from}")).await;
            }
            world.refuses(&format!("SET ROLE {}", other.role)).await;
        }
    }
}

#[tokio::test]
async fn every_table_that_names_a_tenant_is_locked_down() {
    for world in World::all().await.unwrap_or_default() {
        let mut owner = plain(&world.url).await;
        let sql = format!(
            "SELECT count(*) FROM pg_class c
             WHERE c.relnamespace = '{}'::regnamespace
               AND c.relrowsecurity AND c.relforcerowsecurity
               AND (SELECT array_agg(polname::text ORDER BY polname) FROM pg_policy p
                    WHERE p.polrelid = c.oid) = '{{all_tenants,one_tenant}}'",
            world.schema.name
        );
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut owner).await;
        let locked: i64 = row.unwrap().get(0);
        assert_eq!(usize::try_from(locked).unwrap(), world.owned().len());
        // Also a table that came with a migration which says nothing of it.
        if world.schema == SCHEMA {
            assert!(world.owned().iter().any(|table| table.name == "counters"));
        }
        close(owner).await;
    }
}

#[tokio::test]
async fn the_policies_bind_the_tables_owner_too() {
    for mut world in World::all().await.unwrap_or_default() {
        world = world.with_rows_of_two().await;
        let options = world.url.parse::<PgConnectOptions>().unwrap();
        let options = options.options([("search_path", world.schema.name)]);
        world.session = options.connect().await.unwrap();
        for Table { name, .. } in world.owned() {
            let count = format!("SELECT count(*) FROM {name}");
            assert_eq!(world.count(&count).await, 0, "{name}");
        }
        world.tenant(OURS).await;
        for Table { name, .. } in world.owned() {
            let count = format!("SELECT count(*) FROM {name}");
            assert_eq!(world.count(&count).await, 1, "{name}");
        }
    }
}

#[tokio::test]
async fn migrating_again_keeps_the_policies_and_locks_what_is_new() {
    let Some(server) = server() else { return };
    let url = server.create_database().await;
    let database = settings(&url);
    for _ in 0..2 {
        let again = schema::up::<migrations::registry::Migrator>(&database, SCHEMA);
        again.await.unwrap();
    }
    let applied = schema::up::<Migrator>(&database, SCHEMA).await.unwrap();
    assert_eq!(applied, ["m9999_counters"]);
    let mut session = session(&server.create_login(&url, SCHEMA.role).await, SCHEMA).await;
    let foreign =
        "INSERT INTO counters (tenant_id, name, value) VALUES (gen_random_uuid(), 'c', 0)";
    let refused = run(&mut session, foreign).await.unwrap_err();
    let state = refused.as_database_error().and_then(|e| e.code());
    assert_eq!(state.as_deref(), Some(REFUSED));
}
