//! The tables.

pub(crate) mod claim_key;
pub(crate) mod command;
pub(crate) mod command_batch;
pub(crate) mod command_call;
pub(crate) mod customer;
pub(crate) mod device;
pub(crate) mod device_authority;
pub(crate) mod device_command;
pub(crate) mod device_credential;
pub(crate) mod device_label;
pub(crate) mod device_quota;
pub(crate) mod device_tag;
pub(crate) mod import;
pub(crate) mod page_key;
pub(crate) mod request;
pub(crate) mod sensor;
pub(crate) mod sighting;
pub(crate) mod site;
pub(crate) mod site_ancestor;
pub(crate) mod tag;
pub(crate) mod webhook;
pub(crate) mod webhook_cursor;
pub(crate) mod webhook_delivery;

chassis::tenant_owned!(claim_key);
chassis::tenant_owned!(command);
chassis::tenant_owned!(command_batch);
chassis::tenant_owned!(command_call);
chassis::tenant_owned!(customer);
chassis::tenant_owned!(device);
chassis::tenant_owned!(device_command);
chassis::tenant_owned!(device_authority);
chassis::tenant_owned!(device_credential);
chassis::tenant_owned!(device_label);
chassis::tenant_owned!(device_quota);
chassis::tenant_owned!(device_tag);
chassis::tenant_owned!(import);
chassis::tenant_owned!(request);
chassis::tenant_owned!(sensor);
chassis::tenant_owned!(sighting);
chassis::tenant_owned!(site);
chassis::tenant_owned!(site_ancestor);
chassis::tenant_owned!(tag);

chassis::log!(command_call);
chassis::tenant_owned!(webhook);
chassis::tenant_owned!(webhook_delivery);
