//! The tables.

pub(crate) mod command;
pub(crate) mod device;
pub(crate) mod device_label;
pub(crate) mod device_quota;
pub(crate) mod device_secret;
pub(crate) mod device_tag;
pub(crate) mod import;
pub(crate) mod page_key;
pub(crate) mod request;
pub(crate) mod sensor;
pub(crate) mod sighting;
pub(crate) mod site;
pub(crate) mod site_ancestor;
pub(crate) mod tag;

chassis::tenant_owned!(command);
chassis::tenant_owned!(device);
chassis::tenant_owned!(device_label);
chassis::tenant_owned!(device_quota);
chassis::tenant_owned!(device_secret);
chassis::tenant_owned!(device_tag);
chassis::tenant_owned!(import);
chassis::tenant_owned!(request);
chassis::tenant_owned!(sensor);
chassis::tenant_owned!(sighting);
chassis::tenant_owned!(site);
chassis::tenant_owned!(site_ancestor);
chassis::tenant_owned!(tag);
