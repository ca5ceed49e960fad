//! Device42: tokens by name, devices, buildings (Muster's sites), customers and
//! API clients, as its documentation and clients have them.

mod attributes;
mod buildings;
mod clients;
pub(super) mod customers;
mod devices;
mod in_service;
mod look;
mod refusal;
mod tags;
mod values;

use chassis::peer::Peers;
use chassis::time::date_time;
use chassis::{Error, Result, open_subject};
use chrono::SecondsFormat;
use proto::keys::{self, IssueTokenRequest};
use proto::muster::dialect::device42::v1 as dialect;
use proto::muster::dialect::device42::v1::device42_service_server::{
    Device42Service, Device42ServiceServer,
};
use proto::tenancy::ListMyTenantsRequest;
use tonic::{Request, Response, Status};

use self::values::{Page, Written, deleted};
use crate::domain::Domain;

/// What is said of a custom field that was put.
const FIELD_PUT: &str = "custom key pair values added or updated";

pub(super) const DIALECT: super::Dialect = super::Dialect {
    service: "muster.dialect.device42.v1.Device42Service",
    prefixes: &["/tauth/", "/api/1.0/", "/api/2.0/"],
    error: refusal::error,
    error_content: None,
};

pub(super) fn service(peers: &Peers) -> Device42ServiceServer<Device42> {
    Device42ServiceServer::new(Device42 {
        peers: peers.clone(),
    })
}

/// The dialect's methods.
pub(super) struct Device42 {
    peers: Peers,
}

#[tonic::async_trait]
impl Device42Service for Device42 {
    async fn create_token(
        &self,
        request: Request<dialect::CreateTokenRequest>,
    ) -> Result<Response<dialect::Token>, Status> {
        let domain = Domain::of(&self.peers, &request);
        open_subject(request)?;
        let issue = domain.request(IssueTokenRequest::default());
        let token = domain.tokens().issue_token(issue).await?;
        Ok(Response::new(shown(token.into_inner())))
    }

    async fn renew_token(
        &self,
        request: Request<dialect::RenewTokenRequest>,
    ) -> Result<Response<dialect::Token>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let renew = keys::RenewTokenRequest {
            number: wanted.token_id,
        };
        let token = domain.tokens().renew_token(domain.request(renew)).await?;
        Ok(Response::new(shown(token.into_inner())))
    }

    async fn revoke_token(
        &self,
        request: Request<dialect::RevokeTokenRequest>,
    ) -> Result<Response<dialect::RevokeTokenResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let revoke = keys::RevokeTokenRequest {
            number: wanted.token_id,
        };
        domain.tokens().revoke_token(domain.request(revoke)).await?;
        Ok(Response::new(dialect::RevokeTokenResponse {
            code: 0,
            msg: "token revoked".into(),
        }))
    }

    async fn list_devices(
        &self,
        request: Request<dialect::ListDevicesRequest>,
    ) -> Result<Response<dialect::ListDevicesResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let page = Page::new(wanted.limit, wanted.offset)?;
        let nulls = values::flag("blankasnull", &wanted.blankasnull)?;
        let (found, total) = devices::list(&domain, wanted, page).await?;
        Ok(Response::new(dialect::ListDevicesResponse {
            devices: devices::shown(&domain, found, nulls).await?,
            total_count: total,
            limit: page.limit,
            offset: page.offset,
        }))
    }

    async fn list_device_names(
        &self,
        request: Request<dialect::ListDeviceNamesRequest>,
    ) -> Result<Response<dialect::ListDeviceNamesResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let page = Page::new(wanted.limit, wanted.offset)?;
        let nulls = values::flag("blankasnull", &wanted.blankasnull)?;
        let (found, total) = devices::list(&domain, look::filters(wanted), page).await?;
        let devices = found.into_iter().map(|d| devices::name(d, nulls)).collect();
        Ok(Response::new(dialect::ListDeviceNamesResponse {
            devices,
            total_count: total,
            limit: page.limit,
            offset: page.offset,
        }))
    }

    async fn list_all_devices(
        &self,
        request: Request<dialect::ListAllDevicesRequest>,
    ) -> Result<Response<dialect::ListAllDevicesResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let page = Page::new(wanted.limit, wanted.offset)?;
        let nulls = values::flag("blankasnull", &wanted.blankasnull)?;
        let (found, total) = devices::list(&domain, Default::default(), page).await?;
        Ok(Response::new(dialect::ListAllDevicesResponse {
            devices: devices::shown(&domain, found, nulls).await?,
            total_count: total,
            limit: page.limit,
            offset: page.offset,
        }))
    }

    async fn get_device(
        &self,
        request: Request<dialect::GetDeviceRequest>,
    ) -> Result<Response<dialect::Device>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let nulls = values::flag("blankasnull", &wanted.blankasnull)?;
        let found = devices::get(&domain, &wanted).await?;
        let shown = devices::shown(&domain, vec![found], nulls).await?;
        let device = shown.into_iter().next().unwrap_or_default();
        Ok(Response::new(device))
    }

    async fn put_device(
        &self,
        request: Request<dialect::PutDeviceRequest>,
    ) -> Result<Response<dialect::WriteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let (device, written) = devices::put(&domain, wanted).await?;
        let text = "device added or updated";
        Ok(written.response(text, device.number, &device.display_name))
    }

    async fn delete_device(
        &self,
        request: Request<dialect::DeleteDeviceRequest>,
    ) -> Result<Response<dialect::DeleteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let device = devices::by_number(&domain, wanted.device_id).await?;
        let delete = proto::registry::DeleteDeviceRequest {
            id: device.id,
            ..Default::default()
        };
        domain
            .devices()
            .delete_device(domain.request(delete))
            .await?;
        Ok(deleted(device.number))
    }

    async fn archive_device(
        &self,
        request: Request<dialect::ArchiveDeviceRequest>,
    ) -> Result<Response<dialect::WriteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let device = look::archive(&domain, wanted.device_id).await?;
        Ok(Written::Updated.response("device archived", device.number, &device.display_name))
    }

    async fn put_custom_field(
        &self,
        request: Request<dialect::PutCustomFieldRequest>,
    ) -> Result<Response<dialect::WriteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let (device, written) = look::put_custom_field(&domain, wanted).await?;
        Ok(written.response(FIELD_PUT, device.number, &device.display_name))
    }

    async fn list_buildings(
        &self,
        request: Request<dialect::ListBuildingsRequest>,
    ) -> Result<Response<dialect::ListBuildingsResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let page = Page::new(wanted.limit, wanted.offset)?;
        let (found, total) = buildings::list(&domain, wanted.name, page).await?;
        Ok(Response::new(dialect::ListBuildingsResponse {
            buildings: found.into_iter().map(buildings::shown).collect(),
            total_count: total,
            limit: page.limit,
            offset: page.offset,
        }))
    }

    async fn get_building(
        &self,
        request: Request<dialect::GetBuildingRequest>,
    ) -> Result<Response<dialect::Building>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let site = buildings::by_number(&domain, wanted.building_id).await?;
        Ok(Response::new(buildings::shown(site)))
    }

    async fn put_building(
        &self,
        request: Request<dialect::PutBuildingRequest>,
    ) -> Result<Response<dialect::WriteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let (site, written) = buildings::put(&domain, wanted).await?;
        let text = "Building added/updated successfully";
        Ok(written.response(text, site.number, &site.display_name))
    }

    async fn delete_building(
        &self,
        request: Request<dialect::DeleteBuildingRequest>,
    ) -> Result<Response<dialect::DeleteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let site = buildings::by_number(&domain, wanted.building_id).await?;
        let delete = proto::registry::DeleteSiteRequest { id: site.id };
        domain.sites().delete_site(domain.request(delete)).await?;
        Ok(deleted(site.number))
    }

    async fn put_building_field(
        &self,
        request: Request<dialect::PutBuildingFieldRequest>,
    ) -> Result<Response<dialect::WriteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let (site, written) = buildings::put_field(&domain, &wanted).await?;
        Ok(written.response(FIELD_PUT, site.number, &site.display_name))
    }

    async fn list_tags(
        &self,
        request: Request<dialect::ListTagsRequest>,
    ) -> Result<Response<dialect::ListTagsResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let page = Page::new(wanted.limit, wanted.offset)?;
        let (tags, total) = tags::list(&domain, wanted.name, page).await?;
        Ok(Response::new(dialect::ListTagsResponse {
            tags,
            total_count: total,
            limit: page.limit,
            offset: page.offset,
        }))
    }

    async fn make_api_client_keys(
        &self,
        request: Request<dialect::MakeApiClientKeysRequest>,
    ) -> Result<Response<dialect::MakeApiClientKeysResponse>, Status> {
        open_subject(request)?;
        Ok(Response::new(clients::fresh_pair()))
    }

    async fn list_api_clients(
        &self,
        request: Request<dialect::ListApiClientsRequest>,
    ) -> Result<Response<dialect::ListApiClientsResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let page = Page::new(wanted.limit, wanted.offset)?;
        let (found, total) = clients::list(&domain, page).await?;
        Ok(Response::new(dialect::ListApiClientsResponse {
            api_client: found.into_iter().map(clients::shown).collect(),
            total_count: total,
            limit: page.limit,
            offset: page.offset,
        }))
    }

    async fn get_api_client(
        &self,
        request: Request<dialect::GetApiClientRequest>,
    ) -> Result<Response<dialect::ApiClient>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let client = clients::by_number(&domain, wanted.id).await?;
        Ok(Response::new(clients::shown(client)))
    }

    async fn create_api_client(
        &self,
        request: Request<dialect::CreateApiClientRequest>,
    ) -> Result<Response<dialect::WriteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let (client, written) = clients::put(&domain, wanted).await?;
        let text = "api client added or updated";
        Ok(written.response(text, client.number, &client.client_key))
    }

    async fn delete_api_client(
        &self,
        request: Request<dialect::DeleteApiClientRequest>,
    ) -> Result<Response<dialect::DeleteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let client = clients::by_number(&domain, wanted.id).await?;
        let delete = keys::DeleteApiClientRequest { id: client.id };
        domain
            .api_clients()
            .delete_api_client(domain.request(delete))
            .await?;
        Ok(deleted(client.number))
    }
}

impl Device42 {
    /// The domain as seen from the caller's tenant, and the message.
    async fn open<T: proto::Validate>(&self, request: Request<T>) -> Result<(Domain, T)> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        Ok((at_home(domain).await?, wanted))
    }
}

/// The domain as seen from the token's tenant, or from the first one that a
/// user is a member of: Device42's callers can name none.
async fn at_home(domain: Domain) -> Result<Domain> {
    if domain.subject()?.tenant().is_some() {
        return Ok(domain);
    }
    let list = ListMyTenantsRequest {
        page_size: 1,
        ..Default::default()
    };
    let mine = domain
        .tenants()
        .list_my_tenants(domain.request(list))
        .await?
        .into_inner();
    let first = mine.tenants.into_iter().find_map(|mine| mine.tenant);
    let first = first.ok_or_else(|| {
        let why = "the caller is a member of no tenant";
        Error::denied("NOT_A_MEMBER", why)
    })?;
    domain
        .in_tenant(first.id.parse().map_err(Error::internal)?)
        .await
}

fn shown(token: keys::Token) -> dialect::Token {
    let expires = token.expire_time.as_ref().and_then(date_time);
    dialect::Token {
        code: 0,
        expires: expires
            .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
            .unwrap_or_default(),
        token: token.access_token,
        // Minutes, whatever the vendor's reference says: its clients agree.
        ttl: token.ttl.unwrap_or_default().seconds / 60,
        msg: "connected".into(),
        token_id: token.number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_minutes_and_expires_at_a_time_with_milliseconds() {
        let token = shown(keys::Token {
            number: 3,
            access_token: "eyJ".into(),
            ttl: Some(prost_types::Duration {
                seconds: 600,
                nanos: 0,
            }),
            expire_time: Some(prost_types::Timestamp {
                seconds: 1_657_866_306,
                nanos: 240_000_000,
            }),
        });
        assert_eq!((token.ttl, token.token_id), (10, 3));
        assert_eq!(token.expires, "2022-07-15T06:25:06.240Z");
    }
}
