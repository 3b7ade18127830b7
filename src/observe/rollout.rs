//! Watches workloads and pods, and tells what becomes of those of each followed application.
//!
//! Read from the API server directly, since Argo CD calls a crash loop "Progressing" for ten minutes. The watches feed an
//! [`Index`], which knows no async; one task tells what changed.

mod index;
mod pods;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::api::Api;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use self::index::Index;
use self::pods::PodObject;
use self::workloads::{ReplicaSetObject, WorkloadObject};
use super::watching::{Watched, Watching};
use crate::engine::facts::{AppKey, Gap, RolloutFacts, WorkloadKind, WorkloadRef};

/// How long changes are gathered before they are told: one rollout step changes many objects at once.
const COALESCE: Duration = Duration::from_millis(50);

/// The watches of workloads and pods; they end when this is dropped.
pub struct Rollouts {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Rollouts {
    /// Starts watching the cluster; facts of followed applications go to `tx` when they changed.
    ///
    /// The client must be one for watches: without a short read timeout.
    pub fn start(client: &Client, tx: mpsc::Sender<(AppKey, RolloutFacts)>) -> Self {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for kind in KINDS {
            let api: Api<WorkloadObject> = Api::all_with(client.clone(), &kind);
            tasks.spawn(feed(api, kind_name(kind), shared.clone(), move |index, watched| {
                index.workload(kind, watched);
            }));
        }
        let replica_sets: Api<ReplicaSetObject> = Api::all(client.clone());
        tasks.spawn(feed(replica_sets, "replicasets", shared.clone(), Index::replica_set));
        let pods: Api<PodObject> = Api::all(client.clone());
        tasks.spawn(feed(pods, "pods", shared.clone(), Index::pod));
        tasks.spawn(tell(shared.clone(), tx));
        Self { shared, _tasks: tasks }
    }

    /// Follows an application with these workloads, or follows others from now on.
    ///
    /// The first facts come soon after the first call; the same call again changes nothing.
    pub fn follow(&self, app: AppKey, workloads: Vec<WorkloadRef>, in_cluster: bool) {
        if self.shared.lock().follow(app, workloads, in_cluster) {
            self.shared.changed.notify_one();
        }
    }

    /// Follows an application no more. Facts that are on their way may still come.
    pub fn forget(&self, app: &AppKey) {
        self.shared.lock().followed.remove(app);
    }
}

/// The kinds that are watched.
const KINDS: [WorkloadKind; 5] = [
    WorkloadKind::Deployment,
    WorkloadKind::StatefulSet,
    WorkloadKind::DaemonSet,
    WorkloadKind::Job,
    WorkloadKind::Rollout,
];

fn kind_name(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "deployments",
        WorkloadKind::StatefulSet => "statefulsets",
        WorkloadKind::DaemonSet => "daemonsets",
        WorkloadKind::Job => "jobs",
        WorkloadKind::Rollout => "rollouts",
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    // A panic under the lock would be a fault in pure code; the other applications are still served.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes everything that a watch tells on to the index.
async fn feed<K>(api: Api<K>, what: &'static str, shared: Arc<Shared>, apply: impl Fn(&mut Index, Watched<K>))
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut watching = Watching::new(api, what);
    loop {
        let watched = watching.next().await;
        let touched = {
            let mut state = shared.lock();
            apply(&mut state.index, watched);
            state.index.is_touched()
        };
        if touched {
            shared.changed.notify_one();
        }
    }
}

/// Tells what changed, until nobody listens any more.
async fn tell(shared: Arc<Shared>, tx: mpsc::Sender<(AppKey, RolloutFacts)>) {
    loop {
        shared.changed.notified().await;
        tokio::time::sleep(COALESCE).await;
        let due = shared.lock().due(Timestamp::now());
        for news in due {
            if tx.send(news).await.is_err() {
                return;
            }
        }
    }
}

/// The index and who wants to know about it.
#[derive(Default)]
struct State {
    index: Index,
    followed: BTreeMap<AppKey, Followed>,
    /// Followed anew, so that facts are due whatever happens.
    fresh: BTreeSet<AppKey>,
}

struct Followed {
    workloads: Vec<WorkloadRef>,
    in_cluster: bool,
    told: Option<RolloutFacts>,
}

impl State {
    fn follow(&mut self, app: AppKey, workloads: Vec<WorkloadRef>, in_cluster: bool) -> bool {
        let before = self.followed.get(&app);
        if before.is_some_and(|f| f.workloads == workloads && f.in_cluster == in_cluster) {
            return false;
        }
        let told = before.and_then(|followed| followed.told.clone());
        self.followed.insert(app.clone(), Followed { workloads, in_cluster, told });
        self.fresh.insert(app);
        true
    }

    /// The facts of followed applications that differ from those told before.
    fn due(&mut self, now: Timestamp) -> Vec<(AppKey, RolloutFacts)> {
        let touched = self.index.take_touched();
        let fresh = std::mem::take(&mut self.fresh);
        let mut due = Vec::new();
        for (app, followed) in &mut self.followed {
            let may_differ =
                fresh.contains(app) || followed.workloads.iter().any(|w| touched.covers(&w.namespace));
            if !may_differ {
                continue;
            }
            let facts = if followed.in_cluster {
                self.index.facts(&followed.workloads, now)
            } else {
                RolloutFacts { at: now, workloads: Vec::new(), gap: Some(Gap::OtherCluster) }
            };
            let same = |told: &RolloutFacts| told.workloads == facts.workloads && told.gap == facts.gap;
            if !followed.told.as_ref().is_some_and(same) {
                followed.told = Some(facts.clone());
                due.push((app.clone(), facts));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests;
