//! The daemon: connects the rooms. The only place that imports all of them.
//!
//! One task for each application owns its state, so that a slow write for one never delays another. What the watches
//! bring is handed over as "the newest facts", which can be skipped but not reordered; answers to actions are queued.

mod actor;
mod homes;
mod journal;
mod kept;
mod ledgers;
pub mod once;
mod own;
mod perform;
mod propose;
mod write_access;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

pub use self::ledgers::Keeping;
use self::ledgers::Ledgers;
use crate::act::git::Git;
use crate::cluster::Clients;
use crate::engine::entry::Entry;
use crate::engine::facts::{AppKey, ApplicationFacts, RolloutFacts};
use crate::engine::fleet::Fleet;
use crate::engine::policy::Policy;
use crate::observe::argocd::{self, Seen};
use crate::observe::rollout::Rollouts;
use crate::observe::slo::Slos;
use crate::policy::{Match, PolicySet};
use crate::record::ledger::Recorder;
use crate::record::state::StateStore;
use crate::serve::Ready;
use crate::sinks::{self, Sink, Sinks};

/// Facts of all applications on their way from the watches; they wait there rather than here.
const FACTS_MAX: usize = 256;

/// The folder for copies of ledgers, in the cache.
const LEDGERS: &str = "ledgers";

/// How long the first list of all Applications may take for a single rollback.
const LIST_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// What a daemon needs to run.
pub struct Config {
    /// The Kubernetes API.
    pub clients: Clients,
    /// The namespaces whose Applications are watched; none means all.
    pub namespaces: Vec<String>,
    /// The namespace of Argo CD's Secrets and ConfigMaps, and of the policies' own Secrets.
    pub argocd_namespace: String,
    /// Names this daemon's cluster in commits.
    pub cluster: String,
    /// The policies in force.
    pub policies: watch::Receiver<Arc<PolicySet>>,
    /// Where they were read, for the record: the commit, if it is a checkout.
    pub policy_folder: Option<PathBuf>,
    /// Where states are kept.
    pub store: Arc<dyn StateStore>,
    /// Where records go.
    pub ledger: Keeping,
    /// Where what the ledger holds is sent.
    pub sinks: Vec<Sink>,
    /// Who records: this program, the Pod and its identity.
    pub by: Recorder,
    /// Where copies of repositories are kept; may be lost at any time.
    pub cache: PathBuf,
    /// Set once the watches have the whole picture.
    pub ready: Ready,
    /// Gets every journal entry, for the demo and for tests.
    pub tap: Option<mpsc::UnboundedSender<Entry>>,
}

/// What every application's task shares.
struct Shared {
    clients: Clients,
    argocd_namespace: String,
    cluster: String,
    store: Arc<dyn StateStore>,
    git: Arc<Git>,
    slos: Slos,
    fleet: Mutex<Fleet>,
    journal: journal::Journal,
    ledgers: Ledgers,
    own: Arc<own::Own>,
    by: Recorder,
    write_checks: write_access::Checks,
}

impl Shared {
    fn fleet(&self) -> std::sync::MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until `shutdown` ends, or a watch ends for good.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let git = Git::new(&config.cache)
        .with_context(|| format!("cannot keep copies of repositories in {}", config.cache.display()))?;
    let shared = Arc::new(Shared {
        journal: journal::Journal::start(config.clients.request.clone(), config.tap),
        own: Arc::new(own::Own::new(&config.cluster, &config.by)),
        ledgers: Ledgers::start(
            config.ledger,
            homes::Place {
                client: config.clients.request.clone(),
                argocd_namespace: config.argocd_namespace.clone(),
                cluster: config.cluster.clone(),
            },
            config.cache.join(LEDGERS),
        ),
        by: config.by,
        clients: config.clients.clone(),
        argocd_namespace: config.argocd_namespace.clone(),
        cluster: config.cluster,
        store: config.store,
        git: Arc::new(git),
        slos: Slos::with_secrets(config.clients.request.clone(), config.argocd_namespace)
            .context("cannot make the HTTP client for Prometheus")?,
        fleet: Mutex::default(),
        write_checks: write_access::Checks::default(),
    });
    let sinks = Sinks::start(sinks::Config {
        sinks: config.sinks,
        ledgers: shared.ledgers.reading(),
        store: Arc::clone(&shared.store),
        client: Some(shared.clients.request.clone()),
        namespace: shared.argocd_namespace.clone(),
        pace: sinks::Pace::default(),
    });
    let (seen_tx, mut seen) = mpsc::channel(FACTS_MAX);
    let (rollout_tx, mut rollout) = mpsc::channel(FACTS_MAX);
    let rollouts = Rollouts::start(&config.clients.watch, rollout_tx);
    let watching = tokio::spawn(argocd::watch(config.clients.watch.clone(), config.namespaces, seen_tx));
    let mut daemon = Daemon {
        shared,
        rollouts,
        policies: config.policies,
        policy_folder: config.policy_folder,
        recorded: String::new(),
        known: HashMap::new(),
        ready: config.ready,
    };
    daemon.shared.ledgers.tell_own(&daemon.shared.own.started());
    daemon.record_policies();
    tokio::pin!(shutdown);
    let ended = loop {
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            changed = daemon.policies.changed() => match changed {
                Ok(()) => daemon.policies_changed(),
                Err(_) => break Err(anyhow::anyhow!("nobody watches the policies any more")),
            },
            seen = seen.recv() => match seen {
                Some(seen) => daemon.seen(seen),
                None => break Err(anyhow::anyhow!("the watch of Applications ended")),
            },
            facts = rollout.recv() => match facts {
                Some((app, facts)) => daemon.rollout_seen(&app, facts),
                None => break Err(anyhow::anyhow!("the watches of workloads ended")),
            },
        }
    };
    watching.abort();
    daemon.stop().await;
    sinks.stop().await;
    ended
}

struct Daemon {
    shared: Arc<Shared>,
    rollouts: Rollouts,
    policies: watch::Receiver<Arc<PolicySet>>,
    policy_folder: Option<PathBuf>,
    /// The digest of the policies that were recorded last.
    recorded: String,
    known: HashMap<AppKey, Known>,
    ready: Ready,
}

/// An Application that exists.
struct Known {
    application: watch::Sender<Box<ApplicationFacts>>,
    /// The task that looks after it, while exactly one policy selects it.
    task: Option<Task>,
    /// The policies that all claim it, once said.
    ambiguous: Vec<String>,
}

struct Task {
    policy: watch::Sender<Arc<Policy>>,
    rollout: watch::Sender<Option<RolloutFacts>>,
    handle: JoinHandle<()>,
}

impl Daemon {
    fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Application(facts) => {
                let app = facts.app.clone();
                self.shared.fleet().place(&facts);
                let same =
                    self.known.get(&app).is_some_and(|known| known.application.borrow().uid == facts.uid);
                if same {
                    if let Some(known) = self.known.get(&app) {
                        known.application.send_replace(facts);
                    }
                } else {
                    // An Application that was deleted and made again is another one.
                    self.forget(&app);
                    let known =
                        Known { application: watch::Sender::new(facts), task: None, ambiguous: Vec::new() };
                    self.known.insert(app.clone(), known);
                }
                self.assign(&app);
            }
            Seen::Gone(app) => {
                self.forget(&app);
                self.shared.fleet().gone(&app);
            }
            Seen::Ready => {
                info!(applications = self.known.len(), "All Applications are known.");
                self.ready.store(true, Ordering::Release);
            }
        }
    }

    fn rollout_seen(&self, app: &AppKey, facts: RolloutFacts) {
        if let Some(task) = self.known.get(app).and_then(|known| known.task.as_ref()) {
            task.rollout.send_replace(Some(facts));
        }
    }

    /// Records which policies are in force. A checkout is read from the disk, so nobody waits for it.
    fn record_policies(&mut self) {
        let set = Arc::clone(&self.policies.borrow());
        if self.recorded == set.digest() {
            return;
        }
        set.digest().clone_into(&mut self.recorded);
        let (shared, folder) = (Arc::clone(&self.shared), self.policy_folder.clone());
        tokio::task::spawn_blocking(move || {
            shared.ledgers.tell_own(&shared.own.policies(&set, folder.as_deref()));
        });
    }

    fn policies_changed(&mut self) {
        self.record_policies();
        let mut apps: Vec<AppKey> = self.known.keys().cloned().collect();
        apps.sort();
        for app in apps {
            self.assign(&app);
        }
    }

    /// Gives an application to the policy that selects it, or to nobody.
    fn assign(&mut self, app: &AppKey) {
        let Some(known) = self.known.get_mut(app) else { return };
        let facts = known.application.borrow().clone();
        let found = self.policies.borrow().for_application(&facts);
        let policy = match found {
            Match::One(policy) => policy,
            Match::None => return self.release(app),
            Match::Ambiguous(names) => {
                if known.ambiguous != names {
                    warn!(application = %app, policies = names.join(", "), "Several policies claim an application; nobody acts for it.");
                    known.ambiguous = names;
                }
                return self.release(app);
            }
        };
        known.ambiguous.clear();
        if known.task.as_ref().is_some_and(|task| task.handle.is_finished()) {
            // Its state is saved, so it goes on where it was.
            error!(application = %app, "The task of an application ended by a fault of ours and is started again; please report this.");
            known.task = None;
            // The new task wants the facts that the old one had.
            self.rollouts.forget(app);
        }
        self.rollouts.follow(app.clone(), facts.workloads.clone(), facts.in_cluster);
        write_access::begin(&self.shared, &facts, &policy);
        // Sinks may be behind in it, even if nothing is ever written to it again.
        self.shared.ledgers.ledger(&facts, &policy);
        match &known.task {
            Some(task) => {
                task.policy.send_if_modified(|old| {
                    let changed = **old != *policy;
                    *old = policy;
                    changed
                });
            }
            None => {
                info!(application = %app, policy = policy.name, "Watching an application.");
                let (policy, rollout) = (watch::Sender::new(policy), watch::Sender::new(None));
                let inbox =
                    actor::Inbox::new(known.application.subscribe(), rollout.subscribe(), policy.subscribe());
                let handle = tokio::spawn(actor::run(app.clone(), inbox, Arc::clone(&self.shared)));
                known.task = Some(Task { policy, rollout, handle });
            }
        }
    }

    /// Nobody looks after this application any more; its saved state stays.
    fn release(&mut self, app: &AppKey) {
        if let Some(task) = self.known.get_mut(app).and_then(|known| known.task.take()) {
            info!(application = %app, "No policy for this application any more.");
            task.handle.abort();
            self.rollouts.forget(app);
            self.shared.fleet().forget(app);
        }
    }

    fn forget(&mut self, app: &AppKey) {
        self.release(app);
        self.known.remove(app);
    }

    async fn stop(self) {
        for known in self.known.into_values() {
            if let Some(task) = known.task {
                task.handle.abort();
            }
        }
        self.shared.ledgers.flush().await;
        self.shared.journal.flush().await;
    }
}
