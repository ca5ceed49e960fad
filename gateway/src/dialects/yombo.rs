//! The gateway API of Yombo 0.23. Its gateway is a tenant; a key belongs to
//! one. Ids are short there, so UUIDs are written in base 62.

mod base62;
pub(super) mod commands;
mod fields;
mod refusal;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use chassis::peer::Peers;
use chassis::{Clock, Error, open_subject};
use proto::muster::dialect::yombo::v1::yombo_service_server::{
    SERVICE_NAME, YomboService, YomboServiceServer,
};
use proto::muster::dialect::yombo::v1::*;
use proto::registry;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};

use super::Dialect;
use crate::domain::Domain;

/// What the domain answers at most in one page.
const MOST: i32 = 1000;
/// How much one answer may list; the API has no pages.
const ENOUGH: usize = 10_000;
/// How long the id of a device may be that is looked for.
const LONGEST_ID: usize = 200;

/// Headers of every answer.
const HEADERS: [(&str, &str); 4] = [
    ("cache-control", "no-cache, no-store, must-revalidate"),
    ("expires", "-1"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-content-type-options", "nosniff"),
];

pub(super) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    prefixes: &["/api/v1/"],
    error: refusal::answer,
    error_content: None,
};

pub(super) fn service(peers: &Peers) -> YomboServiceServer<Yombo> {
    let clock = Clock::system();
    YomboServiceServer::new(Yombo {
        peers: peers.clone(),
        running_since: clock.now().timestamp(),
        clock,
    })
}

pub(super) struct Yombo {
    peers: Peers,
    clock: Clock,
    /// Seconds since 1970.
    running_since: i64,
}

#[tonic::async_trait]
impl YomboService for Yombo {
    async fn list_commands(
        &self,
        request: Request<ListCommandsRequest>,
    ) -> Result<Response<ListCommandsResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        open_subject(request)?;
        let commands = commands(&domain).await?;
        Ok(answer(ListCommandsResponse {
            code: 200,
            message: "OK".into(),
            comments: Some(Default::default()),
            payload: commands.into_iter().map(shape::command).collect(),
        }))
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        open_subject(request)?;
        let gateway = domain.tenant()?;
        let devices = devices(&domain).await?;
        let sites = sites_of(&domain, &devices).await?;
        let devices = devices.into_iter();
        Ok(answer(ListDevicesResponse {
            code: 200,
            message: "OK".into(),
            comments: Some(Default::default()),
            payload: devices
                .map(|device| shape::device(gateway, device, &sites))
                .collect(),
        }))
    }

    async fn get_device(
        &self,
        request: Request<GetDeviceRequest>,
    ) -> Result<Response<GetDeviceResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let gateway = domain.tenant()?;
        if wanted.device_id.chars().count() > LONGEST_ID {
            return Err(bad_request("invalid device_id format").into());
        }
        let id = shape::uuid(&wanted.device_id)
            .ok_or_else(|| Error::not_found("device", &wanted.device_id))?;
        let device = domain.device(&id.to_string()).await?;
        let sites = sites_of(&domain, std::slice::from_ref(&device)).await?;
        let device = shape::device(gateway, device, &sites);
        let payload = fields::pick(device, &wanted.item)
            .ok_or_else(|| bad_request(format!("a device has no field {:?}", wanted.item)))?;
        Ok(answer(GetDeviceResponse {
            code: 200,
            message: "OK".into(),
            comments: Some(Default::default()),
            payload: Some(payload),
        }))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        let (_, PingRequest { id }) = open_subject(request)?;
        let id = match id.as_str() {
            "" => base62::encode(self.clock.new_id()),
            _ => id,
        };
        let time = self.clock.now().timestamp_micros() as f64 / 1e6;
        Ok(answer(PingResponse {
            code: 200,
            message: "OK".into(),
            comments: Some(Default::default()),
            payload: Some(Pong { id, time }),
        }))
    }

    async fn get_uptime(
        &self,
        request: Request<GetUptimeRequest>,
    ) -> Result<Response<GetUptimeResponse>, Status> {
        open_subject(request)?;
        Ok(answer(GetUptimeResponse {
            code: 200,
            message: "OK".into(),
            comments: Some(Default::default()),
            payload: Some(Uptime {
                time: self.running_since.to_string(),
            }),
        }))
    }

    async fn awake(
        &self,
        request: Request<AwakeRequest>,
    ) -> Result<Response<AwakeResponse>, Status> {
        open_subject(request)?;
        Ok(answer(AwakeResponse { awake: 1 }))
    }
}

/// A success with the headers that every answer has.
fn answer<T>(message: T) -> Response<T> {
    let mut response = Response::new(message);
    for (name, value) in HEADERS {
        let value = MetadataValue::from_static(value);
        response.metadata_mut().insert(name, value);
    }
    response
}

/// A mistake that has a text of its own.
fn bad_request(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::precondition("BAD_REQUEST", message)
}

/// Refuses to gather without end.
fn bounded(found: usize) -> Result<(), Error> {
    if found <= ENOUGH {
        return Ok(());
    }
    Err(bad_request(format!(
        "there are more than {ENOUGH}, and this API has no pages: use another one"
    )))
}

/// All commands.
async fn commands(domain: &Domain) -> Result<Vec<registry::Command>, Status> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = registry::ListCommandsRequest {
            page_size: MOST,
            page_token,
            ..Default::default()
        };
        let page = domain
            .commands()
            .list_commands(domain.request(page))
            .await?;
        let page = page.into_inner();
        found.extend(page.commands);
        bounded(found.len())?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

/// All devices.
async fn devices(domain: &Domain) -> Result<Vec<registry::Device>, Status> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = registry::ListDevicesRequest {
            page_size: MOST,
            page_token,
            ..Default::default()
        };
        let page = domain.devices().list_devices(domain.request(page)).await?;
        let page = page.into_inner();
        found.extend(page.devices);
        bounded(found.len())?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

/// Names of sites by id.
type Sites = HashMap<String, String>;

/// The sites of devices: asked for only if there are any, and all at once;
/// none where the caller may not see sites.
async fn sites_of(domain: &Domain, devices: &[registry::Device]) -> Result<Sites, Status> {
    let mut found = Sites::new();
    if devices.iter().all(|device| device.site_id.is_empty()) {
        return Ok(found);
    }
    let mut page_token = String::new();
    loop {
        let page = registry::ListSitesRequest {
            page_size: MOST,
            page_token,
            ..Default::default()
        };
        let page = match domain.sites().list_sites(domain.request(page)).await {
            Ok(page) => page.into_inner(),
            Err(refusal) if refusal.code() == Code::PermissionDenied => return Ok(Sites::new()),
            Err(refusal) => return Err(refusal),
        };
        let sites = page.sites.into_iter();
        found.extend(sites.map(|site| (site.id, site.display_name)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}
