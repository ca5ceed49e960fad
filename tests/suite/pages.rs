//! The pages that show the documents: in a browser, which makes calls from
//! them, and without one.

pub(crate) mod browser;

use reqwest::Method;
use serde_json::json;
use thirtyfour::By;

use crate::support::{Answer, World, send, unique};
use browser::Browser;

/// The pages' own files, and a page.
const FILES: [(&str, &str); 5] = [
    ("/docs/", "text/html; charset=utf-8"),
    ("/docs/initializer.js", "text/javascript; charset=utf-8"),
    (
        "/docs/swagger-ui-bundle.js",
        "text/javascript; charset=utf-8",
    ),
    ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
    ("/v2/documentation/index.html", "text/html; charset=utf-8"),
];

/// A device, and a key that may look at it.
async fn device_and_key(world: &World) -> (String, String) {
    let name = format!("seen-{}", unique());
    let body = json!({"displayName": name, "serialNumber": format!("serial-{name}")});
    world.alice.post("/v1/devices", body).await.expect(201);
    (name, world.alice.new_key(&["devices.read"]).await)
}

/// Puts a credential in the dialog, where it is asked for.
async fn authorize(browser: &Browser, place: &str, credential: &str) {
    browser.click("button.btn.authorize").await;
    let scheme = browser.see_text(".auth-container", place).await;
    let input = scheme.find(By::Css("input")).await.unwrap();
    input.send_keys(credential).await.unwrap();
    let done = scheme.find(By::Css("button.authorize")).await.unwrap();
    done.click().await.unwrap();
    browser.click("button.btn-done").await;
}

/// Opens an operation by its path and makes the call; its status and body.
async fn execute(browser: &Browser, path: &str) -> (String, String) {
    let operation = ".opblock-get:has([data-path=\"{path}\"])".replace("{path}", path);
    browser
        .click(&format!("{operation} .opblock-summary"))
        .await;
    browser.click(&format!("{operation} button.execute")).await;
    let answer = format!("{operation} .live-responses-table");
    let status = browser
        .see(&format!("{answer} tbody td.response-col_status"))
        .await;
    let status = status.text().await.unwrap();
    // A screen shows a part of a long body.
    let body = browser.see(&format!("{answer} .highlight-code")).await;
    (status, body.text().await.unwrap())
}

/// Nothing was complained about, and nobody else was asked.
async fn kept_to_itself(browser: &Browser, url: &str) {
    // Swagger UI warns of formats that it has no field for, such as `uuid`.
    let told = browser.console().await;
    let wrong = |line: &&String| line.starts_with("SEVERE") || line.contains(" security");
    let wrong: Vec<_> = told.iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let requests = browser.requests().await;
    // The browser's page before ours has pictures of its own.
    let own = |asked: &&String| {
        let schemes = [url, "data:", "chrome:", "chrome-untrusted:"];
        schemes.iter().any(|own| asked.starts_with(own))
    };
    assert!(requests.len() > 5, "{requests:?}");
    let others: Vec<_> = requests.iter().filter(|asked| !own(asked)).collect();
    assert!(others.is_empty(), "{others:?}");
    let kept = "return [localStorage.length, sessionStorage.length, document.cookie]";
    assert_eq!(browser.evaluate(kept).await, json!([0, 0, ""]));
}

#[tokio::test]
async fn a_call_is_made_from_the_page_of_all_documents() {
    let world = need!(World::shared().await);
    let browser = need!(Browser::start().await);
    let (name, key) = device_and_key(&world).await;
    let url = &world.server.url;
    // From the address that a person types.
    browser.open(url).await;
    browser.see(".opblock-tag").await;
    browser.picture("docs").await;
    let names = "return [...document.querySelectorAll('#select option')].map(o => o.text)";
    let documents = browser.evaluate(names).await;
    assert_eq!(
        documents,
        json!([
            "Muster",
            "HARDWARIO Cloud v2",
            "Yombo GW-API",
            "iottly",
            "SensorBucket",
            "Device42",
            "EMQX",
            "Mosquitto"
        ])
    );
    authorize(&browser, "x-api-key", &key).await;
    browser.click("#operations-tag-DeviceService").await;
    let (status, body) = execute(&browser, "/v1/devices").await;
    browser.picture("docs-called").await;
    assert!(status.starts_with("200"), "{status}: {body}");
    assert!(body.contains(&name), "{body}");
    kept_to_itself(&browser, url).await;
}

#[tokio::test]
async fn a_call_is_made_from_the_page_where_hardwario_has_its_own() {
    let world = need!(World::shared().await);
    let browser = need!(Browser::start().await);
    let (name, key) = device_and_key(&world).await;
    let url = &world.server.url;
    browser
        .open(&format!("{url}/v2/documentation/index.html"))
        .await;
    browser.see(".opblock").await;
    browser.picture("hardwario").await;
    authorize(&browser, "x-api-key", &key).await;
    let (status, body) = execute(&browser, "/v2/devices").await;
    browser.picture("hardwario-called").await;
    assert!(status.starts_with("201"), "{status}: {body}");
    assert!(body.contains(&name), "{body}");
    kept_to_itself(&browser, url).await;
}

#[tokio::test]
async fn each_document_of_the_selector_is_shown() {
    let world = need!(World::shared().await);
    let browser = need!(Browser::start().await);
    let url = &world.server.url;
    browser.open(&format!("{url}/docs/")).await;
    // What is chosen while the first is loading is not shown: so is Swagger UI.
    browser.see(".opblock-tag").await;
    let documents = [
        ("HARDWARIO Cloud v2", "HARDWARIO Cloud v2, served by Muster"),
        ("Yombo GW-API", "Yombo GW-API, served by Muster"),
        ("iottly", "iottly, served by Muster"),
        ("SensorBucket", "SensorBucket, served by Muster"),
        ("Device42", "Device42, served by Muster"),
        ("Muster", "The same contract is served as gRPC"),
    ];
    for (document, about) in documents {
        let choice = browser.see_text("#select option", document).await;
        choice.click().await.unwrap();
        browser.see_text(".info", about).await;
        browser.see(".opblock-tag").await;
    }
    kept_to_itself(&browser, url).await;
}

#[tokio::test]
async fn a_page_says_what_it_is_and_is_sent_again_only_when_it_changed() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    for (path, kind) in FILES {
        let whole = anybody.get(path).await;
        assert_eq!(whole.status, 200, "{path}");
        assert_eq!(whole.header("content-type"), kind, "{path}");
        assert_eq!(whole.header("x-content-type-options"), "nosniff");
        assert_eq!(whole.header("cache-control"), "no-cache");
        assert!(!whole.text.is_empty());
        let head = send(anybody.request(Method::HEAD, path)).await;
        assert_eq!(head.header("content-length"), whole.text.len().to_string());
        let (etag, request) = (whole.header("etag"), anybody.request(Method::GET, path));
        let same = send(request.header("if-none-match", format!("\"old\", {etag}"))).await;
        assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""));
        assert_eq!(same.header("etag"), etag);
        let request = anybody.request(Method::GET, path);
        let small = send(request.header("accept-encoding", "br, gzip;q=0.5")).await;
        assert_eq!(small.header("content-encoding"), "gzip", "{path}");
        let request = anybody.request(Method::GET, path);
        let plain = send(request.header("accept-encoding", "gzip;q=0")).await;
        assert_eq!(plain.text, whole.text, "{path}");
    }
}

#[tokio::test]
async fn the_pages_allow_no_script_but_their_own_files() {
    let world = need!(World::shared().await);
    let page = world.server.anybody().get("/docs/").await;
    let policy = page.header("content-security-policy");
    for rule in [
        "default-src 'none'",
        "script-src 'self';",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    let (_, scripts) = page.text.split_once("<script").unwrap();
    for script in scripts.split("<script") {
        assert!(script.contains("src=\"../docs/"), "{script}");
        assert!(script.contains("></script>"), "{script}");
    }
}

#[tokio::test]
async fn almost_right_addresses_lead_browsers_to_the_pages() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let goes_to = |answer: &Answer| (answer.status.as_u16(), answer.header("location").to_owned());
    let docs = anybody.get("/docs").await;
    assert_eq!(goes_to(&docs), (307, "docs/".to_owned()));
    let hardwario = anybody.get("/v2/documentation").await;
    assert_eq!(goes_to(&hardwario), (307, "documentation/".to_owned()));
    let page = anybody.request(Method::GET, "/");
    let page = send(page.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")).await;
    assert_eq!(goes_to(&page), (307, "docs/".to_owned()));
    // A program is told that nothing is there.
    assert_eq!(anybody.get("/").await.expect(404)["code"], 5);
}

#[tokio::test]
async fn a_page_is_only_read() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let refused = anybody.post("/docs/", json!({})).await;
    assert_eq!(refused.expect(405)["code"], 12);
    assert_eq!(refused.header("allow"), "GET, HEAD");
    let asked = send(anybody.request(Method::OPTIONS, "/docs/")).await;
    assert_eq!(
        (asked.status.as_u16(), asked.header("allow")),
        (204, "GET, HEAD")
    );
}
