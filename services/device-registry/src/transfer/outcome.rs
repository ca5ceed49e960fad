//! What became of the devices of an import.

use chassis::Error;
use prost::Message;
use proto::google::rpc;
use proto::registry::imported_device::Outcome as Kind;
use proto::registry::{ImportSummary, ImportedDevice};
use tonic::Status;
use uuid::Uuid;

/// What became of one device.
#[derive(Debug)]
pub(crate) enum Outcome {
    Created(Uuid),
    Updated(Uuid),
    Unchanged(Uuid),
    Refused(Error),
    DoneBefore,
    NotDone,
}

impl Outcome {
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The answer for the device at an index.
    pub(crate) fn told(self, index: i64) -> ImportedDevice {
        let (kind, id, error) = match self {
            Self::Created(id) => (Kind::Created, Some(id), None),
            Self::Updated(id) => (Kind::Updated, Some(id), None),
            Self::Unchanged(id) => (Kind::Unchanged, Some(id), None),
            Self::Refused(error) => (Kind::Refused, None, Some(status(error))),
            Self::DoneBefore => (Kind::DoneBefore, None, None),
            Self::NotDone => (Kind::NotDone, None, None),
        };
        ImportedDevice {
            index,
            outcome: kind.into(),
            device_id: id.map(|id| id.to_string()).unwrap_or_default(),
            error,
        }
    }
}

/// An error as an answer can hold it, with all its details.
fn status(error: Error) -> rpc::Status {
    let status = Status::from(error);
    match rpc::Status::decode(status.details()) {
        Ok(whole) if whole.code != 0 => whole,
        _ => rpc::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        },
    }
}

/// Counts a device.
pub(crate) fn count(summary: &mut ImportSummary, outcome: &Outcome) {
    let count = match outcome {
        Outcome::Created(_) => &mut summary.created_count,
        Outcome::Updated(_) => &mut summary.updated_count,
        Outcome::Unchanged(_) => &mut summary.unchanged_count,
        Outcome::Refused(_) => &mut summary.refused_count,
        Outcome::DoneBefore => &mut summary.done_before_count,
        Outcome::NotDone => &mut summary.not_done_count,
    };
    *count += 1;
}
