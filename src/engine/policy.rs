//! What a person asked for: the rules for one application, valid by construction of `crate::policy`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::forge::{ForgeRules, ProposalRules};

mod slo;

pub use slo::{BurnRate, Comparison, Guard, Objective, Part, Rule, Series, Slo, Strikes, Windows, Worse};

/// The rules that hold for an application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The policy's name: its file's name without the ending.
    pub name: String,
    /// What the person wrote, for records; nothing is decided by it, and it is not part of what a decision is taken from.
    #[serde(skip)]
    pub text: String,
    /// What to do on a degraded verdict.
    pub mode: Mode,
    /// How long an analysis lasts after the operation ended.
    #[serde(with = "super::time::seconds")]
    pub duration: Duration,
    /// How long between two measurements.
    #[serde(with = "super::time::seconds")]
    pub interval: Duration,
    /// When workloads and pods count as sick.
    pub rollout: RolloutRules,
    /// Failed attempts of the sync operation that convict (the end of a failed operation always does).
    pub sync_failed_attempts: u32,
    /// The SLO queries.
    pub slos: Vec<Slo>,
    /// The queries about the environment; their names are none of an SLO's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// How long after the start of the sync values do not count yet.
    #[serde(with = "super::time::seconds")]
    pub warm_up: Duration,
    /// How much of the time before the sync comparisons look at.
    #[serde(with = "super::time::seconds")]
    pub baseline: Duration,
    /// How often, at most, an analysis of an innocent change may convict by statistics.
    pub false_rollback_rate: f64,
    /// The policy's own variables for queries.
    pub variables: BTreeMap<String, String>,
    /// Where SLO queries are sent; always there when there are `slos` or `guards`.
    pub prometheus: Option<Prometheus>,
    /// The limits of a rollback.
    pub rollback: RollbackRules,
    /// How Git is reached.
    pub git: GitRules,
}

impl Policy {
    /// All that is asked since the sync.
    pub fn asked(&self) -> impl Iterator<Item = &Slo> {
        self.slos.iter().chain(self.guards.iter().map(|guard| &guard.asks))
    }
}

/// What to do on a degraded verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Push the revert.
    Push,
    /// Propose the revert in a pull request.
    PullRequest,
    /// Plan the revert, say what would be pushed, push nothing.
    DryRun,
}

/// When workloads and pods of the new revision count as sick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRules {
    /// How long an image may be impossible to pull.
    #[serde(with = "super::time::seconds")]
    pub image_pull_grace: Duration,
    /// How long a container may be in `CrashLoopBackOff`.
    #[serde(with = "super::time::seconds")]
    pub crash_loop_grace: Duration,
    /// How long a container may fail to be created (missing `ConfigMap`, Secret …).
    #[serde(with = "super::time::seconds")]
    pub container_config_grace: Duration,
    /// How long a pod may find no node.
    #[serde(with = "super::time::seconds")]
    pub unschedulable_grace: Duration,
    /// How long Argo CD may call the application Degraded.
    #[serde(with = "super::time::seconds")]
    pub degraded_grace: Duration,
    /// Restarts of one container of a new pod that convict.
    pub restarts: u32,
    /// Whether one container killed for memory convicts at once.
    pub oom_kill: bool,
}

/// A Prometheus server, or one that speaks its API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prometheus {
    /// The base URL, without `/api/v1`.
    pub url: String,
    /// How long one query may take.
    #[serde(with = "super::time::seconds")]
    pub timeout: Duration,
    /// Headers to send with each query; none is a secret.
    #[serde(serialize_with = "names_only")]
    pub headers: BTreeMap<String, String>,
    /// Where the credentials for it are; none are sent without.
    pub credentials: Option<CredentialsAt>,
}

impl Prometheus {
    /// A server that wants nothing but queries.
    pub fn new(url: impl Into<String>, timeout: Duration) -> Self {
        Self { url: url.into(), timeout, headers: BTreeMap::new(), credentials: None }
    }
}

/// What is told of headers: a value may be somebody's secret, though it should not be.
fn names_only<S: Serializer>(headers: &BTreeMap<String, String>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(headers.keys().map(|name| (name, "***")))
}

/// Where the credentials for a server are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CredentialsAt {
    /// In a Secret of this name, in Argo CD's namespace.
    Secret(String),
    /// In the files of this folder.
    Folder(String),
}

/// The limits of a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackRules {
    /// How long pushing may be retried.
    #[serde(with = "super::time::seconds")]
    pub push_timeout: Duration,
    /// How long Argo CD may take to make the revert live.
    #[serde(with = "super::time::seconds")]
    pub live_timeout: Duration,
    /// How long the failed signals may take to pass again once it is live.
    #[serde(with = "super::time::seconds")]
    pub recovery_timeout: Duration,
    /// Whether a sync operation of the bad revision that is still running is terminated after the push.
    pub terminate_stuck_sync: bool,
    /// Reverts that this application gets in 24 hours; past it a loop is likelier than bad commits.
    pub reverts_per_day: u32,
    /// From how many other applications on, degraded at the same time from other causes, the environment is blamed and
    /// nothing is reverted.
    pub others_degraded: u32,
    /// What a revert may do.
    pub revert: RevertRules,
    /// What pull requests are like.
    pub proposals: ProposalRules,
}

/// What a revert may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevertRules {
    /// When later commits changed the same lines.
    pub on_conflict: OnConflict,
    /// When a newer commit that is not synced yet changes the application's files too.
    pub on_newer_change: OnNewerChange,
    /// What is never reverted.
    pub never_revert: NeverRevert,
    /// When other applications are rendered from files that the revert changes.
    pub shared_files: SharedFiles,
}

impl Default for RevertRules {
    fn default() -> Self {
        Self {
            on_conflict: OnConflict::Hold,
            on_newer_change: OnNewerChange::Wait,
            never_revert: NeverRevert::default(),
            shared_files: SharedFiles::Hold,
        }
    }
}

/// What to do when later commits changed the same lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnConflict {
    /// Leave it to a person.
    Hold,
    /// Put the files in conflict back to what they were at last good.
    Restore,
}

/// What to do when a newer commit that is not synced yet changes the application's files too: it may be the fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnNewerChange {
    /// Wait until it is synced, and judge it.
    Wait,
    /// Revert under it.
    Revert,
}

/// What is never reverted: a reverse change that touches one of these is left to a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NeverRevert {
    /// Files, as patterns from the repository's root.
    pub paths: Vec<String>,
    /// Kinds of Kubernetes objects, `Kind` or `group/Kind`.
    pub kinds: Vec<String>,
}

impl Default for NeverRevert {
    fn default() -> Self {
        let kinds = ["CustomResourceDefinition", "PersistentVolumeClaim", "StorageClass"];
        Self { paths: Vec::new(), kinds: kinds.map(str::to_owned).to_vec() }
    }
}

/// What to do when other applications are rendered from files that the revert changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SharedFiles {
    /// Leave it to a person, unless all of them are sick too.
    Hold,
    /// Revert.
    Revert,
    /// Propose it in a pull request, unless all of them are sick too.
    PullRequest,
}

/// How Git is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitRules {
    /// The Secret with credentials, in Argo CD's namespace; none means Argo CD's own repository Secrets.
    pub secret: Option<String>,
    /// How pull requests are opened.
    pub forge: ForgeRules,
    /// The name on revert commits.
    pub author_name: String,
    /// The address on revert commits.
    pub author_email: String,
    /// The Secret with the key that signs them; none means that they are not signed.
    pub signing_secret: Option<String>,
}
