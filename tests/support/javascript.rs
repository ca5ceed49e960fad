//! Programs in JavaScript: for Node.js, and for a page of another origin.

use std::path::{Path, PathBuf};
use std::process::Command;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{not_run, output};

/// Where .ci/run installs the npm packages.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/ci-node/node_modules");
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/node");

/// A program and what it imports, in one file, if the packages are there.
pub fn bundle(program: &Path, platform: &str, folder: &Path) -> Option<PathBuf> {
    let esbuild = format!("{PACKAGES}/.bin/esbuild");
    let name = program.file_name().unwrap().to_str().unwrap();
    if !Path::new(&esbuild).exists() {
        not_run(name, "the npm packages are not installed: see .ci/run");
        return None;
    }
    let made = folder.join(name);
    let output = Command::new(esbuild)
        .arg(program)
        .args(["--bundle", "--format=esm", "--log-level=warning"])
        .arg(format!("--platform={platform}"))
        .arg(format!("--outfile={}", made.display()))
        .env("NODE_PATH", PACKAGES)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(made)
}

/// What a program of tests/programs/node, or at another path, prints that is
/// given these settings.
pub async fn node(program: &str, settings: &Value) -> Option<Value> {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(PROGRAMS).join(program);
    let made = bundle(&program, "node", folder.path())?;
    let settings = settings.to_string();
    let run = move || {
        let mut command = Command::new("node");
        command.arg(made).env("NO_PROXY", "127.0.0.1");
        let output = match output(&mut command, &settings) {
            Ok(output) => output,
            Err(error) => {
                not_run(
                    "a program in Node.js",
                    &format!("there is no node: {error}"),
                );
                return None;
            }
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        Some(serde_json::from_slice(&output.stdout).unwrap())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A page that a server of its own serves: another origin than Muster's.
pub struct Page {
    listener: TcpListener,
    script: String,
}

impl Page {
    /// One that runs a program of tests/programs/node.
    pub async fn new(program: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let program = Path::new(PROGRAMS).join(program);
        let script = bundle(&program, "browser", folder.path())?;
        Some(Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            script: std::fs::read_to_string(script).unwrap(),
        })
    }

    /// Its origin.
    pub fn origin(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// Serves it, with what it is told, for as long as the test runs.
    pub fn serve(self, settings: &Value) {
        let (script, settings) = (self.script, settings.to_string());
        let script = async move || ([(CONTENT_TYPE, "text/javascript")], script);
        let document =
            async || Html("<link rel=icon href=data:,><script type=module src=page.mjs></script>");
        let pages = Router::new()
            .route("/", get(document))
            .route("/page.mjs", get(script))
            .route("/settings", get(async move || settings));
        tokio::spawn(axum::serve(self.listener, pages).into_future());
    }
}
