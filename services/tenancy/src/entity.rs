//! The tables.

pub(crate) mod member;
pub(crate) mod tenant;

chassis::tenant_owned!(tenant);
chassis::tenant_owned!(member);
