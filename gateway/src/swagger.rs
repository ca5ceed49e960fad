//! Swagger UI, which shows the documents of [`crate::openapi`]. All of it is
//! in the binary, and its pages load nothing from anywhere else.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;
use tonic::body::Body;

use crate::pages::Page;

/// Nothing but our own files, and no script inside a page. Swagger UI sets
/// styles by itself, and its pictures are in its style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The documents: a name, and the path below the gateway's own.
const DOCUMENTS: [(&str, &str); 8] = [
    ("Muster", "openapi.json"),
    ("HARDWARIO Cloud v2", "openapi/hardwario.json"),
    ("Yombo GW-API", "openapi/yombo.json"),
    ("iottly", "openapi/iottly.json"),
    ("SensorBucket", "openapi/sensorbucket.json"),
    ("Device42", "openapi/device42.json"),
    ("EMQX", "openapi/emqx.json"),
    ("Mosquitto", "openapi/mosquitto.json"),
];

macro_rules! packed {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz"))
    };
}

/// The pages, each with all paths that it has.
static PAGES: LazyLock<Vec<(&[&str], Page)>> = LazyLock::new(|| {
    let file = |kind, gzip: &'static [u8]| Page::packed(kind, Bytes::from_static(gzip));
    vec![
        (
            &["/docs/"],
            Page::new(HTML, page("Muster's APIs", "../", &DOCUMENTS)),
        ),
        // Where that system has its own.
        (
            &["/v2/documentation/", "/v2/documentation/index.html"],
            Page::new(HTML, page("HARDWARIO Cloud v2", "../../", &DOCUMENTS[1..2])),
        ),
        (
            &["/docs/initializer.js"],
            Page::new(SCRIPT, include_str!("swagger/initializer.js")),
        ),
        (
            &["/docs/swagger-ui.css"],
            file(STYLE, packed!("swagger-ui.css")),
        ),
        (
            &["/docs/swagger-ui-bundle.js"],
            file(SCRIPT, packed!("swagger-ui-bundle.js")),
        ),
        (
            &["/docs/swagger-ui-standalone-preset.js"],
            file(SCRIPT, packed!("swagger-ui-standalone-preset.js")),
        ),
        (
            &["/docs/icon.svg"],
            Page::new("image/svg+xml", include_str!("swagger/icon.svg")),
        ),
    ]
});

/// The page, script or style at a path.
pub(crate) fn answer(request: &Request<Body>) -> Option<Response<Body>> {
    let path = request.uri().path();
    if let Some(to) = elsewhere(request) {
        return Some(redirect(to));
    }
    let (_, page) = PAGES.iter().find(|(paths, _)| paths.contains(&path))?;
    let mut response = page.answer(request);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Some(response)
}

/// Where a page is whose address somebody almost wrote. The start of all is
/// the pages' for browsers only; programs are told that nothing is there.
fn elsewhere(request: &Request<Body>) -> Option<&'static str> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    match request.uri().path() {
        "/" => {
            let accepted = request.headers().get(ACCEPT)?.to_str().ok()?;
            accepted.contains("text/html").then_some("docs/")
        }
        "/docs" => Some("docs/"),
        "/v2/documentation" => Some("documentation/"),
        _ => None,
    }
}

/// Relative, so that it holds behind a proxy that puts a prefix in front.
fn redirect(to: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static(to));
    headers.insert(http::header::VARY, HeaderValue::from_static("accept"));
    response
}

/// A page that shows documents. `root` leads from it to the gateway's own path.
fn page(title: &str, root: &str, documents: &[(&str, &str)]) -> String {
    let links: Vec<_> = documents
        .iter()
        .map(|(name, path)| format!("<a href=\"{root}{path}\">{name}</a>"))
        .collect();
    let documents: Vec<_> = documents
        .iter()
        .map(|(name, path)| json!({"name": name, "url": format!("{root}{path}")}))
        .collect();
    include_str!("swagger/page.html")
        .replace("{title}", title)
        .replace("{files}", &format!("{root}docs/"))
        .replace("{links}", &links.join(", "))
        .replace("{documents}", &json!(documents).to_string())
}
