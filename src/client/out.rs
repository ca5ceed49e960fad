//! What the commands print: tables for people, JSON for programs.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use prost_types::{Duration, Timestamp};
use serde_json::{Value, json};
use tonic::Status;

use super::failure::Failure;

/// How many rows to ask for at once.
const PAGE: usize = 200;

/// How narrow the last column of a table may become.
const LAST_COLUMN: u16 = 24;

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Something that can be printed.
pub(crate) trait Show {
    /// The columns of a list; the first is the id, if there is one.
    const COLUMNS: &'static [&'static str];

    /// One cell a column.
    fn cells(&self) -> Vec<String>;

    /// As the JSON API has it, with every field.
    fn json(&self) -> Value;

    /// What is told beside the cells when it is printed alone.
    fn more(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Names and values when it is printed alone, without those that are empty.
    fn details(&self) -> Vec<(&'static str, String)> {
        let cells = Self::COLUMNS.iter().copied().zip(self.cells());
        let all = cells.chain(self.more());
        all.filter(|(_, value)| !value.is_empty()).collect()
    }
}

impl Output {
    /// Prints a list.
    pub(crate) fn list<T: Show>(self, items: &[T]) -> Result<(), Failure> {
        match self {
            Self::Json => print(&pretty(&items.iter().map(T::json).collect())),
            Self::Table if items.is_empty() => {
                note("There are none.");
                Ok(())
            }
            Self::Table => {
                let rows = items.iter().map(T::cells).collect();
                print(&table(Some(T::COLUMNS), rows))
            }
        }
    }

    /// Prints a list with other columns than the usual ones; for programs, with
    /// every field as ever.
    pub(crate) fn columns<T: Show>(
        self,
        items: &[T],
        names: &[&str],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Failure> {
        match self {
            Self::Table if !items.is_empty() => {
                let rows = items.iter().map(cells).collect();
                print(&table(Some(names), rows))
            }
            _ => self.list(items),
        }
    }

    /// Prints one thing.
    pub(crate) fn one<T: Show>(self, item: &T) -> Result<(), Failure> {
        self.object(&item.details(), &item.json())
    }

    /// Prints names and values to people, an object to programs.
    pub(crate) fn object(self, details: &[(&str, String)], json: &Value) -> Result<(), Failure> {
        match self {
            Self::Json => print(&pretty(json)),
            Self::Table => {
                let rows = details
                    .iter()
                    .map(|(name, value)| vec![(*name).to_owned(), value.clone()])
                    .collect();
                print(&table(None, rows))
            }
        }
    }

    /// Prints a sentence to people, an object to programs.
    pub(crate) fn said(self, sentence: &str, json: &Value) -> Result<(), Failure> {
        match self {
            Self::Json => print(&pretty(json)),
            Self::Table => print(sentence),
        }
    }

    /// Prints something whose secret, if it has one, is shown only now.
    pub(crate) fn with_secret<T: Show>(
        self,
        item: &T,
        secret: &str,
        json: &Value,
    ) -> Result<(), Failure> {
        self.object(&item.details(), json)?;
        match self {
            Self::Table if !secret.is_empty() => {
                print(&format!("Secret (shown only now): {secret}"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a list page by page, up to a limit.
pub(crate) async fn pages<T>(
    limit: Option<usize>,
    mut page: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Status>,
) -> Result<Vec<T>, Failure> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let wanted = i32::try_from(PAGE.min(limit - items.len())).unwrap_or(i32::MAX);
        let (found, next) = page(wanted, token).await?;
        items.extend(found);
        if next.is_empty() || items.len() >= limit {
            items.truncate(limit);
            return Ok(items);
        }
        token = next;
    }
}

/// A time as JSON has it (RFC 3339), or null.
pub(crate) fn json_time(time: Option<&Timestamp>) -> Value {
    time.and_then(chassis::time::date_time)
        .map_or(Value::Null, |time| {
            json!(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
        })
}

/// A time as people read it; empty if it is unset.
pub(crate) fn time(time: Option<&Timestamp>) -> String {
    time.and_then(chassis::time::date_time)
        .map(|time| time.format("%Y-%m-%d %H:%MZ").to_string())
        .unwrap_or_default()
}

/// A time as people read it, or a word for none.
pub(crate) fn time_or(time: Option<&Timestamp>, none: &str) -> String {
    match time {
        Some(set) => self::time(Some(set)),
        None => none.to_owned(),
    }
}

/// A span as JSON has it, or null.
pub(crate) fn json_span(span: Option<&Duration>) -> Value {
    span.map_or(Value::Null, |span| json!(format!("{}s", span.seconds)))
}

/// A span as people type it, or a word for none.
pub(crate) fn span_or(span: Option<&Duration>, none: &str) -> String {
    let Some(span) = span else {
        return none.to_owned();
    };
    let units = [("d", 24 * 3600), ("h", 3600), ("m", 60)];
    let fits = |(_, length): &&(&str, i64)| span.seconds % length == 0;
    match units.iter().find(fits) {
        Some((unit, length)) => format!("{}{unit}", span.seconds / length),
        None => format!("{}s", span.seconds),
    }
}

/// Short texts by which something is found, in the order of their names.
pub(crate) fn labels(labels: &HashMap<String, String>) -> String {
    let ordered: BTreeMap<_, _> = labels.iter().collect();
    let all: Vec<_> = ordered.iter().map(|(k, v)| format!("{k}={v}")).collect();
    all.join(" ")
}

/// An enum's value as people read it: `STATE_ACTIVE` is "active".
pub(crate) fn state(name: &str) -> String {
    word(name, "STATE_")
}

/// The same of an enum whose values begin otherwise.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix)
        .to_ascii_lowercase()
        .replace('_', " ")
}

/// What can be disabled, as people read it.
pub(crate) fn active(disabled: bool) -> String {
    let word = if disabled { "disabled" } else { "active" };
    word.to_owned()
}

/// Prints a line to standard error.
pub(crate) fn note(line: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints lines to standard output. A reader that has seen enough, such as
/// `head`, is no failure.
fn print(lines: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{lines}").and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::caused("can't write to standard output", &e))
        }
        _ => Ok(()),
    }
}

fn pretty(json: &Value) -> String {
    format!("{json:#}")
}

/// A table without lines, so that it is easy to copy from and to cut.
fn table(header: Option<&[&str]>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(header) = header {
        table.set_header(header.iter().copied());
    }
    table.add_rows(rows.iter().map(|row| row.iter().map(|cell| plain(cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    // Ids and names are copied, so only the last column is broken into lines.
    let last = table.column_count().saturating_sub(1);
    for column in table.column_iter_mut().take(last) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    if let Some(column) = table.column_mut(last) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(LAST_COLUMN)));
    }
    table.trim_fmt()
}

/// What others wrote may hold sequences that a terminal obeys.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_can_be_cut_and_does_not_command_the_terminal() {
        let rows = vec![
            vec!["1".to_owned(), "pump\u{1b}[2J".to_owned()],
            vec!["22".to_owned(), "valve".to_owned()],
        ];
        assert_eq!(
            table(Some(&["ID", "NAME"]), rows),
            "ID  NAME\n1   pump [2J\n22  valve"
        );
    }

    #[test]
    fn times_are_rfc_3339() {
        let time = Timestamp {
            seconds: 1_800_000_000,
            nanos: 500_000_000,
        };
        assert_eq!(json_time(Some(&time)), json!("2027-01-15T08:00:00.500Z"));
        assert_eq!(json_time(None), Value::Null);
    }

    #[test]
    fn spans_are_written_as_they_are_typed() {
        for (seconds, written) in [(7 * 86400, "7d"), (5400, "90m"), (61, "61s")] {
            let span = Duration { seconds, nanos: 0 };
            assert_eq!(span_or(Some(&span), "any"), written);
        }
        assert_eq!(span_or(None, "any"), "any");
    }

    #[tokio::test]
    async fn pages_are_read_until_the_limit_or_the_end() {
        for (limit, expected) in [
            (None, 450),
            (Some(3), 3),
            (Some(250), 250),
            (Some(1000), 450),
        ] {
            let read = pages(limit, async |size, token: String| {
                let from: usize = token.parse().unwrap_or(0);
                let to = (from + usize::try_from(size).unwrap()).min(450);
                let next = if to < 450 {
                    to.to_string()
                } else {
                    String::new()
                };
                Ok(((from..to).collect(), next))
            });
            let read: Vec<usize> = read.await.unwrap();
            assert_eq!(read, (0..expected).collect::<Vec<_>>());
        }
    }
}
