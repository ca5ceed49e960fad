//! What a command of the catalogue takes, and whether what is sent is that.

use std::collections::HashSet;

use chassis::{Error, Result};
use prost_types::Struct;
use prost_types::value::Kind;
use proto::Violation;
use proto::registry::CommandParameter;
use proto::registry::command_parameter::Type;
use sea_orm::JsonValue;
use serde::{Deserialize, Serialize};

/// A parameter as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    r#type: i32,
    required: bool,
    min: Option<f64>,
    max: Option<f64>,
    values: Vec<String>,
    description: String,
}

/// The parameters of a command as they are stored, if they make sense.
pub(crate) fn to_json(parameters: &[CommandParameter]) -> Result<JsonValue> {
    let mut wrong = Vec::new();
    let mut names = HashSet::new();
    for (i, parameter) in parameters.iter().enumerate() {
        let mut tell = |field: &str, what: &str| {
            wrong.push(violation(
                format!("command.parameters[{i}].{field}"),
                what.to_owned(),
            ));
        };
        if !names.insert(&parameter.name) {
            tell("name", "is the name of another parameter too");
        }
        let measured = matches!(parameter.r#type(), Type::Number | Type::Text);
        for (field, bound) in [("min", parameter.min), ("max", parameter.max)] {
            if bound.is_some() && !measured {
                tell(field, "is for numbers and texts only");
            }
        }
        if matches!((parameter.min, parameter.max), (Some(min), Some(max)) if min > max) {
            tell("max", "must not be less than min");
        }
        if parameter.values.is_empty() != (parameter.r#type() != Type::Enum) {
            tell("values", "must be there for an enum, and for nothing else");
        }
    }
    if !wrong.is_empty() {
        return Err(Error::Invalid(wrong));
    }
    let stored = parameters.iter().cloned().map(|parameter| Stored {
        name: parameter.name,
        r#type: parameter.r#type,
        required: parameter.required,
        min: parameter.min,
        max: parameter.max,
        values: parameter.values,
        description: parameter.description,
    });
    serde_json::to_value(stored.collect::<Vec<_>>()).map_err(Error::internal)
}

/// The parameters of a command that was stored.
pub(crate) fn from_json(stored: Option<JsonValue>) -> Vec<CommandParameter> {
    let stored: Vec<Stored> = stored
        .and_then(|json| serde_json::from_value(json).ok())
        .unwrap_or_default();
    let parameters = stored.into_iter().map(|parameter| CommandParameter {
        name: parameter.name,
        r#type: parameter.r#type,
        required: parameter.required,
        min: parameter.min,
        max: parameter.max,
        values: parameter.values,
        description: parameter.description,
    });
    parameters.collect()
}

/// All that is wrong with what is sent, if the command says what it takes.
pub(crate) fn check(takes: &[CommandParameter], sent: Option<&Struct>) -> Vec<Violation> {
    if takes.is_empty() {
        return Vec::new();
    }
    let none = Struct::default();
    let sent = sent.unwrap_or(&none);
    let mut wrong = Vec::new();
    for parameter in takes {
        let value = sent.fields.get(&parameter.name);
        let what = match value.and_then(|value| value.kind.as_ref()) {
            None | Some(Kind::NullValue(_)) if parameter.required => {
                Some("is needed by the command".to_owned())
            }
            None | Some(Kind::NullValue(_)) => None,
            Some(kind) => fault(parameter, kind),
        };
        let field = format!("parameters.{}", parameter.name);
        wrong.extend(what.map(|what| violation(field, what)));
    }
    let known: HashSet<_> = takes.iter().map(|parameter| &parameter.name).collect();
    let unknown = sent.fields.keys().filter(|name| !known.contains(name));
    wrong.extend(unknown.map(|name| {
        let what = "is nothing that the command takes".to_owned();
        violation(format!("parameters.{name}"), what)
    }));
    wrong
}

/// What is wrong with a value.
fn fault(parameter: &CommandParameter, kind: &Kind) -> Option<String> {
    match (parameter.r#type(), kind) {
        (Type::Text, Kind::StringValue(text)) => {
            let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            beyond(parameter, length.into()).map(|bound| format!("must have {bound} characters"))
        }
        (Type::Number, Kind::NumberValue(number)) => {
            beyond(parameter, *number).map(|bound| format!("must be {bound}"))
        }
        (Type::Enum, Kind::StringValue(text)) if parameter.values.contains(text) => None,
        (Type::Enum, _) => Some(format!("must be one of {}", parameter.values.join(", "))),
        (Type::Bool, Kind::BoolValue(_)) => None,
        (Type::Text, _) => Some("must be a text".to_owned()),
        (Type::Number, _) => Some("must be a number".to_owned()),
        (Type::Bool, _) => Some("must be true or false".to_owned()),
        (Type::Unspecified, _) => None,
    }
}

/// The bound that a size is beyond.
fn beyond(parameter: &CommandParameter, size: f64) -> Option<String> {
    // Also what is no number is not within.
    let within = |bound: Option<f64>, order: fn(&f64, &f64) -> bool| {
        bound.filter(|bound| !order(&size, bound))
    };
    let least = within(parameter.min, f64::ge).map(|min| format!("at least {min}"));
    least.or_else(|| within(parameter.max, f64::le).map(|max| format!("at most {max}")))
}

fn violation(field: String, description: String) -> Violation {
    Violation {
        field,
        rule: "parameters",
        description,
    }
}

/// A struct of a field as it is kept, if it can be.
pub(crate) fn stored(parameters: Option<&Struct>, field: &str) -> Result<Option<JsonValue>> {
    let Some(parameters) = parameters else {
        return Ok(None);
    };
    let json = crate::attributes::to_json(parameters).ok_or_else(|| {
        Error::invalid(
            field,
            "must not hold numbers that are not finite, or the character NUL",
        )
    })?;
    Ok(Some(json))
}

#[cfg(test)]
mod tests {
    use prost_types::Value;

    use super::*;

    fn parameter(name: &str, kind: Type) -> CommandParameter {
        CommandParameter {
            name: name.to_owned(),
            r#type: kind.into(),
            ..Default::default()
        }
    }

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn wrong(takes: &[CommandParameter], sent: &[(&str, Kind)]) -> Vec<String> {
        let fields = sent.iter().cloned();
        let fields = fields.map(|(name, kind)| (name.to_owned(), value(kind)));
        let sent = Struct {
            fields: fields.collect(),
        };
        let told = check(takes, Some(&sent)).into_iter();
        told.map(|v| format!("{} {}", v.field, v.description))
            .collect()
    }

    #[test]
    fn a_command_that_says_nothing_takes_anything() {
        assert!(wrong(&[], &[("x", Kind::BoolValue(true))]).is_empty());
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let takes = [
            CommandParameter {
                required: true,
                ..parameter("room", Type::Text)
            },
            CommandParameter {
                min: Some(0.0),
                max: Some(90.0),
                ..parameter("angle", Type::Number)
            },
            CommandParameter {
                values: vec!["slow".to_owned(), "fast".to_owned()],
                ..parameter("speed", Type::Enum)
            },
            parameter("force", Type::Bool),
        ];
        let told = wrong(
            &takes,
            &[
                ("angle", Kind::NumberValue(90.5)),
                ("speed", Kind::StringValue("warp".to_owned())),
                ("force", Kind::StringValue("yes".to_owned())),
                ("other", Kind::NullValue(0)),
            ],
        );
        assert_eq!(
            told,
            [
                "parameters.room is needed by the command",
                "parameters.angle must be at most 90",
                "parameters.speed must be one of slow, fast",
                "parameters.force must be true or false",
                "parameters.other is nothing that the command takes",
            ]
        );
        let right = [
            ("room", Kind::StringValue("3".to_owned())),
            ("angle", Kind::NumberValue(0.0)),
            ("force", Kind::NullValue(0)),
        ];
        assert!(wrong(&takes, &right).is_empty());
    }

    #[test]
    fn what_is_stored_comes_back_and_what_makes_no_sense_is_refused() {
        let takes = [CommandParameter {
            min: Some(1.0),
            description: "how far".to_owned(),
            ..parameter("angle", Type::Number)
        }];
        assert_eq!(from_json(Some(to_json(&takes).unwrap())), takes);
        for senseless in [
            vec![parameter("x", Type::Text), parameter("x", Type::Text)],
            vec![parameter("x", Type::Enum)],
            vec![CommandParameter {
                max: Some(1.0),
                ..parameter("x", Type::Bool)
            }],
            vec![CommandParameter {
                min: Some(2.0),
                max: Some(1.0),
                ..parameter("x", Type::Number)
            }],
        ] {
            assert!(to_json(&senseless).is_err(), "{senseless:?}");
        }
    }
}
