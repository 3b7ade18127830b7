//! Out to the SIEM: sends what the ledgers hold to the places that a file names, at least once and in order for each
//! application.
//!
//! ```text
//! ledger --worker--> Event --delivery (pure): which, when--> Batch --encode (pure)--> Request --courier--> sink
//!                                 ^                                                                 |
//!                    cursor <-----+------------------------- Outcome <--answer (pure)---------------+
//!                       |
//!                     keep --> state store
//! ```
//!
//! The ledger is the queue: nothing is stored but how far each sink has got with each ledger. Two daemons that send do no
//! harm beyond sending twice, with the same ids.

mod answer;
mod courier;
pub mod cursor;
mod delivery;
mod encode;
mod event;
pub mod file;
mod filter;
#[cfg(test)]
mod fixture;
pub mod keep;
mod read;
mod signature;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use read::{Sink, load, read, schema};

use self::courier::Courier;
use self::keep::Keeper;
use self::worker::Worker;
use crate::credentials::Secrets;
use crate::record::ledger::Ledger;
use crate::record::state::StateStore;

/// The ledgers that there are. To send it anew, changed or not, says that there is something to read.
pub type Ledgers = watch::Receiver<Vec<Arc<dyn Ledger>>>;

/// How often things are done that nobody asks for.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long between two looks at what is kept: a person may have asked for a replay, another daemon have saved.
    pub poll: Duration,
    /// How long between two looks into a ledger of which nobody says that there is something new. One that lies in Git asks
    /// its server.
    pub look: Duration,
    /// How long at least between two saves: what was sent since the last one is sent again after a crash.
    pub save: Duration,
    /// The pause after the first failure; each further one doubles it, up to five minutes.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let (second, poll, look) = (Duration::from_secs(1), Duration::from_secs(15), Duration::from_secs(60));
        Self { poll, look, save: second, pause: second }
    }
}

/// What it takes to send.
pub struct Config {
    /// Where to.
    pub sinks: Vec<Sink>,
    /// What.
    pub ledgers: Ledgers,
    /// Where it is kept how far each sink has got.
    pub store: Arc<dyn StateStore>,
    /// For Secrets with credentials; none where only folders are read.
    pub client: Option<kube::Client>,
    /// The namespace of those Secrets, and of what is kept.
    pub namespace: String,
    /// How often things are done that nobody asks for.
    pub pace: Pace,
}

/// The tasks that send.
pub struct Sinks {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Sinks {
    /// Starts a task for each sink.
    pub fn start(config: Config) -> Self {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for sink in config.sinks {
            let secrets =
                config.client.clone().map(|client| Secrets { client, namespace: config.namespace.clone() });
            let keeper = Keeper::new(Arc::clone(&config.store), &config.namespace, &sink.name);
            let sink = Arc::new(sink);
            let courier = Courier::new(Arc::clone(&sink), secrets);
            let worker = Worker::new(sink, courier, keeper, config.pace, config.ledgers.clone());
            tasks.spawn(worker.run(stop.subscribe()));
        }
        Self { tasks, stop }
    }

    /// Stops sending; how far each sink has got is saved, for which a few seconds are waited.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
