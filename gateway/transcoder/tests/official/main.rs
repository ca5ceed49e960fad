//! The conformance suite of protobuf itself, `conformance_test_runner`: what
//! it requires of JSON and what it recommends, in proto2 and proto3, with no
//! exception. Editions are left out, for prost-reflect does not read them.
//!
//! The runner asks a program over its standard input and reads the answers
//! from its standard output. That program is this one, started again with
//! [`TESTEE`] set, so the test has no harness.

#![allow(clippy::unwrap_used)]

mod protocol;
mod testee;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Set for the program that the runner asks: the folder of the suite's files.
const TESTEE: &str = "TRANSCODER_CONFORMANCE_TESTEE";

/// The folder with `conformance_test_runner` and `include`, if it is not
/// where `.ci/run` puts it.
const SUITE: &str = "MUSTER_CONFORMANCE";

fn main() -> ExitCode {
    if let Some(include) = std::env::var_os(TESTEE) {
        testee::answer(Path::new(&include));
        return ExitCode::SUCCESS;
    }
    // Asked by tools for the names of the tests, or for another test.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    if filter.is_some_and(|filter| !"official".contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    let suite = std::env::var_os(SUITE).map_or_else(installed, PathBuf::from);
    match suite.join("conformance_test_runner").exists() {
        true => run(&suite),
        false => lacking(&suite),
    }
}

/// Where `.ci/run` puts the suite.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci-conformance")
}

fn lacking(suite: &Path) -> ExitCode {
    eprintln!("NOT RUN: no conformance_test_runner in {}", suite.display());
    match std::env::var_os("MUSTER_REQUIRE_ALL") {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}

fn run(suite: &Path) -> ExitCode {
    let output = tempfile::tempdir().unwrap();
    let status = Command::new(suite.join("conformance_test_runner"))
        .args(["--enforce_recommended", "--maximum_edition", "PROTO3"])
        .arg("--output_dir")
        .arg(output.path())
        .arg(std::env::current_exe().unwrap())
        .env(TESTEE, suite.join("include"))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
