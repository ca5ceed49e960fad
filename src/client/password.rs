//! Passwords, from the terminal or a pipe; never from the command line, where
//! other users of the machine could read them.

use std::io::{self, Read};

use super::failure::Failure;

/// Reads the password from standard input, up to the first line's end.
pub(crate) fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| Failure::caused("can't read the password from standard input", &e))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::new("standard input holds no password")),
    }
}

/// Asks for a password at the terminal, without showing it.
pub(crate) fn ask(prompt: &str) -> Result<String, Failure> {
    rpassword::prompt_password(prompt).map_err(|e| {
        Failure::caused("can't ask for the password", &e)
            .hint("without a terminal, send it to standard input with --password-stdin")
    })
}

/// Asks for a new password, twice.
pub(crate) fn ask_new() -> Result<String, Failure> {
    let password = ask("Password of the new user: ")?;
    if ask("Once more: ")? != password {
        return Err(Failure::new("the two passwords differ"));
    }
    Ok(password)
}
