//! Secrets, from a file, a pipe or the terminal; never from the command line,
//! where other users of the machine could read them.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;

/// Where a secret is read from.
#[derive(Args)]
pub(crate) struct Source {
    /// Read the secret from this file, or from standard input if it is `-`
    /// [default: asked for at the terminal, else standard input]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Source {
    /// Reads the secret; `what` names it to people.
    pub(crate) fn read(&self, what: &str) -> Result<String, Failure> {
        let text = match self.file.as_deref() {
            Some(path) => text_of(path, what)?,
            None if io::stdin().is_terminal() => ask(what)?,
            None => from_stdin(what)?,
        };
        let hint = "send it to standard input, or name its file with --file";
        some(&text, what).map_err(|failure| failure.hint(hint))
    }
}

/// Reads what a file holds, or standard input if it is `-`; `what` names it to people.
pub(crate) fn read_file(path: &Path, what: &str) -> Result<String, Failure> {
    let hint = match path == Path::new("-") {
        true => "send it to standard input".to_owned(),
        false => format!("is {} the right file?", path.display()),
    };
    some(&text_of(path, what)?, what).map_err(|failure| failure.hint(hint))
}

fn text_of(path: &Path, what: &str) -> Result<String, Failure> {
    if path == Path::new("-") {
        return from_stdin(what);
    }
    fs::read_to_string(path)
        .map_err(|e| Failure::caused(format!("can't read {}", path.display()), &e))
}

fn some(text: &str, what: &str) -> Result<String, Failure> {
    match text.trim() {
        "" => Err(Failure::new(format!("there is no {what} to read"))),
        secret => Ok(secret.to_owned()),
    }
}

fn ask(what: &str) -> Result<String, Failure> {
    rpassword::prompt_password(format!("The {what}: "))
        .map_err(|e| Failure::caused(format!("can't ask for the {what}"), &e))
}

fn from_stdin(what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| Failure::caused(format!("can't read the {what} from standard input"), &e))?;
    Ok(text)
}
