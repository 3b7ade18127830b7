//! The task of one sink: read the ledgers, send what may be sent, remember what was settled.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{info, warn};

use super::answer::Outcome;
use super::courier::Courier;
use super::cursor::DeadLetter;
use super::delivery::{Delivery, Item, Rules};
use super::encode;
use super::event::Event;
use super::keep::{Failure, Keeper, Kept, Progress};
use super::read::Sink;
use super::{Ledgers, Pace};
use crate::record::ledger::{Ledger, Link};
use crate::record::state::{SaveError, Version};

/// Requests to one sink that are on their way at the same time, for each ledger.
const IN_FLIGHT_MAX: usize = 4;

/// How long answers are waited for when the daemon ends.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(1);

/// How long the last save may take when the daemon ends.
const LAST_SAVE_MAX: Duration = Duration::from_secs(3);

/// What looks after one sink.
pub(super) struct Worker {
    sink: Arc<Sink>,
    courier: Arc<Courier>,
    keeper: Keeper,
    pace: Pace,
    ledgers: Ledgers,
    known: BTreeMap<String, Known>,
    on_their_way: JoinSet<Outcome>,
    /// Which ledger each of them is of, and its ticket.
    of_task: HashMap<Id, (String, u64)>,
    /// What the store holds.
    kept: Kept,
    version: Option<Version>,
    /// Whether there may be something to save.
    changed: bool,
    saved_at: Option<Instant>,
    polled_at: Instant,
    looked_at: Instant,
    dice: SystemRandom,
}

/// A ledger and how far the sink has got with it.
struct Known {
    ledger: Arc<dyn Ledger>,
    delivery: Delivery<Arc<Event>>,
    newest: u64,
    /// Whether there may be more to read.
    unread: bool,
}

impl Worker {
    pub(super) fn new(
        sink: Arc<Sink>,
        courier: Courier,
        keeper: Keeper,
        pace: Pace,
        ledgers: Ledgers,
    ) -> Self {
        Self {
            sink,
            courier: Arc::new(courier),
            keeper,
            pace,
            ledgers,
            known: BTreeMap::new(),
            on_their_way: JoinSet::new(),
            of_task: HashMap::new(),
            kept: Kept::default(),
            version: None,
            changed: false,
            saved_at: None,
            polled_at: Instant::now(),
            looked_at: Instant::now(),
            dice: SystemRandom::new(),
        }
    }

    /// Sends until told to stop.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = self.load() => {}
        }
        self.ledgers.mark_changed();
        loop {
            if self.ledgers.has_changed().unwrap_or(false) {
                self.look_at_ledgers();
            }
            if self.polled_at.elapsed() >= self.pace.poll {
                self.poll().await;
            }
            if self.looked_at.elapsed() >= self.pace.look {
                self.looked_at = Instant::now();
                self.known.values_mut().for_each(|known| known.unread = true);
            }
            self.read().await;
            self.send();
            self.save().await;
            let sleep = self.sleep();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(done) = self.on_their_way.join_next_with_id(), if !self.on_their_way.is_empty() => self.done(done),
                Ok(()) = self.ledgers.changed() => self.ledgers.mark_changed(),
                () = tokio::time::sleep(sleep) => {}
            }
        }
        self.end().await;
    }

    /// Hears what is on its way and writes it down, not waiting for long: the rest is sent again.
    async fn end(&mut self) {
        let answers = async {
            while let Some(done) = self.on_their_way.join_next_with_id().await {
                self.done(done);
            }
        };
        tokio::time::timeout(LAST_ANSWERS_MAX, answers).await.ok();
        self.saved_at = None;
        if tokio::time::timeout(LAST_SAVE_MAX, self.save()).await.is_err() {
            warn!(
                sink = self.sink.name,
                "How far a sink has got could not be saved before the end; some records are sent again."
            );
        }
    }

    /// Reads what is kept, however long that takes: without it all would be sent again.
    async fn load(&mut self) {
        loop {
            match self.keeper.load().await {
                Ok((kept, version)) => {
                    (self.kept, self.version) = (kept, version);
                    return;
                }
                Err(error) => {
                    warn!(
                        sink = self.sink.name,
                        error = format!("{error:#}"),
                        "How far a sink has got cannot be read; trying again."
                    );
                    tokio::time::sleep(self.pace.poll).await;
                }
            }
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            batch_max: encode::events_max(self.sink.format),
            bytes_max: encode::REQUEST_BYTES_MAX,
            in_flight_max: IN_FLIGHT_MAX,
            pause: self.pace.pause,
            dead_letter_after: self.sink.dead_letter_after,
        }
    }

    /// Takes ledgers in that are new; in each there may be something new.
    fn look_at_ledgers(&mut self) {
        let ledgers = self.ledgers.borrow_and_update().clone();
        for ledger in ledgers {
            let place = ledger.place();
            let rules = self.rules();
            let kept = &self.kept;
            let known = self.known.entry(place.clone()).or_insert_with(|| {
                let progress = kept.ledgers.get(&place).cloned().unwrap_or_default();
                let Progress { cursor, newest, last_error: _ } = progress;
                Known {
                    ledger: Arc::clone(&ledger),
                    delivery: Delivery::new(rules, cursor),
                    newest,
                    unread: true,
                }
            });
            // It may have been opened anew.
            known.ledger = ledger;
            known.unread = true;
        }
    }

    /// Looks for what a person or another daemon saved.
    async fn poll(&mut self) {
        self.polled_at = Instant::now();
        match self.keeper.load().await {
            Ok((kept, version)) if version != self.version => self.adopt(kept, version),
            Ok(_) => {}
            Err(error) => {
                warn!(
                    sink = self.sink.name,
                    error = format!("{error:#}"),
                    "How far a sink has got cannot be read now."
                );
            }
        }
    }

    fn adopt(&mut self, kept: Kept, version: Option<Version>) {
        for (place, known) in &mut self.known {
            if let Some(progress) = kept.ledgers.get(place) {
                if progress.cursor.replay > known.delivery.cursor().replay {
                    info!(
                        sink = self.sink.name,
                        ledger = place,
                        "Records are sent again, as a person asked for."
                    );
                }
                known.delivery.adopt(&progress.cursor);
                known.unread = true;
            }
        }
        (self.kept, self.version) = (kept, version);
        self.changed = true;
    }

    /// Reads as much as may wait.
    async fn read(&mut self) {
        for (place, known) in &mut self.known {
            let (true, Some((behind, most))) = (known.unread, known.delivery.wants()) else { continue };
            let ledger = Arc::clone(&known.ledger);
            let read = tokio::task::spawn_blocking(move || ledger.after(behind, most)).await;
            let links = match read {
                Ok(Ok(links)) => links,
                Ok(Err(error)) => {
                    warn!(sink = self.sink.name, ledger = place, %error, "A ledger cannot be read; trying again.");
                    known.unread = false;
                    continue;
                }
                Err(error) => {
                    warn!(sink = self.sink.name, ledger = place, %error, "Reading a ledger ended by a fault of ours.");
                    known.unread = false;
                    continue;
                }
            };
            known.unread = links.len() >= most;
            self.changed |= !links.is_empty();
            for link in links {
                known.newest = known.newest.max(link.sequence);
                let since = known.delivery.cursor().since.max(self.sink.since);
                known.delivery.take(link.sequence, || item(&self.sink, &link, place, since));
            }
        }
    }

    fn send(&mut self) {
        for (place, known) in &mut self.known {
            while let Some(batch) = known.delivery.next(Timestamp::now()) {
                let events: Vec<&Event> = batch.items.iter().map(|item| &*item.event).collect();
                let requests = encode::requests(&self.sink, &events);
                let courier = Arc::clone(&self.courier);
                let task = self.on_their_way.spawn(async move {
                    match requests {
                        Ok(requests) => courier.carry(requests).await,
                        Err(error) => Outcome::Refused { why: error.to_string(), forever: true },
                    }
                });
                self.of_task.insert(task.id(), (place.clone(), batch.ticket));
            }
        }
    }

    fn done(&mut self, done: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = done.unwrap_or_else(|error| {
            let why = format!("sending ended by a fault of ours, please report this: {error}");
            (error.id(), Outcome::Unavailable { why, retry_after: None })
        });
        let Some((place, ticket)) = self.of_task.remove(&id) else { return };
        self.changed = true;
        let dice = self.dice();
        let Some(known) = self.known.get_mut(&place) else { return };
        let before = (known.delivery.last_error().is_some(), known.delivery.cursor().dead_count);
        known.delivery.answered(ticket, outcome, Timestamp::now(), dice);
        let now = (known.delivery.last_error(), known.delivery.cursor().dead_count);
        match (before.0, now.0) {
            (false, Some((_, why))) => {
                warn!(sink = self.sink.name, ledger = place, why, "A sink does not take records.");
            }
            (true, None) => info!(sink = self.sink.name, ledger = place, "A sink takes records again."),
            (false, None) | (true, Some(_)) => {}
        }
        if now.1 > before.1
            && let Some((sequence, DeadLetter { id, why, .. })) =
                known.delivery.cursor().dead.iter().max_by_key(|(_, letter)| letter.at)
        {
            warn!(
                sink = self.sink.name,
                ledger = place,
                sequence,
                id,
                why,
                "A record could not be delivered and is set aside."
            );
        }
    }

    /// A number from 0 up to 1.
    fn dice(&self) -> f64 {
        let mut bytes = [0; 4];
        // Without randomness pauses are even, which is no harm.
        self.dice.fill(&mut bytes).ok();
        f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }

    fn now_to_keep(&self) -> Kept {
        let mut kept = self.kept.clone();
        for (place, known) in &self.known {
            let last_error =
                known.delivery.last_error().map(|(at, why)| Failure { at: *at, why: why.clone() });
            let progress =
                Progress { cursor: known.delivery.cursor().clone(), newest: known.newest, last_error };
            kept.ledgers.insert(place.clone(), progress);
        }
        kept
    }

    /// Writes down how far it got, not too often: what is lost by a crash in between is sent again.
    async fn save(&mut self) {
        if !self.changed || self.saved_at.is_some_and(|at| at.elapsed() < self.pace.save) {
            return;
        }
        let kept = self.now_to_keep();
        self.changed = kept != self.kept;
        if !self.changed {
            return;
        }
        self.saved_at = Some(Instant::now());
        match self.keeper.save(&kept, self.version.as_ref()).await {
            Ok(version) => {
                (self.kept, self.version) = (kept, Some(version));
                self.changed = false;
            }
            Err(SaveError::Conflict { .. }) => match self.keeper.load().await {
                Ok((kept, version)) => self.adopt(kept, version),
                Err(error) => {
                    warn!(
                        sink = self.sink.name,
                        error = format!("{error:#}"),
                        "How far a sink has got cannot be read now."
                    );
                }
            },
            Err(error @ SaveError::Other { .. }) => {
                warn!(sink = self.sink.name, %error, "How far a sink has got was not saved; trying again.");
            }
        }
    }

    /// Until something is due.
    fn sleep(&self) -> Duration {
        let now = Timestamp::now();
        let poll = self.pace.poll.saturating_sub(self.polled_at.elapsed());
        let mut sleep = poll.min(self.pace.look.saturating_sub(self.looked_at.elapsed()));
        for known in self.known.values() {
            if known.unread && known.delivery.wants().is_some() {
                return Duration::ZERO;
            }
            // What may be sent at once waits for an answer; what waits for a time does not.
            if let Some(at) = known.delivery.wake_at(now) {
                sleep = sleep.min(Duration::try_from(at.duration_since(now)).unwrap_or_default());
            }
        }
        if let Some(at) = self.saved_at.filter(|_| self.changed) {
            sleep = sleep.min(self.pace.save.saturating_sub(at.elapsed()));
        }
        sleep
    }
}

/// What is sent of a link; nothing if it does not concern the sink.
fn item(
    sink: &Sink,
    link: &Link,
    place: &str,
    since: Option<Timestamp>,
) -> Result<Option<Item<Arc<Event>>>, DeadLetter> {
    let cannot = |error: serde_json::Error| DeadLetter {
        id: link.record.get("id").and_then(|id| id.as_str()).unwrap_or_default().to_owned(),
        at: Timestamp::now(),
        why: format!("this version of lastgood cannot read it: {error}"),
    };
    let record = link.record().map_err(cannot)?;
    if since.is_some_and(|since| record.at < since) || !sink.filter.passes(&record) {
        return Ok(None);
    }
    let event = Event::of(link, record, place).map_err(cannot)?;
    let lane = event.subject().unwrap_or_default();
    let (id, bytes) = (event.id.clone(), event.bytes);
    Ok(Some(Item { id, lane, bytes, event: Arc::new(event) }))
}
