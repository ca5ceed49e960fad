//! The descriptors of the crate's tests, compiled once and not in every run.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let includes = ["proto", "../tests/proto", "../proto", "../../../proto"];
    for include in includes {
        println!("cargo::rerun-if-changed={include}");
    }
    for name in ["library", "legacy", "tiny"] {
        let mut compiler = protox::Compiler::new(includes)?;
        compiler
            .include_imports(true)
            .open_file(format!("{name}.proto"))?;
        let out = std::env::var("OUT_DIR")?;
        std::fs::write(
            Path::new(&out).join(format!("{name}.bin")),
            compiler.encode_file_descriptor_set(),
        )?;
    }
    Ok(())
}
