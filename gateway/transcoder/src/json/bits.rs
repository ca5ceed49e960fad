//! A set of small numbers that costs nothing up to 64.

/// Which fields or oneofs of a message have been seen.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    low: u64,
    high: Vec<u64>,
}

impl Bits {
    /// Adds a number; `false` if it was there already.
    #[inline]
    pub(crate) fn insert(&mut self, number: usize) -> bool {
        let mask = 1 << (number % 64);
        let word = if number < 64 {
            &mut self.low
        } else {
            self.word(number / 64 - 1)
        };
        let fresh = *word & mask == 0;
        *word |= mask;
        fresh
    }

    #[cold]
    fn word(&mut self, index: usize) -> &mut u64 {
        if self.high.len() <= index {
            self.high.resize(index + 1, 0);
        }
        &mut self.high[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_new_once() {
        let mut bits = Bits::default();
        for number in [0, 63, 64, 127, 128, 1000] {
            assert!(bits.insert(number));
            assert!(!bits.insert(number));
        }
        assert!(bits.insert(1));
    }
}
