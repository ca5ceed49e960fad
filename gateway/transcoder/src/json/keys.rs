//! The keys of a map that have been met.

use std::collections::HashSet;
use std::hash::Hash;

/// Up to here duplicates are found by looking at all of them.
const FEW: usize = 8;

/// A set that allocates nothing as long as it is small, as most maps are.
#[derive(Debug)]
pub(crate) struct Keys<K> {
    few: [K; FEW],
    count: usize,
    many: HashSet<K>,
}

impl<K: Default> Default for Keys<K> {
    fn default() -> Self {
        Self {
            few: Default::default(),
            count: 0,
            many: HashSet::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Keys<K> {
    /// Adds a key; `false` if it was there already.
    pub(crate) fn insert(&mut self, key: K) -> bool {
        if self.count < FEW {
            let fresh = !self.few[..self.count].contains(&key);
            self.few[self.count] = key;
            self.count += 1;
            return fresh;
        }
        if self.many.is_empty() {
            self.many.extend(self.few.iter().cloned());
        }
        self.many.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_new_once() {
        let mut keys = Keys::default();
        for key in 0..40 {
            assert!(keys.insert(key), "{key}");
        }
        for key in 0..40 {
            assert!(!keys.insert(key), "{key}");
        }
        assert!(keys.insert(40));
    }

    #[test]
    fn a_default_is_a_key_like_any_other() {
        let mut keys = Keys::default();
        assert!(keys.insert(""));
        assert!(!keys.insert(""));
    }
}
