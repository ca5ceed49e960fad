//! SensorBucket: API keys, tenants and devices, as its documentation and its
//! generated clients have them. A tenant is named by its number.

mod around;
mod devices;
mod keys;
mod paging;
mod permissions;
mod refusal;
mod sensors;
mod state;
mod tenants;

use chassis::peer::Peers;
use chassis::{Clock, Error, Result, open_subject};
use proto::keys::CreateApiKeyRequest;
use proto::muster::dialect::sensorbucket::v1 as dialect;
use proto::muster::dialect::sensorbucket::v1::sensor_bucket_service_server::{
    SensorBucketService, SensorBucketServiceServer,
};
use proto::tenancy::tenant;
use tonic::{Request, Response, Status};

use self::paging::Cursor;
use self::tenants::{at_home, matches, no_member, shown_tenant, tenants_of, where_to_look, within};
use crate::domain::Domain;
use crate::origin::BaseUrl;

pub(super) const DIALECT: super::Dialect = super::Dialect {
    service: "muster.dialect.sensorbucket.v1.SensorBucketService",
    prefixes: &["/api/"],
    error: refusal::error,
    error_content: Some(refusal::content),
};

const NO_TENANT: &str = "Organisation does not exist or has been archived";
const NO_KEY: &str = "API Key not found";
const NO_KEY_TO_REVOKE: &str = "Key does not exist";
const NO_DEVICE: &str = "Device not found";
const NO_SENSOR: &str = "Sensor not found";

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
        let (domain, tenant) = at_home(&domain).await?;
        let filter = devices::filter(&domain, &wanted, &at).await?;
        let page = domain
            .devices()
            .list_devices(domain.request(filter))
            .await?
            .into_inner();
        let mut found = page.devices;
        if let Some(around) = around::Around::read(&wanted)? {
            // The registry was asked for a box around it.
            found.retain(|device| around.holds(device.location.as_ref()));
        }
        at.token = page.next_page_token;
        at.tenants = (!at.token.is_empty())
            .then_some(tenant)
            .into_iter()
            .collect();
        let data = sensors::with_devices(&domain, found, tenant).await?;
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
            data: sensors::with_devices(&domain, vec![device], tenant)
                .await?
                .pop(),
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

    async fn list_device_sensors(
        &self,
        request: Request<dialect::ListDeviceSensorsRequest>,
    ) -> Result<Response<dialect::ListSensorsResponse>, Status> {
        let base = base_url(&request);
        let (domain, tenant, wanted) = self.enter(request).await?;
        let at = Cursor::at(&wanted.cursor, wanted.limit)?;
        let device = devices::find(&domain, wanted.device_id).await?;
        let list = format!("devices/{}/sensors", device.number);
        let page = sensors::page(&domain, tenant, Some(device), at, &base, &list);
        Ok(Response::new(page.await?))
    }

    async fn create_device_sensor(
        &self,
        request: Request<dialect::CreateDeviceSensorRequest>,
    ) -> Result<Response<dialect::CreateDeviceSensorResponse>, Status> {
        let (domain, _, wanted) = self.enter(request).await?;
        sensors::create(&domain, wanted).await?;
        let message = "Created new sensor for device".into();
        Ok(Response::new(dialect::CreateDeviceSensorResponse {
            message,
        }))
    }

    async fn get_device_sensor(
        &self,
        request: Request<dialect::GetDeviceSensorRequest>,
    ) -> Result<Response<dialect::GetSensorResponse>, Status> {
        let (domain, tenant, wanted) = self.enter(request).await?;
        let (device, sensor) =
            sensors::of_device(&domain, wanted.device_id, &wanted.sensor_code).await?;
        Ok(Response::new(dialect::GetSensorResponse {
            message: "Fetched sensor".into(),
            data: Some(sensors::shown(sensor, device.number, tenant)),
        }))
    }

    async fn update_device_sensor(
        &self,
        request: Request<dialect::UpdateDeviceSensorRequest>,
    ) -> Result<Response<dialect::UpdateDeviceSensorResponse>, Status> {
        let (domain, _, wanted) = self.enter(request).await?;
        sensors::update(&domain, wanted).await?;
        let message = "Updated sensor".into();
        Ok(Response::new(dialect::UpdateDeviceSensorResponse {
            message,
        }))
    }

    async fn delete_device_sensor(
        &self,
        request: Request<dialect::DeleteDeviceSensorRequest>,
    ) -> Result<Response<dialect::DeleteDeviceSensorResponse>, Status> {
        let (domain, _, wanted) = self.enter(request).await?;
        sensors::delete(&domain, wanted.device_id, &wanted.sensor_code).await?;
        let message = "Deleted sensor".into();
        Ok(Response::new(dialect::DeleteDeviceSensorResponse {
            message,
        }))
    }

    async fn list_sensors(
        &self,
        request: Request<dialect::ListSensorsRequest>,
    ) -> Result<Response<dialect::ListSensorsResponse>, Status> {
        let base = base_url(&request);
        let (domain, tenant, wanted) = self.enter(request).await?;
        let at = Cursor::at(&wanted.cursor, wanted.limit)?;
        let page = sensors::page(&domain, tenant, None, at, &base, "sensors");
        Ok(Response::new(page.await?))
    }

    async fn get_sensor(
        &self,
        request: Request<dialect::GetSensorRequest>,
    ) -> Result<Response<dialect::GetSensorResponse>, Status> {
        let (domain, tenant, wanted) = self.enter(request).await?;
        Ok(Response::new(dialect::GetSensorResponse {
            message: "Fetched sensor".into(),
            data: Some(sensors::by_number(&domain, wanted.id, tenant).await?),
        }))
    }
}

impl SensorBucket {
    /// The domain as seen from the caller's tenant, its number, and the message.
    async fn enter<T: proto::Validate>(&self, request: Request<T>) -> Result<(Domain, i64, T)> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (domain, tenant) = at_home(&domain).await?;
        Ok((domain, tenant, wanted))
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
