//! Telling devices something, as the gateway API of Yombo does.

use std::collections::HashMap;

use bytes::Bytes;
use chassis::peer::Peers;
use chassis::time::timestamp;
use chassis::{Clock, Error, open_subject};
use chrono::{DateTime, TimeDelta, Utc};
use http::{Response as Answer, StatusCode};
use prost_types::value::Kind;
use prost_types::{Duration, Struct, Timestamp, Value};
use proto::muster::dialect::yombo::v1::yombo_command_service_server::{
    SERVICE_NAME, YomboCommandService, YomboCommandServiceServer,
};
use proto::muster::dialect::yombo::v1::*;
use proto::registry;
use proto::registry::command_parameter::Type;
use proto::registry::device_command::State;
use tonic::{Code, Request, Response, Status};
use transcoder::Problem;
use uuid::Uuid;

use super::{LONGEST_ID, answer, bad_request, base62, refusal, shape};
use crate::dialects::Dialect;
use crate::domain::Domain;

/// How many seconds are waited for the end of a command, unless it is asked
/// for otherwise.
const WAIT: f64 = 2.0;
/// How many seconds are waited at most.
const LONGEST_WAIT: f64 = 50.0;
/// What is wrong with a command is no error in the vendor's eyes.
const WARNING: &str = "COMMAND_WARNING";
/// What names a thing that is not there, in the vendor's words.
const MISSING: &str = "MISSING";

pub(crate) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    // Those of the other service.
    prefixes: &[],
    error,
    error_content: None,
};

pub(crate) fn service(peers: &Peers) -> YomboCommandServiceServer<YomboCommands> {
    YomboCommandServiceServer::new(YomboCommands {
        peers: peers.clone(),
        clock: Clock::system(),
    })
}

/// Texts of its own have a status of their own; all else is as everywhere.
fn error(problem: &Problem) -> Answer<Bytes> {
    let status = match problem.reason.as_deref() {
        Some(WARNING) => StatusCode::OK,
        Some(MISSING) => StatusCode::NOT_FOUND,
        _ => return refusal::answer(problem),
    };
    refusal::envelope(status, problem.status.message())
}

pub(crate) struct YomboCommands {
    peers: Peers,
    clock: Clock,
}

#[tonic::async_trait]
impl YomboCommandService for YomboCommands {
    async fn send_device_command(
        &self,
        request: Request<SendDeviceCommandRequest>,
    ) -> Result<Response<SendDeviceCommandResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let gateway = domain.tenant()?;
        for (id, name) in [
            (&wanted.device_id, "device_id"),
            (&wanted.cmd, "command_id"),
        ] {
            if id.chars().count() > LONGEST_ID {
                return Err(bad_request(format!("invalid {name} format")).into());
            }
        }
        let device = shape::uuid(&wanted.device_id)
            .ok_or_else(|| Error::not_found("device", &wanted.device_id))?;
        let command = named(&wanted.cmd);
        let request = registry::SendCommandRequest {
            device_id: device.to_string(),
            parameters: inputs(&domain, &command, wanted.inputs).await?,
            command,
            ..times(
                self.clock.now(),
                wanted.delay.or(wanted.max_delay.and(Some(0.0))),
                wanted.not_before,
                wanted.max_delay,
                wanted.not_after,
            )?
        };
        let sent = domain
            .device_commands()
            .send_command(domain.request(request))
            .await;
        let sent = sent.map_err(|refused| told(refused, &wanted.cmd))?;
        let sent = waited(&domain, sent.into_inner(), &wanted.wait).await?;
        Ok(answer(SendDeviceCommandResponse {
            code: 200,
            message: "OK".into(),
            comments: Some(Struct::default()),
            payload: Some(SentCommand {
                device_command_id: short(&sent.id),
                device_command: Some(shown(gateway, sent)),
                status_current: None,
                status_previous: None,
            }),
        }))
    }

    async fn get_device_command(
        &self,
        request: Request<GetDeviceCommandRequest>,
    ) -> Result<Response<GetDeviceCommandResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let gateway = domain.tenant()?;
        let named = wanted.device_command_id;
        let missing = || missing(format!("Error with device command id: {named}"));
        let id = shape::uuid(&named).ok_or_else(missing)?.to_string();
        let request = domain.request(registry::GetDeviceCommandRequest { id });
        let command = match domain.device_commands().get_device_command(request).await {
            Err(refused) if refused.code() == Code::NotFound => return Err(missing().into()),
            answer => answer?.into_inner(),
        };
        Ok(answer(GetDeviceCommandResponse {
            code: 200,
            message: "OK".into(),
            comments: Some(Struct::default()),
            payload: Some(shown(gateway, command)),
        }))
    }
}

/// A command as the domain's catalogue names it.
fn named(cmd: &str) -> String {
    base62::decode(cmd).map_or_else(|| cmd.to_owned(), |id| id.to_string())
}

fn missing(message: String) -> Error {
    Error::precondition(MISSING, message)
}

/// What a refusal of a command is called here.
fn told(refused: Status, cmd: &str) -> Error {
    match refused.code() {
        Code::NotFound if refused.message().contains("no command ") => {
            missing(format!("Error with command, it is not found: {cmd}"))
        }
        Code::InvalidArgument | Code::FailedPrecondition => {
            let text = format!("Error with command: {}", refused.message());
            Error::precondition(WARNING, text)
        }
        _ => refused.into(),
    }
}

/// What the command takes, of the kinds that the catalogue says: in a query,
/// all is text.
async fn inputs(
    domain: &Domain,
    command: &str,
    inputs: HashMap<String, String>,
) -> Result<Option<Struct>, Status> {
    if inputs.is_empty() {
        return Ok(None);
    }
    let found = match command.parse::<Uuid>() {
        Ok(_) => {
            let id = command.to_owned();
            let request = domain.request(registry::GetCommandRequest { id });
            let command = domain.commands().get_command(request).await;
            command.map(|command| Some(command.into_inner()))
        }
        Err(_) => {
            let request = domain.request(registry::ListCommandsRequest {
                name: command.to_owned(),
                ..Default::default()
            });
            let commands = domain.commands().list_commands(request).await;
            commands.map(|page| page.into_inner().commands.into_iter().next())
        }
    };
    let takes = match found {
        Ok(command) => command.unwrap_or_default().parameters,
        // Who may not see the catalogue sends texts.
        Err(refused) if matches!(refused.code(), Code::PermissionDenied | Code::NotFound) => {
            Vec::new()
        }
        Err(refused) => return Err(refused),
    };
    let fields = inputs.into_iter().map(|(name, text)| {
        let takes = takes.iter().find(|parameter| parameter.name == name);
        let kind = Some(kind(takes.map(|parameter| parameter.r#type()), text));
        (name, Value { kind })
    });
    Ok(Some(Struct {
        fields: fields.collect(),
    }))
}

/// A text as the kind that it must be, if it can be.
fn kind(wanted: Option<Type>, text: String) -> Kind {
    match (wanted, text.as_str(), text.parse()) {
        (Some(Type::Number), _, Ok(number)) => Kind::NumberValue(number),
        (Some(Type::Bool), "true" | "True" | "1", _) => Kind::BoolValue(true),
        (Some(Type::Bool), "false" | "False" | "0", _) => Kind::BoolValue(false),
        _ => Kind::StringValue(text),
    }
}

/// When the device may receive a command.
fn times(
    now: DateTime<Utc>,
    delay: Option<f64>,
    not_before: Option<f64>,
    max_delay: Option<f64>,
    not_after: Option<f64>,
) -> Result<registry::SendCommandRequest, Error> {
    let wrong = || Error::precondition(WARNING, "Error with command: no such time");
    let span = |seconds: f64| {
        let micros = seconds * 1e6;
        let fits = micros.abs() < 1e18;
        fits.then(|| TimeDelta::microseconds(micros as i64))
            .ok_or_else(wrong)
    };
    let epoch = |seconds: f64| {
        let time = DateTime::UNIX_EPOCH.checked_add_signed(span(seconds)?);
        time.ok_or_else(wrong)
    };
    let from = match (not_before, delay) {
        (Some(time), _) => Some(epoch(time)?),
        (None, Some(delay)) => Some(now + span(delay)?),
        (None, None) => None,
    };
    let until = match (not_after, max_delay) {
        (Some(time), _) => Some(epoch(time)?),
        (None, Some(after)) => Some(from.unwrap_or(now) + span(after)?),
        (None, None) => None,
    };
    Ok(registry::SendCommandRequest {
        not_before: from.filter(|from| *from > now).map(timestamp),
        expire_time: until.map(timestamp),
        ..Default::default()
    })
}

/// The command some seconds later, or when it has come to an end; as it was
/// sent, if the caller may only send.
async fn waited(
    domain: &Domain,
    sent: registry::DeviceCommand,
    wait: &str,
) -> Result<registry::DeviceCommand, Status> {
    let seconds = wait.parse().unwrap_or(WAIT);
    if seconds.is_nan() || seconds <= 0.0 {
        return Ok(sent);
    }
    let millis = (seconds.min(LONGEST_WAIT) * 1000.0) as i64;
    let timeout = Duration {
        seconds: millis / 1000,
        nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default(),
    };
    let request = domain.request(registry::WaitDeviceCommandRequest {
        id: sent.id.clone(),
        timeout: Some(timeout),
    });
    match domain.device_commands().wait_device_command(request).await {
        Err(refused) if refused.code() == Code::PermissionDenied => Ok(sent),
        answer => Ok(answer?.into_inner()),
    }
}

fn short(id: &str) -> String {
    id.parse().map(base62::encode).unwrap_or_default()
}

fn status(state: State) -> &'static str {
    match state {
        State::Unspecified | State::Queued => "queued",
        State::Delivered => "received",
        State::Acknowledged => "done",
        State::Failed => "failed",
        State::Expired => "expired",
        State::Cancelled => "cancelled",
    }
}

fn seconds(time: &Timestamp) -> f64 {
    time.seconds as f64 + f64::from(time.nanos) / 1e9
}

/// A command as the dialect shows it.
fn shown(gateway: Uuid, command: registry::DeviceCommand) -> DeviceCommand {
    let created_at = command.create_time.as_ref().map(seconds);
    let received_at = command.deliver_time.as_ref().map(seconds);
    let finished_at = command.end_time.as_ref().map(seconds);
    let now = status(command.state());
    let happened = [
        (created_at, "queued", ""),
        (received_at, "received", ""),
        (finished_at, now, command.error.as_str()),
    ];
    let history = happened.into_iter().filter_map(|(time, status, msg)| {
        Some(Happened {
            time: time?,
            status: status.to_owned(),
            msg: msg.to_owned(),
        })
    });
    DeviceCommand {
        request_id: short(&command.id),
        persistent_request_id: None,
        source_gateway_id: base62::encode(gateway),
        device_id: short(&command.device_id),
        command_id: short(&command.command_id),
        history: history.collect(),
        inputs: Some(command.parameters.unwrap_or_default()),
        created_at,
        broadcast_at: created_at,
        accepted_at: received_at,
        sent_at: received_at,
        received_at,
        pending_at: received_at,
        finished_at,
        not_before_at: command.not_before.as_ref().map(seconds),
        not_after_at: command.expire_time.as_ref().map(seconds),
        started: true,
        command_status_received: received_at.is_some(),
        status: now.to_owned(),
    }
}
