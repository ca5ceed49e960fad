//! Webhooks are told what changes, by HTTP.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;
mod receiver;

use chrono::TimeDelta;
use harness::Registry;
use muster_device_registry::{Reach, Settings};
use proto::registry::webhook_delivery::State;
use proto::registry::webhook_service_client::WebhookServiceClient;
use proto::registry::*;
use receiver::{Receiver, eventually};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Runs each of these on both databases, with a receiver on this machine.
macro_rules! hooks_on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let registry = super::Registry::on_sqlite_with(super::open()).await;
                super::$name(registry.with_key_management().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(registry) = super::Registry::on_postgres_with(super::open()).await {
                    super::$name(registry.with_key_management().await).await;
                }
            })*
        }
    };
}

hooks_on_both_databases!(
    what_is_chosen_is_delivered_and_signed,
    what_fails_is_tried_again_with_the_same_id,
    what_fails_for_days_is_a_dead_letter_and_can_be_replayed,
    a_receiver_that_is_gone_is_told_nothing_more,
    both_secrets_sign_while_they_overlap,
    a_redirect_is_not_followed,
    a_webhook_that_hangs_does_not_hold_up_others,
    an_endpoint_on_a_private_network_is_refused,
    what_waits_is_delivered_when_it_is_enabled_again,
    another_tenants_webhooks_hear_nothing,
);

/// Lets webhooks call this machine.
fn open() -> Settings {
    Settings {
        webhooks: Reach {
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            http: true,
        },
        ..Default::default()
    }
}

fn client(registry: &Registry) -> WebhookServiceClient<chassis::peer::Peer> {
    WebhookServiceClient::new(registry.peer())
}

async fn create(
    registry: &Registry,
    url: &str,
    types: &[&str],
) -> Result<CreateWebhookResponse, Status> {
    let webhook = Webhook {
        url: url.to_owned(),
        event_types: types.iter().map(|text| (*text).to_owned()).collect(),
        ..Default::default()
    };
    let request = registry.request(CreateWebhookRequest {
        webhook: Some(webhook),
        ..Default::default()
    });
    Ok(client(registry).create_webhook(request).await?.into_inner())
}

/// A webhook of this receiver: its id and secret.
async fn hook(registry: &Registry, receiver: &Receiver, types: &[&str]) -> (String, String) {
    let created = create(registry, &receiver.url, types).await.unwrap();
    (created.webhook.unwrap().id, created.secret)
}

async fn device(registry: &Registry, name: &str) -> Device {
    let device = Device {
        display_name: name.to_owned(),
        ..Default::default()
    };
    registry.create(device).await.unwrap()
}

async fn get(registry: &Registry, id: &str) -> Webhook {
    let request = registry.request(GetWebhookRequest { id: id.to_owned() });
    let webhook = client(registry).get_webhook(request).await.unwrap();
    webhook.into_inner()
}

async fn deliveries(registry: &Registry, webhook: &str, state: State) -> Vec<WebhookDelivery> {
    let request = registry.request(ListWebhookDeliveriesRequest {
        webhook_id: webhook.to_owned(),
        state: state.into(),
        ..Default::default()
    });
    let answer = client(registry).list_webhook_deliveries(request).await;
    answer.unwrap().into_inner().deliveries
}

async fn is_delivered(registry: &Registry, webhook: &str, count: usize) {
    eventually("it is delivered", || async {
        deliveries(registry, webhook, State::Delivered).await.len() == count
    })
    .await;
}

async fn what_is_chosen_is_delivered_and_signed(registry: Registry) {
    let receiver = Receiver::new().await;
    let (id, secret) = hook(&registry, &receiver, &["device.*", "site.created"]).await;
    // Taken up from when the process began to follow; sure after the first one.
    registry.tag("not chosen").await.unwrap();
    let pump = device(&registry, "pump").await;
    let first = receiver.next().await;
    assert!(first.is_signed_by(&secret));
    assert_eq!(first.header("content-type"), "application/json");
    let body = first.json();
    assert_eq!(body["type"], "device.created");
    assert_eq!(body["data"]["resource"], format!("devices/{}", pump.id));
    assert_eq!(body["data"]["actor"], "service:device-registry");
    assert_eq!(body["data"]["device"]["displayName"], "pump");
    assert_eq!(body["data"]["eventId"], first.header("webhook-id"));
    registry.site("plant").await.unwrap();
    assert_eq!(receiver.next().await.json()["type"], "site.created");
    is_delivered(&registry, &id, 2).await;
    let all = deliveries(&registry, &id, State::Unspecified).await;
    assert_eq!(all.len(), 2);
    assert_eq!(
        (
            all[1].event_type.as_str(),
            all[1].status_code,
            all[1].attempt_count
        ),
        ("device.created", 200, 1)
    );
    let request = registry.request(SendTestEventRequest { id: id.clone() });
    client(&registry).send_test_event(request).await.unwrap();
    let test = receiver.next().await;
    assert_eq!(test.json()["type"], "webhook.test");
    assert!(test.is_signed_by(&secret));
}

async fn what_fails_is_tried_again_with_the_same_id(registry: Registry) {
    let receiver = Receiver::new().await;
    let (id, _) = hook(&registry, &receiver, &["device.created"]).await;
    receiver.answer(&[500, 503]);
    device(&registry, "pump").await;
    let first = receiver.next().await;
    eventually("the failure is kept", || async {
        let waiting = deliveries(&registry, &id, State::Pending).await;
        waiting.first().is_some_and(|one| one.status_code == 500)
    })
    .await;
    let waiting = &deliveries(&registry, &id, State::Pending).await[0];
    assert!(
        waiting.error.contains("the answer's text"),
        "{}",
        waiting.error
    );
    assert!(waiting.next_attempt_time.is_some());
    assert!(get(&registry, &id).await.failing_since.is_some());
    registry.clock.advance(TimeDelta::minutes(1));
    let second = receiver.next().await;
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
    eventually("the second failure is kept", || async {
        let waiting = deliveries(&registry, &id, State::Pending).await;
        waiting.first().is_some_and(|one| one.status_code == 503)
    })
    .await;
    registry.clock.advance(TimeDelta::minutes(10));
    receiver.next().await;
    is_delivered(&registry, &id, 1).await;
    eventually("it fails no more", || async {
        get(&registry, &id).await.failing_since.is_none()
    })
    .await;
}

async fn what_fails_for_days_is_a_dead_letter_and_can_be_replayed(registry: Registry) {
    let receiver = Receiver::new().await;
    let (id, _) = hook(&registry, &receiver, &["device.created"]).await;
    receiver.answer(&[500; 12]);
    device(&registry, "pump").await;
    for attempt in 1..=11 {
        receiver.next().await;
        eventually("the failure is kept", || async {
            let all = deliveries(&registry, &id, State::Unspecified).await;
            all[0].attempt_count == attempt && all[0].error.starts_with("answered 500") && {
                let claimed = registry.clock.now().timestamp() + 60;
                let due = all[0].next_attempt_time;
                attempt < 2 || due.is_none_or(|due| due.seconds > claimed)
            }
        })
        .await;
        let all = deliveries(&registry, &id, State::Unspecified).await;
        if let Some(due) = all[0].next_attempt_time {
            let wait = due.seconds + 1 - registry.clock.now().timestamp();
            registry.clock.advance(TimeDelta::seconds(wait.max(60)));
        }
    }
    eventually("it is a dead letter", || async {
        deliveries(&registry, &id, State::Failed).await.len() == 1
    })
    .await;
    let dead = deliveries(&registry, &id, State::Failed).await.remove(0);
    assert_eq!(dead.next_attempt_time, None);
    assert!(!get(&registry, &id).await.disabled);
    // Another one fails, more than five days after the first.
    registry.clock.advance(TimeDelta::days(3));
    device(&registry, "fan").await;
    receiver.next().await;
    eventually("it is disabled", || async {
        get(&registry, &id).await.disabled_reason == "FAILING"
    })
    .await;
    enable(&registry, &id).await;
    receiver.next().await;
    is_delivered(&registry, &id, 1).await;
    let request = registry.request(ReplayWebhookDeliveryRequest {
        webhook_id: id.clone(),
        id: dead.id,
    });
    let replayed = client(&registry).replay_webhook_delivery(request).await;
    replayed.unwrap();
    assert_eq!(receiver.next().await.header("webhook-id"), dead.event_id);
    is_delivered(&registry, &id, 2).await;
    let request = registry.request(ReplayWebhookDeliveriesRequest {
        webhook_id: id.clone(),
        start_time: dead.create_time,
        state: 0,
    });
    let replayed = client(&registry).replay_webhook_deliveries(request).await;
    assert_eq!(replayed.unwrap().into_inner().count, 2);
    receiver.next().await;
    receiver.next().await;
}

/// Enables it, or describes it as another one, as the path says.
async fn update(registry: &Registry, id: &str, path: &str) -> Webhook {
    let request = registry.request(UpdateWebhookRequest {
        webhook: Some(Webhook {
            id: id.to_owned(),
            description: "another".to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec![path.to_owned()],
        }),
    });
    let updated = client(registry).update_webhook(request).await.unwrap();
    updated.into_inner()
}

async fn enable(registry: &Registry, id: &str) {
    let enabled = update(registry, id, "disabled").await;
    assert!(!enabled.disabled && enabled.disabled_reason.is_empty());
}

async fn a_receiver_that_is_gone_is_told_nothing_more(registry: Registry) {
    let receiver = Receiver::new().await;
    let (id, _) = hook(&registry, &receiver, &["device.created"]).await;
    receiver.answer(&[410]);
    device(&registry, "pump").await;
    receiver.next().await;
    eventually("it is disabled", || async {
        get(&registry, &id).await.disabled_reason == "GONE"
    })
    .await;
    let described = update(&registry, &id, "description").await;
    assert_eq!(described.disabled_reason, "GONE");
    let request = registry.request(SendTestEventRequest { id });
    let refused = client(&registry).send_test_event(request).await;
    let details = refused.unwrap_err().get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "WEBHOOK_DISABLED");
}

async fn both_secrets_sign_while_they_overlap(registry: Registry) {
    let receiver = Receiver::new().await;
    let (id, old) = hook(&registry, &receiver, &["device.created"]).await;
    let request = registry.request(RotateWebhookSecretRequest {
        id,
        ..Default::default()
    });
    let rotated = client(&registry).rotate_webhook_secret(request).await;
    let new = rotated.unwrap().into_inner().secret;
    device(&registry, "a").await;
    let signed = receiver.next().await;
    assert!(signed.is_signed_by(&old) && signed.is_signed_by(&new));
    registry.clock.advance(TimeDelta::days(2));
    device(&registry, "b").await;
    let signed = receiver.next().await;
    assert!(!signed.is_signed_by(&old) && signed.is_signed_by(&new));
}

async fn a_redirect_is_not_followed(registry: Registry) {
    let receiver = Receiver::new().await;
    let (id, _) = hook(&registry, &receiver, &["device.created"]).await;
    receiver.answer(&[307]);
    device(&registry, "pump").await;
    receiver.next().await;
    eventually("it failed", || async {
        let waiting = deliveries(&registry, &id, State::Pending).await;
        waiting.first().is_some_and(|one| one.status_code == 307)
    })
    .await;
    assert!(receiver.received.lock().unwrap().is_empty());
}

async fn a_webhook_that_hangs_does_not_hold_up_others(registry: Registry) {
    let (slow, quick) = (Receiver::new().await, Receiver::new().await);
    slow.answer(&[0; 100]);
    hook(&registry, &slow, &["device.created"]).await;
    hook(&registry, &quick, &["device.created"]).await;
    for i in 0..20 {
        device(&registry, &format!("device {i}")).await;
    }
    // Each hangs for longer than all of these take.
    for _ in 0..20 {
        quick.next().await;
    }
    assert!(slow.received.lock().unwrap().len() <= 4);
}

async fn an_endpoint_on_a_private_network_is_refused(registry: Registry) {
    for url in [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://0xa000001/",
        "http://167772161/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "ftp://example.com/",
        "no url",
    ] {
        let refused = create(&registry, url, &["*"]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{url}");
    }
    // A name is resolved when it is called: this one means ::1 too, or nothing
    // that is allowed.
    let created = create(&registry, "http://ip6-localhost:1/", &["device.created"]).await;
    let id = created.unwrap().webhook.unwrap().id;
    device(&registry, "pump").await;
    eventually("it failed", || async {
        let waiting = deliveries(&registry, &id, State::Pending).await;
        waiting
            .first()
            .is_some_and(|one| one.status_code == 0 && one.error.starts_with("can't be reached"))
    })
    .await;
}

async fn what_waits_is_delivered_when_it_is_enabled_again(registry: Registry) {
    let receiver = Receiver::new().await;
    let (id, _) = hook(&registry, &receiver, &["device.created"]).await;
    receiver.answer(&[500, 410]);
    device(&registry, "a").await;
    receiver.next().await;
    eventually("the failure is kept", || async {
        let waiting = deliveries(&registry, &id, State::Pending).await;
        waiting.first().is_some_and(|one| one.status_code == 500)
    })
    .await;
    registry.clock.advance(TimeDelta::minutes(1));
    receiver.next().await;
    eventually("it is disabled", || async {
        get(&registry, &id).await.disabled
    })
    .await;
    enable(&registry, &id).await;
    receiver.next().await;
    is_delivered(&registry, &id, 1).await;
}

async fn another_tenants_webhooks_hear_nothing(registry: Registry) {
    let (ours, theirs) = (Receiver::new().await, Receiver::new().await);
    hook(&registry, &ours, &["*"]).await;
    let registry = registry.for_another_tenant();
    hook(&registry, &theirs, &["device.*"]).await;
    device(&registry, "theirs").await;
    assert_eq!(theirs.next().await.json()["type"], "device.created");
    let heard: Vec<_> = ours.received.lock().unwrap().drain(..).collect();
    for one in heard {
        assert!(!one.body.contains("devices/"), "{}", one.body);
    }
}
