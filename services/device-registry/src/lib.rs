//! The device-registry service
