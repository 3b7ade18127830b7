//! Brings records from the states where they wait into the ledger. A ledger that cannot be reached holds nothing up.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::homes::{Home, Means, Place};
use crate::engine::facts::{AppKey, ApplicationFacts};
use crate::engine::policy::Policy;
use crate::record::events::{self, Notice, Urgency};
use crate::record::ledger::{Ledger, LedgerError, Record};
use crate::record::waiting::{Packed, Waiting};

/// How long what may wait does so: thousands of healthy analyses a day are then a push a minute at most.
const BATCH_WAIT: Duration = Duration::from_secs(60);

/// Records that are not waited with: a push of so many is still small.
const BATCH_RECORDS: usize = 100;

/// The first pause after a failure.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause: a ledger that is back gets its records soon.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long the last records may take when the daemon ends; what is left waits in the states.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Records about the daemon itself that wait; they are kept in memory only.
const OWN_MAX: usize = 100;

/// Where records go.
#[derive(Clone, Default)]
pub enum Keeping {
    /// Nowhere: none are made.
    #[default]
    Nowhere,
    /// All into one ledger.
    In(Arc<dyn Ledger>),
    /// All on a branch of this repository.
    At(String),
    /// On a branch of the repository of each application's first Git source. A policy that only makes dry runs has none.
    OfRepositories,
}

/// The tasks that write the ledgers, one for each.
pub(super) struct Ledgers {
    keeping: Keeping,
    place: Place,
    /// Where copies of ledgers are kept.
    cache: PathBuf,
    writers: Mutex<BTreeMap<String, Known>>,
    /// What a ledger gets before its first record of an application: who writes there, and by which policies.
    own: Mutex<Vec<Record>>,
    /// Gets all of them when there is one more, or something new in one.
    news: News,
}

/// A ledger that is written.
#[derive(Clone)]
struct Known {
    ledger: Arc<dyn Ledger>,
    tell: mpsc::UnboundedSender<Told>,
    means: Option<Means>,
}

/// The ledgers that are written.
type News = watch::Sender<Vec<Arc<dyn Ledger>>>;

/// Records of one application that wait, as they were last saved.
pub(super) type Queue = Arc<Mutex<Vec<Packed>>>;

/// An application that has records for the ledger.
pub(super) struct Source {
    pub(super) key: AppKey,
    pub(super) uid: String,
    /// What waits; shorter once something is in the ledger.
    pub(super) queue: Queue,
    /// Gets the ids of what the ledger has.
    pub(super) has: mpsc::UnboundedSender<Vec<String>>,
}

enum Told {
    Source { source: Source, urgent: bool },
    Own(Box<Record>),
    Flush(oneshot::Sender<()>),
}

impl Ledgers {
    /// Starts the task of a ledger that all share; others are started once they are needed.
    pub(super) fn start(keeping: Keeping, place: Place, cache: PathBuf) -> Self {
        let (writers, own) = (Mutex::default(), Mutex::default());
        let ledgers = Self { keeping, place, cache, writers, own, news: News::default() };
        match &ledgers.keeping {
            Keeping::In(ledger) => {
                ledgers.open(String::new(), Arc::clone(ledger), None);
            }
            Keeping::At(url) => {
                ledgers.of_home(Home::at(url));
            }
            Keeping::Nowhere | Keeping::OfRepositories => {}
        }
        ledgers
    }

    /// The ledgers, for whoever reads them; sent anew whenever there is something new in one.
    pub(super) fn reading(&self) -> watch::Receiver<Vec<Arc<dyn Ledger>>> {
        self.news.subscribe()
    }

    /// Whether records of this application are made.
    pub(super) fn keeps(&self, facts: Option<&ApplicationFacts>, policy: &Policy) -> bool {
        match &self.keeping {
            Keeping::Nowhere => false,
            Keeping::In(_) | Keeping::At(_) => true,
            Keeping::OfRepositories => facts.is_some_and(|facts| Home::of(facts, policy).is_some()),
        }
    }

    /// The ledger of an application.
    pub(super) fn ledger(&self, facts: &ApplicationFacts, policy: &Policy) -> Option<Arc<dyn Ledger>> {
        self.known(facts, policy).map(|known| known.ledger)
    }

    /// Says that an application has records.
    pub(super) fn tell(&self, facts: &ApplicationFacts, policy: &Policy, source: Source, urgent: bool) {
        if let Some(known) = self.known(facts, policy) {
            // It ends after all who could tell.
            known.tell.send(Told::Source { source, urgent }).ok();
        }
    }

    /// Records something about the daemon itself; it goes with the next batch.
    pub(super) fn tell_own(&self, record: &Record) {
        let mut own = lock(&self.own);
        own.retain(|known| known.reason != record.reason);
        own.push(record.clone());
        drop(own);
        for known in lock(&self.writers).values() {
            known.tell.send(Told::Own(Box::new(record.clone()))).ok();
        }
    }

    fn known(&self, facts: &ApplicationFacts, policy: &Policy) -> Option<Known> {
        match &self.keeping {
            Keeping::Nowhere => None,
            Keeping::In(_) | Keeping::At(_) => lock(&self.writers).values().next().cloned(),
            Keeping::OfRepositories => self.of_home(Home::of(facts, policy)?),
        }
    }

    fn of_home(&self, home: Home) -> Option<Known> {
        let key = home.key();
        if let Some(known) = lock(&self.writers).get(&key) {
            if let Some(means) = &known.means {
                *lock(means) = home;
            }
            return Some(known.clone());
        }
        let means = Means::new(Mutex::new(home));
        match self.place.ledger(&means, &self.cache) {
            Ok(ledger) => Some(self.open(key, Arc::new(ledger), Some(means))),
            Err(error) => {
                error!(%error, "There is no room for a copy of a ledger; its records wait in the states.");
                None
            }
        }
    }

    fn open(&self, key: String, ledger: Arc<dyn Ledger>, means: Option<Means>) -> Known {
        let (tell, told) = mpsc::unbounded_channel();
        let shared = !matches!(self.keeping, Keeping::OfRepositories);
        let mut writer =
            Writer::new(Arc::clone(&ledger), self.place.client.clone(), self.news.clone(), shared);
        writer.own.extend(lock(&self.own).iter().cloned());
        tokio::spawn(writer.run(told));
        self.news.send_modify(|all| all.push(Arc::clone(&ledger)));
        let known = Known { ledger, tell, means };
        lock(&self.writers).insert(key, known.clone());
        known
    }

    /// Waits, not for long, until what waits is written.
    pub(super) async fn flush(&self) {
        let mut all = Vec::new();
        for known in lock(&self.writers).values() {
            let (done, written) = oneshot::channel();
            known.tell.send(Told::Flush(done)).ok();
            all.push(written);
        }
        if tokio::time::timeout(FLUSH_MAX, futures::future::join_all(all)).await.is_err() {
            warn!("Some records are not in the ledger yet; they are when the daemon runs again.");
        }
    }
}

/// Writes one ledger.
struct Writer {
    ledger: Arc<dyn Ledger>,
    client: Client,
    news: News,
    sources: BTreeMap<AppKey, Source>,
    own: VecDeque<Record>,
    /// When what waits is written.
    due: Option<Instant>,
    /// The pause after the newest failure; none while the ledger can be reached.
    pause: Option<Duration>,
    /// Whether the daemon's own records are written without one of an application: not to each repository there is.
    shared: bool,
}

impl Writer {
    fn new(ledger: Arc<dyn Ledger>, client: Client, news: News, shared: bool) -> Self {
        Self {
            ledger,
            client,
            news,
            sources: BTreeMap::new(),
            own: VecDeque::new(),
            due: None,
            pause: None,
            shared,
        }
    }

    async fn run(mut self, mut told: mpsc::UnboundedReceiver<Told>) {
        loop {
            let due = self.due;
            let wake = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                told = told.recv() => match told {
                    Some(told) => self.take(told).await,
                    None => return,
                },
                () = wake => self.write().await,
            }
        }
    }

    async fn take(&mut self, told: Told) {
        let now = Instant::now();
        match told {
            Told::Source { source, urgent } => {
                self.sources.insert(source.key.clone(), source);
                let waiting: usize = self.sources.values().map(|source| lock(&source.queue).len()).sum();
                let at = if urgent || waiting >= BATCH_RECORDS { now } else { now + BATCH_WAIT };
                self.wake_at(at);
            }
            Told::Own(record) => {
                if self.own.len() >= OWN_MAX {
                    self.own.pop_front();
                }
                self.own.push_back(*record);
                if self.shared {
                    self.wake_at(now + BATCH_WAIT);
                }
            }
            Told::Flush(done) => {
                if self.shared || !self.sources.is_empty() {
                    self.write().await;
                }
                // Nobody waits any more.
                done.send(()).ok();
            }
        }
    }

    fn wake_at(&mut self, at: Instant) {
        // After a failure the pause counts, whoever is in a hurry.
        if self.pause.is_none() || self.due.is_none() {
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// Writes all that waits.
    async fn write(&mut self) {
        self.due = None;
        loop {
            let batch = self.batch();
            if batch.records.is_empty() {
                // What cannot be read is not tried again.
                self.written(&batch);
                break;
            }
            let (ledger, records) = (Arc::clone(&self.ledger), batch.records.clone());
            let appended = tokio::task::spawn_blocking(move || ledger.append(&records)).await;
            match appended {
                Ok(Ok(_)) => {
                    self.written(&batch);
                    self.news.send_modify(|_| {});
                }
                Ok(Err(error)) => return self.failed(&error).await,
                Err(error) => {
                    error!(%error, "The ledger's writer broke off; please report this.");
                    self.due = Some(Instant::now() + PAUSE_MAX);
                    return;
                }
            }
        }
        self.sources.clear();
        if self.pause.take().is_some() {
            info!(ledger = self.ledger.place(), "The ledger is up to date again.");
        }
    }

    /// The oldest records that wait: the daemon's own, then those of each application in their order.
    fn batch(&self) -> Batch {
        let mut batch = Batch { own: self.own.len().min(BATCH_RECORDS), ..Batch::default() };
        batch.records.extend(self.own.iter().take(batch.own).cloned());
        for source in self.sources.values() {
            for packed in lock(&source.queue).iter().take(BATCH_RECORDS.saturating_sub(batch.records.len())) {
                match packed.record() {
                    Ok(record) => batch.records.push(record),
                    Err(error) => {
                        error!(application = %source.key, id = packed.id, %error, "A record cannot be read and is lost; please report this.");
                    }
                }
                batch.ids.entry(source.key.clone()).or_default().push(packed.id.clone());
            }
        }
        batch
    }

    fn written(&mut self, batch: &Batch) {
        self.own.drain(..batch.own.min(self.own.len()));
        for (key, ids) in &batch.ids {
            let Some(source) = self.sources.get(key) else { continue };
            lock(&source.queue).retain(|packed| !ids.contains(&packed.id));
            // An application that is gone has no state that they could be taken out of.
            source.has.send(ids.clone()).ok();
        }
    }

    async fn failed(&mut self, error: &LedgerError) {
        let first = self.pause.is_none();
        let pause = self.pause.map_or(PAUSE_FIRST, |pause| pause.saturating_mul(2).min(PAUSE_MAX));
        (self.pause, self.due) = (Some(pause), Some(Instant::now() + pause));
        let waiting: usize = self.sources.values().map(|source| lock(&source.queue).len()).sum();
        warn!(%error, waiting, "The ledger could not be written; records wait in the states. Tried again soon.");
        if !first {
            return;
        }
        let note = format!("records wait, and rollbacks do not: {error}");
        for source in self.sources.values() {
            let (reason, action) = ("LedgerNotWritten", "WriteLedger");
            let notice = Notice {
                app: &source.key,
                uid: &source.uid,
                urgency: Urgency::Warning,
                reason,
                action,
                note: &note,
            };
            events::publish(&self.client, &notice, Timestamp::now()).await;
        }
    }
}

/// Records that are written together.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    /// How many of them are the daemon's own.
    own: usize,
    /// The ids of the others.
    ids: BTreeMap<AppKey, Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes what is saved of `waiting` what the writer takes from.
pub(super) fn publish(waiting: &Waiting, to: &Queue) {
    lock(to).clone_from(&waiting.records().to_vec());
}
