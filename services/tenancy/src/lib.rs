//! The tenancy service
