//! `muster command define|catalogue|undefine`: what devices can be told.

use std::str::FromStr;

use clap::Args;
use proto::registry::command_parameter::Type;
use proto::registry::command_service_client::CommandServiceClient;
use proto::registry::{
    Command, CommandParameter, CreateCommandRequest, DeleteCommandRequest, ListCommandsRequest,
    UpdateCommandRequest,
};
use serde_json::{Value, json};

use super::EXAMPLES;
use crate::client::connect::Authorized;
use crate::client::failure::Failure;
use crate::client::mask::mask;
use crate::client::options::Options;
use crate::client::out::{self, Show};
use crate::client::parse;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Define {
    /// What programs call it
    name: String,
    /// What it takes: a name, `text`, `number`, `bool` or `enum`, and then `required`,
    /// `min=`, `max=` (of a text, its length) and `values=one|two`
    #[arg(long, value_name = "NAME:TYPE[,...]")]
    parameter: Vec<Parameter>,
    /// How it is shown to people
    #[arg(long, value_name = "TEXT", default_value_t, hide_default_value = true)]
    title: String,
    /// What it does
    #[arg(long, value_name = "TEXT", default_value_t, hide_default_value = true)]
    description: String,
    /// For how long a device may receive it, unless the sender says otherwise; by default a day
    #[arg(long, value_name = "DURATION", value_parser = parse::span)]
    ttl: Option<chrono::TimeDelta>,
    /// How often a device is handed it, unless the sender says otherwise; by default 5
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    attempts: i32,
}

/// A parameter as it is typed.
#[derive(Clone)]
struct Parameter(CommandParameter);

impl FromStr for Parameter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, terms) = text
            .split_once(':')
            .ok_or("write NAME:TYPE, such as angle:number,min=0,max=90")?;
        let (kind, terms) = terms.split_once(',').unwrap_or((terms, ""));
        let kind = match kind {
            "text" => Type::Text,
            "number" => Type::Number,
            "bool" => Type::Bool,
            "enum" => Type::Enum,
            other => return Err(format!("`{other}` is not text, number, bool or enum")),
        };
        let mut parameter = CommandParameter {
            name: name.to_owned(),
            r#type: kind.into(),
            ..Default::default()
        };
        let number = |text: &str| match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("`{text}` is no number")),
        };
        for term in terms.split(',').filter(|term| !term.is_empty()) {
            match term.split_once('=') {
                None if term == "required" => parameter.required = true,
                Some(("min", text)) => parameter.min = number(text)?,
                Some(("max", text)) => parameter.max = number(text)?,
                Some(("values", all)) => {
                    parameter.values = all.split('|').map(str::to_owned).collect();
                }
                _ => return Err(format!("`{term}` is not required, min=, max= or values=")),
            }
        }
        Ok(Self(parameter))
    }
}

type Client = CommandServiceClient<Authorized>;

async fn client(options: &Options) -> Result<Client, Failure> {
    Ok(CommandServiceClient::new(options.connect().await?))
}

/// Puts a command into the catalogue, in the place of the one of its name.
pub(super) async fn define(options: &Options, wanted: Define) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let parameters = wanted.parameter.into_iter();
    let mut command = Command {
        name: wanted.name,
        display_name: wanted.title,
        description: wanted.description,
        parameters: parameters.map(|Parameter(parameter)| parameter).collect(),
        default_ttl: wanted.ttl.map(parse::duration),
        default_max_attempts: wanted.attempts,
        ..Default::default()
    };
    let defined = match named(&mut client, &command.name).await? {
        Some(there) => {
            command.id = there.id;
            let request = UpdateCommandRequest {
                command: Some(command),
                update_mask: Some(mask(
                    [
                        "display_name",
                        "description",
                        "parameters",
                        "default_ttl",
                        "default_max_attempts",
                    ]
                    .map(|field| (field, true)),
                )),
            };
            client.update_command(request).await?
        }
        None => {
            let request = CreateCommandRequest {
                command: Some(command),
                ..Default::default()
            };
            client.create_command(request).await?
        }
    };
    options.server.output.one(&defined.into_inner())
}

/// The command of a name.
async fn named(client: &mut Client, name: &str) -> Result<Option<Command>, Failure> {
    let request = ListCommandsRequest {
        name: name.to_owned(),
        ..Default::default()
    };
    let found = client.list_commands(request).await?.into_inner();
    // No name asks for all.
    let mut commands = found.commands.into_iter();
    Ok(commands.find(|command| command.name == name))
}

pub(super) async fn list(options: &Options) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let commands = out::pages(None, async |page_size, page_token| {
        let request = ListCommandsRequest {
            page_size,
            page_token,
            ..Default::default()
        };
        let page = client.list_commands(request).await?.into_inner();
        Ok((page.commands, page.next_page_token))
    });
    options.server.output.list(&commands.await?)
}

pub(super) async fn undefine(options: &Options, name: &str) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let Some(Command { id, .. }) = named(&mut client, name).await? else {
        let hint = "`muster command catalogue` lists those that there are";
        return Err(Failure::new(format!("there is no command {name}")).hint(hint));
    };
    client.delete_command(DeleteCommandRequest { id }).await?;
    let sentence = format!("Deleted command {name}.");
    options.server.output.said(&sentence, &json!({}))
}

fn kind(parameter: &CommandParameter) -> String {
    out::word(parameter.r#type().as_str_name(), "TYPE_")
}

/// A parameter as it is typed.
fn written(parameter: &CommandParameter) -> String {
    let mut text = format!("{}:{}", parameter.name, kind(parameter));
    if parameter.required {
        text += ",required";
    }
    for (name, bound) in [("min", parameter.min), ("max", parameter.max)] {
        if let Some(bound) = bound {
            text += &format!(",{name}={bound}");
        }
    }
    if !parameter.values.is_empty() {
        text += &format!(",values={}", parameter.values.join("|"));
    }
    text
}

impl Show for Command {
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "TITLE", "TAKES"];

    fn cells(&self) -> Vec<String> {
        let parameters: Vec<_> = self.parameters.iter().map(written).collect();
        vec![
            self.id.clone(),
            self.name.clone(),
            self.display_name.clone(),
            parameters.join(" "),
        ]
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DESCRIPTION", self.description.clone()),
            ("TTL", out::span_or(self.default_ttl.as_ref(), "")),
            ("CREATED", out::time(self.create_time.as_ref())),
            ("CHANGED", out::time(self.update_time.as_ref())),
        ]
    }

    fn json(&self) -> Value {
        let parameters = self.parameters.iter().map(|parameter| {
            json!({
                "name": parameter.name,
                "type": parameter.r#type().as_str_name(),
                "required": parameter.required,
                "min": parameter.min,
                "max": parameter.max,
                "values": parameter.values,
                "description": parameter.description,
            })
        });
        json!({
            "id": self.id,
            "number": self.number.to_string(),
            "name": self.name,
            "displayName": self.display_name,
            "description": self.description,
            "parameters": parameters.collect::<Vec<_>>(),
            "defaultTtl": out::json_span(self.default_ttl.as_ref()),
            "defaultMaxAttempts": self.default_max_attempts,
            "createTime": out::json_time(self.create_time.as_ref()),
            "updateTime": out::json_time(self.update_time.as_ref()),
            "etag": self.etag,
        })
    }
}
