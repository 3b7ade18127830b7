//! What is sent next to one sink from one ledger, and when: at least once, in order for each application. Pure: the time
//! and the dice come from outside.
//!
//! Records wait in lanes, one for each application. A lane sends its oldest record and nothing else of its own until that
//! is settled; lanes do not wait for each other. When the sink itself does not work, one record at a time is tried, each
//! time of another lane, so that one that the sink chokes on does not keep the others back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::answer::Outcome;
use super::cursor::{Cursor, DeadLetter};
use crate::engine::time::{elapsed, later};

/// Records that wait in memory, and unsettled ones that the cursor names: past it no more are read.
pub(super) const WAITING_MAX: usize = 1000;

/// How many fit in before more are read: reading one by one is dear.
const READ_MIN: usize = 250;

/// The longest pause that is not asked for.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The longest pause that a sink gets by `Retry-After`: past it an error is likelier than a wish.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What is the same for a sink's whole life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Records of one request.
    pub(super) batch_max: usize,
    /// Bytes of events in one request.
    pub(super) bytes_max: usize,
    /// Requests that are on their way at the same time.
    pub(super) in_flight_max: usize,
    /// The pause after the first failure; each further one doubles it.
    pub(super) pause: Duration,
    /// How long after its first failed attempt a record is set aside.
    pub(super) dead_letter_after: Duration,
}

/// A record that waits.
#[derive(Clone, Debug)]
pub(super) struct Item<T> {
    /// Its id.
    pub(super) id: String,
    /// What must stay in order: the application, or nothing for what concerns the daemon.
    pub(super) lane: String,
    /// How many bytes it takes.
    pub(super) bytes: usize,
    /// What is sent.
    pub(super) event: T,
}

/// Records that are sent in one request.
#[derive(Debug)]
pub(super) struct Batch<T> {
    /// Names the request in [`Delivery::answered`].
    pub(super) ticket: u64,
    /// The records, oldest first; never empty.
    pub(super) items: Vec<Item<T>>,
}

/// The state of one sink with one ledger.
#[derive(Debug)]
pub(super) struct Delivery<T> {
    rules: Rules,
    cursor: Cursor,
    /// The ledger was read up to here.
    read: u64,
    waiting: BTreeMap<u64, Item<T>>,
    /// Those of `waiting` that must not share a request: one of the request that they shared before was at fault.
    alone: BTreeSet<u64>,
    lanes: BTreeMap<String, Lane>,
    gate: Gate,
    in_flight: BTreeMap<u64, Vec<u64>>,
    tickets: u64,
    last_error: Option<(Timestamp, String)>,
}

/// What a lane must be known for; one that is not in the map may send.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    in_flight: bool,
    failures: u32,
    pause_until: Option<Timestamp>,
}

/// Whether the sink works.
#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    /// Failures in a row.
    failures: u32,
    closed_until: Option<Timestamp>,
    /// The newest request when it failed: only what was sent later shows that it works again.
    closed_by: u64,
}

impl<T: Clone> Delivery<T> {
    /// Goes on from where the cursor is.
    pub(super) fn new(rules: Rules, cursor: Cursor) -> Self {
        let read = cursor.read_from();
        let (waiting, alone, lanes) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (in_flight, gate) = (BTreeMap::new(), Gate::default());
        Self { rules, cursor, read, waiting, alone, lanes, gate, in_flight, tickets: 0, last_error: None }
    }

    /// What is to be remembered.
    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The newest failure since the start, if the sink or a record is still at fault.
    pub(super) fn last_error(&self) -> Option<&(Timestamp, String)> {
        self.last_error.as_ref()
    }

    /// Behind which sequence number the ledger is to be read, and how many records at most; none while enough wait.
    pub(super) fn wants(&self) -> Option<(u64, usize)> {
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        (room >= READ_MIN).then_some((self.read, room))
    }

    /// Takes a record in that was read. `item` makes of it what is sent, or nothing if it does not concern the sink, or sets
    /// it aside if it cannot be sent.
    pub(super) fn take(&mut self, sequence: u64, item: impl FnOnce() -> Result<Option<Item<T>>, DeadLetter>) {
        if !self.cursor.settled(sequence) && !self.waiting.contains_key(&sequence) {
            match item() {
                Ok(Some(item)) => {
                    self.cursor.open.entry(sequence).or_insert(None);
                    self.waiting.insert(sequence, item);
                }
                Ok(None) => drop(self.cursor.open.remove(&sequence)),
                Err(letter) => self.cursor.set_aside(sequence, letter),
            }
        }
        self.cursor.through = self.cursor.through.max(sequence);
        self.read = self.read.max(sequence);
    }

    /// The next records to send, if any may be sent now.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Batch<T>> {
        let ailing = self.gate.failures > 0;
        let room = if ailing { 1 } else { self.rules.in_flight_max };
        if self.in_flight.len() >= room || self.gate.closed_until.is_some_and(|until| now < until) {
            return None;
        }
        let chosen = if ailing { self.probe(now).into_iter().collect() } else { self.batch(now) };
        let items: Vec<Item<T>> = chosen.iter().filter_map(|s| self.waiting.get(s).cloned()).collect();
        if items.is_empty() {
            return None;
        }
        for item in &items {
            self.lanes.entry(item.lane.clone()).or_default().in_flight = true;
        }
        self.tickets += 1;
        self.in_flight.insert(self.tickets, chosen);
        Some(Batch { ticket: self.tickets, items })
    }

    /// As many as fit, oldest first, and none behind one of its lane that stays.
    fn batch(&self, now: Timestamp) -> Vec<u64> {
        let (mut chosen, mut bytes, mut stays) = (Vec::new(), 0_usize, BTreeSet::new());
        for (sequence, item) in &self.waiting {
            let alone = self.alone.contains(sequence);
            let full = chosen.len() >= self.rules.batch_max
                || (!chosen.is_empty() && bytes.saturating_add(item.bytes) > self.rules.bytes_max);
            if full {
                break;
            }
            if stays.contains(item.lane.as_str())
                || !self.may_send(&item.lane, now)
                || (alone && !chosen.is_empty())
            {
                stays.insert(item.lane.as_str());
                continue;
            }
            bytes = bytes.saturating_add(item.bytes);
            chosen.push(*sequence);
            if alone {
                break;
            }
        }
        chosen
    }

    /// The oldest record of the lane that failed least: whether the sink works is not for the worst record to say.
    fn probe(&self, now: Timestamp) -> Option<u64> {
        let mut heads = BTreeMap::new();
        for (sequence, item) in &self.waiting {
            heads.entry(item.lane.as_str()).or_insert(*sequence);
        }
        let failures = |lane: &str| self.lanes.get(lane).map_or(0, |lane| lane.failures);
        let ready = heads.into_iter().filter(|(lane, _)| self.may_send(lane, now));
        ready.min_by_key(|(lane, sequence)| (failures(lane), *sequence)).map(|(_, sequence)| sequence)
    }

    fn may_send(&self, lane: &str, now: Timestamp) -> bool {
        self.lanes
            .get(lane)
            .is_none_or(|lane| !lane.in_flight && lane.pause_until.is_none_or(|until| now >= until))
    }

    /// Takes in what became of a request. `dice` is a number from 0 up to 1, of which the pause is made.
    pub(super) fn answered(&mut self, ticket: u64, outcome: Outcome, now: Timestamp, dice: f64) {
        // One of before a replay is nobody's any more.
        let Some(sent) = self.in_flight.remove(&ticket) else { return };
        let lanes: BTreeSet<String> =
            sent.iter().filter_map(|s| Some(self.waiting.get(s)?.lane.clone())).collect();
        for lane in &lanes {
            self.lanes.entry(lane.clone()).or_default().in_flight = false;
        }
        match outcome {
            Outcome::Delivered => {
                self.open(ticket);
                for lane in &lanes {
                    self.lanes.remove(lane);
                }
                for sequence in sent {
                    self.cursor.open.remove(&sequence);
                    self.forget(sequence);
                }
                if self.gate.failures == 0 && self.lanes.values().all(|lane| lane.failures == 0) {
                    self.last_error = None;
                }
            }
            Outcome::Refused { why, forever } => {
                self.open(ticket);
                self.last_error = Some((now, why.clone()));
                match sent.as_slice() {
                    [one] => self.failed(*one, &why, forever, now, dice),
                    // One of them is at fault: it is found by sending each alone.
                    several => self.alone.extend(several),
                }
            }
            Outcome::Unavailable { why, retry_after } => {
                self.last_error = Some((now, why.clone()));
                self.gate.failures = self.gate.failures.saturating_add(1);
                let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                let pause = self.rules.pause(self.gate.failures, dice).max(asked);
                self.gate.closed_until = Some(later(now, pause));
                self.gate.closed_by = self.tickets;
                match sent.as_slice() {
                    [one] => self.failed(*one, &why, false, now, dice),
                    several => self.alone.extend(several),
                }
            }
        }
    }

    /// The sink works, as the answer to this request shows.
    fn open(&mut self, ticket: u64) {
        if ticket > self.gate.closed_by {
            self.gate = Gate::default();
        }
    }

    /// A record that was sent alone was not taken.
    fn failed(&mut self, sequence: u64, why: &str, forever: bool, now: Timestamp, dice: f64) {
        let Some(item) = self.waiting.get(&sequence) else { return };
        let first = *self.cursor.open.entry(sequence).or_default().get_or_insert(now);
        if forever || elapsed(first, now) >= self.rules.dead_letter_after {
            let letter = DeadLetter { id: item.id.clone(), at: now, why: why.to_owned() };
            self.cursor.set_aside(sequence, letter);
            self.lanes.remove(&item.lane.clone());
            self.forget(sequence);
            return;
        }
        let (rules, lane) = (self.rules, self.lanes.entry(item.lane.clone()).or_default());
        lane.failures = lane.failures.saturating_add(1);
        lane.pause_until = Some(later(now, rules.pause(lane.failures, dice)));
    }

    fn forget(&mut self, sequence: u64) {
        self.waiting.remove(&sequence);
        self.alone.remove(&sequence);
    }

    /// The next time at which something may be sent that must wait now; none when nothing waits for a time.
    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let lanes = self.lanes.values().filter(|lane| !lane.in_flight).filter_map(|lane| lane.pause_until);
        let gate = self.gate.closed_until.filter(|_| !self.waiting.is_empty());
        lanes.chain(gate).filter(|at| *at > now).min()
    }

    /// Takes in what another daemon, or a person who asked for a replay, has saved meanwhile.
    pub(super) fn adopt(&mut self, stored: &Cursor) {
        if stored.replay > self.cursor.replay {
            *self = Self { tickets: self.tickets, ..Self::new(self.rules, stored.clone()) };
            return;
        }
        self.cursor = self.cursor.joined(stored);
        let settled: Vec<u64> =
            self.waiting.keys().copied().filter(|sequence| self.cursor.settled(*sequence)).collect();
        let on_its_way: BTreeSet<u64> = self.in_flight.values().flatten().copied().collect();
        for sequence in settled {
            // What is on its way still holds its lane.
            if !on_its_way.contains(&sequence) {
                self.forget(sequence);
            }
        }
        // What the other has open and we never read.
        let unread = self.cursor.open.keys().find(|sequence| !self.waiting.contains_key(sequence));
        self.read = unread.map_or(self.cursor.through, |first| first.saturating_sub(1));
    }
}

impl Rules {
    /// Doubles with each failure up to a limit, and lies in the upper half of that, wherever the dice say: many that failed
    /// together do not come again together.
    fn pause(&self, failures: u32, dice: f64) -> Duration {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.pause.saturating_mul(doubled).min(PAUSE_MAX).mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
