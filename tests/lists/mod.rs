//! A list costs what it answers, and not what there is: PostgreSQL itself tells
//! how many rows it looked at for each list of the contract, beside 20,000 of
//! everything that the same tenant has.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, Value};
use serde_json::{Value as Json, json};
use tonic::Code;
use tonic::transport::Channel;

use crate::suite::contract::{Belongings, in_2100};
use crate::support::{Caller, Installation, Server, World, grpc};

/// Rows that a query may look at in tables that are full: a page of fifty, and
/// what belongs to each.
const TOUCHED: f64 = 500.0;

/// What the tenant has 20,000 of, beside the one that it was copied from.
const FULL: [&str; 18] = [
    "device_registry.claim_keys",
    "device_registry.command_batches",
    "device_registry.commands",
    "device_registry.customers",
    "device_registry.device_authorities",
    "device_registry.device_commands",
    "device_registry.device_credentials",
    "device_registry.events",
    "device_registry.sensors",
    "device_registry.sites",
    "device_registry.tags",
    "device_registry.webhook_deliveries",
    "identity.users",
    "key_management.api_clients",
    "key_management.api_keys",
    "key_management.events",
    "key_management.tokens",
    "tenancy.members",
];

/// Copies a row of each table: whatever must be unique gets another value.
const COPY: &str = "
DO $$
DECLARE
    one regclass;
    columns text;
    copied text;
    made int;
BEGIN
    SET LOCAL session_replication_role = replica;
    -- Nobody tries to deliver the copies, or to go on with them.
    UPDATE device_registry.webhook_deliveries SET due_time = NULL;
    UPDATE device_registry.command_batches SET after_number = NULL;
    FOREACH one IN ARRAY '{{TABLES}}'::regclass[] LOOP
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum),
            string_agg(CASE
                WHEN NOT own THEN quote_ident(attname)
                WHEN atttypid = 'uuid'::regtype THEN 'gen_random_uuid()'
                WHEN atttypid = 'bytea'::regtype THEN format('%I || int4send(n)', attname)
                WHEN atttypid IN ('text'::regtype, 'varchar'::regtype)
                    THEN format('%I || n', attname)
                WHEN atttypid = 'bigint'::regtype THEN format('%I + n', attname)
                ELSE quote_ident(attname)
            END, ', ' ORDER BY attnum)
        INTO columns, copied
        FROM pg_attribute, LATERAL (SELECT attname <> 'tenant_id'
            AND EXISTS (SELECT FROM pg_index
                WHERE indrelid = one AND indisunique AND attnum = ANY (indkey))
            AND NOT EXISTS (SELECT FROM pg_constraint
                WHERE conrelid = one AND contype = 'f' AND attnum = ANY (conkey))
        ) AS unlike(own)
        WHERE attrelid = one AND attnum > 0 AND NOT attisdropped
            AND attidentity = '' AND attgenerated = '';
        EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM (SELECT * FROM %s AS row
            WHERE coalesce(to_jsonb(row) ->> ''tenant_id'', ''{TENANT}'') = ''{TENANT}''
            LIMIT 1) AS row, generate_series(1, 20000) AS n', one, columns, copied, one);
        GET DIAGNOSTICS made = ROW_COUNT;
        IF made <> 20000 THEN
            RAISE EXCEPTION 'there is nothing in % to copy', one;
        END IF;
    END LOOP;
END $$;
ANALYZE;";

/// Has each session of a database tell how it ran each query.
const EXPLAIN: &str = "
ALTER DATABASE {DATABASE} SET session_preload_libraries = 'auto_explain';
ALTER DATABASE {DATABASE} SET auto_explain.log_min_duration = 0;
ALTER DATABASE {DATABASE} SET auto_explain.log_analyze = on;
ALTER DATABASE {DATABASE} SET auto_explain.log_timing = off;
ALTER DATABASE {DATABASE} SET auto_explain.log_format = 'json';
ALTER DATABASE {DATABASE} SET client_min_messages = 'log';";

/// One way to ask for a list.
struct Shape {
    method: MethodDescriptor,
    /// The field that is filled, beside those that must be.
    with: String,
    request: DynamicMessage,
}

/// Every list of the contract, alone and with each of its filters.
fn shapes(things: &Belongings) -> Vec<Shape> {
    let paged = |m: &MethodDescriptor| {
        let native = !m.full_name().starts_with("muster.dialect.");
        native && m.input().get_field_by_name("page_token").is_some()
    };
    let mut shapes = Vec::new();
    for method in grpc::methods().into_iter().filter(paged) {
        let service = method.parent_service().name().to_owned();
        let mut request = DynamicMessage::new(method.input());
        for field in method.input().fields() {
            // Beside what a list is of, all is optional.
            let parent = matches!(field.name(), "device_id" | "webhook_id");
            let of = service != "DeviceCommandService" && parent;
            if let Some(thing) = things.named_by(&service, field.name()).filter(|_| of) {
                request.set_field(&field, thing);
            }
        }
        for field in method.input().fields() {
            if request.has_field(&field) {
                continue;
            }
            for value in values(&field, things.named_by(&service, field.name())) {
                let mut request = request.clone();
                let with = match &value {
                    Value::Message(time) => {
                        let seconds = time.get_field_by_name("seconds").unwrap();
                        format!("{} = {seconds:?} s", field.name())
                    }
                    value => format!("{} = {value:?}", field.name()),
                };
                request.set_field(&field, value);
                let method = method.clone();
                shapes.push(Shape {
                    method,
                    with,
                    request,
                });
            }
        }
        let with = String::new();
        shapes.push(Shape {
            method,
            with,
            request,
        });
    }
    shapes
}

/// What a filter is asked for: the one thing that is there, what is nowhere, and
/// each of what there are few of.
fn values(field: &FieldDescriptor, thing: Option<Value>) -> Vec<Value> {
    // Looked at by the registry's own test of plans; a number of all costs them all.
    const NOT_HERE: [&str; 9] = [
        "after_id",
        "count_total",
        "filter",
        "order_by",
        "page_size",
        "page_token",
        "read_mask",
        "resume_token",
        "service",
    ];
    if NOT_HERE.contains(&field.name()) {
        return Vec::new();
    }
    let nobody = "00000000-0000-7000-8000-000000000000".to_owned();
    let whose = ["actor", "creator", "owner", "principal"];
    let mut values: Vec<_> = thing.into_iter().collect();
    match field.kind() {
        Kind::String if whose.contains(&field.name()) => {
            values.push(Value::String(format!("user:{nobody}")));
        }
        Kind::String if field.is_list() => {
            values.push(Value::List(vec![Value::String(nobody)]));
        }
        Kind::String => values.push(Value::String(nobody)),
        Kind::Int64 if field.is_list() => values.push(Value::List(vec![Value::I64(7)])),
        Kind::Int64 => values.push(Value::I64(7)),
        Kind::Int32 => values.push(Value::I32(7)),
        Kind::Bool => values.push(Value::Bool(true)),
        Kind::Enum(kind) => {
            let known = kind.values().filter(|value| value.number() > 0);
            values.extend(known.map(|value| Value::EnumNumber(value.number())));
        }
        Kind::Message(_) => {
            let mut begin = in_2100();
            begin.clear_field_by_name("seconds");
            values.extend([begin, in_2100()].map(Value::Message));
        }
        other => panic!("{}: how is a {other:?} asked for?", field.full_name()),
    }
    values
}

/// Asks for the first three pages of a list. Of what is not theirs, others hear
/// that it is not there.
async fn read(channel: &Channel, caller: &Caller, own: bool, shape: &Shape) {
    let mut request = shape.request.clone();
    for _ in 0..3 {
        let authorization = caller.authorization.as_deref();
        let answer = grpc::call(channel, &shape.method, authorization, &request).await;
        let what = format!("{} with {}", shape.method.full_name(), shape.with);
        let answer = match answer {
            Ok(answer) => answer,
            Err(refused) if !own && refused.code() == Code::NotFound => return,
            Err(refused) => panic!("{what}: {refused}"),
        };
        let answer = DynamicMessage::decode(shape.method.output(), answer).unwrap();
        let Some(next) = answer.get_field_by_name("next_page_token") else {
            return;
        };
        if next.as_str() == Some("") {
            return;
        }
        request.set_field_by_name("page_token", next.into_owned());
    }
}

/// The queries that a log tells of: what each is, and the rows that it looked
/// at in the full tables.
fn queries(log: &str) -> impl Iterator<Item = (String, f64)> {
    log.lines().filter_map(|line| {
        let line: Json = serde_json::from_str(line).ok()?;
        let (_, plan) = line["message"].as_str()?.split_once("plan:")?;
        let plan: Json = serde_json::from_str(plan).unwrap();
        let touched = touched(&plan["Plan"]);
        let query = plan["Query Text"].as_str()?;
        // What else goes on meanwhile changes something.
        let lists = query.starts_with("SELECT");
        lists.then(|| (query.to_owned(), touched))
    })
}

fn touched(node: &Json) -> f64 {
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let table = node["Relation Name"].as_str().unwrap_or_default();
    let full = FULL.iter().any(|full| full.ends_with(&format!(".{table}")));
    let rows = number("Actual Rows")
        + number("Rows Removed by Filter")
        + number("Rows Removed by Index Recheck");
    let own = if full {
        rows * number("Actual Loops")
    } else {
        0.0
    };
    let inner = node["Plans"].as_array().into_iter().flatten();
    own + inner.map(touched).sum::<f64>()
}

#[tokio::test]
async fn a_list_looks_at_little_more_than_it_answers() {
    let installation = need!(Installation::new().await);
    let url = installation.database_url.clone().unwrap();
    let postgres = test_database::postgres().unwrap();
    let (_, database) = url.rsplit_once('/').unwrap();
    let explain = EXPLAIN.replace("{DATABASE}", database);
    postgres.execute(&url, &explain).await.unwrap();
    let told = [
        ("MUSTER_LOG", "warn,sqlx::postgres::notice=trace"),
        ("MUSTER_LOG_FORMAT", "json"),
    ];
    let world = World::on(Server::start_on(installation.with(&told)).await).await;
    let things = Belongings::of(&world).await;
    let Some(Value::String(webhook)) = things.named_by("WebhookService", "webhook_id") else {
        panic!("no webhook");
    };
    let test = format!("/v1/webhooks/{webhook}:sendTestEvent");
    world.alice.post(&test, json!({})).await.expect(201);
    let Some(Value::List(devices)) = things.named_by("SensorService", "device_ids") else {
        panic!("no devices");
    };
    let devices: Vec<_> = devices.iter().map(|id| id.as_str().unwrap()).collect();
    let batch = json!({"deviceIds": devices, "name": "restart"});
    let sent = world.alice.post("/v1/devices:sendCommand", batch).await;
    sent.expect(201);
    let copy = COPY.replace("{TABLES}", &FULL.join(","));
    let copy = copy.replace("{TENANT}", &world.tenant_a);
    postgres.execute(&url, &copy).await.unwrap();

    let channel = grpc::connect(&world.server.url).await;
    let mut complaints = BTreeSet::new();
    let (mut seen, mut explained) = (world.server.log().len(), 0);
    let shapes = shapes(&things);
    for (caller, own) in [(&world.alice, true), (&world.bob, false)] {
        for shape in &shapes {
            read(&channel, caller, own, shape).await;
            // What was told before an answer is written by the time of the next.
            let log = world.server.log().split_off(seen);
            seen += log.len();
            for (query, touched) in queries(&log) {
                explained += 1;
                if touched > TOUCHED {
                    let (name, with) = (shape.method.name(), &shape.with);
                    let whose = if own { "much" } else { "nothing" };
                    complaints.insert(format!(
                        "{name} [{with}] of who has {whose}: {touched} rows: {query}"
                    ));
                }
            }
        }
    }
    assert!(explained > 2 * shapes.len(), "only {explained} queries");
    assert!(complaints.is_empty(), "{complaints:#?}");
}
