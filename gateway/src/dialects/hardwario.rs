//! HARDWARIO Cloud v2. A space is a tenant. Its documentation has had three
//! generations of paths, and all of them are served: flat ones, for a token of
//! a space; and those below a space, for a user's token or an API key.

pub(super) mod connectors;
pub(super) mod messages;
mod refusal;
mod shape;
mod spaces;
mod tags;
#[cfg(test)]
mod tests;

use chassis::paging::token_after;
use chassis::peer::Peers;
use chassis::{Error, open_public, open_subject};
use proto::identity::SelectTenantRequest;
use proto::muster::dialect::hardwario::v1::hardwario_service_server::{
    HardwarioService, HardwarioServiceServer, SERVICE_NAME,
};
use proto::muster::dialect::hardwario::v1::*;
use proto::{identity, registry};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use self::spaces::{no_space, place, spaces};
use self::tags::{refuse_unknown, tags_on};
use super::Dialect;
use crate::domain::Domain;

/// What the domain answers at most in one page.
const MOST: i32 = 1000;

pub(super) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    prefixes: &["/v2/"],
    error: refusal::answer,
    error_content: Some(refusal::content),
};

pub(super) fn service(peers: &Peers) -> HardwarioServiceServer<Hardwario> {
    HardwarioServiceServer::new(Hardwario {
        peers: peers.clone(),
    })
}

pub(super) struct Hardwario {
    peers: Peers,
}

#[tonic::async_trait]
impl HardwarioService for Hardwario {
    async fn login(
        &self,
        request: Request<LoginRequest>,
    ) -> Result<Response<TokenResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let LoginRequest { email, password } = open_public(request)?;
        let login = identity::LoginRequest { email, password };
        let session = domain.auth().login(domain.request(login)).await?;
        let session = session.into_inner();
        Ok(Response::new(TokenResponse {
            access_token: session.access_token,
            token_type: session.token_type,
            expires_in: session.expires_in,
        }))
    }

    async fn select_space(
        &self,
        request: Request<SelectSpaceRequest>,
    ) -> Result<Response<TokenResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let wanted = SelectTenantRequest {
            tenant_id: wanted.space_id,
        };
        let answer = domain.auth().select_tenant(domain.request(wanted)).await?;
        let token = answer.into_inner();
        Ok(Response::new(TokenResponse {
            access_token: token.access_token,
            token_type: token.token_type,
            expires_in: token.expires_in,
        }))
    }

    async fn list_spaces(
        &self,
        request: Request<ListSpacesRequest>,
    ) -> Result<Response<ListSpacesResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let spaces = spaces(&domain).await?;
        let first = match wanted.offset.as_str() {
            "" => 0,
            last => 1 + place(&spaces, last).ok_or_else(|| no_offset("space", last))?,
        };
        let limit = usize::try_from(wanted.limit.unwrap_or(MOST)).unwrap_or_default();
        let spaces = spaces.into_iter().skip(first).take(limit).collect();
        Ok(Response::new(ListSpacesResponse { spaces }))
    }

    async fn get_space(
        &self,
        request: Request<GetSpaceRequest>,
    ) -> Result<Response<Space>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let mut spaces = spaces(&domain).await?;
        let place = place(&spaces, &wanted.id);
        let place = place.ok_or_else(|| Error::not_found("space", &wanted.id))?;
        Ok(Response::new(spaces.swap_remove(place)))
    }

    async fn create_space(
        &self,
        request: Request<CreateSpaceRequest>,
    ) -> Result<Response<Space>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, new) = open_subject(request)?;
        let domain = match domain.subject()?.tenant() {
            Some(_) => domain,
            None => {
                let spaces = spaces(&domain).await?;
                let first = spaces.first().ok_or_else(no_space)?;
                enter(domain, &first.id).await?.1
            }
        };
        let new = shape::new_space(new);
        let made = domain.tenants().create_tenant(domain.request(new)).await?;
        Ok(Response::new(shape::own_space(made.into_inner())))
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let space = domain.tenant()?;
        let wanted = ListSpaceDevicesRequest {
            limit: wanted.limit,
            offset: wanted.offset,
            name: wanted.name,
            serial_number: wanted.serial_number,
            external_id: wanted.external_id,
            ..Default::default()
        };
        Ok(Response::new(devices(&domain, space, wanted).await?))
    }

    async fn create_device(
        &self,
        request: Request<CreateDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, new) = open_subject(request)?;
        let space = domain.tenant()?;
        let new = new.device.unwrap_or_default();
        Ok(Response::new(create(&domain, space, new).await?))
    }

    async fn list_space_devices(
        &self,
        request: Request<ListSpaceDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (space, domain) = enter(domain, &wanted.space_id).await?;
        Ok(Response::new(devices(&domain, space, wanted).await?))
    }

    async fn count_devices(
        &self,
        request: Request<CountDevicesRequest>,
    ) -> Result<Response<CountDevicesResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        let wanted = shape::counted(wanted)?;
        let wanted = domain.request(wanted);
        let page = domain.devices().list_devices(wanted).await?;
        let count = page.into_inner().total_size;
        Ok(Response::new(CountDevicesResponse { count }))
    }

    async fn create_space_device(
        &self,
        request: Request<CreateSpaceDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, new) = open_subject(request)?;
        let (space, domain) = enter(domain, &new.space_id).await?;
        let new = new.device.unwrap_or_default();
        Ok(Response::new(create(&domain, space, new).await?))
    }

    async fn get_device(
        &self,
        request: Request<GetDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (space, domain) = enter(domain, &wanted.space_id).await?;
        let device = domain.device(&wanted.id).await?;
        let tags = tags_on(&domain, std::slice::from_ref(&device)).await?;
        Ok(Response::new(shape::device(space, device, &tags)))
    }

    async fn update_device(
        &self,
        request: Request<UpdateDeviceRequest>,
    ) -> Result<Response<Device>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, change) = open_subject(request)?;
        let (space, domain) = enter(domain, &change.space_id).await?;
        let change = shape::change(change)?;
        let tag_ids = change.device.iter().flat_map(|device| &device.tag_ids);
        refuse_unknown(&domain, tag_ids).await?;
        let device = domain
            .devices()
            .update_device(domain.request(change))
            .await?
            .into_inner();
        let tags = tags_on(&domain, std::slice::from_ref(&device)).await?;
        Ok(Response::new(shape::device(space, device, &tags)))
    }

    async fn delete_device(
        &self,
        request: Request<DeleteDeviceRequest>,
    ) -> Result<Response<DeleteDeviceResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        let wanted = registry::DeleteDeviceRequest {
            id: wanted.id,
            ..Default::default()
        };
        let wanted = domain.request(wanted);
        domain.devices().delete_device(wanted).await?;
        Ok(Response::new(DeleteDeviceResponse {}))
    }

    async fn list_tags(
        &self,
        request: Request<ListTagsRequest>,
    ) -> Result<Response<ListTagsResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        let page = registry::ListTagsRequest {
            page_size: wanted.limit.unwrap_or(MOST),
            page_token: after_tag(&domain, wanted.offset).await?,
            ..Default::default()
        };
        let page = domain.tags().list_tags(domain.request(page)).await?;
        let tags = page.into_inner().tags;
        Ok(Response::new(ListTagsResponse {
            tags: tags.iter().map(shape::tag).collect(),
        }))
    }

    async fn create_tag(
        &self,
        request: Request<CreateTagRequest>,
    ) -> Result<Response<Tag>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, new) = open_subject(request)?;
        let (_, domain) = enter(domain, &new.space_id).await?;
        let new = shape::new_tag(new);
        let tag = domain.tags().create_tag(domain.request(new)).await?;
        Ok(Response::new(shape::tag(tag.get_ref())))
    }

    async fn get_tag(&self, request: Request<GetTagRequest>) -> Result<Response<Tag>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        let wanted = registry::GetTagRequest {
            id: wanted.id,
            ..Default::default()
        };
        let tag = domain.tags().get_tag(domain.request(wanted)).await?;
        Ok(Response::new(shape::tag(tag.get_ref())))
    }

    async fn update_tag(
        &self,
        request: Request<UpdateTagRequest>,
    ) -> Result<Response<Tag>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, change) = open_subject(request)?;
        let (_, domain) = enter(domain, &change.space_id).await?;
        let change = shape::tag_change(change);
        let tag = domain.tags().update_tag(domain.request(change)).await?;
        Ok(Response::new(shape::tag(tag.get_ref())))
    }

    async fn delete_tag(
        &self,
        request: Request<DeleteTagRequest>,
    ) -> Result<Response<DeleteTagResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        let wanted = registry::DeleteTagRequest { id: wanted.id };
        domain.tags().delete_tag(domain.request(wanted)).await?;
        Ok(Response::new(DeleteTagResponse {}))
    }
}

/// The space that the path names, and the domain as seen from it.
async fn enter(domain: Domain, space_id: &str) -> Result<(Uuid, Domain), Error> {
    let space = shape::uuid("space_id", space_id)?;
    Ok((space, domain.in_tenant(space).await?))
}

/// One page of a space's devices.
async fn devices(
    domain: &Domain,
    space: Uuid,
    wanted: ListSpaceDevicesRequest,
) -> Result<ListDevicesResponse, Status> {
    know_offset(domain, &wanted.offset).await?;
    let page = shape::device_page(wanted)?;
    let page = domain.devices().list_devices(domain.request(page)).await?;
    let devices = page.into_inner().devices;
    let tags = tags_on(domain, &devices).await?;
    let devices = devices.into_iter();
    Ok(ListDevicesResponse {
        devices: devices
            .map(|device| shape::device(space, device, &tags))
            .collect(),
    })
}

/// Creates a device in a space.
async fn create(domain: &Domain, space: Uuid, new: NewDevice) -> Result<Device, Status> {
    let new = shape::new_device(space, new)?;
    let tag_ids = new.device.iter().flat_map(|device| &device.tag_ids);
    refuse_unknown(domain, tag_ids).await?;
    let device = domain.devices().create_device(domain.request(new)).await?;
    let device = device.into_inner();
    let tags = tags_on(domain, std::slice::from_ref(&device)).await?;
    Ok(shape::device(space, device, &tags))
}

/// Refuses an offset, which is the id of the device that was received last, if
/// there was never such a device.
async fn know_offset(domain: &Domain, offset: &str) -> Result<(), Status> {
    if offset.is_empty() {
        return Ok(());
    }
    let last = registry::GetDeviceRequest {
        id: offset.into(),
        ..Default::default()
    };
    match domain.devices().get_device(domain.request(last)).await {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.code() == Code::NotFound => Err(no_offset("device", offset).into()),
        Err(refusal) => Err(refusal),
    }
}

/// The page token behind the tag that was received last.
async fn after_tag(domain: &Domain, offset: String) -> Result<String, Status> {
    if offset.is_empty() {
        return Ok(offset);
    }
    let last = registry::GetTagRequest {
        id: offset.clone(),
        ..Default::default()
    };
    match domain.tags().get_tag(domain.request(last)).await {
        Ok(last) => Ok(token_after(last.get_ref().number)),
        Err(refusal) if refusal.code() == Code::NotFound => Err(no_offset("tag", &offset).into()),
        Err(refusal) => Err(refusal),
    }
}

fn no_offset(kind: &str, offset: &str) -> Error {
    Error::invalid("offset", format!("there is no {kind} {offset}"))
}
