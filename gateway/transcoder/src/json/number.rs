//! Numbers, exactly.

use crate::fault::{Fault, Outcome};

/// Whether a text is a number of RFC 8259.
pub(crate) fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

/// The value of a number if it is integral, whichever way it is written.
/// Anything outside 64 bits is as good as infinite.
pub(crate) fn integer(text: &str) -> Option<i128> {
    // The way nearly all are written; no 19 digits overflow an i64.
    if text.len() < 20
        && let Ok(value) = text.parse::<i64>()
        && !text.starts_with('+')
        && (value == 0 || !text.trim_start_matches('-').starts_with('0'))
        && text != "-0"
        && (value != 0 || text == "0")
    {
        return Some(value.into());
    }
    if is_number(text) { exact(text) } else { None }
}

/// Shifts the decimal point of `mantissa e exponent` to where it belongs.
fn exact(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = [whole, fraction.trim_end_matches('0')].concat();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    // An exponent beyond i32 either is not integral or is out of any range.
    let exponent: i32 = exponent.trim_start_matches('+').parse().ok()?;
    let shift = i64::from(exponent) - i64::try_from(fraction.trim_end_matches('0').len()).ok()?;
    let (kept, zeros) = match usize::try_from(shift) {
        Ok(zeros) => (digits, zeros),
        Err(_) => {
            let cut = usize::try_from(-shift).ok()?;
            let (kept, cut) = digits.split_at_checked(digits.len().checked_sub(cut)?)?;
            if cut.bytes().any(|b| b != b'0') {
                return None;
            }
            (kept, 0)
        }
    };
    if kept.len() + zeros > 25 {
        return Some(if negative { i128::MIN } else { i128::MAX });
    }
    let value: i128 = format!("{kept}{}", "0".repeat(zeros)).parse().ok()?;
    Some(if negative { -value } else { value })
}

/// The integer as a `T`, or a fault that names the type.
pub(crate) fn ranged<T: TryFrom<i128>>(text: &str, name: &'static str) -> Outcome<T> {
    match integer(text) {
        Some(value) => T::try_from(value)
            .map_err(|_| Fault::invalid(format!("{text} is out of the range of {name}"))),
        None if is_number(text) => Err(Fault::invalid(format!("{text} is not an integer"))),
        None => Err(Fault::invalid(format!("{text:?} is not a number"))),
    }
}

/// A `double`; overflow is refused, the three names are known.
pub(crate) fn double(text: &str) -> Outcome<f64> {
    match text {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(f64::INFINITY),
        "-Infinity" => return Ok(f64::NEG_INFINITY),
        _ if is_number(text) => {}
        _ => return Err(Fault::invalid(format!("{text:?} is not a number"))),
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(Fault::invalid(format!(
            "{text} is out of the range of double"
        ))),
    }
}

/// A `float`, likewise.
pub(crate) fn float(text: &str) -> Outcome<f32> {
    let wide = double(text)?;
    let narrow = if wide.is_finite() {
        text.parse().unwrap_or(f32::INFINITY)
    } else {
        wide as f32
    };
    if wide.is_finite() && narrow.is_infinite() {
        return Err(Fault::invalid(format!(
            "{text} is out of the range of float"
        )));
    }
    Ok(narrow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_in_every_notation() {
        for (text, want) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.0", Some(0)),
            ("0e9999999999", Some(0)),
            ("1", Some(1)),
            ("1.0", Some(1)),
            ("1e2", Some(100)),
            ("1.5e1", Some(15)),
            ("150e-1", Some(15)),
            ("100000e-5", Some(1)),
            ("-9223372036854775808", Some(i64::MIN.into())),
            ("18446744073709551615", Some(u64::MAX.into())),
            ("1.8446744073709551615e19", Some(u64::MAX.into())),
            ("1e30", Some(i128::MAX)),
            ("1.5", None),
            ("1e-1", None),
            ("15e-2", None),
            ("01", None),
            ("-01", None),
            ("00", None),
            ("+1", None),
            ("", None),
            (" 1", None),
            ("0x1", None),
        ] {
            assert_eq!(integer(text), want, "{text}");
        }
    }

    #[test]
    fn floats_that_overflow_are_refused() {
        assert!(double("1e309").is_err());
        assert!(double("1.7976931348623157e308").is_ok());
        assert!(float("3.4028235e38").is_ok());
        assert!(float("3.5e38").is_err());
        assert!(float("NaN").is_ok_and(f32::is_nan));
        assert_eq!(float("-Infinity").ok(), Some(f32::NEG_INFINITY));
        assert!(double("inf").is_err());
        assert!(double("nan").is_err());
        assert!(double("").is_err());
    }
}
