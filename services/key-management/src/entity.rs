//! The tables.

pub(crate) mod api_client;
pub(crate) mod api_key;
pub(crate) mod data_key;
pub(crate) mod generation;
pub(crate) mod key_policy;
pub(crate) mod origin;
pub(crate) mod pepper;
pub(crate) mod revocation;
pub(crate) mod signing_key;
pub(crate) mod tenant_state;
pub(crate) mod token;

chassis::tenant_owned!(api_client);
chassis::tenant_owned!(api_key);
chassis::tenant_owned!(generation);
chassis::tenant_owned!(key_policy);
chassis::tenant_owned!(origin);
chassis::tenant_owned!(tenant_state);
chassis::tenant_owned!(token);
chassis::log!(revocation);
