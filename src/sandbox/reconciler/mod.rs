//! A stand-in for what changes a cluster: Argo CD, the controllers of Kubernetes and the kubelet.
//!
//! All of it is one step function, [`Reconciler::tick`], which the demo calls every 100 ms and tests call with
//! times of their own. It keeps Argo CD's habits that matter to a watcher: revisions that are compared but not
//! applied, history without partial syncs, health that is written later than the sync, waves that wait for health
//! without limit, retries that say `Running`. Left out: Helm, Kustomize, hooks, several sources, projects' rules.

mod argocd;
mod compare;
mod deployment;
mod health;
mod kubelet;
mod render;
mod rolling;
mod sync;

use std::time::Duration;

use jiff::Timestamp;

use self::argocd::ArgoCd;
use self::deployment::Deployments;
pub(crate) use self::deployment::is_ready;
use self::kubelet::Kubelet;
use super::apiserver::Store;

/// How long things take: shorter than in a real cluster, in the same order.
#[derive(Clone, Debug)]
pub struct Pace {
    /// How often Argo CD looks at the branch (really 2 to 3 minutes, or at once by a webhook).
    pub poll: Duration,
    /// How often Argo CD compares without a reason (really 2 to 3 minutes).
    pub resync: Duration,
    /// From a change of a workload to Argo CD's new opinion of the health.
    pub health_lag: Duration,
    /// Between the steps of a sync operation.
    pub sync_step: Duration,
    /// From the end of a sync operation to the comparison after it.
    pub compare_after_sync: Duration,
    /// From the start of a failed sync to its first retry; doubled each time.
    pub retry_first: Duration,
    /// From a pod's creation to the start of its containers.
    pub container_start: Duration,
    /// From a container's start to its readiness.
    pub readiness: Duration,
    /// From a container's start to its crash, for tags that crash.
    pub crash_after: Duration,
    /// The first back-off of a container that crashes or an image that is missing; doubled each time (really 10 s).
    pub backoff_first: Duration,
    /// The longest back-off (really 5 minutes).
    pub backoff_max: Duration,
    /// From a pod's deletion to its end.
    pub termination: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            resync: Duration::from_secs(10),
            health_lag: Duration::from_millis(200),
            sync_step: Duration::from_millis(200),
            compare_after_sync: Duration::from_millis(400),
            retry_first: Duration::from_secs(5),
            container_start: Duration::from_millis(300),
            readiness: Duration::from_millis(300),
            crash_after: Duration::from_millis(200),
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(5),
            termination: Duration::from_millis(200),
        }
    }
}

/// Everything that changes the cluster by itself.
#[derive(Debug)]
pub struct Reconciler {
    store: Store,
    kubelet: Kubelet,
    deployments: Deployments,
    argocd: ArgoCd,
}

impl Reconciler {
    /// Works on the objects of a store.
    pub fn new(store: Store, pace: Pace) -> Self {
        Self {
            kubelet: Kubelet::new(pace.clone()),
            deployments: Deployments::default(),
            argocd: ArgoCd::new(pace),
            store,
        }
    }

    /// Does what is due at `now`. Spurious calls are harmless; time must not go backwards.
    ///
    /// Argo CD comes last, so that controllers see what it applied one call later: for that long a Deployment's
    /// `observedGeneration` is behind, as in a real cluster.
    pub fn tick(&mut self, now: Timestamp) {
        self.kubelet.tick(&self.store, now);
        self.deployments.tick(&self.store, now);
        self.store.collect_garbage();
        self.argocd.tick(&self.store, now);
    }
}

/// What an image does, by its tag: the sandbox has no registry and runs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Works,
    /// Answers a part of the requests with errors.
    Errors,
    Crashes,
    Missing,
}

impl Behaviour {
    pub(crate) fn of(image: &str) -> Self {
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        if tag.ends_with("-crash") {
            Self::Crashes
        } else if tag.ends_with("-missing") {
            Self::Missing
        } else if tag.contains("errors") {
            Self::Errors
        } else {
            Self::Works
        }
    }
}
