//! The types of `fleet.proto` for prost, with the JSON of pbjson, and the descriptors.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use prost_types::FileDescriptorSet;
use tonic_prost_build::Config;

const OWN: &str = "fleet.v1";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto", "../../proto"])?;
    compiler.include_imports(true).open_file("fleet.proto")?;
    let out = env::var("OUT_DIR")?;
    // The only form in which the options survive.
    let set = compiler.encode_file_descriptor_set();
    fs::write(Path::new(&out).join("fleet.bin"), &set)?;

    let descriptors: FileDescriptorSet = compiler.file_descriptor_set();
    let mut config = Config::new();
    config
        .compile_well_known_types()
        .extern_path(".google.protobuf", "::pbjson_types");
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    pbjson_build::Builder::new()
        .register_descriptors(&set)?
        .build(&[format!(".{OWN}")])?;
    Ok(())
}
