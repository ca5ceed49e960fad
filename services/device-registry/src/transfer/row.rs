//! One device of an import, as far as it can be understood without looking
//! at what there is.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use chassis::{Error, Result};
use proto::registry::Device;
use proto::registry::import_devices_request::MatchBy;
use uuid::Uuid;

use super::options::Options;
use crate::ids;

/// Names that are remembered, at most: some 40 MB.
const REMEMBERED: usize = 2_000_000;

/// What devices are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Id,
    SerialNumber,
    ExternalId,
    Code,
}

impl Key {
    /// What no two devices have both, beside their ids.
    pub(crate) const UNIQUE: [Self; 3] = [Self::SerialNumber, Self::ExternalId, Self::Code];

    pub(crate) fn of(match_by: MatchBy) -> Option<Self> {
        match match_by {
            MatchBy::Unspecified => None,
            MatchBy::SerialNumber => Some(Self::SerialNumber),
            MatchBy::ExternalId => Some(Self::ExternalId),
            MatchBy::Id => Some(Self::Id),
        }
    }

    /// The field of a request that holds it.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Id => "device.id",
            Self::SerialNumber => "device.serial_number",
            Self::ExternalId => "device.external_id",
            Self::Code => "device.code",
        }
    }

    /// What a device has of it; empty if nothing.
    pub(crate) fn value(self, device: &Device) -> &str {
        match self {
            Self::Id => &device.id,
            Self::SerialNumber => &device.serial_number,
            Self::ExternalId => &device.external_id,
            Self::Code => &device.code,
        }
    }

    /// The refusal of a device that has what another one has.
    pub(crate) fn taken(self) -> Error {
        let field = self.field();
        Error::AlreadyExists {
            field: field.into(),
            message: format!("{field} is taken by another one").into(),
        }
    }

    /// The refusal of the second device of an import that is called so.
    pub(crate) fn twice(self) -> Error {
        let field = self.field();
        Error::AlreadyExists {
            field: field.into(),
            message: format!("{field} is in this import more than once").into(),
        }
    }
}

/// A device of an import.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) index: i64,
    pub(crate) device: Device,
    /// Its id as it was given, if it was.
    pub(crate) id: Option<Uuid>,
    /// Its tags, where they are given by name.
    pub(crate) tag_names: Vec<String>,
}

impl Row {
    /// What a message says, or why it can't be done whatever there is.
    pub(crate) fn read(index: i64, device: Option<Device>, options: &Options) -> Result<Self> {
        let mut device = device.ok_or_else(|| Error::invalid("device", "must be set"))?;
        let id = ids::parse_optional("device.id", &device.id)?;
        if let Some(id) = id {
            // However it was written.
            device.id = id.to_string();
        }
        let key = Key::of(options.match_by);
        if let Some(key) = key.filter(|key| key.value(&device).is_empty()) {
            let text = "must be set: it says whether there is such a device";
            return Err(Error::invalid(key.field(), text));
        }
        let tag_names = match options.tags_by_name {
            true => std::mem::take(&mut device.tag_ids),
            false => Vec::new(),
        };
        Ok(Self {
            index,
            device,
            id,
            tag_names,
        })
    }
}

/// What the devices of a stream were called so far, as far as the database
/// does not tell: of two that mean one device, the second would change what
/// the first has made, and nobody would know.
#[derive(Default)]
pub(crate) struct Seen {
    hasher: RandomState,
    /// Of 64 bits each: that two of a million are the same by chance is
    /// less likely than one in ten million.
    names: HashSet<u64>,
}

impl Seen {
    /// Remembers what a device is called, or says that another one was.
    pub(crate) fn once(&mut self, row: &Row, options: &Options) -> Result<()> {
        let every = [Key::Id, Key::SerialNumber, Key::ExternalId, Key::Code];
        let by = Key::of(options.match_by);
        // What is only tried leaves nothing for the database to compare with.
        let kept = |key: &Key| options.validate_only || Some(*key) == by;
        let named = |key: &Key| !key.value(&row.device).is_empty();
        for key in every.into_iter().filter(kept).filter(named) {
            let name = self.hasher.hash_one((key, key.value(&row.device)));
            if self.names.contains(&name) {
                return Err(key.twice());
            }
            if self.names.len() < REMEMBERED {
                self.names.insert(name);
            }
        }
        Ok(())
    }
}
