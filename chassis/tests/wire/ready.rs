//! What a process says of itself to whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use muster_chassis::health::Health;
use muster_chassis::peer::Stack;
use muster_chassis::server;
use tonic::body::Body;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;

use crate::server::{Process, balance, eventually};

async fn get(stack: &Stack, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = stack.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_is_ready_once_what_it_needs_is_there_and_says_what_is_missing() {
    let health = Health::default();
    let there = Arc::new(AtomicBool::new(false));
    let is_there = there.clone();
    health.need("database", move || match is_there.load(Ordering::SeqCst) {
        true => Ok(()),
        false => Err("does not answer".to_owned()),
    });
    health.list("tenancy", || Err("can't be reached".to_owned()));
    let stack = server::probes(&health).await.unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let process = Process::serve(address, stack.clone(), taken, || None).await;
    let client = HealthClient::new(balance(&[process.address]).stack());
    let serving = async || {
        let asked = client.clone().check(HealthCheckRequest::default()).await;
        asked.unwrap().into_inner().status
    };

    assert_eq!(get(&stack, "/healthz").await.0, StatusCode::OK);
    let (status, text) = get(&stack, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        text,
        "not ready\ndatabase: does not answer\ndegraded: tenancy: can't be reached\n"
    );
    assert_eq!(serving().await, ServingStatus::NotServing as i32);

    there.store(true, Ordering::SeqCst);
    let (status, text) = get(&stack, "/readyz").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text, "ok\ndegraded: tenancy: can't be reached\n");
    let ready = ServingStatus::Serving as i32;
    eventually(async || (serving().await == ready).then_some(())).await;

    health.stop();
    assert_eq!(
        get(&stack, "/readyz").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    eventually(async || (serving().await != ready).then_some(())).await;
}
