//! Answers with some fields only (AIP-157).

use chassis::{Error, Result};
use prost_types::FieldMask;
use proto::registry::Device;

/// A mask whose paths are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadMask(Option<Vec<&'static str>>);

macro_rules! fields {
    ($($name:ident),* $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        impl ReadMask {
            /// The device with the fields of the mask.
            pub(crate) fn apply(&self, device: Device) -> Device {
                let Some(names) = &self.0 else { return device };
                let mut shown = Device::default();
                $(if names.contains(&stringify!($name)) {
                    shown.$name = device.$name;
                })*
                shown
            }
        }
    };
}

fields!(
    id,
    number,
    display_name,
    serial_number,
    external_id,
    code,
    description,
    tag_ids,
    labels,
    attributes,
    site_id,
    location,
    state,
    last_seen_time,
    create_time,
    update_time,
    etag,
    delete_time,
    purge_time,
);

impl ReadMask {
    /// Reads `read_mask`; every path that is no field is told.
    pub(crate) fn read(mask: Option<&FieldMask>) -> Result<Self> {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        if paths.is_empty() || paths.iter().any(|path| path == "*") {
            return Ok(Self(None));
        }
        let known = |path: &String| NAMES.iter().find(|name| *name == path).copied();
        let unknown: Vec<_> = paths.iter().filter(|path| known(path).is_none()).collect();
        match unknown.first() {
            None => Ok(Self(Some(paths.iter().filter_map(known).collect()))),
            Some(_) => {
                let shown: String = format!("{unknown:?}").chars().take(200).collect();
                Err(Error::invalid(
                    "read_mask",
                    format!("{shown} are no fields of a device"),
                ))
            }
        }
    }
}
