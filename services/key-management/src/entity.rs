//! The tables.

pub(crate) mod api_client;
pub(crate) mod api_key;
pub(crate) mod revocation;
pub(crate) mod signing_key;
pub(crate) mod token;

chassis::tenant_owned!(api_client);
chassis::tenant_owned!(api_key);
chassis::tenant_owned!(token);
chassis::log!(revocation);
