//! Many devices at once over HTTP: lines, arrays and CSV, both ways.

use reqwest::Method;
use serde_json::{Value, json};

use super::{fresh_id, text, world};
use crate::support::{Answer, Caller, unique};

const CSV: &str = "text/csv";
const LINES: &str = "application/x-ndjson";

async fn import(caller: &Caller, query: &str, kind: &str, body: String) -> Answer {
    let path = format!("/v1/devices:import{query}");
    caller.raw(Method::POST, &path, Some(kind), body).await
}

/// The lines of an answer.
#[track_caller]
fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    let lines = answer.text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What became of each device; and of all, which comes last.
#[track_caller]
fn told(answer: &Answer) -> (Vec<Value>, Value) {
    let mut lines = lines(answer);
    assert!(lines[0].get("begun").is_some(), "{}", lines[0]);
    let summary = lines.pop().unwrap()["summary"].clone();
    let rows = lines[1..].iter().map(|line| line["row"].clone());
    (rows.collect(), summary)
}

async fn export(caller: &Caller, query: &str, accept: &str) -> Answer {
    let path = format!("/v1/devices:export{query}");
    let request = caller.request(Method::GET, &path).header("accept", accept);
    crate::support::send(request).await
}

#[tokio::test]
async fn lines_an_array_and_csv_say_the_same() {
    let world = need!(world().await);
    let tag = json!({"displayName": unique()});
    let tag = world.olga.post("/v1/tags", tag).await.expect(201);
    let tag = text(&tag["id"]);
    for kind in [LINES, "application/json", CSV] {
        let mark = unique();
        let device = |n: u32| {
            json!({
                "displayName": format!("Pump \"{n}\", {mark}"), "serialNumber": format!("{mark}-{n}"),
                "tagIds": [tag], "labels": {"mark": mark, "n": n.to_string()},
                "location": {"latitude": 48.25}, "state": "STATE_PROVISIONED",
            })
        };
        let body = match kind {
            LINES => format!("{}\n{}\n", device(1), device(2)),
            CSV => {
                let row = |n| {
                    format!(
                        "\"Pump \"\"{n}\"\", {mark}\",{mark}-{n},{tag},{mark},{n},48.25,STATE_PROVISIONED\r\n"
                    )
                };
                let header = "display_name,serialNumber,tag_ids,labels.mark,labels.n,location.latitude,state\r\n";
                format!("{header}{}{}", row(1), row(2))
            }
            _ => json!([device(1), device(2)]).to_string(),
        };
        let (rows, summary) = told(&import(&world.olga, "", kind, body).await);
        assert_eq!(summary["createdCount"], "2", "{summary}");
        assert_eq!(summary["kept"], true);
        for (row, n) in rows.iter().zip(1..) {
            let path = format!("/v1/devices/{}", text(&row["deviceId"]));
            let made = world.olga.get(&path).await.expect(200);
            for (field, value) in device(n).as_object().unwrap() {
                assert_eq!(made[field], *value, "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn a_device_that_is_refused_is_told_with_its_fields() {
    let world = need!(world().await);
    let serial = unique();
    let body =
        format!("serialNumber,displayName,code\n{serial},first,\n,,not a code\n{serial},again,\n");
    let (rows, summary) = told(&import(&world.olga, "", CSV, body).await);
    assert_eq!(summary["refusedCount"], "2", "{summary}");
    assert_eq!(rows[1]["outcome"], "OUTCOME_REFUSED");
    let details = &rows[1]["error"]["details"];
    assert_eq!(details[0]["reason"], "INVALID_ARGUMENT", "{details}");
    let fields = details[1]["fieldViolations"].as_array().unwrap();
    let fields: Vec<_> = fields.iter().map(|f| text(&f["field"])).collect();
    assert_eq!(fields, ["device.display_name", "device.code"]);
    assert_eq!(rows[2]["error"]["code"], 6, "{}", rows[2]);
    // What is asked for is refused devices only.
    let body = json!({"displayName": "more"}).to_string() + "{}";
    let answer = import(&world.olga, "?refusedOnly=true", LINES, body).await;
    let (rows, summary) = told(&answer);
    assert_eq!((rows.len(), &rows[0]["index"]), (1, &json!("1")));
    assert_eq!(summary["createdCount"], "1");
}

#[tokio::test]
async fn what_is_no_device_at_all_ends_the_import_and_is_named() {
    let world = need!(world().await);
    for (kind, body, field) in [
        (CSV, "display_nam\nx\n".to_owned(), "display_nam"),
        (CSV, "state\nSTATE_NONE\n".to_owned(), "[0].state"),
        (LINES, json!({"nope": 1}).to_string(), "[0].device.nope"),
        ("application/json", "[7]".to_owned(), "[0].device"),
    ] {
        let refused = import(&world.olga, "", kind, body).await;
        assert_eq!(refused.fields(), [field]);
    }
    let refused = import(&world.olga, "?matchBy=NOPE", LINES, "{}".to_owned()).await;
    assert_eq!(refused.status.as_u16(), 400);
    let query = "?importId=no";
    let refused = import(&world.olga, query, LINES, "{}".to_owned()).await;
    assert_eq!(refused.fields(), ["[0].import_id"]);
}

#[tokio::test]
async fn what_is_exported_can_be_changed_and_imported_again() {
    let world = need!(world().await);
    let mark = unique();
    let device = |n: u32| json!({"displayName": format!("{mark} {n}"), "labels": {"mark": mark, "n": n.to_string()}});
    let body: Vec<_> = (0..3).map(|n| device(n).to_string()).collect();
    told(&import(&world.olga, "", LINES, body.join("\n")).await);
    let filter = format!("?filter=labels.mark%3D%22{mark}%22");
    let query = format!("{filter}&columns=id,display_name,labels.n&columns=etag");
    let csv = export(&world.olga, &query, CSV).await;
    assert_eq!(csv.status.as_u16(), 200, "{}", csv.text);
    assert!(csv.header("content-type").starts_with("text/csv"));
    let rows: Vec<_> = csv.text.lines().collect();
    assert_eq!(rows[0], "id,display_name,labels.n,etag");
    assert!(rows[2].ends_with(&format!(",{mark} 1,1,1")), "{}", rows[2]);
    let changed = csv
        .text
        .replace(&format!("{mark} 1"), &format!("{mark} one"));
    let query = "?matchBy=MATCH_BY_ID&updateMask=displayName";
    let (rows, _) = told(&import(&world.olga, query, CSV, changed.clone()).await);
    let outcomes: Vec<_> = rows.iter().map(|row| text(&row["outcome"])).collect();
    assert_eq!(
        outcomes,
        ["OUTCOME_UNCHANGED", "OUTCOME_UPDATED", "OUTCOME_UNCHANGED"]
    );
    // The etag is from before.
    let (rows, _) = told(&import(&world.olga, query, CSV, changed).await);
    assert_eq!(rows[1]["outcome"], "OUTCOME_REFUSED");
    // Lines, in the order of their numbers; and the rest behind any of them.
    let all = lines(&export(&world.olga, &filter, "*/*").await);
    let names: Vec<_> = all.iter().map(|d| text(&d["displayName"])).collect();
    assert_eq!(
        names,
        [
            format!("{mark} 0"),
            format!("{mark} one"),
            format!("{mark} 2")
        ]
    );
    let rest = format!("{filter}&afterNumber={}", text(&all[1]["number"]));
    let rest = lines(&export(&world.olga, &rest, LINES).await);
    assert_eq!(rest, all[2..]);
    let whole = export(&world.olga, &filter, "application/json")
        .await
        .expect(200);
    assert_eq!(whole, json!(all));
    let whole = export(&world.olga, &filter, CSV).await;
    let header = whole.text.lines().next().unwrap();
    assert!(
        header.starts_with("id,number,displayName,serialNumber,"),
        "{header}"
    );
    let unknown = export(&world.olga, "?columns=nope", CSV).await;
    assert_eq!(unknown.status.as_u16(), 400, "{}", unknown.text);
}

#[tokio::test]
async fn an_import_goes_on_by_its_id() {
    let world = need!(world().await);
    let (id, mark) = (fresh_id(), unique());
    let query = format!("?importId={id}");
    let device = |n: u32| json!({"displayName": format!("{mark} {n}")}).to_string() + "\n";
    let first: String = (0..3).map(device).collect();
    told(&import(&world.olga, &query, LINES, first.clone()).await);
    let more = format!("{first}{}", device(3));
    let (rows, summary) = told(&import(&world.olga, &query, LINES, more).await);
    assert_eq!(rows[2]["outcome"], "OUTCOME_DONE_BEFORE");
    assert_eq!(rows[3]["outcome"], "OUTCOME_CREATED");
    assert_eq!(summary["nextIndex"], "4");
    // Somebody else's of the same id begins anew.
    let (rows, _) = told(&import(&world.bob, &query, LINES, device(0)).await);
    assert_eq!(rows[0]["outcome"], "OUTCOME_CREATED");
}

#[tokio::test]
async fn an_import_reaches_no_other_tenants_things_and_needs_the_right_to_write() {
    let world = need!(world().await);
    let make = async |path: &str, body: Value| {
        let made = world.alice.post(path, body).await.expect(201);
        text(&made["id"]).to_owned()
    };
    let serial = unique();
    let tag = make("/v1/tags", json!({"displayName": unique()})).await;
    let site = make("/v1/sites", json!({"displayName": unique()})).await;
    let device = json!({"displayName": "theirs", "serialNumber": serial});
    let device = make("/v1/devices", device).await;
    let body = [
        json!({"displayName": "a", "tagIds": [tag]}),
        json!({"displayName": "b", "siteId": site}),
        json!({"displayName": "c", "serialNumber": serial}),
    ];
    let body = body.map(|device| device.to_string()).join("\n");
    let (rows, _) = told(&import(&world.bob, "", LINES, body).await);
    let outcomes: Vec<_> = rows.iter().map(|row| text(&row["outcome"])).collect();
    assert_eq!(
        outcomes,
        ["OUTCOME_REFUSED", "OUTCOME_REFUSED", "OUTCOME_CREATED"]
    );
    assert_ne!(rows[2]["deviceId"], device);
    let body = json!({"serialNumber": serial, "displayName": "bob's"}).to_string();
    let query = "?matchBy=MATCH_BY_SERIAL_NUMBER";
    let (rows, _) = told(&import(&world.bob, query, LINES, body.clone()).await);
    assert_eq!(rows[0]["outcome"], "OUTCOME_UPDATED");
    let path = format!("/v1/devices/{device}");
    let theirs = world.alice.get(&path).await.expect(200);
    assert_eq!(theirs["displayName"], "theirs");
    let exported = export(&world.bob, "", LINES).await.text;
    assert!(!exported.contains(&device));
    let refused = import(&world.victor, "", LINES, body).await;
    assert_eq!(refused.reason(403), "PERMISSION_DENIED");
}
