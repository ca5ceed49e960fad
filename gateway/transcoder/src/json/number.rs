//! Numbers, exactly.

use crate::fault::{Fault, Outcome, shown};

/// Digits that surely fit into an `i64`.
const DIGITS: usize = 18;

/// The powers of ten up to that many digits; all of them are exact.
const POWERS: [f64; DIGITS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// Up to here a double holds every integer.
const EXACT: u64 = 1 << 53;

/// A number of RFC 8259.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) text: &'a str,
    simple: Option<Simple>,
}

/// A number without an exponent and with few digits, as nearly all are.
#[derive(Clone, Copy, Debug)]
struct Simple {
    negative: bool,
    /// All digits, as if there were no point.
    digits: u64,
    /// How many of them are behind the point.
    fraction: usize,
}

impl<'a> Number<'a> {
    /// The number that a text begins with; `None` also if what follows makes
    /// it none.
    #[inline]
    pub(crate) fn at_front(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let negative = bytes.first() == Some(&b'-');
        let start = usize::from(negative);
        let (mut digits, mut at) = (0, start);
        run(bytes, &mut at, &mut digits);
        let whole = at - start;
        if whole == 0 || (whole > 1 && bytes[start] == b'0') {
            return None;
        }
        let mut fraction = 0;
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let point = at;
            run(bytes, &mut at, &mut digits);
            fraction = at - point;
            if fraction == 0 {
                return None;
            }
        }
        let mut few = whole + fraction <= DIGITS;
        if let Some(b'e' | b'E') = bytes.get(at) {
            few = false;
            at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = at;
            run(bytes, &mut at, &mut 0);
            if at == exponent {
                return None;
            }
        }
        if let Some(b'.' | b'e' | b'E' | b'+' | b'-') = bytes.get(at) {
            return None;
        }
        let simple = few.then_some(Simple {
            negative,
            digits,
            fraction,
        });
        Some(Self {
            text: &text[..at],
            simple,
        })
    }

    /// A text that is a number and nothing else.
    #[inline]
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        Self::at_front(text).filter(|number| number.text.len() == text.len())
    }

    /// The value if it is integral, whichever way it is written. Anything
    /// outside 64 bits is as good as infinite.
    #[inline]
    fn integer(self) -> Option<i128> {
        match self.simple {
            Some(simple) if simple.fraction == 0 => {
                let value = i128::from(simple.digits);
                Some(if simple.negative { -value } else { value })
            }
            _ => exact(self.text),
        }
    }

    /// The integer as a `T`, or a fault that names the type.
    #[inline]
    pub(crate) fn ranged<T: TryFrom<i128>>(self, name: &'static str) -> Outcome<T> {
        self.integer()
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| self.unranged(name))
    }

    #[cold]
    fn unranged(self, name: &'static str) -> Box<Fault> {
        let text = shown(self.text);
        Fault::invalid(match self.integer() {
            Some(_) => format!("{text} is out of the range of {name}"),
            None => format!("{text} is not an integer"),
        })
    }

    /// A `double`; overflow is refused.
    #[inline]
    pub(crate) fn double(self) -> Outcome<f64> {
        match self.simple {
            // One division of exact values is rounded as it should be.
            Some(simple) if simple.digits <= EXACT => {
                let value = simple.digits as f64 / POWERS[simple.fraction];
                Ok(if simple.negative { -value } else { value })
            }
            _ => self.long_double(),
        }
    }

    fn long_double(self) -> Outcome<f64> {
        match self.text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(self.overflow("double")),
        }
    }

    /// A `float`, likewise.
    pub(crate) fn float(self) -> Outcome<f32> {
        match self.text.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(self.overflow("float")),
        }
    }

    #[cold]
    fn overflow(self, name: &str) -> Box<Fault> {
        let text = shown(self.text);
        Fault::invalid(format!("{text} is out of the range of {name}"))
    }
}

/// Reads digits; too many of them wrap around.
#[inline]
fn run(bytes: &[u8], at: &mut usize, digits: &mut u64) {
    while let Some(digit @ b'0'..=b'9') = bytes.get(*at) {
        *digits = digits
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'));
        *at += 1;
    }
}

/// The three values of floats that have names.
pub(crate) fn named(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
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
            let found = Number::of(text).and_then(Number::integer);
            assert_eq!(found, want, "{text}");
        }
    }

    #[test]
    fn floats_that_overflow_are_refused() {
        let number = |text| Number::of(text).unwrap();
        assert!(number("1e309").double().is_err());
        assert!(number("1.7976931348623157e308").double().is_ok());
        assert!(number("3.4028235e38").float().is_ok());
        assert!(number("3.5e38").float().is_err());
        assert!(number("1e309").float().is_err());
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "1.e5", "1.5.5", "1-2", "1e5e5",
            "0x1", "inf", "nan", "NaN", "Infinity", " 1", "1 ",
        ] {
            assert!(Number::of(text).is_none(), "{text}");
        }
        assert_eq!(Number::at_front("12,3").map(|n| n.text), Some("12"));
        assert!(Number::at_front("12-3").is_none());
    }

    proptest::proptest! {
        #[test]
        fn doubles_are_read_to_the_last_bit(text in "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,19})?(e-?[0-9]{1,2})?") {
            let found = Number::of(&text).unwrap().double().unwrap();
            proptest::prop_assert_eq!(found.to_bits(), text.parse::<f64>().unwrap().to_bits());
        }
    }
}
