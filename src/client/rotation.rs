//! Rotations of keys and clients, as people watch them.

use std::time::{Duration, Instant};

use chassis::time::date_time;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use proto::keys::{Generation, Rotation, Use};
use serde_json::{Value, json};

use super::failure::Failure;
use super::out::{self, Output, Show};
use super::parse;

mod watched;

use watched::Watched;

/// How often a watched rotation is asked for.
const EVERY: Duration = Duration::from_secs(3);

/// How a rotation is shown.
#[derive(Args)]
pub(crate) struct Look {
    /// Go on until the old secret has not been used for a while; Ctrl-C ends it earlier
    #[arg(long)]
    watch: bool,
    /// How long the old secret must not have been used, from when the watch begins
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = parse::span, requires = "watch")]
    quiet_for: TimeDelta,
}

/// Shows a rotation, once or until the old secret is not used any more.
/// `finish` is the command that ends it.
pub(crate) async fn look(
    output: Output,
    look: &Look,
    finish: &str,
    mut get: impl AsyncFnMut() -> Result<Rotation, Failure>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let first = get().await?;
    output.rotation(&first)?;
    if !look.watch {
        return Ok(());
    }
    let quiet = look.quiet_for.to_std().unwrap_or_default();
    let mut watched = Watched::new(first, begun);
    loop {
        if let Some(end) = watched.conclusion(quiet) {
            out::note(&end.sentence(finish));
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
        let asked = Instant::now();
        let now = match get().await {
            Ok(rotation) => rotation,
            Err(failure) if failure.is_passing() => {
                out::note(&format!("{failure}; still watching"));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let changes = changes(&watched.seen, &now);
        if !changes.is_empty() {
            output.said(&changes.join("\n"), &json(&now))?;
        }
        watched.take(now, asked);
    }
}

/// Prints a new secret beside the old one, whose end people should know.
pub(crate) fn tell_new_secret(
    output: Output,
    rotation: &Rotation,
    secret: &str,
    json: &Value,
) -> Result<(), Failure> {
    if output == Output::Table {
        output.rotation(rotation)?;
    }
    output.said(&format!("New secret (shown only now): {secret}"), json)
}

/// The secret before the newest, if it still works.
fn old(rotation: &Rotation) -> Option<&Generation> {
    rotation.generations.iter().skip(1).find(|old| old.live)
}

/// What happened between two looks, a line each.
fn changes(before: &Rotation, now: &Rotation) -> Vec<String> {
    let mut lines = Vec::new();
    for new in now.generations.iter().rev() {
        let number = new.number;
        let Some(known) = before.generations.iter().find(|old| old.number == number) else {
            lines.push(format!("generation {number} was made"));
            continue;
        };
        for used in &new.uses {
            let count = used.count - count_of(known, used);
            if count > 0 {
                lines.push(used_line(number, count, used));
            }
        }
        if known.live && !new.live {
            lines.push(format!("generation {number} has ended"));
        } else if known.end_time != new.end_time {
            let end = out::time(new.end_time.as_ref());
            lines.push(format!("generation {number} now ends {end}"));
        }
    }
    lines
}

fn count_of(known: &Generation, used: &Use) -> i64 {
    let same = |u: &&Use| u.network == used.network && u.user_agent == used.user_agent;
    known.uses.iter().find(same).map_or(0, |used| used.count)
}

fn used_line(number: i32, count: i64, used: &Use) -> String {
    let times = match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    let last = used.last_time.as_ref().and_then(date_time);
    let last = last.map(clock).unwrap_or_default();
    let (from, by) = (known_or(&used.network), known_or(&used.user_agent));
    format!("{last} generation {number} was used {times} from {from} by {by}")
}

/// A network or a program; some are unknown, or counted together.
fn known_or(text: &str) -> String {
    match text {
        "" => "unknown".to_owned(),
        text => out::plain(text),
    }
}

fn clock(time: DateTime<Utc>) -> String {
    time.format("%H:%M:%SZ").to_string()
}

impl Output {
    /// Prints a rotation: to people a line for each place where a secret is used.
    pub(crate) fn rotation(self, rotation: &Rotation) -> Result<(), Failure> {
        match self {
            Self::Json => self.object(&[], &json(rotation)),
            Self::Table => self.list(&lines(rotation)),
        }
    }
}

/// As the JSON API has it.
pub(crate) fn json(rotation: &Rotation) -> Value {
    let generations = rotation.generations.iter().map(|generation| {
        let uses = generation.uses.iter().map(|used| {
            json!({
                "network": used.network,
                "userAgent": used.user_agent,
                "firstTime": out::json_time(used.first_time.as_ref()),
                "lastTime": out::json_time(used.last_time.as_ref()),
                "count": used.count.to_string(),
            })
        });
        json!({
            "number": generation.number,
            "createTime": out::json_time(generation.create_time.as_ref()),
            "endTime": out::json_time(generation.end_time.as_ref()),
            "live": generation.live,
            "lastUseTime": out::json_time(generation.last_use_time.as_ref()),
            "useCount": generation.use_count.to_string(),
            "uses": uses.collect::<Vec<_>>(),
        })
    });
    json!({"running": rotation.running, "generations": generations.collect::<Vec<_>>()})
}

/// A secret, and one of the places where it is used.
struct Line([String; 7]);

fn lines(rotation: &Rotation) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, generation) in rotation.generations.iter().enumerate() {
        let state = match (generation.live, at) {
            (true, 0) => "current",
            (true, _) => "old, works",
            (false, _) => "ended",
        };
        let ends = match &generation.end_time {
            Some(end) => out::time(Some(end)),
            None => "-".to_owned(),
        };
        let number = generation.number.to_string();
        let mut first = [number, state.to_owned(), ends];
        if generation.uses.is_empty() {
            lines.push(line(first.clone(), None));
        }
        for used in &generation.uses {
            lines.push(line(std::mem::take(&mut first), Some(used)));
        }
    }
    lines
}

fn line([number, state, ends]: [String; 3], used: Option<&Use>) -> Line {
    let [last, count, network, agent] = match used {
        Some(used) => [
            out::time(used.last_time.as_ref()),
            used.count.to_string(),
            known_or(&used.network),
            known_or(&used.user_agent),
        ],
        None => [
            "never".to_owned(),
            "0".to_owned(),
            String::new(),
            String::new(),
        ],
    };
    Line([number, state, ends, last, count, network, agent])
}

impl Show for Line {
    const COLUMNS: &'static [&'static str] = &[
        "GENERATION",
        "STATE",
        "ENDS",
        "LAST USED",
        "TIMES",
        "FROM",
        "BY",
    ];

    fn cells(&self) -> Vec<String> {
        self.0.to_vec()
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn used(count: i64, last: i64) -> Use {
        Use {
            network: "192.0.2.0/24".to_owned(),
            user_agent: "curl/8".to_owned(),
            first_time: at(100),
            last_time: at(last),
            count,
        }
    }

    pub(super) fn rotation(old: Generation) -> Rotation {
        let new = Generation {
            number: 2,
            create_time: at(200),
            live: true,
            ..Default::default()
        };
        Rotation {
            running: old.live,
            generations: vec![new, old],
        }
    }

    pub(super) fn old(count: i64, last: i64) -> Generation {
        Generation {
            number: 1,
            create_time: at(50),
            end_time: at(5000),
            live: true,
            last_use_time: at(last),
            use_count: count,
            uses: vec![used(count, last)],
        }
    }

    #[test]
    fn uses_and_ends_are_told_as_changes() {
        let before = rotation(old(3, 1000));
        let now = rotation(Generation {
            end_time: at(90_000),
            ..old(5, 1001)
        });
        let expected = [
            "00:16:41Z generation 1 was used 2 times from 192.0.2.0/24 by curl/8",
            "generation 1 now ends 1970-01-02 01:00Z",
        ];
        assert_eq!(changes(&before, &now), expected);
        assert!(changes(&now, &now).is_empty());
        let ended = rotation(Generation {
            live: false,
            ..now.generations[1].clone()
        });
        assert_eq!(changes(&now, &ended), ["generation 1 has ended"]);
    }

    #[test]
    fn each_place_has_a_line() {
        let mut old = old(3, 1000);
        old.uses.push(used(1, 900));
        let cells: Vec<_> = lines(&rotation(old)).iter().map(Show::cells).collect();
        let expected = [
            vec!["2", "current", "-", "never", "0", "", ""],
            vec![
                "1",
                "old, works",
                "1970-01-01 01:23Z",
                "1970-01-01 00:16Z",
                "3",
                "192.0.2.0/24",
                "curl/8",
            ],
            vec![
                "",
                "",
                "",
                "1970-01-01 00:15Z",
                "1",
                "192.0.2.0/24",
                "curl/8",
            ],
        ];
        assert_eq!(cells, expected);
    }
}
