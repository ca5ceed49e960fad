//! The least that a tonic service can be.

use tonic::{Request, Response, Status, async_trait};

use crate::fleet::fleet_server::Fleet;
use crate::fleet::{Device, Devices, ImportDevicesResponse, ListDevicesRequest};

/// Answers at once, always the same.
#[derive(Debug)]
pub struct Fixed {
    devices: Devices,
}

impl Default for Fixed {
    fn default() -> Self {
        Self {
            devices: crate::devices(),
        }
    }
}

#[async_trait]
impl Fleet for Fixed {
    async fn echo_device(&self, request: Request<Device>) -> Result<Response<Device>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn list_devices(
        &self,
        _: Request<ListDevicesRequest>,
    ) -> Result<Response<Devices>, Status> {
        Ok(Response::new(self.devices.clone()))
    }

    async fn import_devices(
        &self,
        request: Request<Devices>,
    ) -> Result<Response<ImportDevicesResponse>, Status> {
        let count = request.into_inner().devices.len() as i32;
        Ok(Response::new(ImportDevicesResponse { count }))
    }
}
