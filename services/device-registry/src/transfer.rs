//! Many devices at once: imports and exports, as streams.

mod chunk;
mod export;
mod import;
mod options;
mod outcome;
mod row;
mod there;

use chassis::store::Store;
use chassis::{Clock, Error, context, open, open_stream};
use proto::registry::device_transfer_service_server::DeviceTransferService;
use proto::registry::{
    ExportDevicesRequest, ExportDevicesResponse, ImportDevicesRequest, ImportDevicesResponse,
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::page_key::SealerOnce;
use export::Export;
use import::Import;
use options::Options;

/// Answers that wait for the client to read them, at most.
const WAITING: usize = 1000;

/// Answers calls about many devices.
pub(crate) struct Transfer {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// How many devices a tenant may have that has no limit of its own.
    pub(crate) device_limit: Option<i64>,
    pub(crate) sealer: SealerOnce,
}

/// Where answers go, as fast as the client reads them.
pub(crate) type Answers<T> = mpsc::Sender<Result<T, Status>>;

#[tonic::async_trait]
impl DeviceTransferService for Transfer {
    type ImportDevicesStream = ReceiverStream<Result<ImportDevicesResponse, Status>>;
    type ExportDevicesStream = ReceiverStream<Result<ExportDevicesResponse, Status>>;

    async fn import_devices(
        &self,
        request: Request<Streaming<ImportDevicesRequest>>,
    ) -> Result<Response<Self::ImportDevicesStream>, Status> {
        let (caller, mut messages) = open_stream(request)?;
        // What is wrong with the options is an answer like any other, so they
        // are waited for.
        let first = messages.next().await.transpose()?;
        let options = Options::read(first.as_ref())?;
        let import = Import::begin(self, caller, options).await?;
        let messages = tokio_stream::iter(first.map(Ok)).chain(messages);
        Ok(Response::new(answered(|answers| async move {
            import.run(messages, answers).await
        })))
    }

    async fn export_devices(
        &self,
        request: Request<ExportDevicesRequest>,
    ) -> Result<Response<Self::ExportDevicesStream>, Status> {
        let (caller, req) = open(request)?;
        let sealer = self.sealer.get(&self.store).await?;
        let mut export = Export::read(self.store.clone(), caller, sealer, req)?;
        // What is wrong with the filter is told before the stream begins.
        let first = export.page().await?;
        Ok(Response::new(answered(|answers| async move {
            export.run(first, answers).await
        })))
    }
}

/// Does the work of a call in a task of its own, as part of that call; the
/// answers are a stream.
fn answered<T: Send + 'static, F>(
    work: impl FnOnce(Answers<T>) -> F + Send + 'static,
) -> ReceiverStream<Result<T, Status>>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (answers, stream) = mpsc::channel(WAITING);
    let call = context::current().unwrap_or_default();
    tokio::spawn(context::scope(call, async move {
        if let Err(error) = work(answers.clone()).await {
            // A client that is gone need not be told.
            let _ = answers.send(Err(error.into())).await;
        }
    }));
    ReceiverStream::new(stream)
}
