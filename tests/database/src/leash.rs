//! What is started for a test process ends with it, even if that is killed.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::{Result, because};

/// Holds a shell that waits for its standard input to close, which it does
/// when this process ends, whatever way, and then tidies up.
pub struct Leash {
    _shell: Child,
}

impl Leash {
    /// Runs these lines of shell at the end, with these as `$1`, `$2`, ….
    pub fn new(at_the_end: &str, arguments: &[&str]) -> Result<Self> {
        // What interrupts the tests, such as Ctrl-C, must not end the shell.
        let script = format!("trap '' INT TERM HUP\ncat >/dev/null\n{at_the_end}");
        let shell = Command::new("sh")
            .args(["-c", &script, "leash"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(because("sh"))?;
        Ok(Self { _shell: shell })
    }
}
