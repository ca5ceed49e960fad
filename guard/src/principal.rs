//! Who calls, as handlers see it.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

/// Who calls: in the extensions of every request that the guard lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// What calls, such as `key:0189…`, `client:0189…` or `user:0189…`.
    pub principal: String,
    /// The user who owns the key, such as `user:0189…`; empty: nobody, or the
    /// caller came with a token.
    pub owner: String,
    /// The tenant, which is that of the guard's own key.
    pub tenant_id: String,
    /// What the caller may do.
    pub permissions: BTreeSet<String>,
    /// How a key is shown to people; empty for tokens.
    pub display_name: String,
    /// What a key's creator wants to find again; empty for tokens.
    pub metadata: HashMap<String, String>,
    /// The word that is written into a key; empty for tokens.
    pub environment: String,
    /// When the credential stops working, if that is known.
    pub expire_time: Option<SystemTime>,
    /// Whether there is a newer secret of the key already.
    pub superseded: bool,
}

impl Principal {
    /// Whether the caller holds a permission, such as `devices.read`.
    pub fn holds(&self, permission: &str) -> bool {
        self.permissions.contains(permission)
    }
}
