//! `muster command`: what devices are told.

use clap::{Args, Subcommand};
use prost_types::value::Kind;
use prost_types::{Duration, ListValue, Struct, Value as Field};
use proto::registry::device_command::State;
use proto::registry::device_command_service_client::DeviceCommandServiceClient;
use proto::registry::{
    AcknowledgeCommandRequest, CancelDeviceCommandRequest, DeviceCommand,
    ListDeviceCommandsRequest, ReceiveCommandsRequest, SendCommandRequest,
    WaitDeviceCommandRequest,
};
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use super::connect::Authorized;
use super::devices::struct_json;
use super::failure::Failure;
use super::options::Options;
use super::out::{self, Show};
use super::parse;

mod catalogue;

/// How long one question for the end of a command lasts, in seconds.
const WAIT: i64 = 20;

const EXAMPLES: &str = "Examples:
  muster command define open-valve --parameter angle:number,required,min=0,max=90
  muster command catalogue
  muster command send 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 open-valve angle=30 --wait
  muster command send 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 restart --free
  muster command list --device 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05
  muster command receive 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 --ack
  muster command cancel 0198c5a2-9a10-7f3e-8c55-3d2b1a0f9e8d";

/// What devices are told.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Commands {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Tell a device something
    Send(Send),
    /// List what devices were told, newest first
    List(List),
    /// Receive what a device is told, as the device or its gateway, and print it as it comes
    Receive {
        /// The device
        device: Uuid,
        /// Acknowledge each command when it is printed
        #[arg(long)]
        ack: bool,
    },
    /// Take a command back that has not come to an end
    Cancel {
        /// What the device was told
        id: Uuid,
    },
    /// Put a command into the catalogue, or in the place of the one of its name
    Define(Box<catalogue::Define>),
    /// List the commands of the catalogue: what devices can be told
    Catalogue,
    /// Take a command out of the catalogue; what devices were told stays
    Undefine {
        /// What programs call it
        name: String,
    },
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct Send {
    /// The device
    device: Uuid,
    /// The command of the catalogue, by its name or id
    name: String,
    /// What the command takes: numbers, true, false and other JSON as such, all else as text
    #[arg(value_name = "KEY=VALUE", value_parser = parse::label)]
    parameters: Vec<(String, String)>,
    /// The command is in no catalogue
    #[arg(long)]
    free: bool,
    /// Wait until it has come to an end
    #[arg(long)]
    wait: bool,
    /// For how long the device may receive it
    #[arg(long, value_name = "DURATION", value_parser = parse::span)]
    ttl: Option<chrono::TimeDelta>,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct List {
    /// Only what this device was told
    #[arg(long, value_name = "ID")]
    device: Option<Uuid>,
    /// Only commands of this name
    #[arg(long, default_value_t, hide_default_value = true)]
    name: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "100")]
    limit: std::num::NonZeroUsize,
}

type Client = DeviceCommandServiceClient<Authorized>;

impl Commands {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.action {
            Action::Send(command) => send(options, command).await,
            Action::List(wanted) => list(options, wanted).await,
            Action::Receive { device, ack } => receive(options, device, ack).await,
            Action::Cancel { id } => cancel(options, id).await,
            Action::Define(wanted) => catalogue::define(options, *wanted).await,
            Action::Catalogue => catalogue::list(options).await,
            Action::Undefine { name } => catalogue::undefine(options, &name).await,
        }
    }
}

async fn client(options: &Options) -> Result<Client, Failure> {
    Ok(DeviceCommandServiceClient::new(options.connect().await?))
}

async fn send(options: &Options, command: Send) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let (known, name) = match command.free {
        true => (String::new(), command.name),
        false => (command.name, String::new()),
    };
    let fields = command.parameters.into_iter();
    let fields: std::collections::BTreeMap<_, _> =
        fields.map(|(key, text)| (key, field(&text))).collect();
    let request = SendCommandRequest {
        device_id: command.device.to_string(),
        command: known,
        name,
        parameters: (!fields.is_empty()).then_some(Struct { fields }),
        ttl: command.ttl.map(parse::duration),
        ..Default::default()
    };
    let sent = client.send_command(request).await;
    let mut sent = match sent {
        Ok(sent) => sent.into_inner(),
        Err(status) if status.code() == Code::NotFound && !command.free => {
            let hint = "`muster command catalogue` lists what there is; a command that is not needs --free";
            return Err(Failure::from(status).hint(hint));
        }
        Err(status) => return Err(status.into()),
    };
    while command.wait && sent.end_time.is_none() {
        let request = WaitDeviceCommandRequest {
            id: sent.id,
            timeout: Some(Duration {
                seconds: WAIT,
                nanos: 0,
            }),
        };
        sent = client.wait_device_command(request).await?.into_inner();
    }
    options.server.output.one(&sent)?;
    match sent.state() {
        _ if !command.wait => Ok(()),
        State::Acknowledged => Ok(()),
        state => Err(Failure::new(format!(
            "the command was not carried out: it is {}",
            out::state(state.as_str_name())
        ))),
    }
}

async fn list(options: &Options, wanted: List) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let filter = ListDeviceCommandsRequest {
        device_id: wanted.device.map(|id| id.to_string()).unwrap_or_default(),
        name: wanted.name,
        order_by: "create_time desc".to_owned(),
        ..Default::default()
    };
    let commands = out::pages(Some(wanted.limit.get()), async |page_size, page_token| {
        let request = ListDeviceCommandsRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        let page = client.list_device_commands(request).await?.into_inner();
        Ok((page.device_commands, page.next_page_token))
    });
    options.server.output.list(&commands.await?)
}

async fn receive(options: &Options, device: Uuid, ack: bool) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let request = ReceiveCommandsRequest {
        device_id: device.to_string(),
        ..Default::default()
    };
    let mut stream = client.receive_commands(request).await?.into_inner();
    while let Some(said) = stream.message().await? {
        let Some(command) = said.device_command else {
            continue;
        };
        let sentence = format!(
            "{} {} {}",
            command.id,
            command.name,
            parameters(&command).unwrap_or(Value::Null)
        );
        options.server.output.said(&sentence, &command.json())?;
        if ack {
            let request = AcknowledgeCommandRequest {
                id: command.id,
                result: None,
            };
            client.acknowledge_command(request).await?;
        }
    }
    Err(Failure::new("the stream has ended"))
}

async fn cancel(options: &Options, id: Uuid) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let request = CancelDeviceCommandRequest { id: id.to_string() };
    let cancelled = client.cancel_device_command(request).await?.into_inner();
    options.server.output.one(&cancelled)
}

/// A value as it was typed: JSON, or else a text.
fn field(text: &str) -> Field {
    let json = serde_json::from_str(text);
    value(json.unwrap_or_else(|_| Value::String(text.to_owned())))
}

fn value(json: Value) -> Field {
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(bool) => Kind::BoolValue(bool),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue {
            values: items.into_iter().map(value).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(k, v)| (k, value(v))).collect(),
        }),
    };
    Field { kind: Some(kind) }
}

fn parameters(command: &DeviceCommand) -> Option<Value> {
    command.parameters.as_ref().map(struct_json)
}

impl Show for DeviceCommand {
    const COLUMNS: &'static [&'static str] = &["ID", "DEVICE", "NAME", "STATE", "SENT"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.device_id.clone(),
            self.name.clone(),
            out::state(self.state().as_str_name()),
            out::time(self.create_time.as_ref()),
        ]
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        let json = |fields: Option<&Struct>| fields.map(|f| struct_json(f).to_string());
        vec![
            (
                "PARAMETERS",
                json(self.parameters.as_ref()).unwrap_or_default(),
            ),
            (
                "ATTEMPTS",
                format!("{} of {}", self.attempt_count, self.max_attempts),
            ),
            ("EXPIRES", out::time(self.expire_time.as_ref())),
            ("ENDED", out::time(self.end_time.as_ref())),
            ("RESULT", json(self.result.as_ref()).unwrap_or_default()),
            ("ERROR", self.error.clone()),
            ("SENDER", self.sender.clone()),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "number": self.number.to_string(),
            "deviceId": self.device_id,
            "batchId": self.batch_id,
            "commandId": self.command_id,
            "name": self.name,
            "parameters": parameters(self),
            "state": self.state().as_str_name(),
            "attemptCount": self.attempt_count,
            "maxAttempts": self.max_attempts,
            "sender": self.sender,
            "receiver": self.receiver,
            "createTime": out::json_time(self.create_time.as_ref()),
            "notBefore": out::json_time(self.not_before.as_ref()),
            "expireTime": out::json_time(self.expire_time.as_ref()),
            "deliverTime": out::json_time(self.deliver_time.as_ref()),
            "acknowledgeDeadline": out::json_time(self.acknowledge_deadline.as_ref()),
            "endTime": out::json_time(self.end_time.as_ref()),
            "result": self.result.as_ref().map(struct_json),
            "error": self.error,
        })
    }
}
