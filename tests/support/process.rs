//! The program, as processes that end with the tests.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What processes have written to standard error.
pub type Log = Arc<Mutex<String>>;

/// Environment variables.
pub type Settings = Vec<(String, String)>;

/// Variables from pairs.
pub fn settings<'a, V: Into<String>>(pairs: impl IntoIterator<Item = (&'a str, V)>) -> Settings {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

/// A running `muster`.
pub struct Process {
    child: Child,
    /// The program's parent waits for this to close: it does when we end.
    leash: Option<ChildStdin>,
}

/// Waits for the program and for the end of the leash, which kills it; hands on
/// that it is to stop.
const LEASH: &str = r#"exec 3<&0; "$@" <&- & pid=$!; exec >/dev/null 2>&1;
    (cat <&3; kill -9 $pid) & trap "kill -TERM $pid" TERM; wait $pid; wait $pid"#;

impl Process {
    /// Starts `muster` with these arguments and variables.
    pub fn start(arguments: &[&str], settings: &Settings, log: &Log) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", LEASH, "leash", env!("CARGO_BIN_EXE_muster")])
            .args(arguments)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let leash = child.stdin.take();
        let (kept, errors) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                // A plan of a query, say, is for who reads the log.
                eprintln!("{:.1000}", line);
                *kept.lock().unwrap() += &format!("{line}\n");
            }
        });
        Self { child, leash }
    }

    /// The first line that it prints; the rest is not kept.
    pub fn first_line(&mut self) -> String {
        let mut lines = BufReader::new(self.child.stdout.take().unwrap()).lines();
        let first = lines
            .next()
            .expect("the program says where it listens")
            .unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        first
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Tells it to stop (SIGTERM).
    pub fn stop(&self) {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(told.success(), "{told}");
    }

    /// Kills it (SIGKILL).
    pub fn cut(&mut self) {
        self.leash.take();
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.cut();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How long a program may take that comes to an end by itself.
const PATIENCE: Duration = Duration::from_secs(900);

/// What a program prints that is given this input. One that hangs is killed: the
/// test is to fail, and not all tests to wait for it.
pub fn output(command: &mut Command, input: &str) -> io::Result<Output> {
    let piped = || Stdio::piped();
    let mut child = command
        .stdin(piped())
        .stdout(piped())
        .stderr(piped())
        .spawn()?;
    // A program that reads nothing may have ended.
    let _ = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(input.as_bytes()));
    let (ended, watched) = mpsc::channel::<()>();
    let id = child.id().to_string();
    std::thread::spawn(move || {
        if let Err(RecvTimeoutError::Timeout) = watched.recv_timeout(PATIENCE) {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let output = child.wait_with_output();
    drop(ended);
    output
}

/// Runs a command of `muster` to its end, which must be a good one.
pub async fn muster(arguments: &[&str], settings: &Settings) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command
        .args(arguments)
        .envs(settings.iter().map(|(name, value)| (name, value)));
    let told = format!("muster {}", arguments.join(" "));
    let output = tokio::task::spawn_blocking(move || output(&mut command, ""));
    let Output {
        status,
        stdout,
        stderr,
    } = output.await.unwrap().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{told}: {status}\n{out}{err}");
    out.into_owned()
}
