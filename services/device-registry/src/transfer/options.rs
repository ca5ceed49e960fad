//! How an import is taken.

use chassis::{Error, Result};
use prost_types::FieldMask;
use proto::registry::import_devices_request::MatchBy;
use proto::registry::{Device, ImportDevicesRequest};
use uuid::Uuid;

use crate::device_row::FIELDS;
use crate::ids;

/// What the first message decides for all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) match_by: MatchBy,
    pub(crate) validate_only: bool,
    pub(crate) atomic: bool,
    pub(crate) update_mask: Option<FieldMask>,
    pub(crate) import_id: Option<Uuid>,
    pub(crate) first_index: i64,
    pub(crate) tags_by_name: bool,
    pub(crate) refused_only: bool,
}

impl Options {
    /// The options of a stream by its first message, if there is any.
    pub(crate) fn read(first: Option<&ImportDevicesRequest>) -> Result<Self> {
        let Some(first) = first else {
            return Ok(Self::default());
        };
        let import_id = ids::parse_optional("import_id", &first.import_id)?;
        if import_id.is_some() && (first.atomic || first.validate_only) {
            let text = "is of no use with atomic or validate_only: such an import does not go on";
            return Err(Error::invalid("import_id", text));
        }
        check_mask(first.update_mask.as_ref())?;
        Ok(Self {
            match_by: first.match_by(),
            validate_only: first.validate_only,
            atomic: first.atomic,
            update_mask: first.update_mask.clone(),
            import_id,
            first_index: first.first_index,
            tags_by_name: first.tags_by_name,
            refused_only: first.refused_only,
        })
    }
}

/// A mask that is wrong is told once, and not for each device.
fn check_mask(mask: Option<&FieldMask>) -> Result<()> {
    let any = Device {
        display_name: "any".to_owned(),
        ..Device::default()
    };
    FIELDS.merge(mask, &any, any.clone()).map(drop)
}
