//! UUIDs as 22 letters and digits, which is what ids look like at Yombo.

use uuid::Uuid;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// As many digits as the largest UUID takes.
const LENGTH: usize = 22;

/// A UUID in base 62.
pub(super) fn encode(id: Uuid) -> String {
    let mut digits = [b'0'; LENGTH];
    let mut rest = id.as_u128();
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

/// The UUID that a text in base 62 stands for, if any.
pub(super) fn decode(text: &str) -> Option<Uuid> {
    if text.len() != LENGTH {
        return None;
    }
    let mut value: u128 = 0;
    for byte in text.bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        value = value.checked_mul(62)?.checked_add(digit as u128)?;
    }
    Some(Uuid::from_u128(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_uuid_reads_back_as_it_was_written() {
        for value in [0, 1, 61, 62, u128::from(u64::MAX), u128::MAX - 1, u128::MAX] {
            let id = Uuid::from_u128(value);
            let text = encode(id);
            assert_eq!(text.len(), LENGTH);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
            assert_eq!(decode(&text), Some(id));
        }
        assert_eq!(encode(Uuid::from_u128(62)), "0000000000000000000010");
    }

    #[test]
    fn what_stands_for_no_uuid_is_refused() {
        let too_large = "z".repeat(LENGTH);
        for text in [
            "",
            "1",
            "000000000000000000001-",
            "00000000000000000000010",
            &too_large,
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
