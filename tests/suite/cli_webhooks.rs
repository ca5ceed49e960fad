//! The commands for webhooks, run as people and scripts run them.

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use super::cli::{Terminal, text};
use super::native::webhooks::{Received, installation, receive};
use crate::support::{Server, World, eventually, unique};

/// A server whose webhooks may call this machine.
async fn world() -> Option<&'static World> {
    static WORLD: OnceCell<Option<World>> = OnceCell::const_new();
    let new = async || {
        let server = Server::start_on(installation().await?).await;
        Some(World::on(server).await)
    };
    WORLD.get_or_init(new).await.as_ref()
}

/// A receiver, and where it is.
async fn receiver() -> (Received, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    (receive(listener).await, url)
}

/// Where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/hook", listener.local_addr().unwrap())
}

/// A new webhook that is told of nothing but tests: its id and its secret.
async fn new_webhook(terminal: &Terminal, url: &str) -> (String, String) {
    let create = ["webhook", "create", "--url", url, "--event", "nothing.done"];
    let made = terminal.json(&create).await;
    let (id, secret) = (&made["webhook"]["id"], &made["secret"]);
    (text(id).to_owned(), text(secret).to_owned())
}

/// Sends a test and waits until it was taken: the delivery.
async fn tested(terminal: &Terminal, id: &str) -> Value {
    let delivery = terminal.json(&["webhook", "test", id, "--wait"]).await;
    assert_eq!(delivery["state"], "STATE_DELIVERED", "{delivery}");
    delivery
}

/// The ids of the events that were received, in their order.
fn ids(received: &Received) -> Vec<String> {
    let received = received.lock().unwrap();
    let ids = received.iter().map(|(headers, _)| &headers["webhook-id"]);
    ids.map(|id| id.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_webhook_is_created_changed_and_deleted() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let url = format!("https://example.com/{}", unique());
    let create = ["webhook", "create", "--url", &url, "--event"];
    let create = [&create[..], &["device.*,key.revoked", "--event", "tag.*"]].concat();
    let made = terminal.json(&create).await;
    assert!(text(&made["secret"]).starts_with("whsec_"));
    let webhook = &made["webhook"];
    let types = json!(["device.*", "key.revoked", "tag.*"]);
    assert_eq!(webhook["eventTypes"], types);
    let id = text(&webhook["id"]);
    let get = ["webhook", "get", id];
    assert_eq!(terminal.json(&get).await, *webhook);
    let listed = terminal.json(&["webhook", "list"]).await;
    assert!(listed.as_array().unwrap().contains(webhook));
    let table = terminal.says(&["webhook", "list"]).await;
    assert!(table.starts_with("ID ") && table.contains(&url), "{table}");
    let update = ["webhook", "update", id, "--event", "site.*"];
    let more = ["--description", "places"];
    let changed = terminal.json(&[&update[..], &more].concat()).await;
    assert_eq!(terminal.json(&get).await, changed);
    assert_eq!(
        (
            &changed["eventTypes"],
            &changed["description"],
            &changed["url"]
        ),
        (&json!(["site.*"]), &json!("places"), &json!(url))
    );
    terminal.run(&update[..3], "").await.failed(2);
    let said = terminal.says(&["webhook", "delete", id]).await;
    assert_eq!(said, format!("Deleted webhook {id}.\n"));
    let error = terminal.fails(&get).await;
    assert!(
        error.contains(&format!("there is no webhook {id}")),
        "{error}"
    );
}

#[tokio::test]
async fn the_secret_of_a_webhook_is_shown_once_on_a_line_of_its_own() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let create = ["webhook", "create", "--url", "https://example.com/once"];
    let said = terminal
        .says(&[&create[..], &["--event", "nothing.done"]].concat())
        .await;
    let last = said.lines().last().unwrap();
    let secret = last.strip_prefix("Secret (shown only now): ").unwrap();
    assert!(secret.starts_with("whsec_"), "{said}");
    let listed = terminal.says(&["webhook", "list"]).await;
    assert!(!listed.contains(secret), "{listed}");
}

#[tokio::test]
async fn a_url_that_may_not_be_called_is_refused_by_its_field() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    for url in ["ftp://example.com", "https://10.0.0.1/hook", "nowhere"] {
        let create = ["webhook", "create", "--event", "*", "--url", url];
        let error = terminal.fails(&create).await;
        assert!(error.contains("webhook.url"), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_test_is_waited_for_until_the_webhook_took_it() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let (received, url) = receiver().await;
    let (id, _) = new_webhook(&terminal, &url).await;
    let delivery = tested(&terminal, &id).await;
    assert_eq!(delivery["eventType"], "webhook.test");
    assert_eq!(delivery["statusCode"], 204);
    assert_eq!(ids(&received), [text(&delivery["eventId"])]);
    let said = terminal.says(&["webhook", "test", &id]).await;
    assert!(said.contains("pending"), "{said}");
}

#[tokio::test]
async fn a_test_that_the_webhook_does_not_take_fails() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let (id, _) = new_webhook(&terminal, &nobody().await).await;
    let told = terminal.run(&["webhook", "test", &id, "--wait"], "").await;
    assert_eq!(told.code, 1);
    assert!(told.out.contains("can't be reached"), "{}", told.out);
    let look = format!("muster webhook deliveries {id}");
    assert!(told.err.contains(&look), "{}", told.err);
    let table = terminal.says(&["webhook", "get", &id]).await;
    assert!(table.contains("failing"), "{table}");
}

#[tokio::test]
async fn a_disabled_webhook_takes_no_test_until_it_is_enabled() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let (_received, url) = receiver().await;
    let (id, _) = new_webhook(&terminal, &url).await;
    let disabled = terminal.json(&["webhook", "disable", &id]).await;
    assert_eq!(disabled["disabled"], true);
    assert_eq!(disabled["url"], url);
    let error = terminal.fails(&["webhook", "test", &id]).await;
    assert!(
        error.contains(&format!("muster webhook enable {id}")),
        "{error}"
    );
    terminal.says(&["webhook", "enable", &id]).await;
    tested(&terminal, &id).await;
}

#[tokio::test]
async fn deliveries_are_listed_by_what_became_of_them() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let (_received, url) = receiver().await;
    let (id, _) = new_webhook(&terminal, &url).await;
    let first = tested(&terminal, &id).await;
    let second = tested(&terminal, &id).await;
    let list = ["webhook", "deliveries", &id];
    assert_eq!(terminal.json(&list).await, json!([second, first]));
    let newest = [&list[..], &["--limit", "1", "--state", "delivered"]].concat();
    assert_eq!(terminal.json(&newest).await, json!([second]));
    let dead = [&list[..], &["--state", "failed"]].concat();
    assert_eq!(terminal.json(&dead).await, json!([]));
    let table = terminal.says(&list).await;
    assert!(
        table.starts_with("ID ") && table.contains("webhook.test"),
        "{table}"
    );
}

#[tokio::test]
async fn a_delivery_is_replayed_by_itself_or_with_all_since_a_time() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let (received, url) = receiver().await;
    let (id, _) = new_webhook(&terminal, &url).await;
    let delivery = tested(&terminal, &id).await;
    let (one, event) = (text(&delivery["id"]), text(&delivery["eventId"]));
    let again = terminal.json(&["webhook", "replay", &id, one]).await;
    assert_eq!(again["id"], one);
    eventually("it came twice", async || ids(&received).len() == 2).await;
    let delivered = async || {
        let list = ["webhook", "deliveries", &id, "--state", "delivered"];
        terminal.json(&list).await[0]["id"] == one
    };
    eventually("it is known to be delivered", delivered).await;
    let since = ["webhook", "replay", &id, "--since", "1h"];
    let none = [&since[..], &["--state", "failed"]].concat();
    assert_eq!(terminal.json(&none).await, json!({"count": "0"}));
    let said = terminal.says(&since).await;
    assert_eq!(said, "One event is delivered once more.\n");
    eventually("it came again", async || ids(&received).len() == 3).await;
    assert_eq!(ids(&received), [event; 3]);
    for wrong in [
        &since[..3],
        &[&since[..], &[one]].concat(),
        &["webhook", "replay", &id, one, "--state", "failed"],
    ] {
        terminal.run(wrong, "").await.failed(2);
    }
}

#[tokio::test]
async fn a_new_secret_signs_beside_the_old_one_for_a_while() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let (received, url) = receiver().await;
    let (id, old) = new_webhook(&terminal, &url).await;
    let rotate = ["webhook", "rotate", &id, "--overlap"];
    let rotated = terminal.json(&[&rotate[..], &["1h"]].concat()).await;
    assert_ne!(text(&rotated["secret"]), old);
    assert!(rotated["webhook"]["overlapEndTime"].is_string());
    tested(&terminal, &id).await;
    let signatures = async || {
        let received = received.lock().unwrap();
        let (headers, _) = received.back().unwrap();
        let signatures = headers["webhook-signature"].to_str().unwrap();
        signatures.split(' ').count()
    };
    assert_eq!(signatures().await, 2);
    let said = terminal.says(&[&rotate[..], &["0"]].concat()).await;
    assert!(said.contains("Secret (shown only now): whsec_"), "{said}");
    tested(&terminal, &id).await;
    assert_eq!(signatures().await, 1);
}
