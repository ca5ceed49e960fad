//! Turns the .proto files into types, the table of requirements and the
//! descriptor set; refuses a contract that breaks Muster's own rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "build/access.rs"]
mod access;
#[path = "build/compress.rs"]
mod compress;
#[path = "build/redact.rs"]
mod redact;
#[path = "build/validate.rs"]
mod validate;

use std::{env, fs, path::Path, path::PathBuf};

use prost_reflect::DescriptorPool;

/// The folders that hold .proto files.
const ROOTS: [&str; 2] = [".", "../gateway/transcoder/proto"];

/// Packages whose types are not generated: only their options are read.
const OPTIONS_ONLY: [&str; 3] = [".buf", ".transcoder", ".google.api"];

fn main() {
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    for folder in ["muster", "google", "buf", "build", ROOTS[1]] {
        println!("cargo::rerun-if-changed={folder}");
    }
    let mut compiler = protox::Compiler::new(ROOTS).unwrap();
    compiler.include_imports(true).include_source_info(true);
    for root in ROOTS {
        compiler.open_files(protos(Path::new(root))).unwrap();
    }
    // Only the encoded set keeps extension options, such as google.api.http.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptor_set.bin"), &encoded).unwrap();
    let pool = DescriptorPool::decode(encoded.as_slice()).unwrap();

    fs::write(out.join("access.rs"), access::generate(&pool)).unwrap();
    fs::write(out.join("compress.rs"), compress::generate(&pool)).unwrap();
    fs::write(out.join("redact.rs"), redact::generate(&pool)).unwrap();
    let ours = |package: &str| package.starts_with("muster.") && package != "muster.dialect.v1";
    fs::write(out.join("validate.rs"), validate::generate(&pool, ours)).unwrap();

    let mut builder = tonic_prost_build::configure()
        .include_file("packages.rs")
        .emit_rerun_if_changed(false)
        .extern_path(".google.api.HttpBody", "crate::HttpBody")
        .skip_debug(redact::secret_messages(&pool));
    for package in OPTIONS_ONLY {
        builder = builder.extern_path(package, "crate::options_only");
    }
    builder.compile_fds(compiler.file_descriptor_set()).unwrap();
}

/// Every .proto file below a folder.
fn protos(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "proto") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
