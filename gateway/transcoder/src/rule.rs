//! `google.api.HttpRule`, from the descriptors or from a document.

use http::Method;
use prost_reflect::{DynamicMessage, MessageDescriptor};

/// `google.api.HttpRule`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HttpRule {
    #[prost(string, tag = "1")]
    pub(crate) selector: String,
    #[prost(oneof = "Pattern", tags = "2, 3, 4, 5, 6, 8")]
    pub(crate) pattern: Option<Pattern>,
    #[prost(string, tag = "7")]
    pub(crate) body: String,
    #[prost(string, tag = "12")]
    pub(crate) response_body: String,
    #[prost(message, repeated, tag = "11")]
    pub(crate) additional_bindings: Vec<HttpRule>,
}

/// `google.api.HttpRule.pattern`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Pattern {
    #[prost(string, tag = "2")]
    Get(String),
    #[prost(string, tag = "3")]
    Put(String),
    #[prost(string, tag = "4")]
    Post(String),
    #[prost(string, tag = "5")]
    Delete(String),
    #[prost(string, tag = "6")]
    Patch(String),
    #[prost(message, tag = "8")]
    Custom(Custom),
}

/// `google.api.CustomHttpPattern`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Custom {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, tag = "2")]
    pub(crate) path: String,
}

impl HttpRule {
    /// The HTTP method (`None` for the custom kind `*`) and the template.
    pub(crate) fn target(&self) -> Result<(Option<Method>, &str), String> {
        match &self.pattern {
            Some(Pattern::Get(path)) => Ok((Some(Method::GET), path)),
            Some(Pattern::Put(path)) => Ok((Some(Method::PUT), path)),
            Some(Pattern::Post(path)) => Ok((Some(Method::POST), path)),
            Some(Pattern::Delete(path)) => Ok((Some(Method::DELETE), path)),
            Some(Pattern::Patch(path)) => Ok((Some(Method::PATCH), path)),
            Some(Pattern::Custom(custom)) if custom.kind == "*" => Ok((None, &custom.path)),
            Some(Pattern::Custom(custom)) => match Method::from_bytes(custom.kind.as_bytes()) {
                Ok(method) => Ok((Some(method), &custom.path)),
                Err(_) => Err(format!(
                    "the custom kind {:?} is no HTTP method",
                    custom.kind
                )),
            },
            None => Err("the rule has no pattern".into()),
        }
    }

    /// The rules of a `google.api.Http` JSON document: `{"rules": [...]}`,
    /// also as the `http` member of a service configuration.
    pub(crate) fn from_json(text: &str) -> Result<Vec<Self>, String> {
        let document: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let http = document.get("http").unwrap_or(&document);
        let Some(rules) = http.get("rules").and_then(|rules| rules.as_array()) else {
            return Err("the document has no \"rules\"".into());
        };
        rules.iter().map(Self::from_value).collect()
    }

    fn from_value(value: &serde_json::Value) -> Result<Self, String> {
        let Some(members) = value.as_object() else {
            return Err("a rule is an object".into());
        };
        let mut rule = Self::default();
        for (key, value) in members {
            match (key.as_str(), value.as_str(), value.as_array()) {
                ("selector", Some(text), _) => rule.selector = text.into(),
                ("body", Some(text), _) => rule.body = text.into(),
                ("responseBody" | "response_body", Some(text), _) => {
                    rule.response_body = text.into()
                }
                ("additionalBindings" | "additional_bindings", _, Some(list)) => {
                    rule.additional_bindings = list
                        .iter()
                        .map(Self::from_value)
                        .collect::<Result<_, _>>()?;
                }
                _ if rule.pattern.is_some() => return Err(format!("a second pattern, {key:?}")),
                (_, text, _) => rule.pattern = Some(Pattern::from_member(key, text, value)?),
            }
        }
        Ok(rule)
    }
}

impl Pattern {
    fn from_member(
        key: &str,
        text: Option<&str>,
        value: &serde_json::Value,
    ) -> Result<Self, String> {
        let member = |name: &str| value.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        match (key, text) {
            ("get", Some(path)) => Ok(Self::Get(path.into())),
            ("put", Some(path)) => Ok(Self::Put(path.into())),
            ("post", Some(path)) => Ok(Self::Post(path.into())),
            ("delete", Some(path)) => Ok(Self::Delete(path.into())),
            ("patch", Some(path)) => Ok(Self::Patch(path.into())),
            ("custom", None) => match (member("kind"), member("path")) {
                (Some(kind), Some(path)) => Ok(Self::Custom(Custom { kind, path })),
                _ => Err("a custom pattern has a kind and a path".into()),
            },
            _ => Err(format!(
                "{key:?} is not a member of a rule, or not of its type"
            )),
        }
    }
}

/// Reads the extension `number` of an options message into `T`; a set that
/// does not know the extension has none.
pub(crate) fn extension<T: prost::Message + Default>(
    options: &DynamicMessage,
    descriptor: Option<&MessageDescriptor>,
    number: u32,
) -> Option<T> {
    let extension = descriptor?.get_extension(number)?;
    if !options.has_extension(&extension) {
        return None;
    }
    options
        .get_extension(&extension)
        .as_message()?
        .transcode_to()
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rules_are_read_from_a_service_configuration() {
        let text = r#"{"http": {"rules": [
            {"selector": "a.B.C", "get": "/v1/x", "response_body": "y",
             "additionalBindings": [{"custom": {"kind": "*", "path": "/z"}, "body": "*"}]}]}}"#;
        let rules = HttpRule::from_json(text).unwrap();
        assert_eq!(rules[0].selector, "a.B.C");
        assert_eq!(rules[0].target(), Ok((Some(Method::GET), "/v1/x")));
        assert_eq!(rules[0].additional_bindings[0].target(), Ok((None, "/z")));
    }

    #[test]
    fn documents_that_are_no_rules_are_refused() {
        for text in [
            "[]",
            "{",
            r#"{"rules": [1]}"#,
            r#"{"rules": [{"selector": "a", "get": "/a", "put": "/b"}]}"#,
            r#"{"rules": [{"selector": "a", "fetch": "/a"}]}"#,
            r#"{"rules": [{"selector": "a", "custom": {"kind": "x"}}]}"#,
        ] {
            assert!(HttpRule::from_json(text).is_err(), "{text}");
        }
    }
}
