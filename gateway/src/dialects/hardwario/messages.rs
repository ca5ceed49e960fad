//! Telling devices something, as HARDWARIO Cloud does: messages downwards.

use chassis::peer::Peers;
use chassis::{Clock, Error, open_subject};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use proto::muster::dialect::hardwario::v1::hardwario_message_service_server::{
    HardwarioMessageService, HardwarioMessageServiceServer, SERVICE_NAME,
};
use proto::muster::dialect::hardwario::v1::*;
use proto::registry;
use proto::registry::device_command::State;
use serde_json::{Map, Number, Value as Json};
use tonic::{Code, Request, Response, Status};

use super::{enter, no_offset, refusal};
use crate::dialects::Dialect;
use crate::domain::Domain;

/// How many messages a list has, unless it is asked for otherwise.
const LIMIT: i32 = 20;
/// How far a list goes back, unless it is asked for otherwise.
const BACK: TimeDelta = TimeDelta::hours(24);
/// Of a message that is no object, the parameter that holds it.
const BODY: &str = "body";
/// The largest whole number below which a double tells all whole numbers apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(crate) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    // Those of the other service.
    prefixes: &[],
    error: refusal::answer,
    error_content: Some(refusal::content),
};

pub(crate) fn service(peers: &Peers) -> HardwarioMessageServiceServer<HardwarioMessages> {
    HardwarioMessageServiceServer::new(HardwarioMessages {
        peers: peers.clone(),
        clock: Clock::system(),
    })
}

pub(crate) struct HardwarioMessages {
    peers: Peers,
    clock: Clock,
}

#[tonic::async_trait]
impl HardwarioMessageService for HardwarioMessages {
    async fn send_commands(
        &self,
        request: Request<SendCommandsRequest>,
    ) -> Result<Response<Message>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        let body = texts(wanted.commands);
        send(&domain, wanted.device_id, "command", body).await
    }

    async fn send_configs(
        &self,
        request: Request<SendConfigsRequest>,
    ) -> Result<Response<Message>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        let body = texts(wanted.configs);
        send(&domain, wanted.device_id, "config", body).await
    }

    async fn send_downlink(
        &self,
        request: Request<SendDownlinkRequest>,
    ) -> Result<Response<Message>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        let body = Kind::StructValue(wanted.downlink.unwrap_or_default());
        send(&domain, wanted.device_id, "downlink", body).await
    }

    async fn create_message(
        &self,
        request: Request<CreateMessageRequest>,
    ) -> Result<Response<Message>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        create(&domain, wanted).await
    }

    async fn create_space_message(
        &self,
        request: Request<CreateSpaceMessageRequest>,
    ) -> Result<Response<Message>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        create(&domain, wanted.message.unwrap_or_default()).await
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        if wanted.direction == "up" {
            return Ok(Response::new(ListMessagesResponse::default()));
        }
        let after = match wanted.after.as_str() {
            "" => self.clock.now() - BACK,
            text => time("after", text)?,
        };
        let before = match wanted.before.as_str() {
            "" => None,
            text => Some(time("before", text)?),
        };
        let page = registry::ListDeviceCommandsRequest {
            page_size: wanted.limit.unwrap_or(LIMIT),
            page_token: behind(&domain, &wanted.offset).await?,
            device_id: wanted.device_id,
            name: wanted.r#type.into_iter().next().unwrap_or_default(),
            from_time: Some(chassis::time::timestamp(after)),
            until_time: before.map(chassis::time::timestamp),
            order_by: "create_time desc".to_owned(),
            ..Default::default()
        };
        let page = domain.request(page);
        let page = domain.device_commands().list_device_commands(page).await?;
        let messages = page.into_inner().device_commands.into_iter();
        Ok(Response::new(ListMessagesResponse {
            messages: messages.map(message).collect(),
        }))
    }
}

async fn create(
    domain: &Domain,
    wanted: CreateMessageRequest,
) -> Result<Response<Message>, Status> {
    let kind = match wanted.r#type.as_str() {
        "" => "downlink",
        kind => kind,
    };
    let body = wanted.body.and_then(|body| body.kind);
    let body = body.ok_or_else(|| Error::invalid("body", "must be set"))?;
    send(domain, wanted.device_id, kind, body).await
}

/// Tells a device something.
async fn send(
    domain: &Domain,
    device_id: String,
    kind: &str,
    body: Kind,
) -> Result<Response<Message>, Status> {
    let parameters = match body {
        Kind::StructValue(object) => object,
        other => Struct {
            fields: [(BODY.to_owned(), Value { kind: Some(other) })].into(),
        },
    };
    let request = domain.request(registry::SendCommandRequest {
        device_id,
        name: kind.to_owned(),
        parameters: Some(parameters),
        ..Default::default()
    });
    let sent = domain.device_commands().send_command(request).await?;
    Ok(Response::new(message(sent.into_inner())))
}

fn texts(texts: Vec<String>) -> Kind {
    let values = texts.into_iter().map(|text| Value {
        kind: Some(Kind::StringValue(text)),
    });
    Kind::ListValue(ListValue {
        values: values.collect(),
    })
}

/// A time that a request names: RFC 3339, or the same without a zone, which is
/// then UTC.
fn time(field: &str, text: &str) -> Result<DateTime<Utc>, Error> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let naive = || text.parse::<NaiveDateTime>().map(|time| time.and_utc());
    zoned
        .or_else(|_| naive())
        .map_err(|_| Error::invalid(field, "must be a time such as 2026-01-02T03:04:05Z"))
}

/// The page token behind the message that was received last.
async fn behind(domain: &Domain, offset: &str) -> Result<String, Status> {
    if offset.is_empty() {
        return Ok(String::new());
    }
    let id = offset.to_owned();
    let request = domain.request(registry::GetDeviceCommandRequest { id });
    match domain.device_commands().get_device_command(request).await {
        Ok(last) => Ok(chassis::paging::token_after(last.get_ref().number)),
        Err(refused) if refused.code() == Code::NotFound => {
            Err(no_offset("message", offset).into())
        }
        Err(refused) => Err(refused),
    }
}

/// A command as a message.
fn message(command: registry::DeviceCommand) -> Message {
    let state = command.state();
    let (down_state, since) = match state {
        State::Unspecified | State::Queued => ("pending", command.create_time),
        State::Delivered => ("sent", command.deliver_time),
        State::Acknowledged => ("sent", command.end_time),
        State::Failed | State::Expired | State::Cancelled => ("cancelled", command.end_time),
    };
    let mut fields = command.parameters.unwrap_or_default().fields;
    let body = match fields.len() {
        1 if fields.contains_key(BODY) => fields.remove(BODY).map_or(Json::Null, json),
        _ => object(Struct { fields }),
    };
    Message {
        id: command.id,
        created_at: command.create_time,
        body: body.to_string(),
        device_id: command.device_id,
        direction: "down".to_owned(),
        down_attempt: command.attempt_count,
        down_scheduled_at: command.not_before.or(command.create_time),
        down_state: down_state.to_owned(),
        down_state_at: since,
        r#type: command.name,
        ..Default::default()
    }
}

fn object(object: Struct) -> Json {
    let fields = object.fields.into_iter();
    Json::Object(
        fields
            .map(|(key, value)| (key, json(value)))
            .collect::<Map<_, _>>(),
    )
}

fn json(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < EXACT => {
            Json::Number(Number::from(number as i64))
        }
        Some(Kind::NumberValue(number)) => {
            Number::from_f64(number).map_or(Json::Null, Json::Number)
        }
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(value)) => object(value),
    }
}
