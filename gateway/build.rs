//! Takes the files of Swagger UI that the gateway serves out of the archive
//! that its crate holds.

use std::borrow::Cow;
use std::error::Error;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::{env, fs};

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::result::ZipResult;
use zip::{CompressionMethod, ZipArchive};

const FILES: [&str; 3] = [
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
];

/// A member without flags, time or name, of an unknown system (RFC 1952).
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for name in FILES {
        take(&mut archive, name, &folder)?;
    }
    Ok(())
}

/// Writes a file as gzip. Both formats hold the same stream of DEFLATE, so
/// that nothing is compressed anew.
fn take(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    name: &str,
    folder: &Path,
) -> Result<(), Box<dyn Error>> {
    let suffix = format!("/dist/{name}");
    let is_it = |name: ZipResult<Cow<'_, str>>| name.is_ok_and(|name| name.ends_with(&suffix));
    let index = archive.file_names().position(is_it);
    let index = index.ok_or_else(|| format!("the archive has no {name}"))?;
    let mut file = archive.by_index_raw(index)?;
    if file.compression() != CompressionMethod::DEFLATE {
        return Err(format!("{name} is compressed in another way").into());
    }
    let mut gzip = GZIP.to_vec();
    let (sum, length) = (file.crc32(), u32::try_from(file.size())?);
    file.read_to_end(&mut gzip)?;
    gzip.extend(sum.to_le_bytes());
    gzip.extend(length.to_le_bytes());
    Ok(fs::write(folder.join(format!("{name}.gz")), gzip)?)
}
