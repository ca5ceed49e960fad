//! What the hooks of MQTT brokers have in common: which device a client is, and
//! which topics are its own.

use proto::registry::authenticate_device_request::{Device, Proof};
use proto::registry::check_device_request;
use proto::registry::{
    AuthenticateDeviceRequest, AuthenticateDeviceResponse, CheckDeviceRequest, CheckDeviceResponse,
};
use tonic::Status;

use crate::domain::Domain;

/// What topics begin with if the broker's configuration does not say.
const PREFIX: &str = "devices";
/// What the subscription of a group begins with (MQTT 5, 4.8.2); the group's
/// name follows, and then the filter itself.
const SHARED: &str = "$share/";

/// The longest name and the longest secret that a device can have.
const LONGEST: (usize, usize) = (200, 1024);

/// What names a client's device: its user name, or else its client id.
pub(super) fn name_of<'a>(username: &'a str, client_id: &'a str) -> &'a str {
    match username {
        "" => client_id,
        name => name,
    }
}

/// Whether a client is a device; none if it presents what no device can.
pub(super) async fn authenticate(
    domain: &Domain,
    name: &str,
    proof: Proof,
) -> Result<Option<AuthenticateDeviceResponse>, Status> {
    if let Proof::Secret(secret) = &proof
        && (secret.is_empty() || secret.len() > LONGEST.1)
    {
        return Ok(None);
    }
    // A certificate without a name would be let in, and could have no topics.
    if name.is_empty() || name.chars().count() > LONGEST.0 {
        return Ok(None);
    }
    let question = AuthenticateDeviceRequest {
        device: Some(Device::Username(name.to_owned())),
        proof: Some(proof),
        issue_token: false,
    };
    let mut devices = domain.device_authentication();
    let answer = devices.authenticate_device(domain.request(question)).await;
    Ok(Some(answer?.into_inner()))
}

/// Whether a device may use a topic; why not is for a person.
pub(super) async fn authorize(
    domain: &Domain,
    name: &str,
    topic: &str,
    prefix: &str,
) -> Result<Result<(), &'static str>, Status> {
    if !is_own(prefix, name, topic) {
        return Ok(Err("the topic is not below the device's own"));
    }
    let question = CheckDeviceRequest {
        device: Some(check_device_request::Device::Username(name.to_owned())),
    };
    let mut devices = domain.device_authentication();
    let answer = devices.check_device(domain.request(question)).await?;
    let CheckDeviceResponse { valid, .. } = answer.into_inner();
    Ok(valid.then_some(()).ok_or("the device may not act"))
}

/// Whether a topic, or the filter of a subscription, is below a device's own.
fn is_own(prefix: &str, name: &str, topic: &str) -> bool {
    // A name with a separator or a wildcard would reach what is another's.
    let is_level = |text: &str| !text.is_empty() && !text.contains(['/', '+', '#', '\0']);
    if !is_level(name) || name.chars().count() > LONGEST.0 {
        return false;
    }
    let topic = match topic.strip_prefix(SHARED) {
        Some(shared) => match shared.split_once('/') {
            Some((_, filter)) => filter,
            None => return false,
        },
        None => topic,
    };
    let prefix = match prefix.trim_matches('/') {
        "" => PREFIX,
        prefix => prefix,
    };
    let below = topic.strip_prefix(prefix).and_then(|t| t.strip_prefix('/'));
    let below = below.and_then(|t| t.strip_prefix(name));
    below.is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_uses_what_is_below_its_own_name() {
        for own in [
            "devices/d-1/up",
            "devices/d-1/a/b",
            "devices/d-1/#",
            "devices/d-1/+/x",
            "$share/group/devices/d-1/#",
        ] {
            assert!(is_own("", "d-1", own), "{own}");
        }
        for other in [
            "",
            "#",
            "+/d-1/x",
            "devices/#",
            "devices/+/up",
            "devices/d-1",
            "devices/d-1/",
            "devices/d-10/up",
            "devices/d-2/up",
            "x/devices/d-1/up",
            "$share/devices/d-1/up",
            "$share/group",
            "$SYS/broker",
            "/devices/d-1/up",
        ] {
            assert!(!is_own("", "d-1", other), "{other}");
        }
    }

    #[test]
    fn a_name_that_is_no_level_of_a_topic_has_no_topics() {
        for name in ["", "+", "#", "a/b", "d-1/#"] {
            assert!(!is_own("", name, &format!("devices/{name}/x")), "{name}");
        }
    }

    #[test]
    fn topics_begin_as_the_configuration_says() {
        assert!(is_own("plant/7", "d-1", "plant/7/d-1/up"));
        assert!(is_own("/plant/", "d-1", "plant/d-1/up"));
        assert!(!is_own("plant", "d-1", "devices/d-1/up"));
    }
}
