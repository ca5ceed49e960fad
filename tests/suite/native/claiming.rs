//! Devices that register themselves, over HTTP.

use serde_json::json;

use super::{text, world};
use crate::support::unique;

#[tokio::test]
async fn a_device_registers_itself_with_the_key_of_its_fleet_and_nothing_else() {
    let world = need!(world().await);
    let key = json!({
        "displayName": "batch", "maxUses": "1", "networks": ["127.0.0.0/8"],
        "template": {"displayName": "Pump {serial_number}", "labels": {"batch": "7"}}
    });
    let made = world.alice.post("/v1/claimKeys", key).await.expect(201);
    let anybody = world.server.anybody();
    let serial_number = unique();
    let claim = json!({"claimKey": made["secret"], "serialNumber": serial_number});
    let claimed = anybody.post("/v1/devices:claim", claim.clone()).await;
    let claimed = claimed.expect(200);
    let device = format!("/v1/devices/{}", text(&claimed["deviceId"]));
    let device = world.victor.get(&device).await.expect(200);
    assert_eq!(device["displayName"], format!("Pump {serial_number}"));
    assert_eq!(device["labels"]["batch"], "7");
    let broker = world.alice.key_holder(&["devices.authenticate"]).await;
    let proof = json!({"serialNumber": serial_number, "secret": claimed["secret"]});
    let said = broker.post("/v1/devices:authenticate", proof).await;
    assert_eq!(said.expect(200)["valid"], true);
    let again = anybody.post("/v1/devices:claim", claim).await.expect(400);
    assert_eq!(again["details"][0]["reason"], "ALREADY_CLAIMED", "{again}");
    let other = json!({"claimKey": made["secret"], "serialNumber": unique()});
    let used_up = anybody.post("/v1/devices:claim", other).await.expect(429);
    assert_eq!(used_up["details"][0]["reason"], "CLAIM_KEY_USED_UP");
}

#[tokio::test]
async fn a_claim_comes_from_a_network_of_its_key() {
    let world = need!(world().await);
    let key = json!({"displayName": "elsewhere", "networks": ["192.0.2.0/24"]});
    let made = world.alice.post("/v1/claimKeys", key).await.expect(201);
    let claim = json!({"claimKey": made["secret"], "serialNumber": unique()});
    let anybody = world.server.anybody();
    let refused = anybody.post("/v1/devices:claim", claim).await.expect(403);
    assert_eq!(refused["details"][0]["reason"], "NETWORK_NOT_ALLOWED");
    let wrong = json!({"claimKey": "musterclaim_x", "serialNumber": unique()});
    let refused = anybody.post("/v1/devices:claim", wrong).await.expect(401);
    assert_eq!(refused["details"][0]["reason"], "CLAIM_KEY_UNKNOWN");
    world.olga.get("/v1/claimKeys").await.expect(403);
}
