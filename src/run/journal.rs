//! Tells the journal's entries: log lines and Kubernetes Events. A failure here never holds a rollback up.

use std::time::Duration;

use kube::Client;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::engine::entry::Entry;
use crate::record::events::{self, Notice, Urgency};

/// Entries that wait for a slow API server; past it Events are dropped, and the log line stays.
const WAITING_MAX: usize = 1024;

/// How long the last Events may take when the daemon ends.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Where entries go.
pub(super) struct Journal {
    // None where nobody is to be told in the cluster.
    events: Option<mpsc::Sender<Telling>>,
    tap: Option<mpsc::UnboundedSender<Entry>>,
}

enum Telling {
    Entry { entry: Box<Entry>, uid: String },
    Flush(oneshot::Sender<()>),
}

impl Journal {
    /// Starts the task that writes Events.
    pub(super) fn start(client: Client, tap: Option<mpsc::UnboundedSender<Entry>>) -> Self {
        let (events, mut waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(telling) = waiting.recv().await {
                match telling {
                    Telling::Entry { entry, uid } => publish(&client, &entry, &uid).await,
                    Telling::Flush(done) => drop(done.send(())),
                }
            }
        });
        Self { events: Some(events), tap }
    }

    /// Tells nobody but `tap`.
    pub(super) fn aside(tap: mpsc::UnboundedSender<Entry>) -> Self {
        Self { events: None, tap: Some(tap) }
    }

    /// Tells one entry.
    pub(super) fn tell(&self, entry: &Entry, uid: &str) {
        let Some(events) = &self.events else {
            self.tap(entry);
            return;
        };
        let detail = serde_json::to_string(entry).unwrap_or_else(|e| e.to_string());
        let (application, reason, sentence) = (&entry.app, entry.kind.reason(), entry.kind.to_string());
        if entry.kind.is_warning() {
            warn!(%application, reason, sentence, detail, "Journal.");
        } else {
            info!(%application, reason, sentence, detail, "Journal.");
        }
        self.tap(entry);
        let telling = Telling::Entry { entry: Box::new(entry.clone()), uid: uid.to_owned() };
        if events.try_send(telling).is_err() {
            warn!(%application, reason, "Too many Kubernetes Events are waiting; one is dropped.");
        }
    }

    fn tap(&self, entry: &Entry) {
        if let Some(tap) = &self.tap {
            // Whoever listened may have heard enough.
            tap.send(entry.clone()).ok();
        }
    }

    /// Waits, not for long, until what was told is written.
    pub(super) async fn flush(&self) {
        let Some(events) = &self.events else { return };
        let (done, written) = oneshot::channel();
        let flush = async {
            if events.send(Telling::Flush(done)).await.is_ok() {
                written.await.ok();
            }
        };
        if tokio::time::timeout(FLUSH_MAX, flush).await.is_err() {
            warn!("Some Kubernetes Events were not written before the end.");
        }
    }
}

async fn publish(client: &Client, entry: &Entry, uid: &str) {
    let reason = entry.kind.reason();
    let urgency = if entry.kind.is_warning() { Urgency::Warning } else { Urgency::Normal };
    let note = entry.kind.to_string();
    let notice = Notice { app: &entry.app, uid, urgency, reason, action: reason, note: &note };
    events::publish(client, &notice, entry.at).await;
}
