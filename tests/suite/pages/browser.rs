//! A browser that tests use as people do: Chromium, told what to do by
//! chromedriver (W3C WebDriver).

use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_database::free_port;
use thirtyfour::common::command::{self, ExtensionCommand};
use thirtyfour::extensions::query::ElementPollerWithTimeout;
use thirtyfour::prelude::*;

use crate::support::{eventually, not_run, probe};

/// How long something may take to appear on a page; a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_millis(50);

/// The browser of one test: it starts without any memory, and asks its maker
/// for nothing.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1600",
];

/// Runs chromedriver until we end. It would leave its browsers behind.
const LEASH: &str = r#"exec 3<&0 2>/dev/null; chromedriver --port="$1" --silent <&- >/dev/null 2>&1 & pid=$!
    cat <&3; pkill -P $pid; kill $pid; wait $pid"#;

/// A running browser.
pub(crate) struct Browser {
    driver: Option<WebDriver>,
    chromedriver: Child,
    profile: TempDir,
}

impl Browser {
    /// One, if this machine has it.
    pub(crate) async fn start() -> Option<Self> {
        for program in ["chromedriver", "chromium"] {
            let found = Command::new(program).arg("--version").output();
            if found.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                not_run("a test in a browser", &format!("there is no {program}"));
                return None;
            }
        }
        let port = free_port();
        let chromedriver = Command::new("sh")
            .args(["-c", LEASH, "leash", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Self {
            driver: None,
            chromedriver,
            profile: tempfile::tempdir().unwrap(),
        };
        browser.driver = Some(browser.session(port).await);
        Some(browser)
    }

    async fn session(&self, port: u16) -> WebDriver {
        let mut wanted = DesiredCapabilities::chrome();
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        for argument in ARGUMENTS.into_iter().chain([profile.as_str()]) {
            wanted.add_arg(argument).unwrap();
        }
        let logs = json!({"browser": "ALL", "performance": "ALL"});
        wanted.set("goog:loggingPrefs", logs).unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let listens = async || {
            let told = probe(&format!("127.0.0.1:{port}"), "/status").await;
            matches!(told, Some((200, _)))
        };
        eventually("chromedriver", listens).await;
        let driver = WebDriver::new(url, wanted).await.unwrap();
        driver.set_poller(Arc::new(ElementPollerWithTimeout::new(PATIENCE, INTERVAL)));
        driver
    }

    fn driver(&self) -> &WebDriver {
        self.driver.as_ref().unwrap()
    }

    pub(crate) async fn open(&self, url: &str) {
        self.driver().goto(url).await.unwrap();
    }

    /// What a CSS selector finds as soon as a person sees it.
    pub(crate) async fn see(&self, selector: &str) -> WebElement {
        let query = self.driver().query(By::Css(selector)).and_displayed();
        let found = query.first().await;
        found.unwrap_or_else(|error| panic!("nobody sees {selector}: {error}"))
    }

    /// The same with a text in it.
    pub(crate) async fn see_text(&self, selector: &str, text: &str) -> WebElement {
        let text = text.to_owned();
        let has = move |element: WebElement| {
            let text = text.clone();
            // What was drawn anew meanwhile is looked for again.
            async move { Ok(element.text().await.is_ok_and(|all| all.contains(&text))) }
        };
        let query = self.driver().query(By::Css(selector)).with_filter(has);
        let found = query.first().await;
        found.unwrap_or_else(|error| panic!("nobody reads it in {selector}: {error}"))
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.see(selector).await;
        element.scroll_into_view().await.unwrap();
        element.click().await.unwrap();
    }

    /// What a script of ours finds out in the page.
    pub(crate) async fn evaluate(&self, script: &str) -> Value {
        let told = self.driver().execute(script, Vec::new()).await;
        told.unwrap().json().clone()
    }

    /// Keeps a picture in the folder MUSTER_TEST_PICTURES, for people.
    pub(crate) async fn picture(&self, name: &str) {
        if let Ok(folder) = std::env::var("MUSTER_TEST_PICTURES") {
            let file = std::path::Path::new(&folder).join(format!("{name}.png"));
            self.driver().screenshot(&file).await.unwrap();
        }
    }

    /// What the console says, complaints about the page's policy among it.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let told = entries.iter().map(|entry| {
            format!(
                "{} {}: {}",
                entry["level"].as_str().unwrap_or_default(),
                entry["source"].as_str().unwrap_or_default(),
                entry["message"].as_str().unwrap_or_default()
            )
        });
        told.collect()
    }

    /// The URLs that were asked for.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let entries = self.log("performance").await;
        let events = entries.iter().filter_map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &event["message"];
            let sent = event["method"] == "Network.requestWillBeSent";
            sent.then(|| {
                event["params"]["request"]["url"]
                    .as_str()
                    .map(str::to_owned)
            })?
        });
        events.collect()
    }

    /// A log of Chromium since it was read last.
    async fn log(&self, kind: &'static str) -> Vec<Value> {
        let read = command::Command::ExtensionCommand(Box::new(ReadLog(kind)));
        let answer = self.driver().handle().cmd(read).await.unwrap();
        answer.value_json().unwrap().as_array().unwrap().clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Saying goodbye would wait for this thread, which waits here.
        if let Some(driver) = self.driver.take() {
            let _ = driver.leak();
        }
        drop(self.chromedriver.stdin.take());
        let _ = self.chromedriver.wait();
    }
}

/// Chromium's own command, beyond the standard.
#[derive(Debug)]
struct ReadLog(&'static str);

impl ExtensionCommand for ReadLog {
    fn parameters_json(&self) -> Option<Value> {
        Some(json!({"type": self.0}))
    }

    fn method(&self) -> Method {
        Method::POST
    }

    fn endpoint(&self) -> Arc<str> {
        "/se/log".into()
    }
}
