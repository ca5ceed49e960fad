//! Devices as a stream.

use chassis::paging::Sealer;
use chassis::store::Store;
use chassis::{Caller, Result};
use proto::registry::{Device, ExportDevicesRequest, ExportDevicesResponse, ListDevicesRequest};

use super::Answers;
use crate::device_row::message;
use crate::find::pages::Wanted;
use crate::read_mask::ReadMask;

/// Devices that are read at a time; no transaction is open in between.
const PAGE: i32 = 500;

/// An export as far as it has come.
pub(crate) struct Export {
    store: Store,
    caller: Caller,
    sealer: Sealer,
    mask: ReadMask,
    /// The next page.
    next: ListDevicesRequest,
    ended: bool,
}

impl Export {
    pub(crate) fn read(
        store: Store,
        caller: Caller,
        sealer: Sealer,
        request: ExportDevicesRequest,
    ) -> Result<Self> {
        let mask = ReadMask::read(request.read_mask.as_ref())?;
        let after = request.after_number;
        let filter = match (after, request.filter.as_str()) {
            (0, filter) => filter.to_owned(),
            (after, "") => format!("number > {after}"),
            (after, filter) => format!("number > {after} AND ({filter})"),
        };
        Ok(Self {
            store,
            caller,
            sealer,
            mask,
            next: ListDevicesRequest {
                page_size: PAGE,
                filter,
                show_deleted: request.show_deleted,
                ..Default::default()
            },
            ended: false,
        })
    }

    /// The devices of the next page.
    pub(crate) async fn page(&mut self) -> Result<Vec<Device>> {
        let tx = self.store.read(&self.caller).await?;
        let wanted = Wanted::read(&tx, &self.next, &self.sealer).await?;
        let mut found = wanted.page(&tx, &self.sealer).await?;
        self.ended = found.next_page_token.is_empty();
        self.next.page_token = found.next_page_token;
        let devices = found.rows.into_iter().map(|row| {
            let tags = found.tags.remove(&row.id).unwrap_or_default();
            message(row, &tags)
        });
        Ok(devices.collect())
    }

    /// Tells the first page and all that follow, as fast as they are read.
    pub(crate) async fn run(
        mut self,
        first: Vec<Device>,
        answers: Answers<ExportDevicesResponse>,
    ) -> Result<()> {
        let mut page = first;
        loop {
            for device in page {
                let answer = ExportDevicesResponse {
                    number: device.number,
                    device: Some(self.mask.apply(device)),
                };
                if answers.send(Ok(answer)).await.is_err() {
                    return Ok(());
                }
            }
            if self.ended {
                return Ok(());
            }
            page = self.page().await?;
        }
    }
}
