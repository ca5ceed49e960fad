//! A receiver of webhooks.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::sync::Notify;

/// One that was received.
#[derive(Clone)]
pub struct Received {
    headers: HeaderMap,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether a secret signed it.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = BASE64_STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap())
            .unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let (id, time) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let content = format!("{id}.{time}.{}", self.body);
        self.header("webhook-signature").split(' ').any(|signed| {
            let tag = BASE64_STANDARD
                .decode(signed.strip_prefix("v1,").unwrap())
                .unwrap();
            hmac::verify(&key, content.as_bytes(), &tag).is_ok()
        })
    }
}

/// A receiver that answers as it is told, and 200 otherwise.
pub struct Receiver {
    pub url: String,
    pub received: Arc<Mutex<VecDeque<Received>>>,
    some: Arc<Notify>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    pub async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (received, some) = (
            Arc::new(Mutex::new(VecDeque::new())),
            Arc::new(Notify::new()),
        );
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let (all, told, next, own) = (received.clone(), some.clone(), answers.clone(), url.clone());
        let take = move |headers: HeaderMap, body: String| async move {
            all.lock().unwrap().push_back(Received { headers, body });
            told.notify_one();
            let status: u16 = next.lock().unwrap().pop_front().unwrap_or(200);
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let location = HeaderValue::from_str(&own).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("location", location)], "the answer's text")
        };
        let router = Router::new().route("/hook", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            received,
            some,
            answers,
        }
    }

    pub fn answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    pub async fn next(&self) -> Received {
        let next = async {
            loop {
                if let Some(next) = self.received.lock().unwrap().pop_front() {
                    return next;
                }
                self.some.notified().await;
            }
        };
        let next = tokio::time::timeout(Duration::from_secs(30), next).await;
        next.expect("something is delivered")
    }
}

/// Waits until something is so.
pub async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not so: {what}");
}
