//! `muster device import` and `muster device export`: many devices, between
//! files and the tenant.

mod course;
mod export;
mod format;
mod import;
mod read;
mod refused;

use std::time::Duration;

use proto::registry::device_transfer_service_client::DeviceTransferServiceClient;

use super::connect::Authorized;
use super::failure::Failure;

pub(crate) use export::Export;
pub(crate) use import::Import;

type Client = DeviceTransferServiceClient<Authorized>;

/// A device with long descriptions is larger than gRPC's usual limit.
const MAX_MESSAGE: usize = 64 << 20;
/// How often a stream that breaks off is taken up again without having come
/// further: for a minute, in which a server has begun again.
const ATTEMPTS: u32 = 16;
/// The longest pause before.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

fn client(channel: Authorized) -> Client {
    DeviceTransferServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

/// Waits longer each time, or gives up.
async fn pause(attempt: u32, failure: Failure) -> Result<(), Failure> {
    if attempt >= ATTEMPTS || !failure.may_go_on() {
        return Err(failure);
    }
    let pause = Duration::from_millis(200 << attempt);
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    Ok(())
}
