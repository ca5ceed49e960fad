//! What a process counts, for Prometheus.

use serde_json::json;

use crate::support::{ADMIN, Installation, PASSWORD, Server, eventually, log_in, probe};

/// What all processes tell, one after the other.
async fn figures(probes: &[String]) -> String {
    let mut all = String::new();
    for address in probes {
        let (status, text) = probe(address, "/metrics").await.expect("it answers");
        assert_eq!(status, 200, "{text}");
        all += &text;
    }
    all
}

/// The sum of what processes tell of a meter with these labels.
fn sum(figures: &str, meter: &str, labels: &[&str]) -> f64 {
    let lines = figures.lines().filter_map(|line| line.rsplit_once(' '));
    let found = lines.filter(|(name, _)| {
        let (of, own) = name.split_once('{').unwrap_or((name, ""));
        of == meter && labels.iter().all(|label| own.contains(label))
    });
    found.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn figures_are_told_at_the_port_of_probes_and_nowhere_else() {
    let installation = need!(Installation::new().await);
    let (installation, probes) = installation.with_probes();
    let server = Server::start_on(installation).await;
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let tenant = alice.get("/v1/me").await.expect(200)["currentTenant"].clone();
    for _ in 0..3 {
        alice.get("/v1/devices").await.expect(200);
    }
    let list = "method=\"muster.registry.v1.DeviceService/ListDevices\"";
    let registry = "service=\"device-registry\"";
    let told = figures(&probes).await;
    let calls = |code| sum(&told, "muster_requests_total", &[registry, list, code]);
    assert_eq!(calls("code=\"Ok\""), 3.0, "{told}");
    assert!(sum(&told, "muster_request_seconds_count", &[registry]) >= 3.0);
    // Figures are of the installation, and name nobody in it.
    for secret in [ADMIN, PASSWORD, tenant.as_str().unwrap()] {
        assert!(!told.contains(secret), "{told}");
    }

    alice.post("/v1/auth:logout", json!({})).await.expect(200);
    let refused = async || alice.get("/v1/devices").await.status == 401;
    eventually("401", refused).await;
    let known = async || {
        let told = figures(&probes).await;
        sum(&told, "muster_refused_total", &["reason=\"TOKEN_REVOKED\""]) >= 1.0
            && sum(&told, "muster_revocation_lag_seconds_count", &[]) >= 1.0
            && sum(&told, "muster_revocations_known", &[]) >= 1.0
            && sum(&told, "muster_revocation_stream_silence_seconds", &[]).is_finite()
            && told.contains("muster_outbox_oldest_seconds{service=\"identity\"} 0\n")
            && told.contains("muster_outbox_oldest_seconds{service=\"tenancy\"} 0\n")
    };
    eventually("word of a revocation", known).await;

    let elsewhere = server.parts().iter().map(|part| part.address.clone());
    let gateway = server.url.strip_prefix("http://").unwrap().to_owned();
    for address in elsewhere.chain([gateway]) {
        let (_, text) = probe(&address, "/metrics").await.expect("it answers");
        assert!(!text.contains("muster_requests_total"), "{address}: {text}");
    }
}

#[tokio::test]
async fn a_path_that_anybody_invents_is_no_figure_of_its_own() {
    let installation = need!(Installation::new().await);
    let (installation, probes) = installation.with_probes();
    let server = Server::start_on(installation).await;
    let anybody = server.anybody();
    let path = "/muster.registry.v1.DeviceService/Invented";
    let kind = Some("application/grpc");
    anybody.raw(reqwest::Method::POST, path, kind, "").await;
    assert!(!figures(&probes).await.contains("Invented"));
}
