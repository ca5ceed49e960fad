//! The key-management service
