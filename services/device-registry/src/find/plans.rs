//! Lists of a hundred thousand devices are found by indexes, whatever is asked:
//! what the service itself runs is explained by both databases.

#![allow(clippy::unwrap_used, reason = "a test")]

mod shapes;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;

use chassis::Clock;
use chassis::caller::TenantId;
use chassis::peer::{Peers, ServiceName};
use chassis::revocation::Revocations;
use chassis::service_identity::{PrivateKey, Privileges, ServiceIdentity, ServiceKeys};
use chassis::store::schema::{self, Schema};
use chassis::store::{Postgres, ReadTx, Store};
use chassis::token::Verifier;
use proto::access::ALL_PERMISSIONS;
use proto::registry::device_service_client::DeviceServiceClient;
use proto::registry::{ListDevicesRequest, ListDevicesResponse};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, Select};
use serde_json::Value as Json;
use uuid::Uuid;

use shapes::shapes;

use crate::entity::device::Entity;
use crate::{Migrator, Settings};

/// Devices of the tenant that is looked at.
const DEVICES: u64 = 100_000;
/// Devices of each other tenant, of which there are [`OTHERS`].
const FEW: u64 = 100;
const OTHERS: u64 = 200;
/// Rows of devices that the database may touch for a page of fifty, if nothing
/// is filtered.
const TOUCHED: u64 = 2_500;

thread_local! {
    /// The plans of the queries that a test ran; each test has a thread to itself.
    static PLANS: RefCell<Vec<Vec<String>>> = const { RefCell::new(Vec::new()) };
}

/// Has a query explained that is about to be run.
pub(super) async fn note(tx: &ReadTx, query: &Select<Entity>) {
    let plan = tx.explain(query.clone()).await.unwrap();
    PLANS.with_borrow_mut(|plans| plans.push(plan));
}

/// A service on a database that is full, and who calls it.
struct Full {
    peers: Peers,
    identity: ServiceIdentity,
    _folder: tempfile::TempDir,
}

impl Full {
    fn on(store: Store, folder: tempfile::TempDir) -> Self {
        let (clock, peers) = (Clock::system(), Peers::default());
        let key = PrivateKey::generate().unwrap();
        let everything = Privileges {
            tenants: true,
            permissions: ALL_PERMISSIONS,
        };
        let keys = ServiceKeys::default().with("device-registry", &key, everything);
        let verifier = Verifier::new(
            peers.clone(),
            keys.unwrap(),
            Revocations::default(),
            clock.clone(),
        );
        let identity = ServiceIdentity::new("device-registry", &key, clock.clone());
        let stack = crate::stack(
            store,
            clock,
            peers.clone(),
            identity.clone(),
            verifier,
            Settings::default(),
        );
        peers.set(ServiceName::DeviceRegistry, stack);
        Self {
            peers,
            identity,
            _folder: folder,
        }
    }

    async fn list(&self, tenant: Uuid, request: &ListDevicesRequest) -> ListDevicesResponse {
        let peer = self.peers.get(ServiceName::DeviceRegistry);
        let request = self
            .identity
            .request_for(TenantId(tenant), ALL_PERMISSIONS, request.clone())
            .unwrap();
        let answer = DeviceServiceClient::new(peer).list_devices(request).await;
        answer.unwrap().into_inner()
    }

    /// What is wrong with the plans of the first pages of every shape.
    async fn complaints(
        &self,
        tenant: Uuid,
        wrong: fn(&ListDevicesRequest, &[String]) -> Option<String>,
    ) -> BTreeSet<String> {
        let mut complaints = BTreeSet::new();
        for mut shape in shapes() {
            if tenant != tenants()[0] {
                shape.after_id.clear();
            }
            for page in 1..=3 {
                let answer = self.list(tenant, &shape).await;
                let plans = PLANS.take();
                assert!(!plans.is_empty());
                for wrong in plans.iter().filter_map(|plan| wrong(&shape, plan)) {
                    let (filter, order) = (&shape.filter, &shape.order_by);
                    complaints.insert(format!("[{filter}] [{order}] page {page}: {wrong}"));
                }
                shape.after_id.clear();
                shape.page_token = answer.next_page_token;
                if shape.page_token.is_empty() {
                    break;
                }
            }
        }
        complaints
    }
}

/// The tenants: one that has nearly everything, and one that has little.
fn tenants() -> [Uuid; 2] {
    [Uuid::from_u128(1), Uuid::from_u128(2)]
}

/// Fills a database: `{uuid:N}` is a UUID that is made of the number N, and
/// `{rows}` a table `s` of the numbers `n` from 1 on.
fn filling(uuid: fn(&str, &str) -> String, rows: fn(u64) -> String, json: &str) -> String {
    let device = |count: u64, tenant: &str, id: &str| {
        format!(
            "INSERT INTO devices (id, tenant_id, create_time, update_time, revision, display_name,
               serial_number, external_id, code, description, labels, site_id, state,
               last_seen_time, delete_time)
             SELECT {id}, {tenant}, '2025-01-01 00:00:00+00:00', '2025-01-01 00:00:00+00:00', 1,
               'Pump ' || n, 'SN-' || n, 'EX-' || n, 'c-' || n, '', '{{}}'{json},
               CASE WHEN n % 50000 = 2 THEN {site} END, CASE WHEN n % 1000 = 0 THEN 2 ELSE 1 END,
               CASE WHEN n % 1000 = 0 THEN '2025-02-02 00:00:00+00:00'{time} END,
               CASE WHEN n % 500 = 0 THEN '2025-02-02 00:00:00+00:00'{time} END
             FROM {rows};",
            site = uuid("0002", "2"),
            time = if json.is_empty() { "" } else { "::timestamptz" },
            rows = rows(count),
        )
    };
    let tenant = uuid("0000", "1");
    let mut sql = format!(
        "INSERT INTO sites (id, tenant_id, create_time, update_time, revision, display_name,
           address, contact_name, contact_phone, notes)
         SELECT {site}, {tenant}, '2025-01-01 00:00:00+00:00', '2025-01-01 00:00:00+00:00', 1,
           'a site', '', '', '', '';
         INSERT INTO tags (id, tenant_id, create_time, update_time, revision, display_name, color)
         SELECT {tag}, {tenant}, '2025-01-01 00:00:00+00:00', '2025-01-01 00:00:00+00:00', 1,
           CASE n WHEN 1 THEN 'common' ELSE 'rare' END, ''
         FROM {two};",
        site = uuid("0002", "2"),
        tag = uuid("0001", "n"),
        two = rows(2),
    );
    sql += &device(DEVICES, &tenant, &uuid("0000", "n"));
    for (tag, each) in [("1", 2), ("2", 5000)] {
        sql += &format!(
            "INSERT INTO device_tags (tenant_id, device_id, tag_id)
             SELECT {tenant}, {device}, {tag} FROM {rows} WHERE n % {each} = 0;",
            device = uuid("0000", "n"),
            tag = uuid("0001", tag),
            rows = rows(DEVICES),
        );
    }
    for (key, value) in [
        ("region", "CASE n % 2 WHEN 0 THEN 'eu' ELSE 'us' END"),
        ("rack", "'r' || n % 1000"),
    ] {
        sql += &format!(
            "INSERT INTO device_labels (tenant_id, device_id, key, value)
             SELECT {tenant}, {device}, '{key}', {value} FROM {rows};",
            device = uuid("0000", "n"),
            rows = rows(DEVICES),
        );
    }
    // Nobody else has a site: a device's site is of its own tenant.
    sql += &format!(
        "INSERT INTO devices (id, tenant_id, create_time, update_time, revision, display_name,
           serial_number, external_id, code, description, labels, state)
         SELECT {id}, {tenant}, '2025-01-01 00:00:00+00:00', '2025-01-01 00:00:00+00:00', 1,
           'Pump ' || n, 'SN-' || n, 'EX-' || n, 'c-' || n, '', '{{}}'{json}, 1
         FROM {rows};",
        id = uuid("0003", "n"),
        tenant = uuid("0000", &format!("(2 + n / {FEW})")),
        rows = rows(FEW * OTHERS),
    );
    sql + "ANALYZE;"
}

#[expect(clippy::disallowed_methods, reason = "fills what a store made")]
async fn fill(url: String, sql: &str) {
    let options = ConnectOptions::new(url).max_connections(1).to_owned();
    let database = Database::connect(options).await.unwrap();
    database.execute_unprepared(sql).await.unwrap();
    database.close().await.unwrap();
}

#[tokio::test]
async fn sqlite_finds_every_list_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.db");
    let clock = Clock::system();
    let store = Store::sqlite::<Migrator>(&file, &clock).await.unwrap();
    let sql = filling(
        |group, n| format!("unhex('0000000000000000' || '{group}' || printf('%012x', {n}))"),
        |count| {
            format!(
                "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})
                  SELECT n FROM s)"
            )
        },
        "",
    );
    fill(format!("sqlite://{}", file.display()), &sql).await;
    let full = Full::on(store, folder);
    let mut complaints = BTreeSet::new();
    for tenant in tenants() {
        complaints.extend(full.complaints(tenant, scanned_by_sqlite).await);
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// The step that looks at every device, if there is one.
fn scanned_by_sqlite(_: &ListDevicesRequest, plan: &[String]) -> Option<String> {
    let scan = |step: &&String| step.starts_with("SCAN devices") && !step.contains("USING");
    plan.iter().find(scan).cloned()
}

#[tokio::test]
async fn postgres_finds_every_list_by_an_index_and_touches_little_more_than_the_page() {
    let server = match test_database::try_postgres() {
        Ok(server) => server,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "NOT RUN: plans of PostgreSQL: {why}");
            let must = std::env::var("MUSTER_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!must, "{why}");
            return;
        }
    };
    let (clock, schema) = (Clock::system(), Schema::of(ServiceName::DeviceRegistry));
    let url = server.create_database().await;
    let owner = Postgres::new(url.clone());
    schema::up::<Migrator>(&owner, schema).await.unwrap();
    let login = Postgres::new(server.create_login(&url, schema.role).await);
    let store = Store::postgres::<Migrator>(&login, schema, &clock).await;
    let sql = filling(
        |group, n| format!("('00000000-0000-0000-{group}-' || lpad(to_hex({n}), 12, '0'))::uuid"),
        |count| format!("generate_series(1, {count}) AS s(n)"),
        "::jsonb",
    );
    let sql = format!(
        "SET search_path = {}; SET muster.all_tenants = 'on'; {sql}",
        schema.name
    );
    fill(url, &sql).await;
    let full = Full::on(store.unwrap(), tempfile::tempdir().unwrap());
    let mut complaints = BTreeSet::new();
    for tenant in tenants() {
        complaints.extend(full.complaints(tenant, scanned_by_postgres).await);
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// What is wrong with a plan in JSON, if anything.
fn scanned_by_postgres(shape: &ListDevicesRequest, plan: &[String]) -> Option<String> {
    let plan: Json = serde_json::from_str(&plan[0]).unwrap();
    let (mut scans, mut touched) = (Vec::new(), 0);
    walk(&plan[0]["Plan"], &mut scans, &mut touched);
    // How soon another filter finds a page full is up to the devices.
    let is_bounded = shape.filter.is_empty() || shape.filter.contains("rare OR");
    match scans.is_empty() {
        true if touched <= TOUCHED || !is_bounded => None,
        true => Some(format!("touched {touched} rows: {plan}")),
        false => Some(format!("{scans:?}: {plan}")),
    }
}

fn walk(node: &Json, scans: &mut Vec<String>, touched: &mut u64) {
    // What is known to find nothing is not begun.
    if node["Relation Name"] == "devices" && node["Actual Loops"] != 0 {
        if node["Node Type"] == "Seq Scan" {
            scans.push(node["Filter"].to_string());
        }
        let number = |name: &str| node[name].as_f64().unwrap_or_default();
        let rows = number("Actual Rows") + number("Rows Removed by Filter");
        *touched += (rows * number("Actual Loops").max(1.0)) as u64;
    }
    for inner in node["Plans"].as_array().into_iter().flatten() {
        walk(inner, scans, touched);
    }
}
