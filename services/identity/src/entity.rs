//! The tables.

pub(crate) mod session;
pub(crate) mod user;

chassis::tenant_owned!(user);
chassis::tenant_owned!(session);
