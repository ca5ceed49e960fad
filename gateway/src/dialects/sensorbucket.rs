//! SensorBucket: API keys, tenants and devices, as its documentation and its
//! generated clients have them. A tenant is named by its number.

mod devices;
mod keys;
mod paging;
mod permissions;
mod refusal;

use bytes::Bytes;
use chassis::peer::Peers;
use chassis::{Clock, Error, Result, open_subject};
use http::{Response as HttpResponse, StatusCode};
use proto::keys::CreateApiKeyRequest;
use proto::muster::dialect::sensorbucket::v1 as dialect;
use proto::muster::dialect::sensorbucket::v1::sensor_bucket_service_server::{
    SensorBucketService, SensorBucketServiceServer,
};
use proto::tenancy::{ListMyTenantsRequest, Tenant, tenant};
use tonic::{Code, Request, Response, Status};
use transcoder::Problem;

use self::paging::Cursor;
use crate::domain::Domain;
use crate::origin::BaseUrl;

pub(super) const DIALECT: super::Dialect = super::Dialect {
    service: "muster.dialect.sensorbucket.v1.SensorBucketService",
    prefixes: &["/api/"],
    error,
    error_content: Some(refusal::content),
};

const NO_TENANT: &str = "Organisation does not exist or has been archived";
const NO_KEY: &str = "API Key not found";
const NO_KEY_TO_REVOKE: &str = "Key does not exist";
const NO_DEVICE: &str = "Device not found";

pub(super) fn service(peers: &Peers) -> SensorBucketServiceServer<SensorBucket> {
    SensorBucketServiceServer::new(SensorBucket {
        peers: peers.clone(),
        clock: Clock::system(),
    })
}

/// The dialect's methods.
pub(super) struct SensorBucket {
    peers: Peers,
    clock: Clock,
}

#[tonic::async_trait]
impl SensorBucketService for SensorBucket {
    async fn create_api_key(
        &self,
        request: Request<dialect::CreateApiKeyRequest>,
    ) -> Result<Response<dialect::CreateApiKeyResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let number = wanted.tenant_id;
        let api_key = keys::new(wanted, self.clock.now())?;
        let tenants = tenants_of(&domain).await?;
        let tenant = tenants
            .iter()
            .find(|tenant| tenant.number == number && tenant.state() == tenant::State::Active)
            .ok_or_else(|| Status::not_found(NO_TENANT))?;
        let domain = within(&domain, tenant).await?;
        let create = CreateApiKeyRequest {
            api_key: Some(api_key),
            ..Default::default()
        };
        let created = domain
            .api_keys()
            .create_api_key(domain.request(create))
            .await
            .map_err(keys::taken)?;
        let api_key = created.into_inner().secret;
        Ok(Response::new(dialect::CreateApiKeyResponse { api_key }))
    }

    async fn list_api_keys(
        &self,
        request: Request<dialect::ListApiKeysRequest>,
    ) -> Result<Response<dialect::ListApiKeysResponse>, Status> {
        let base = base_url(&request);
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let tenants = tenants_of(&domain).await?;
        let mut at = match wanted.cursor.as_str() {
            "" => Cursor::start(
                wanted.limit,
                keys::tenants_wanted(&domain, &wanted, &tenants)?,
            ),
            cursor => Cursor::read(cursor)?,
        };
        let data = keys::page(&domain, &tenants, &mut at).await?;
        Ok(Response::new(dialect::ListApiKeysResponse {
            links: Some(at.links(&base, "api-keys")),
            page_size: count(&data),
            total_count: 0,
            data,
        }))
    }

    async fn get_api_key(
        &self,
        request: Request<dialect::GetApiKeyRequest>,
    ) -> Result<Response<dialect::GetApiKeyResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, tenant, key) = keys::find(&domain, wanted.api_key_id)
            .await?
            .ok_or_else(|| Status::not_found(NO_KEY))?;
        let key = keys::shown(key, &tenant);
        Ok(Response::new(dialect::GetApiKeyResponse {
            id: key.id,
            name: key.name.clone(),
            tenant_id: key.tenant_id,
            tenant_name: key.tenant_name.clone(),
            expiration_date: key.expiration_date,
            created: key.created,
            permissions: key.permissions.clone(),
            data: Some(key),
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<dialect::RevokeApiKeyRequest>,
    ) -> Result<Response<dialect::RevokeApiKeyResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (domain, _, key) = keys::find(&domain, wanted.api_key_id)
            .await?
            .ok_or_else(|| Status::not_found(NO_KEY_TO_REVOKE))?;
        keys::revoke(&domain, key.id).await?;
        let message = "API key has been revoked".into();
        Ok(Response::new(dialect::RevokeApiKeyResponse { message }))
    }

    async fn list_tenants(
        &self,
        request: Request<dialect::ListTenantsRequest>,
    ) -> Result<Response<dialect::ListTenantsResponse>, Status> {
        let base = base_url(&request);
        let domain = Domain::of(&self.peers, &request);
        let (subject, wanted) = open_subject(request)?;
        if wanted.is_member.is_some() && subject.user().is_err() {
            let why = "is_member can only be asked for by a user's session";
            return Err(Error::precondition("ERR_SESSION_INVALID", why).into());
        }
        let tenants = tenants_of(&domain).await?;
        let mut matching: Vec<_> = tenants.iter().filter(|t| matches(t, &wanted)).collect();
        let mut at = Cursor::start(wanted.limit, vec![]);
        if !wanted.cursor.is_empty() {
            at = Cursor::read(&wanted.cursor)?;
            let first = at.tenants.first().copied().unwrap_or_default();
            matching = matching.split_off(matching.partition_point(|t| t.number < first));
        }
        let limit = usize::try_from(at.limit()).unwrap_or_default();
        at.tenants = matching.get(limit).map(|t| t.number).into_iter().collect();
        let page = matching.iter().take(limit);
        let data: Vec<_> = page.map(|t| shown_tenant(t, &tenants)).collect();
        Ok(Response::new(dialect::ListTenantsResponse {
            links: Some(at.links(&base, "tenants")),
            page_size: count(&data),
            total_count: 0,
            data,
        }))
    }

    async fn list_devices(
        &self,
        request: Request<dialect::ListDevicesRequest>,
    ) -> Result<Response<dialect::ListDevicesResponse>, Status> {
        let base = base_url(&request);
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let mut at = match wanted.cursor.as_str() {
            "" => Cursor::start(wanted.limit, vec![]),
            cursor => Cursor::read(cursor)?,
        };
        let filter = devices::filter(&wanted, &at)?;
        let (domain, tenant) = at_home(&domain).await?;
        let page = domain
            .devices()
            .list_devices(domain.request(filter))
            .await?
            .into_inner();
        at.token = page.next_page_token;
        at.tenants = (!at.token.is_empty())
            .then_some(tenant)
            .into_iter()
            .collect();
        let data: Vec<_> = page
            .devices
            .into_iter()
            .map(|device| devices::shown(device, tenant))
            .collect();
        Ok(Response::new(dialect::ListDevicesResponse {
            links: Some(at.links(&base, "devices")),
            page_size: count(&data),
            total_count: 0,
            data,
        }))
    }

    async fn create_device(
        &self,
        request: Request<dialect::CreateDeviceRequest>,
    ) -> Result<Response<dialect::CreateDeviceResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let create = devices::creation(wanted)?;
        let (domain, tenant) = at_home(&domain).await?;
        let device = domain
            .devices()
            .create_device(domain.request(create))
            .await?
            .into_inner();
        Ok(Response::new(dialect::CreateDeviceResponse {
            message: "Created new device".into(),
            data: Some(devices::shown(device, tenant)),
        }))
    }

    async fn get_device(
        &self,
        request: Request<dialect::GetDeviceRequest>,
    ) -> Result<Response<dialect::GetDeviceResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (domain, tenant) = at_home(&domain).await?;
        let device = devices::find(&domain, wanted.device_id).await?;
        Ok(Response::new(dialect::GetDeviceResponse {
            message: "Fetched device".into(),
            data: Some(devices::shown(device, tenant)),
        }))
    }

    async fn update_device(
        &self,
        request: Request<dialect::UpdateDeviceRequest>,
    ) -> Result<Response<dialect::UpdateDeviceResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (domain, _) = at_home(&domain).await?;
        let device = devices::find(&domain, wanted.device_id).await?;
        let update = devices::update(device, wanted)?;
        domain
            .devices()
            .update_device(domain.request(update))
            .await?;
        let message = "Updated device".into();
        Ok(Response::new(dialect::UpdateDeviceResponse { message }))
    }

    async fn delete_device(
        &self,
        request: Request<dialect::DeleteDeviceRequest>,
    ) -> Result<Response<dialect::DeleteDeviceResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (domain, _) = at_home(&domain).await?;
        let id = devices::find(&domain, wanted.device_id).await?.id;
        let delete = proto::registry::DeleteDeviceRequest {
            id,
            ..Default::default()
        };
        domain
            .devices()
            .delete_device(domain.request(delete))
            .await?;
        let message = "Deleted device".into();
        Ok(Response::new(dialect::DeleteDeviceResponse { message }))
    }
}

/// The tenants that the caller may act for, lowest number first.
async fn tenants_of(domain: &Domain) -> Result<Vec<Tenant>> {
    let mut tenants = Vec::new();
    let mut page_token = String::new();
    loop {
        let list = ListMyTenantsRequest {
            page_size: 1000,
            page_token,
        };
        let page = domain
            .tenants()
            .list_my_tenants(domain.request(list))
            .await?
            .into_inner();
        tenants.extend(page.tenants.into_iter().filter_map(|mine| mine.tenant));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            tenants.sort_by_key(|tenant| tenant.number);
            return Ok(tenants);
        }
    }
}

/// The domain as seen from one of the caller's tenants.
async fn within(domain: &Domain, tenant: &Tenant) -> Result<Domain> {
    domain
        .in_tenant(tenant.id.parse().map_err(Error::internal)?)
        .await
}

/// Where something may be that is named without its tenant: the tenant that
/// the token is scoped to comes first, then a user's others.
async fn where_to_look(domain: &Domain) -> Result<Vec<Tenant>> {
    let mut tenants = tenants_of(domain).await?;
    if let Some(scope) = domain.subject()?.tenant() {
        let scope = scope.0.to_string();
        tenants.sort_by_key(|tenant| tenant.id != scope);
    }
    Ok(tenants)
}

/// The domain as seen from the token's tenant, or from a user's first one,
/// and the tenant's number.
async fn at_home(domain: &Domain) -> Result<(Domain, i64)> {
    if domain.subject()?.tenant().is_some() {
        return Ok((domain.clone(), domain.tenant_number()?));
    }
    let tenants = tenants_of(domain).await?;
    let first = tenants.first().ok_or_else(no_member)?;
    Ok((within(domain, first).await?, first.number))
}

fn no_member() -> Error {
    Error::denied("NOT_A_MEMBER", "the caller is a member of no tenant")
}

fn matches(tenant: &Tenant, wanted: &dialect::ListTenantsRequest) -> bool {
    let state = match tenant.state() {
        tenant::State::Suspended => 2,
        _ => 1,
    };
    (wanted.name.is_empty() || wanted.name == tenant.display_name)
        && wanted.state.is_none_or(|wanted| wanted == state)
}

fn shown_tenant(tenant: &Tenant, all: &[Tenant]) -> dialect::Tenant {
    let parent = all.iter().find(|other| other.id == tenant.parent);
    dialect::Tenant {
        id: tenant.number,
        name: tenant.display_name.clone(),
        parent_tenant_id: parent.map(|parent| parent.number),
        ..Default::default()
    }
}

/// Where the client found the server.
fn base_url<T>(request: &Request<T>) -> String {
    let base = request.extensions().get::<BaseUrl>();
    base.map(|base| base.0.clone()).unwrap_or_default()
}

fn count<T>(page: &[T]) -> i32 {
    i32::try_from(page.len()).unwrap_or(i32::MAX)
}

/// `{"message", "code"}`; the code is left out where SensorBucket has none.
fn error(problem: &Problem) -> HttpResponse<Bytes> {
    let (status, message, code) = told(problem);
    let mut body = serde_json::json!({ "message": message });
    if let Some(code) = code {
        body["code"] = code.into();
    }
    super::json(status, &body)
}

fn told(problem: &Problem) -> (StatusCode, &str, Option<&str>) {
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    let message = problem.status.message();
    let reason = problem.reason.as_deref();
    match (reason.unwrap_or_default(), problem.status.code()) {
        ("MALFORMED_JSON", _) => (BAD, "Malformed JSON", Some("MALFORMED_JSON")),
        ("UNSUPPORTED_MEDIA_TYPE" | "MALFORMED_FORM", _) => invalid_content_type(),
        // JSON that came as a form, as `curl -d` sends it.
        ("UNKNOWN_FIELD", _) if message.starts_with('{') => invalid_content_type(),
        ("INVALID_VALUE", _) if message.starts_with("api_key_id:") => {
            (BAD, "api_key_id must be a valid int", None)
        }
        ("INVALID_VALUE", _) if message.starts_with("device_id:") => (
            BAD,
            "device_id must be a valid int",
            Some("DEVICE_ID_INVALID"),
        ),
        (_, Code::Unauthenticated) => (problem.http_status, message, Some("UNAUTHORIZED")),
        (_, Code::PermissionDenied) => (problem.http_status, message, Some("FORBIDDEN")),
        (_, Code::Internal | Code::Unknown | Code::DataLoss) => {
            (problem.http_status, "Internal server error", None)
        }
        ("", Code::NotFound) if message == NO_KEY => {
            (problem.http_status, message, Some("ERR_API_KEY_NOT_FOUND"))
        }
        ("", Code::NotFound) if message == NO_DEVICE => {
            (problem.http_status, message, Some("DEVICE_NOT_FOUND"))
        }
        _ => (problem.http_status, message, reason),
    }
}

fn invalid_content_type() -> (StatusCode, &'static str, Option<&'static str>) {
    let code = Some("INVALID_CONTENT_TYPE");
    (StatusCode::BAD_REQUEST, "Invalid content type", code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_codes_of_the_documentation() {
        let told = |status| error(&Problem::new(status));
        let answer = told(Status::not_found(NO_KEY));
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            answer.body(),
            r#"{"message":"API Key not found","code":"ERR_API_KEY_NOT_FOUND"}"#
        );
        let answer = told(Status::not_found(NO_KEY_TO_REVOKE));
        assert_eq!(answer.body(), r#"{"message":"Key does not exist"}"#);
        let answer = told(no_member().into());
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(answer.body().ends_with(br#""code":"FORBIDDEN"}"#));
    }
}
