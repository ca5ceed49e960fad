//! `Timestamp`, `Duration` and `FieldMask` as text.

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// 10,000 years, as duration.proto has it; a fraction may come on top.
const DURATION: i64 = 315_576_000_000;

/// Reads RFC 3339 as (seconds, nanos).
pub(crate) fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    const DIGITS: [usize; 14] = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];
    let (fixed, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let separators = [fixed[4], fixed[7], fixed[10], fixed[13], fixed[16]];
    if separators != *b"--T::" || !DIGITS.iter().all(|at| fixed[*at].is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| i64::from(fixed[at] & 15) * 10 + i64::from(fixed[at + 1] & 15);
    let (year, month, day) = (part(0) * 100 + part(2), part(5), part(8));
    let (hour, minute, second) = (part(11), part(14), part(17));
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = seconds - offset(rest)?;
    SECONDS.contains(&seconds).then_some((seconds, nanos))
}

/// Writes RFC 3339 in UTC with 0, 3, 6 or 9 digits; `None` out of range.
pub(crate) fn print_timestamp(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Option<()> {
    if !SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    let since = (seconds - SECONDS.start()) as u64;
    let (year, month, day) = civil_from_days((since / 86_400) as u32);
    let time = (since % 86_400) as u32;
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let mut text = *b"0000-00-00T00:00:00";
    let parts = [year / 100, year % 100, month, day, hour, minute, second];
    for (at, part) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(parts) {
        text[at] += (part / 10) as u8;
        text[at + 1] += (part % 10) as u8;
    }
    out.extend_from_slice(&text);
    print_nanos(nanos.unsigned_abs(), out);
    out.push(b'Z');
    Some(())
}

/// Reads `1.5s` as (seconds, nanos).
pub(crate) fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number),
    };
    let (whole, nanos) = match number.split_once('.') {
        Some((whole, rest)) => match fraction(rest.as_bytes())? {
            (nanos, []) => (whole, nanos),
            _ => return None,
        },
        None => (number, 0),
    };
    if whole.len() > 12 {
        return None;
    }
    let seconds = digits(whole.as_bytes())?;
    if seconds > DURATION {
        return None;
    }
    Some(if negative {
        (-seconds, -nanos)
    } else {
        (seconds, nanos)
    })
}

/// Writes `1.500s`; `None` out of range or of mixed signs.
pub(crate) fn print_duration(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Option<()> {
    let mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    let whole = seconds.unsigned_abs();
    if mixed || whole > DURATION.unsigned_abs() || nanos.unsigned_abs() > 999_999_999 {
        return None;
    }
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    print_nanos(nanos.unsigned_abs(), out);
    out.push(b's');
    Some(())
}

/// Prints a point and 3, 6 or 9 digits; nothing of nothing.
fn print_nanos(nanos: u32, out: &mut Vec<u8>) {
    let (mut rest, digits) = match nanos {
        0 => return,
        n if n % 1_000_000 == 0 => (n / 1_000_000, 3),
        n if n % 1000 == 0 => (n / 1000, 6),
        n => (n, 9),
    };
    let mut text = *b".000000000";
    for digit in text[1..=digits].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text[..=digits]);
}

fn digits(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + i64::from(byte - b'0'))
    })
}

/// One to nine digits as nanoseconds, and what follows them.
fn fraction(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let end = bytes
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(bytes.len());
    if end == 0 || end > 9 {
        return None;
    }
    let value = digits(&bytes[..end])? * 10_i64.pow(u32::try_from(9 - end).ok()?);
    Some((i32::try_from(value).ok()?, &bytes[end..]))
}

/// `Z` or `+hh:mm` in seconds.
fn offset(bytes: &[u8]) -> Option<i64> {
    match bytes {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (Howard Hinnant's `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of days since 0001-01-01 (Howard Hinnant's
/// `civil_from_days`, without its negative years).
fn civil_from_days(days: u32) -> (u32, u32, u32) {
    // Years begin in March, so that a leap day is their last.
    let days = days + 306;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    (year, month, day)
}

/// Reads one path of a mask, `fooBar.baz`, as `foo_bar.baz`. `snake` also
/// takes paths that are written so already. A part may be `*` (AIP-161).
pub(crate) fn parse_mask_path(path: &str, snake: bool) -> Option<String> {
    let starred = |part: &str| part.contains('*') && part != "*";
    if path.split('.').any(starred) {
        return None;
    }
    let mut text = String::with_capacity(path.len() + 4);
    for char in path.chars() {
        match char {
            'A'..='Z' if !snake || !path.contains('_') => {
                text.push('_');
                text.push(char.to_ascii_lowercase());
            }
            '_' if snake => text.push('_'),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '*' => text.push(char),
            _ => return None,
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Writes one path of a mask; `None` if reading it would not give it back.
pub(crate) fn print_mask_path(path: &str, out: &mut String) -> Option<()> {
    let mut chars = path.chars();
    while let Some(char) = chars.next() {
        match char {
            '_' => match chars.next() {
                Some(next @ 'a'..='z') => out.push(next.to_ascii_uppercase()),
                _ => return None,
            },
            'A'..='Z' => return None,
            _ => out.push(char),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seconds: i64, nanos: i32) -> Option<String> {
        let mut out = Vec::new();
        print_timestamp(seconds, nanos, &mut out)?;
        String::from_utf8(out).ok()
    }

    fn duration(seconds: i64, nanos: i32) -> Option<String> {
        let mut out = Vec::new();
        print_duration(seconds, nanos, &mut out)?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn timestamps_read_and_print() {
        for (text, seconds, nanos, printed) in [
            ("1970-01-01T00:00:00Z", 0, 0, "1970-01-01T00:00:00Z"),
            (
                "1972-01-01T10:00:20.021Z",
                63_108_020,
                21_000_000,
                "1972-01-01T10:00:20.021Z",
            ),
            (
                "1969-12-31T23:59:59.9Z",
                -1,
                900_000_000,
                "1969-12-31T23:59:59.900Z",
            ),
            (
                "2024-02-29T12:00:00+01:30",
                1_709_202_600,
                0,
                "2024-02-29T10:30:00Z",
            ),
            (
                "0001-01-01T00:00:00Z",
                -62_135_596_800,
                0,
                "0001-01-01T00:00:00Z",
            ),
            (
                "9999-12-31T23:59:59.999999999Z",
                253_402_300_799,
                999_999_999,
                "9999-12-31T23:59:59.999999999Z",
            ),
            (
                "2000-01-01T00:00:00.000001Z",
                946_684_800,
                1000,
                "2000-01-01T00:00:00.000001Z",
            ),
        ] {
            assert_eq!(parse_timestamp(text), Some((seconds, nanos)), "{text}");
            assert_eq!(stamp(seconds, nanos).as_deref(), Some(printed));
        }
    }

    #[test]
    fn every_day_of_a_cycle_of_the_calendar_survives() {
        for day in 0..146_097 {
            let seconds = SECONDS.start() + day * 86_400 + day % 86_400;
            let text = stamp(seconds, 0).unwrap();
            assert_eq!(parse_timestamp(&text), Some((seconds, 0)), "{text}");
        }
    }

    #[test]
    fn timestamps_outside_the_specification_are_refused() {
        for text in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01t00:00:00Z",
            "1970-01-01T00:00:00z",
            "1970-01-01 00:00:00Z",
            "1970-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:60Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.0000000001Z",
            "1970-01-01T00:00:00+0100",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "10000-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!(stamp(253_402_300_800, 0), None);
        assert_eq!(stamp(0, -1), None);
    }

    #[test]
    fn durations_read_and_print() {
        for (text, seconds, nanos, printed) in [
            ("0s", 0, 0, "0s"),
            ("1.5s", 1, 500_000_000, "1.500s"),
            ("-0.5s", 0, -500_000_000, "-0.500s"),
            ("-1.000001s", -1, -1000, "-1.000001s"),
            ("315576000000s", 315_576_000_000, 0, "315576000000s"),
            (
                "-315576000000.999999999s",
                -315_576_000_000,
                -999_999_999,
                "-315576000000.999999999s",
            ),
            ("3.000000001s", 3, 1, "3.000000001s"),
        ] {
            assert_eq!(parse_duration(text), Some((seconds, nanos)), "{text}");
            assert_eq!(duration(seconds, nanos).as_deref(), Some(printed));
        }
        for text in [
            "",
            "1",
            "s",
            "1.s",
            ".5s",
            "+1s",
            "1.0000000001s",
            "315576000001s",
            "1 s",
            "--1s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for (seconds, nanos) in [
            (1, -1),
            (i64::MIN, 0),
            (i64::MAX, 0),
            (0, i32::MIN),
            (0, i32::MAX),
        ] {
            assert_eq!(duration(seconds, nanos), None, "{seconds} {nanos}");
        }
    }

    #[test]
    fn mask_paths_change_their_case() {
        assert_eq!(
            parse_mask_path("fooBar.bazQux", false).as_deref(),
            Some("foo_bar.baz_qux")
        );
        assert_eq!(parse_mask_path("foo_bar", false), None);
        assert_eq!(parse_mask_path("foo_bar", true).as_deref(), Some("foo_bar"));
        assert_eq!(parse_mask_path("fooBar", true).as_deref(), Some("foo_bar"));
        assert_eq!(parse_mask_path("*", false).as_deref(), Some("*"));
        assert_eq!(parse_mask_path("a.*.b", false).as_deref(), Some("a.*.b"));
        assert_eq!(parse_mask_path("a*", true), None);
        assert_eq!(parse_mask_path("", true), None);
        assert_eq!(parse_mask_path("a b", true), None);
        let mut out = String::new();
        assert_eq!(print_mask_path("foo_bar.baz", &mut out), Some(()));
        assert_eq!(out, "fooBar.baz");
        for path in ["fooBar", "foo__bar", "foo_1", "foo_"] {
            assert_eq!(print_mask_path(path, &mut String::new()), None, "{path}");
        }
    }
}
