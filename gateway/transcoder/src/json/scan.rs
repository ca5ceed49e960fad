//! Looks for the bytes that end a run of plain characters, eight at a time.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Whether a byte cannot stand for itself inside a JSON string.
#[inline]
fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// The high bit of each special byte of a word. A hit may borrow from the byte
/// above it, so only the lowest one is certain.
#[inline]
fn special(word: u64) -> u64 {
    let equal = |byte: u8| (word ^ (LOW * u64::from(byte))).wrapping_sub(LOW);
    let control = word.wrapping_sub(LOW * 0x20);
    (control | equal(b'"') | equal(b'\\')) & !word & HIGH
}

/// How many bytes stand before the first special one.
#[inline]
pub(crate) fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let hits = special(u64::from_le_bytes(*chunk));
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest
        .iter()
        .position(|byte| is_special(*byte))
        .unwrap_or(rest.len())
}

/// What some bytes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// A byte that must be escaped.
    pub(crate) special: bool,
    /// A byte that is not ASCII.
    pub(crate) wide: bool,
}

/// Looks through all bytes, whatever is found on the way.
#[inline]
pub(crate) fn content(bytes: &[u8]) -> Content {
    let (mut hits, mut high) = (0, 0);
    let mut add = |word: u64| {
        hits |= special(word);
        high |= word & HIGH;
    };
    for chunk in bytes.as_chunks().0 {
        add(u64::from_le_bytes(*chunk));
    }
    // The last word overlaps the one before, or is filled up with spaces.
    add(match bytes.last_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => bytes
            .iter()
            .fold(LOW * 0x20, |word, byte| word << 8 | u64::from(*byte)),
    });
    Content {
        special: hits != 0,
        wide: high != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_byte_is_found_at_every_place() {
        for byte in 0..=u8::MAX {
            for length in 1..40 {
                for place in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let want = if is_special(byte) { place } else { length };
                    assert_eq!(plain(&bytes), want, "{byte} at {place} of {length}");
                    let want = Content {
                        special: is_special(byte),
                        wide: byte >= 0x80,
                    };
                    assert_eq!(content(&bytes), want, "{byte} at {place} of {length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_beside_each_other_do_not_disturb(bytes in proptest::collection::vec(
            prop_oneof![Just(0x1f), Just(0x20), Just(b'"'), Just(b'!'), Just(b'#'), Just(b'\\'), any::<u8>()],
            0..30,
        )) {
            let want = bytes.iter().position(|byte| is_special(*byte));
            prop_assert_eq!(plain(&bytes), want.unwrap_or(bytes.len()));
            let wide = bytes.iter().any(|byte| *byte >= 0x80);
            prop_assert_eq!(content(&bytes), Content { special: want.is_some(), wide });
        }
    }
}
