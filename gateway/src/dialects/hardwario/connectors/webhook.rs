//! A webhook as a connector, and back. What a webhook has no field for is kept
//! in its attributes of the same name.

use chassis::Error;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use proto::muster::dialect::hardwario::v1::{Connector, NewConnector};
use proto::registry::Webhook;
use uuid::Uuid;

use crate::dialects::hardwario::shape;

/// Messages of devices, of which Muster has none: as events they are of a kind
/// that never happens.
const MESSAGES: [&str; 5] = ["data", "session", "config", "stats", "codec"];
/// That kind, as events begin.
const MESSAGE: &str = "message.";

/// A trigger as an event.
pub(super) fn event(trigger: String) -> String {
    match MESSAGES.contains(&trigger.as_str()) {
        true => format!("{MESSAGE}{trigger}"),
        false => trigger,
    }
}

/// The trigger that is an event of a message, if it is one.
fn message(event: &str) -> Option<&str> {
    event.strip_prefix(MESSAGE).filter(|m| MESSAGES.contains(m))
}

/// The webhook as it shall be: what is not given stays. What no webhook can do
/// is refused.
pub(super) fn after(
    space: Uuid,
    mut webhook: Webhook,
    wanted: NewConnector,
) -> Result<Webhook, Error> {
    if !wanted.space_id.is_empty() && shape::uuid("space_id", &wanted.space_id)? != space {
        return Err(Error::invalid("space_id", "is not the request's space"));
    }
    if wanted.direction.is_some_and(|direction| direction != "up") {
        return Err(Error::invalid("direction", "must be up"));
    }
    if wanted.r#type.is_some_and(|kind| kind != "webhook") {
        return Err(Error::invalid("type", "must be webhook"));
    }
    if wanted.tags.is_some_and(|tags| !tags.values.is_empty()) {
        let why = "must be empty: a connector is told of all devices";
        return Err(Error::invalid("tags", why));
    }
    if let Some(name) = wanted.name {
        webhook.description = name;
    }
    if let Some(state) = wanted.state {
        webhook.disabled = match state.as_str() {
            "enabled" => false,
            "disabled" => true,
            _ => return Err(Error::invalid("state", "must be enabled or disabled")),
        };
    }
    if !wanted.triggers.is_empty() {
        webhook.event_types = wanted.triggers.into_iter().map(event).collect();
    }
    if !wanted.retry_delays.is_empty() {
        let delays = wanted.retry_delays.iter();
        // Below where a double loses whole numbers: the contract says so.
        let delays = delays.map(|seconds| Value {
            kind: Some(Kind::NumberValue(*seconds as f64)),
        });
        let values = delays.collect();
        keep(
            &mut webhook,
            "retry_delays",
            Kind::ListValue(ListValue { values }),
        );
    }
    if let Some(script) = wanted.transformation {
        if let Some(url) = literal(&script) {
            webhook.url = url.to_owned();
        }
        keep(&mut webhook, "transformation", Kind::StringValue(script));
    }
    if let Some(url) = wanted.url {
        webhook.url = url;
    }
    if webhook.url.is_empty() {
        return Err(Error::invalid(
            "url",
            "is required, here or in the transformation",
        ));
    }
    let mut events = webhook.event_types.iter();
    let is_told = events.any(|event| message(event).is_none());
    if is_told && script(&webhook).is_some_and(|script| !script.is_empty()) {
        let why = "is not run: events other than messages are sent as they are";
        return Err(Error::invalid("transformation", why));
    }
    Ok(webhook)
}

/// The first URL that a script has between quotes, all of it.
fn literal(script: &str) -> Option<&str> {
    let quotes = script.match_indices(['"', '\'', '`']);
    let mut literals = quotes.filter_map(|(at, quote)| {
        let rest = &script[at + 1..];
        Some(&rest[..rest.find(quote)?])
    });
    literals.find(|text| {
        let is_url = text.starts_with("https://") || text.starts_with("http://");
        is_url && !text.contains(char::is_whitespace) && !text.contains("${")
    })
}

fn keep(webhook: &mut Webhook, name: &str, kind: Kind) {
    let attributes = webhook.attributes.get_or_insert_with(Struct::default);
    let value = Value { kind: Some(kind) };
    attributes.fields.insert(name.to_owned(), value);
}

fn kept<'a>(webhook: &'a Webhook, name: &str) -> Option<&'a Kind> {
    let attributes = webhook.attributes.as_ref()?;
    attributes.fields.get(name)?.kind.as_ref()
}

fn script(webhook: &Webhook) -> Option<&String> {
    match kept(webhook, "transformation") {
        Some(Kind::StringValue(script)) => Some(script),
        _ => None,
    }
}

pub(super) fn differences(before: &Webhook, after: &Webhook) -> Vec<String> {
    let differ = [
        ("url", before.url != after.url),
        ("description", before.description != after.description),
        ("event_types", before.event_types != after.event_types),
        ("disabled", before.disabled != after.disabled),
        ("attributes", before.attributes != after.attributes),
    ];
    let paths = differ.iter().filter(|(_, differs)| *differs);
    paths.map(|(path, _)| (*path).to_owned()).collect()
}

/// A webhook as the dialect shows it.
pub(super) fn shown(space: Uuid, webhook: Webhook) -> Connector {
    let delays = match kept(&webhook, "retry_delays") {
        Some(Kind::ListValue(delays)) => delays.values.as_slice(),
        _ => &[],
    };
    let delays = delays.iter().filter_map(|delay| match delay.kind {
        Some(Kind::NumberValue(seconds)) => Some(seconds as i64),
        _ => None,
    });
    let triggers = webhook.event_types.iter();
    let state = match webhook.disabled {
        true => "disabled",
        false => "enabled",
    };
    Connector {
        retry_delays: delays.collect(),
        transformation: script(&webhook).cloned(),
        triggers: triggers
            .map(|event| message(event).unwrap_or(event).to_owned())
            .collect(),
        id: webhook.id,
        space_id: space.to_string(),
        name: webhook.description,
        direction: "up".into(),
        r#type: "webhook".into(),
        state: state.into(),
        url: webhook.url,
        tags: Vec::new(),
        created_at: webhook.create_time,
        secret: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(webhook: Webhook, wanted: NewConnector) -> Result<Webhook, Error> {
        after(Uuid::nil(), webhook, wanted)
    }

    #[test]
    fn a_script_names_the_first_url_that_it_has_between_quotes() {
        for (script, url) in [
            (
                r#"return {"method": "POST", "url": "https://a.example/x"}"#,
                Some("https://a.example/x"),
            ),
            (
                "var url = 'https://b.example/' + token",
                Some("https://b.example/"),
            ),
            (
                "fetch(`https://c.example/${id}`, \"https://d.example\")",
                Some("https://d.example"),
            ),
            ("// see https://e.example", None),
            ("\"https://f.example", None),
            ("", None),
        ] {
            assert_eq!(literal(script), url, "{script}");
        }
    }

    #[test]
    fn a_script_is_kept_only_where_it_would_never_be_run() {
        let scripted = |trigger: &str| NewConnector {
            triggers: vec![trigger.into()],
            transformation: Some("\"https://a.example\"".into()),
            ..Default::default()
        };
        let webhook = changed(Webhook::default(), scripted("data")).unwrap();
        assert_eq!(webhook.url, "https://a.example");
        assert_eq!(webhook.event_types, ["message.data"]);
        assert!(
            changed(
                webhook,
                NewConnector {
                    triggers: vec!["device.created".into()],
                    ..Default::default()
                }
            )
            .is_err()
        );
        assert!(changed(Webhook::default(), scripted("*")).is_err());
    }

    #[test]
    fn what_is_not_given_stays() {
        let before = Webhook {
            url: "https://a.example".into(),
            event_types: vec!["device.*".into()],
            disabled: true,
            ..Default::default()
        };
        let same = changed(before.clone(), NewConnector::default()).unwrap();
        assert_eq!(differences(&before, &same), [""; 0]);
        let wanted = NewConnector {
            state: Some("enabled".into()),
            retry_delays: vec![10, 60],
            ..Default::default()
        };
        let webhook = changed(before.clone(), wanted).unwrap();
        assert_eq!(differences(&before, &webhook), ["disabled", "attributes"]);
        let shown = shown(Uuid::nil(), webhook);
        assert_eq!(
            (shown.state.as_str(), shown.retry_delays),
            ("enabled", vec![10, 60])
        );
        assert_eq!(shown.triggers, ["device.*"]);
    }
}
