//! The history of the schema, a module a service
