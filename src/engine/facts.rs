//! What is known about the world, with times: the plain facts that `observe` hands to `judge` and `decide`.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::gap::{Gap, Reading};
pub use super::origin::{Origin, WrittenBetween};
pub use super::rendering::{Directory, Dry, Rendering, Source, SourceKind, Tool, Tracked, Variables};

/// Names one Argo CD Application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppKey {
    /// The Application's own namespace, usually `argocd`.
    pub namespace: String,
    /// The Application's name.
    pub name: String,
}

impl AppKey {
    /// Names the application `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What one source of an application was synced to: a Git commit id, or a chart version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(String);

impl Revision {
    /// Takes the revision as Argo CD or Git wrote it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight characters, for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }

    /// Whether this is a full Git commit id, as Argo CD tests it: 40 hexadecimal digits.
    pub fn is_commit(&self) -> bool {
        self.0.len() == 40 && self.0.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The revisions of all sources of an application, in the order of its sources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revisions(Vec<Revision>);

impl Revisions {
    /// Takes one revision for each source; none when the list is empty or holds an empty revision.
    pub fn new(revisions: Vec<Revision>) -> Option<Self> {
        (!revisions.is_empty() && revisions.iter().all(|r| !r.as_str().is_empty())).then_some(Self(revisions))
    }

    /// The revision of the only source, none when there are several.
    pub fn single(&self) -> Option<&Revision> {
        match self.0.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// How many there are; never none.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, in the order of the sources.
    pub fn iter(&self) -> impl Iterator<Item = &Revision> {
        self.0.iter()
    }

    /// For people: eight characters of each.
    pub fn short(&self) -> String {
        self.0.iter().map(Revision::short).collect::<Vec<_>>().join("+")
    }
}

impl From<Revision> for Revisions {
    fn from(revision: Revision) -> Self {
        Self(vec![revision])
    }
}

impl fmt::Display for Revisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, revision) in self.0.iter().enumerate() {
            write!(f, "{}{revision}", if i == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

/// An Argo CD Application as it was seen, pruned to what decisions need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationFacts {
    /// Which application.
    pub app: AppKey,
    /// The object's uid: a deleted and recreated Application is another one.
    pub uid: String,
    /// The `AppProject`.
    pub project: String,
    /// The Application's labels.
    pub labels: BTreeMap<String, String>,
    /// What it is rendered from.
    pub sources: Vec<Source>,
    /// A digest of the whole source specification (chart parameters, images, patches …), so that a change of the
    /// Application itself is told from a change in Git.
    pub spec_digest: String,
    /// Whether a source hydrator writes the synced branch from another one.
    pub hydrated: bool,
    /// Where the hydrator renders from, if there is one: people change that.
    pub dry: Option<Dry>,
    /// The cluster that its resources go to: its name, or the URL of its API server; empty where neither is said.
    #[serde(default)]
    pub destination_cluster: String,
    /// The namespace that its resources go to by default.
    pub destination_namespace: String,
    /// Whether its workloads live in the cluster that the daemon reads.
    pub in_cluster: bool,
    /// Whether Argo CD syncs it by itself.
    pub auto_sync: bool,
    /// Whether an operation is requested or running (the top-level field `operation`).
    pub operation_requested: bool,
    /// The newest operation.
    pub operation: Option<Operation>,
    /// The result of the newest comparison.
    pub sync: SyncStatus,
    /// The revisions *compared*, not applied (`status.sync.revision`).
    pub compared: Option<Revisions>,
    /// Argo CD's own opinion of the health.
    pub health: HealthStatus,
    /// When Argo CD last compared and assessed; second resolution.
    pub reconciled_at: Option<Timestamp>,
    /// Successful, complete syncs, oldest first.
    pub history: Vec<HistoryEntry>,
    /// The workloads among its resources.
    pub workloads: Vec<WorkloadRef>,
    /// Who writes this specification, so that a change of it is found there; none where that is not known.
    pub parent: Option<Origin>,
    /// What it writes itself: those among its resources that define applications.
    pub children: Vec<Origin>,
    /// The value of the annotation `lastgood.dev/resume`: the id of the hold that a person ends.
    pub resume: Option<String>,
}

impl ApplicationFacts {
    /// What its sources follow if they are specified like this; nothing where that is not known.
    pub fn tracked(&self, spec_digest: &str) -> Vec<Tracked> {
        let known = self.spec_digest == spec_digest;
        self.sources.iter().filter(|_| known).map(Source::tracked).collect()
    }

    /// When the newest sync began.
    pub fn synced_at(&self) -> Option<Timestamp> {
        let operation = self.operation.as_ref().filter(|o| o.is_whole()).map(|o| o.started_at);
        operation.or_else(|| self.history.last().map(|entry| entry.started_at.unwrap_or(entry.deployed_at)))
    }

    /// The digest of what a hydrator renders from, if one does.
    pub fn dry_digest(&self) -> Option<String> {
        self.dry.as_ref().map(|dry| dry.digest.clone())
    }
}

/// A sync operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// How far it is.
    pub phase: OperationPhase,
    /// What it syncs to; none while Argo CD has not resolved it.
    pub revisions: Option<Revisions>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it, or the attempt before the next retry, ended.
    pub finished_at: Option<Timestamp>,
    /// Retries begun or waited for: Argo CD counts up when it begins to wait.
    pub retry_count: u32,
    /// Whether it changes nothing.
    pub dry_run: bool,
    /// Whether a person has only some resources applied, or manifests that are not in Git: it says nothing about a
    /// revision. Self-healing is not meant, by which Argo CD brings a commit that arrived during a sync.
    pub partial: bool,
    /// Whether the newest attempt's result names a resource or a hook that failed.
    pub resource_failed: bool,
    /// Like [`ApplicationFacts::spec_digest`], of what is applied; empty while that is not known.
    pub spec_digest: String,
    /// Argo CD's message.
    pub message: String,
    /// Who started it: a user's name, or `automated`.
    pub initiated_by: String,
}

impl Operation {
    /// Whether it is a whole sync of a revision.
    pub fn is_whole(&self) -> bool {
        !self.dry_run && !self.partial
    }

    /// Whether somebody ended it: Argo CD then calls it `Failed`, which says nothing about the change.
    pub fn is_terminated(&self) -> bool {
        self.phase == OperationPhase::Terminating || self.message.starts_with("Operation terminated")
    }

    /// Whether it waits for its next retry because a resource or a hook failed.
    ///
    /// Argo CD writes `Running` with `finishedAt` set while it waits, after `Failed` and after `Error` alike; only the
    /// former names what failed.
    pub fn waits_after_failure(&self) -> bool {
        self.phase == OperationPhase::Running && self.finished_at.is_some() && self.resource_failed
    }
}

/// How far an operation is (`status.operationState.phase`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationPhase {
    /// Applying, or waiting for health between waves, or waiting for a retry.
    Running,
    /// Somebody ended it.
    Terminating,
    /// A resource or a hook failed.
    Failed,
    /// Argo CD itself could not carry it out.
    Error,
    /// The last wave was applied.
    Succeeded,
}

/// The result of a comparison (`status.sync.status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncStatus {
    /// Live equals Git.
    Synced,
    /// Live differs from Git.
    OutOfSync,
    /// Argo CD could not compare.
    Unknown,
}

/// Argo CD's health of an application (`status.health.status`), best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthStatus {
    /// All resources are healthy.
    Healthy,
    /// Something is paused on purpose.
    Suspended,
    /// Not there yet.
    Progressing,
    /// A resource is not in the cluster.
    Missing,
    /// A resource failed.
    Degraded,
    /// Argo CD could not assess.
    Unknown,
}

/// A successful, complete sync (`status.history[]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Argo CD's id of it.
    pub id: i64,
    /// What was applied.
    pub revisions: Revisions,
    /// When it began; none where Argo CD does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was done.
    pub deployed_at: Timestamp,
    /// Who started it: a user's name, or `automated`; none where Argo CD does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiated_by: Option<String>,
    /// Like [`ApplicationFacts::spec_digest`], of the source specification that was applied.
    pub spec_digest: String,
}

/// The kinds of workload that lastgood reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// `apps/v1` `DaemonSet`.
    DaemonSet,
    /// `batch/v1` Job.
    Job,
    /// `argoproj.io/v1alpha1` Rollout.
    Rollout,
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Names one workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// The application's workloads and their pods as the API server has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutFacts {
    /// When they were put together.
    pub at: Timestamp,
    /// Those of the application's workloads that exist, in order.
    pub workloads: Vec<WorkloadFacts>,
    /// Why this is not the whole picture, when it is not (a watch that is down, a cluster that is not read).
    pub gap: Option<Gap>,
}

/// One workload and the pods of its newest template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadFacts {
    /// Which one.
    pub workload: WorkloadRef,
    /// Whether its controller has seen its newest specification (`observedGeneration >= generation`).
    pub observed: bool,
    /// Replicas asked for.
    pub desired: u32,
    /// Replicas of the newest template.
    pub updated: u32,
    /// Available replicas of any template.
    pub available: u32,
    /// Whether somebody paused it.
    pub paused: bool,
    /// Set when its own controller gave up: `ProgressDeadlineExceeded`, an aborted Rollout, a failed Job.
    pub failed: Option<WorkloadFailure>,
    /// The troubled pods of the newest template, at most [`TROUBLED_PODS_MAX`], oldest first.
    pub troubled: Vec<PodTrouble>,
}

/// Troubled pods kept for one workload: enough to name the cause, bounded for memory and for the state object.
pub const TROUBLED_PODS_MAX: usize = 5;

/// Why a workload's controller gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadFailure {
    /// The condition's reason, for example `ProgressDeadlineExceeded`.
    pub reason: String,
    /// The condition's message.
    pub message: String,
    /// When the condition came to hold.
    pub since: Option<Timestamp>,
}

/// A pod that does not do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTrouble {
    /// The pod's name.
    pub pod: String,
    /// When the pod was created.
    pub created_at: Timestamp,
    /// The container, where it is one container's trouble.
    pub container: Option<String>,
    /// What is wrong.
    pub kind: TroubleKind,
    /// Kubernetes' own words, shortened.
    pub message: String,
    /// How often the container was restarted.
    pub restarts: u32,
    /// When the container last ended, where it did.
    pub ended_at: Option<Timestamp>,
}

/// What is wrong with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TroubleKind {
    /// `ImagePullBackOff`, `ErrImagePull`, `InvalidImageName` or `ErrImageNeverPull`.
    ImagePull,
    /// `CreateContainerConfigError`, `CreateContainerError` or `RunContainerError`: a missing `ConfigMap`, Secret or command.
    ContainerConfig,
    /// `CrashLoopBackOff`.
    CrashLoop,
    /// The last run of a container ended `OOMKilled`.
    OomKilled,
    /// Runs now, but was restarted before.
    Restarted,
    /// No node takes it.
    Unschedulable,
    /// The pod's phase is `Failed`.
    Failed,
}

impl fmt::Display for TroubleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ImagePull => "ImagePullBackOff",
            Self::ContainerConfig => "CreateContainerConfigError",
            Self::CrashLoop => "CrashLoopBackOff",
            Self::OomKilled => "OOMKilled",
            Self::Restarted => "repeated restarts",
            Self::Unschedulable => "Unschedulable",
            Self::Failed => "Failed",
        })
    }
}
