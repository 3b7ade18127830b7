//! How far a sink has got with a ledger. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Dead letters that are remembered for each ledger; more are counted.
pub const DEAD_LETTERS_MAX: usize = 100;

/// What is remembered over a restart: which records of one ledger need not be sent any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cursor {
    /// Counts how often a person asked for all to be sent again: a cursor of a higher one replaces those before.
    pub replay: u64,
    /// The records up to this sequence number are settled, but for those in `open`.
    pub through: u64,
    /// What is not settled below it, with the time of the first attempt that failed.
    pub open: BTreeMap<u64, Option<Timestamp>>,
    /// What was set aside, newest last.
    pub dead: BTreeMap<u64, DeadLetter>,
    /// How many were set aside in all.
    pub dead_count: u64,
    /// Records before this time are passed over: what a replay asked for.
    pub since: Option<Timestamp>,
}

/// A record that could not be delivered within the stated time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The record's id.
    pub id: String,
    /// When it was set aside.
    pub at: Timestamp,
    /// What the last attempt ended with.
    pub why: String,
}

impl Cursor {
    /// Whether this record need not be sent any more.
    pub fn settled(&self, sequence: u64) -> bool {
        sequence <= self.through && !self.open.contains_key(&sequence)
    }

    /// What is to be read next is behind this sequence number.
    pub fn read_from(&self) -> u64 {
        self.open.keys().next().map_or(self.through, |first| first.saturating_sub(1))
    }

    /// One that sends all again from behind this sequence number, and from this time on.
    #[must_use]
    pub fn replayed(&self, behind: u64, since: Option<Timestamp>) -> Self {
        Self { replay: self.replay.saturating_add(1), through: behind, since, ..Self::default() }
    }

    /// What two daemons know together: settled is what either of them settled. The order does not matter.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        if self.replay != other.replay {
            return if self.replay > other.replay { self.clone() } else { other.clone() };
        }
        let unsettled = |sequence: u64| !self.settled(sequence) && !other.settled(sequence);
        let (a, b) = (&self.open, &other.open);
        let open = a.keys().chain(b.keys()).filter(|sequence| unsettled(**sequence)).map(|sequence| {
            let first = a.get(sequence).copied().flatten();
            let second = b.get(sequence).copied().flatten();
            (*sequence, first.into_iter().chain(second).min())
        });
        let mut joined = Self {
            replay: self.replay,
            through: self.through.max(other.through),
            open: open.collect(),
            dead: other.dead.clone(),
            dead_count: self.dead_count.max(other.dead_count),
            since: self.since.or(other.since),
        };
        joined.dead.extend(self.dead.clone());
        joined.forget_dead();
        joined
    }

    /// Sets a record aside.
    pub(super) fn set_aside(&mut self, sequence: u64, letter: DeadLetter) {
        self.open.remove(&sequence);
        self.dead.insert(sequence, letter);
        self.dead_count = self.dead_count.saturating_add(1);
        self.forget_dead();
    }

    fn forget_dead(&mut self) {
        while self.dead.len() > DEAD_LETTERS_MAX {
            self.dead.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor(through: u64, open: &[u64]) -> Cursor {
        let open = open.iter().filter(|s| **s <= through).map(|s| (*s, None)).collect();
        Cursor { through, open, ..Cursor::default() }
    }

    #[test]
    fn what_either_settled_is_settled() {
        let joined = cursor(5, &[2, 4]).joined(&cursor(7, &[4, 6]));
        assert_eq!((joined.through, joined.open.into_keys().collect::<Vec<_>>()), (7, vec![4, 6]));
    }

    #[test]
    fn a_replay_replaces_what_was_known() {
        let old = cursor(9, &[3]);
        let new = old.replayed(2, None);
        assert_eq!(new.joined(&old), new);
        assert_eq!(old.joined(&new), new);
        assert!(!new.settled(3) && new.settled(2));
    }

    #[test]
    fn dead_letters_are_counted_and_the_oldest_forgotten() {
        let mut cursor = cursor(500, &[]);
        for sequence in 1..=150 {
            let at = Timestamp::from_second(0).unwrap();
            cursor.set_aside(sequence, DeadLetter { id: sequence.to_string(), at, why: "no".into() });
        }
        assert_eq!((cursor.dead.len(), cursor.dead_count), (DEAD_LETTERS_MAX, 150));
        assert_eq!(cursor.dead.first_key_value().map(|(sequence, _)| *sequence), Some(51));
    }

    proptest! {
        #[test]
        fn joining_settles_exactly_what_either_settled(
            a in (0_u64..20, prop::collection::vec(1_u64..20, 0..8)),
            b in (0_u64..20, prop::collection::vec(1_u64..20, 0..8)),
        ) {
            let (a, b) = (cursor(a.0, &a.1), cursor(b.0, &b.1));
            let joined = a.joined(&b);
            prop_assert_eq!(&joined, &b.joined(&a));
            prop_assert_eq!(&joined.joined(&a), &joined);
            for sequence in 1..20 {
                prop_assert_eq!(joined.settled(sequence), a.settled(sequence) || b.settled(sequence));
            }
        }
    }
}
