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

    /// Whether the rule is for a method, by google.api.DocumentationRule's
    /// syntax of selectors: names separated by commas, of which the last part
    /// may be `*` for one or more parts.
    pub(crate) fn selects(&self, method: &str) -> bool {
        self.selectors().any(|selector| {
            let under = |prefix: &str| method.starts_with(prefix) && method.len() > prefix.len();
            match selector.strip_suffix('*') {
                Some(prefix) => under(prefix),
                None => selector == method,
            }
        })
    }

    /// The selectors of the rule.
    pub(crate) fn selectors(&self) -> impl Iterator<Item = &str> {
        self.selector.split(',').map(str::trim)
    }

    fn check_selector(&self) -> Result<(), String> {
        let is_name = |text: &str| {
            let part = |part: &str| {
                let first = part.bytes().next().is_some_and(|b| !b.is_ascii_digit());
                first && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            };
            text.split('.').all(part)
        };
        let is_selector = |text: &str| match text.strip_suffix('*') {
            Some("") => true,
            Some(prefix) => prefix.strip_suffix('.').is_some_and(is_name),
            None => is_name(text),
        };
        match self.selectors().all(is_selector) {
            true => Ok(()),
            false => Err(format!("{:?} is no selector of methods", self.selector)),
        }
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

/// `google.api.Http`.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) rules: Vec<HttpRule>,
    pub(crate) fully_decode_reserved_expansion: bool,
}

impl Document {
    /// Reads `{"rules": [...]}`, also as the `http` member of a service
    /// configuration.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        Self::from_value(&serde_json::from_str(text).map_err(|error| error.to_string())?)
    }

    /// Reads the same from YAML.
    #[cfg(feature = "yaml")]
    pub(crate) fn from_yaml(text: &str) -> Result<Self, String> {
        Self::from_value(&serde_saphyr::from_str(text).map_err(|error| error.to_string())?)
    }

    fn from_value(document: &serde_json::Value) -> Result<Self, String> {
        let http = document.get("http").unwrap_or(document);
        let Some(rules) = http.get("rules").and_then(|rules| rules.as_array()) else {
            return Err("the document has no \"rules\"".into());
        };
        let names = [
            "fullyDecodeReservedExpansion",
            "fully_decode_reserved_expansion",
        ];
        let fully = names.iter().find_map(|name| http.get(name));
        let fully = fully.map_or(Some(false), |fully| fully.as_bool());
        let rules: Vec<_> = rules
            .iter()
            .map(HttpRule::from_value)
            .collect::<Result<_, _>>()?;
        rules.iter().try_for_each(HttpRule::check_selector)?;
        Ok(Self {
            rules,
            fully_decode_reserved_expansion: fully
                .ok_or("\"fully_decode_reserved_expansion\" is true or false")?,
        })
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
    fn a_selector_is_a_list_of_names_and_of_beginnings_of_names() {
        let rule = |selector: &str| HttpRule {
            selector: selector.into(),
            ..HttpRule::default()
        };
        for (selector, method, want) in [
            ("a.v1.S.Get", "a.v1.S.Get", true),
            ("a.v1.S.Get", "a.v1.S.GetAll", false),
            ("a.v1.S.*", "a.v1.S.Get", true),
            ("a.*", "a.v1.S.Get", true),
            ("*", "a.v1.S.Get", true),
            ("a.v1.S.*", "a.v1.S2.Get", false),
            ("b.S.Get, a.v1.S.*", "a.v1.S.Get", true),
            ("b.S.Get,c.*", "a.v1.S.Get", false),
        ] {
            assert_eq!(rule(selector).selects(method), want, "{selector}");
            assert_eq!(rule(selector).check_selector(), Ok(()), "{selector}");
        }
        for wrong in [
            "", "a.b*", "a.*.c", "**", ".a", "a..b", "a,", "1a.b", "a.b c",
        ] {
            assert!(rule(wrong).check_selector().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rules_are_read_from_a_service_configuration() {
        let text = r#"{"http": {"rules": [
            {"selector": "a.B.C", "get": "/v1/x", "response_body": "y",
             "additionalBindings": [{"custom": {"kind": "*", "path": "/z"}, "body": "*"}]}]}}"#;
        let rules = Document::from_json(text).unwrap().rules;
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
            r#"{"rules": [{"selector": "a*", "get": "/a"}]}"#,
            r#"{"rules": [], "fullyDecodeReservedExpansion": 1}"#,
        ] {
            assert!(Document::from_json(text).is_err(), "{text}");
        }
    }
}
