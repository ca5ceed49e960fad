//! Compression for every service: tonic's servers have it as methods of their
//! own, which no trait tells of.

use std::fmt::Write;

use prost_reflect::{DescriptorPool, ServiceDescriptor};

use crate::redact::snake;

/// Rust source of `Gzip` for the server of each of our services.
pub(crate) fn generate(pool: &DescriptorPool) -> String {
    let mut out = String::new();
    let ours = |service: &ServiceDescriptor| service.full_name().starts_with("muster.");
    for service in pool.services().filter(ours) {
        let package = service.package_name().replace('.', "::");
        let (name, module) = (service.name(), snake(service.name()));
        writeln!(
            out,
            "impl<T> crate::Gzip for crate::{package}::{module}_server::{name}Server<T> {{\n    \
             fn gzip(self) -> Self {{\n        \
             let gzip = ::tonic::codec::CompressionEncoding::Gzip;\n        \
             self.accept_compressed(gzip).send_compressed(gzip)\n    }}\n}}"
        )
        .unwrap();
    }
    out
}
