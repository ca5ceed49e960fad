//! The native API over HTTP/JSON.

mod brokers;
mod claiming;
mod client_rotation;
mod clients;
mod commands;
mod device_credentials;
mod finding;
mod http;
mod input;
mod key_import;
mod key_policy;
mod key_rotation;
mod key_uses;
mod key_verification;
mod keys;
mod leaks;
mod lives;
mod log;
mod metrics;
mod people;
mod places;
mod resources;
mod revocation;
mod sightings;
mod tenants;
mod tokens;
mod transfer;
mod watch;
pub(crate) mod webhooks;

use crate::support::{Answer, World};
use serde_json::Value;
use tokio::sync::OnceCell;

/// An authority of certificates, until 2096.
pub(crate) const AUTHORITY: &str = include_str!("authority.pem");

/// One server for all tests of this file that don't mind each other.
async fn world() -> Option<&'static World> {
    static WORLD: OnceCell<Option<World>> = OnceCell::const_new();
    WORLD.get_or_init(World::new).await.as_ref()
}

/// An id that nothing has.
fn fresh_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!(
        "0198c5a2-7d1e-7bd0-9a3c-{:012x}",
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

impl Answer {
    /// The stable reason of a refusal with this status.
    #[track_caller]
    fn reason(&self, status: u16) -> String {
        let body = self.expect(status);
        let info = &body["details"][0];
        assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        text(&info["reason"]).to_owned()
    }

    /// The fields that a 400 names.
    #[track_caller]
    fn fields(&self) -> Vec<String> {
        let body = self.expect(400);
        assert_eq!(body["code"], 3, "{body}");
        let violations = &body["details"][1];
        assert_eq!(
            violations["@type"],
            "type.googleapis.com/google.rpc.BadRequest"
        );
        let fields = violations["fieldViolations"].as_array().unwrap();
        fields
            .iter()
            .map(|v| text(&v["field"]).to_owned())
            .collect()
    }

    /// The field that a 409 names as taken.
    #[track_caller]
    fn taken(&self) -> String {
        let body = self.expect(409);
        assert_eq!(body["code"], 6, "{body}");
        text(&body["details"][0]["metadata"]["field"]).to_owned()
    }
}
