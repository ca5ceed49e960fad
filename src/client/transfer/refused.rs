//! The devices of a file that were refused, in a file of the same format:
//! what is wrong with each stands beside it, and is passed over when the file
//! is imported again.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::format::Format;
use super::read::Source;
use crate::client::failure::Failure;

/// The column, or field, that says why.
pub(crate) const ERROR: &str = "error";

/// A file of refused devices.
pub(crate) struct Refused {
    path: PathBuf,
    file: BufWriter<File>,
    format: Format,
    count: usize,
}

impl Refused {
    pub(crate) fn create(path: &Path, format: Format) -> Result<Self, Failure> {
        let file = File::create(path)
            .map_err(|e| Failure::caused(format!("can't create {}", path.display()), &e))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            format,
            count: 0,
        })
    }

    /// Writes the names of columns.
    pub(crate) fn names(&mut self, names: &[String]) -> Result<(), Failure> {
        let names = names.iter().map(String::as_str).chain([ERROR]);
        let bytes = line(names)?;
        self.write(&bytes)
    }

    /// Writes a device and why it is refused.
    pub(crate) fn add(&mut self, source: &Source, why: &str) -> Result<(), Failure> {
        let first = self.count == 0;
        self.count += 1;
        let bytes = match source {
            Source::Cells(cells) => line(cells.iter().map(String::as_str).chain([why]))?,
            Source::Json(value) => {
                let mut value = value.clone();
                match &mut value {
                    Value::Object(fields) => drop(fields.insert(ERROR.to_owned(), why.into())),
                    other => *other = json!({ERROR: why, "value": other.take()}),
                }
                match (self.format, first) {
                    (Format::Json, true) => format!("[\n{value}"),
                    (Format::Json, false) => format!(",\n{value}"),
                    _ => format!("{value}\n"),
                }
                .into_bytes()
            }
        };
        self.write(&bytes)
    }

    /// Ends the file.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        match (self.format, self.count) {
            (Format::Json, 0) => self.write(b"[]\n")?,
            (Format::Json, _) => self.write(b"\n]\n")?,
            _ => {}
        }
        let flushed = self.file.flush();
        flushed.map_err(|e| Failure::caused(format!("can't write {}", self.path.display()), &e))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes);
        written.map_err(|e| Failure::caused(format!("can't write {}", self.path.display()), &e))
    }
}

fn line<'a>(cells: impl Iterator<Item = &'a str>) -> Result<Vec<u8>, Failure> {
    let told = |e: &dyn std::error::Error| Failure::caused("can't write a line", e);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).map_err(|e| told(&e))?;
    writer.into_inner().map_err(|e| told(&e))
}
