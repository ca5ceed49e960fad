//! iottly's API 1.0. A project is a tenant, named by the 24 hexadecimal digits
//! of its number; a key belongs to one. Every device has a licence, whose
//! token is the device's id.

pub(super) mod commands;
mod shape;

use bytes::Bytes;
use chassis::peer::Peers;
use chassis::{Error, open_subject};
use http::Response as Answer;
use prost_types::FieldMask;
use proto::muster::dialect::iottly::v1::iottly_service_server::{
    IottlyService, IottlyServiceServer, SERVICE_NAME,
};
use proto::muster::dialect::iottly::v1::*;
use proto::registry;
use proto::tenancy::{ListMyTenantsRequest, Tenant};
use tonic::{Request, Response, Status};
use transcoder::Problem;
use uuid::Uuid;

use super::Dialect;
use crate::domain::Domain;

/// What the domain answers at most in one page.
const MOST: i32 = 1000;
/// How much one answer may list; the API has no pages.
const ENOUGH: usize = 10_000;

pub(super) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    prefixes: &["/v1.0/"],
    error,
    error_content: None,
};

pub(super) fn service(peers: &Peers) -> IottlyServiceServer<Iottly> {
    IottlyServiceServer::new(Iottly {
        peers: peers.clone(),
    })
}

/// Errors have their text in `error`.
fn error(problem: &Problem) -> Answer<Bytes> {
    let body = serde_json::json!({"error": problem.status.message()});
    super::json(problem.http_status, &body)
}

pub(super) struct Iottly {
    peers: Peers,
}

#[tonic::async_trait]
impl IottlyService for Iottly {
    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        open_subject(request)?;
        let status = "pong".into();
        Ok(Response::new(PingResponse { status }))
    }

    async fn inspect_project(
        &self,
        request: Request<InspectProjectRequest>,
    ) -> Result<Response<Project>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        own(&domain, &wanted.project_id)?;
        let tenant = own_tenant(&domain).await?;
        Ok(Response::new(Project {
            id: shape::project_id(tenant.number),
            name: tenant.display_name,
            ..Default::default()
        }))
    }

    async fn list_licenses(
        &self,
        request: Request<ListLicensesRequest>,
    ) -> Result<Response<ListLicensesResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        own(&domain, &wanted.project_id)?;
        let devices = match wanted.license_id.as_str() {
            "" => devices(&domain).await?,
            token => vec![device(&domain, shape::license(token)?).await?],
        };
        let licenses = devices.into_iter().map(shape::licensed).collect();
        Ok(Response::new(ListLicensesResponse { licenses }))
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        own(&domain, &wanted.project_id)?;
        let devices = devices(&domain).await?;
        Ok(Response::new(ListDevicesResponse {
            count: i32::try_from(devices.len()).unwrap_or(i32::MAX),
            errors: None,
            devices: devices.into_iter().map(shape::device).collect(),
        }))
    }

    async fn get_device(
        &self,
        request: Request<GetDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        own(&domain, &wanted.project_id)?;
        let id = shape::device_id(&wanted.device_id)?;
        let device = device(&domain, id).await?;
        Ok(Response::new(shape::device(device)))
    }

    async fn update_device(
        &self,
        request: Request<UpdateDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, change) = open_subject(request)?;
        own(&domain, &change.project_id)?;
        let device = registry::Device {
            id: shape::device_id(&change.device_id)?.to_string(),
            display_name: change.name,
            ..Default::default()
        };
        let change = registry::UpdateDeviceRequest {
            device: Some(device),
            update_mask: Some(FieldMask {
                paths: vec!["display_name".into()],
            }),
        };
        let device = domain
            .devices()
            .update_device(domain.request(change))
            .await?;
        Ok(Response::new(shape::device(device.into_inner())))
    }
}

/// Refuses every project but the caller's own.
fn own(domain: &Domain, project_id: &str) -> Result<(), Error> {
    let number = shape::project_number(project_id)?;
    if number == domain.tenant_number()?.into() {
        return Ok(());
    }
    Err(Error::denied(
        "OTHER_TENANT",
        "the key belongs to another project",
    ))
}

/// The tenant that the caller's token is scoped to. Found among the caller's
/// own, for which no permission is needed.
async fn own_tenant(domain: &Domain) -> Result<Tenant, Status> {
    let own = domain.tenant()?.to_string();
    let mut page_token = String::new();
    loop {
        let page = ListMyTenantsRequest {
            page_size: MOST,
            page_token,
        };
        let page = domain
            .tenants()
            .list_my_tenants(domain.request(page))
            .await?
            .into_inner();
        let mut tenants = page.tenants.into_iter().filter_map(|mine| mine.tenant);
        if let Some(tenant) = tenants.find(|tenant| tenant.id == own) {
            return Ok(tenant);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Err(Error::not_found("project", own).into());
        }
    }
}

async fn device(domain: &Domain, id: Uuid) -> Result<registry::Device, Status> {
    domain.device(&id.to_string()).await
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
        if found.len() > ENOUGH {
            return Err(too_many().into());
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

fn too_many() -> Error {
    Error::precondition(
        "TOO_MANY",
        format!("there are more than {ENOUGH}, and this API has no pages: use another one"),
    )
}
