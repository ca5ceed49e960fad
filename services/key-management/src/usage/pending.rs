//! What is counted and not written yet.

use std::ops::Bound;

use super::{AGENT, APART, BTreeMap, CHUNK, Counted, DateTime, Entry, HELD, Holder, Rehash, Utc};

/// All that is to be written.
#[derive(Default)]
pub(super) struct Pending {
    /// By the generation's number.
    secrets: BTreeMap<i64, Uses>,
    /// How many origins that are.
    origins: usize,
    /// When keys and clients were last used, once that is known of their secrets.
    holders: BTreeMap<Holder, DateTime<Utc>>,
}

/// What is to be written of one secret.
#[derive(Default)]
pub(super) struct Uses {
    pub(super) places: BTreeMap<Place, Counted>,
    pub(super) hash: Option<Rehash>,
}

/// From where and by what a secret is used; empty: all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) network: String,
    pub(super) user_agent: String,
}

impl Place {
    pub(super) fn new(network: &str, user_agent: &str) -> Self {
        // PostgreSQL takes no NUL, and nobody wants to read the others.
        let text = |text: &str| {
            text.chars()
                .filter(|c| !c.is_control())
                .take(AGENT)
                .collect()
        };
        Self {
            network: text(network),
            user_agent: text(user_agent),
        }
    }
}

impl Uses {
    /// How often, and when, in all.
    pub(super) fn total(&self) -> Option<Counted> {
        let all = self.places.values().copied();
        all.reduce(|mut sum, more| {
            sum.add(more);
            sum
        })
    }
}

impl Pending {
    pub(super) fn add(&mut self, generation: i64, mut place: Place, more: Counted) {
        let full = self.origins >= HELD;
        let places = &mut self.secrets.entry(generation).or_default().places;
        if (full || places.len() >= APART) && !places.contains_key(&place) {
            place = Place::default();
        }
        match places.entry(place) {
            Entry::Occupied(mut counted) => counted.get_mut().add(more),
            Entry::Vacant(new) => {
                new.insert(more);
                self.origins += 1;
            }
        }
    }

    pub(super) fn rehash(&mut self, generation: i64, hash: Rehash) {
        self.secrets.entry(generation).or_default().hash = Some(hash);
    }

    /// Takes out what there is of the secrets that follow this one, as much as
    /// one transaction writes.
    pub(super) fn take(&mut self, after: Option<i64>) -> BTreeMap<i64, Uses> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut size = 0;
        let some = self.secrets.range((after, Bound::Unbounded));
        let some = some.take_while(|(_, uses)| {
            let has_room = size < CHUNK;
            size += uses.places.len().max(1);
            has_room
        });
        let some: Vec<_> = some.map(|(generation, _)| *generation).collect();
        let mut taken = BTreeMap::new();
        for generation in some {
            if let Some(uses) = self.secrets.remove(&generation) {
                self.origins -= uses.places.len();
                taken.insert(generation, uses);
            }
        }
        taken
    }

    /// Puts back what could not be written. What came in the meantime is newer.
    pub(super) fn put_back(&mut self, chunk: BTreeMap<i64, Uses>) {
        for (generation, uses) in chunk {
            for (place, counted) in uses.places {
                self.add(generation, place, counted);
            }
            if let Some(hash) = uses.hash {
                let secret = self.secrets.entry(generation).or_default();
                secret.hash.get_or_insert(hash);
            }
        }
    }

    pub(super) fn take_holders(&mut self) -> BTreeMap<Holder, DateTime<Utc>> {
        let rest = self.holders.keys().nth(CHUNK).copied();
        let rest = rest.map(|first| self.holders.split_off(&first));
        std::mem::replace(&mut self.holders, rest.unwrap_or_default())
    }

    pub(super) fn put_holders(
        &mut self,
        holders: impl IntoIterator<Item = (Holder, DateTime<Utc>)>,
    ) {
        for (holder, last) in holders {
            let known = self.holders.entry(holder).or_insert(last);
            *known = last.max(*known);
        }
    }
}
