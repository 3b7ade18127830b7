//! The policy file: each field's first sentence is its entry in the reference.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::burn_rate::{BurnRate, Windows};
use super::duration::Span;
pub use super::guard::Guard;
use super::share::Share;
pub use super::words::{
    AutoMerge, ForgeKind, Metrics, Mode, OnConflict, OnNewerChange, OnProtected, PresetKind, Series,
    SharedFiles, TrueIs, Worse,
};

/// The format that this version reads.
pub const API_VERSION: &str = "lastgood.dev/v1alpha1";

/// How the message about another format begins.
pub(super) const UNKNOWN_API_VERSION: &str = "unknown apiVersion";

/// One policy file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyFile {
    /// The format of this file: `lastgood.dev/v1alpha1`.
    pub api_version: ApiVersion,
    /// The applications that this policy is for; at least one of its fields must be given.
    pub application: Application,
    /// How long a change is watched.
    #[serde(default, deserialize_with = "or_default")]
    pub analysis: Analysis,
    /// Where queries are sent; needed when `slos` or `guards` are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Prometheus>,
    /// Names of your own for use in queries, as `{{ name }}`.
    #[serde(default, deserialize_with = "or_default")]
    pub variables: BTreeMap<String, String>,
    /// SLOs for the usual metrics, in place of queries of your own or beside them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Queries with rules; without any, only the rollout and the sync are judged.
    #[serde(default, deserialize_with = "or_default")]
    pub slos: Vec<Slo>,
    /// Queries about the environment: while one does not pass, SLOs and workloads convict nobody.
    #[serde(default, deserialize_with = "or_default")]
    pub guards: Vec<Guard>,
    /// When the sync operation itself convicts a change.
    #[serde(default, deserialize_with = "or_default")]
    pub sync: SyncRules,
    /// When workloads and pods convict a change.
    #[serde(default, deserialize_with = "or_default")]
    pub rollout: Rollout,
    /// What to do about a change that was convicted.
    pub rollback: Rollback,
    /// How Git is reached, and who stands on revert commits.
    #[serde(default, deserialize_with = "or_default")]
    pub git: Git,
}

/// Takes a field without a value for one that is not there: people comment out all that stands below it.
pub(crate) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiVersion;

impl TryFrom<String> for ApiVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == API_VERSION {
            return Ok(Self);
        }
        Err(format!("{UNKNOWN_API_VERSION} `{text}`\nthis version of lastgood reads `{API_VERSION}`"))
    }
}

impl From<ApiVersion> for String {
    fn from(_: ApiVersion) -> Self {
        API_VERSION.to_owned()
    }
}

/// Selects Argo CD Applications; all fields that are given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Application {
    /// The Application's name, or a glob such as `shop-*`; a name beats globs of other policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The namespace of the Application object itself (not of its workloads), or a glob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The Application's project, or a glob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Labels that the Application must have, with these values.
    pub labels: BTreeMap<String, String>,
}

/// How long a change is watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Analysis {
    /// How long the watch lasts after the sync ended; `5m` by default. What is not clear by then gets as long again.
    pub duration: Span,
    /// How long between two measurements; `15s` by default.
    pub interval: Span,
    /// How long after the sync began what SLO queries give does not count: from then on the whole of what a query looks back
    /// on must lie; `0s` by default, with which every value counts.
    pub warm_up: Span,
    /// How much of the time before the sync comparisons and burn rates look at; `1h` by default.
    pub baseline: Span,
    /// How often, at most, the analysis of a change that changed nothing may convict by comparisons and burn rates, all of
    /// them and all looks together; `0.1%` by default.
    pub false_rollback_rate: Share,
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            duration: Span::secs(300),
            interval: Span::secs(15),
            warm_up: Span::secs(0),
            baseline: Span::secs(3600),
            false_rollback_rate: Share(0.001),
        }
    }
}

/// A Prometheus server, or one that speaks its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prometheus {
    /// The base URL, without `/api/v1` and without a password.
    pub url: String,
    /// How long one query may take; `5s` by default.
    #[serde(default = "five_seconds")]
    pub timeout: Span,
    /// The tenant whose data is read, sent as the header `X-Scope-OrgID`; Mimir takes several as `a|b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Further headers to send with each query, none of which may be a secret.
    #[serde(default, deserialize_with = "or_default")]
    pub headers: BTreeMap<String, String>,
    /// Where credentials and certificates for this server are; without, none are sent, and the system's authorities are
    /// trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

/// Where credentials and certificates for a Prometheus are: one of the two.
///
/// Both hold `url`, and nothing is sent but to that URL and below it; `bearerToken`, or `username` and `password`;
/// `tls.crt` and `tls.key`, a client certificate; `ca.crt`, the only authorities to trust. All but `url` are optional. They
/// are read anew every half minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Credentials {
    /// A Secret in Argo CD's namespace (`--argocd-namespace`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// A folder with a file for each key, such as a mounted Secret or a projected volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

fn five_seconds() -> Span {
    Span::secs(5)
}

/// SLOs for the usual metrics: `error-rate` and, with `compareLatency`, `latency-p95`, or, with `maxLatency`, `latency-p99`. One of
/// the same name under `slos` replaces it; `lastgood check --written-out` shows what it stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preset {
    /// What the application is.
    pub kind: PresetKind,
    /// Who measures it.
    pub metrics: Metrics,
    /// Label matchers that choose the application's series, as they stand between braces; by default those that the
    /// application's name and namespace give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The share of requests or tasks that must not fail: a change that uses the rest up many times too fast is convicted;
    /// `99.9%` by default, which bears 1.44 % of errors at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Share>,
    /// The greatest share of requests or tasks that may fail, in place of `objective`: it is faster, and where there are few
    /// requests one failed one convicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_errors: Option<f64>,
    /// Whether what 95 of 100 requests or tasks do not take longer than is compared with the time before the sync; `false` by
    /// default, since not all services measure how long they take.
    #[serde(default)]
    pub compare_latency: bool,
    /// What 99 of 100 requests or tasks must not take longer than, in place of the comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency: Option<Span>,
    /// The window of the queries, at least four scrapes; `1m` by default.
    #[serde(default = "one_minute")]
    pub window: Span,
}

fn one_minute() -> Span {
    Span::secs(60)
}

/// One query with its rule: limits (`max`, `min`), an answer that is bad (`trueIs`), a comparison with the time before, or an
/// error budget (`burnRate`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slo {
    /// Its name, once in this policy.
    pub name: String,
    /// A `PromQL` query that gives one number, or with `series: each` one for each of a few series; `{{ application }}`, `{{ namespace }}` (where its workloads live),
    /// `{{ revision }}` and your own variables may stand inside quoted strings.
    pub query: String,
    /// The greatest good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The smallest good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// What 1 means, for a query that answers a question with 0 or 1: `bad` or `good`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub true_is: Option<TrueIs>,
    /// How it may differ from the application's own past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// How fast its error budget may be used up; the query gives the share of events within `[{{ window }}]` that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn_rate: Option<BurnRate>,
    /// What several series of the query mean: `one` wants one number and takes several as inconclusive; `each` judges each
    /// by itself, by its labels, at most 20. `one` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
    /// Convicts where the query gave values before the sync and has given none for so long; without this, missing data convicts
    /// nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_after_missing: Option<Span>,
    /// How many measurements must fail, for limits and answers; `3` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// Among how many of the latest, for limits and answers; `5` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u32>,
}

impl Slo {
    /// How many measurements must fail, among how many.
    pub fn strikes(&self) -> (u32, u32) {
        (self.failures.unwrap_or(3), self.of.unwrap_or(5))
    }
}

/// How a query's values may differ from the application's own past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Comparison {
    /// Which change is bad: `increase`, `decrease`, or `either`.
    pub worse: Worse,
    /// The least bad change, as a share of the median before the sync; `25%` by default.
    #[serde(default = "a_quarter")]
    pub tolerance: Share,
    /// The least bad change in the query's own unit; without it `tolerance` decides alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_change: Option<f64>,
    /// How long ago the same time was that it must be worse than as well, such as `1d` and `7d`: a daily peak is no
    /// regression then; `[]` by default.
    #[serde(default)]
    pub also: Vec<Span>,
}

fn a_quarter() -> Share {
    Share(0.25)
}

fn three() -> u32 {
    3
}

/// When the sync operation itself convicts a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyncRules {
    /// Failed attempts that convict while Argo CD still retries; `2` by default. An operation that ended as failed always
    /// does, unless the one before had failed too.
    pub failed_attempts: u32,
}

impl Default for SyncRules {
    fn default() -> Self {
        Self { failed_attempts: 2 }
    }
}

/// When workloads and pods of the new revision convict it.
///
/// Grace times count from the pod's creation, or from the sync's start where that is later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    /// How long an image may be impossible to pull; `30s` by default.
    pub image_pull_grace: Span,
    /// How long a container may be in `CrashLoopBackOff`; `30s` by default.
    pub crash_loop_grace: Span,
    /// How long a container may fail to be created, as for a missing `ConfigMap` or Secret; `30s` by default.
    pub container_config_grace: Span,
    /// How long a pod may find no node; `2m` by default.
    pub unschedulable_grace: Span,
    /// How long Argo CD may call the application Degraded, as it does for moments in ordinary rollouts; `1m` by default.
    pub degraded_grace: Span,
    /// Restarts of one container of a new pod that convict; `3` by default.
    pub restarts: u32,
    /// Whether one container of a new pod, killed for memory, convicts at once; `true` by default.
    pub oom_kill: bool,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            image_pull_grace: Span::secs(30),
            crash_loop_grace: Span::secs(30),
            container_config_grace: Span::secs(30),
            unschedulable_grace: Span::secs(120),
            degraded_grace: Span::secs(60),
            restarts: 3,
            oom_kill: true,
        }
    }
}

/// What to do about a change that was convicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    /// `push` pushes the revert; `pull-request` proposes it and waits until it is merged; `dry-run` only says what it would push. There is no default: a daemon that pushes was told to.
    pub mode: Mode,
    /// How long pushing may be retried; `5m` by default.
    #[serde(default = "five_minutes")]
    pub push_timeout: Span,
    /// How long Argo CD may take to make the revert live; `10m` by default.
    #[serde(default = "ten_minutes")]
    pub live_timeout: Span,
    /// How long the signals that failed may take to pass again once the revert is live; `5m` by default.
    #[serde(default = "five_minutes")]
    pub recovery_timeout: Span,
    /// Whether a sync of the bad revision that still runs is terminated after the push; `true` by default.
    #[serde(default = "yes")]
    pub terminate_stuck_sync: bool,
    /// Reverts that one application gets in 24 hours; past it lastgood holds and calls a person. `3` by default.
    #[serde(default = "three")]
    pub reverts_per_day: u32,
    /// From how many other degraded applications on the environment is blamed and nothing is reverted; `3` by default.
    #[serde(default = "three")]
    pub others_degraded: u32,
    /// What to do where later commits changed the same lines: `hold` leaves it to a person; `restore` puts the application's
    /// files back to exactly what they were at last good, and what later commits changed in them is lost. `hold` by default.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// What to do where a newer commit, not synced yet, changes the application's files too: `wait` waits until it is
    /// synced and judges it, since it may be the fix; `revert` reverts under it. `wait` by default.
    #[serde(default)]
    pub on_newer_change: OnNewerChange,
    /// What to do where other applications are rendered from files that the revert changes: `hold` leaves it to a person
    /// unless all of them are degraded too; `revert` reverts; `pull-request` proposes it. `hold` by default.
    #[serde(default)]
    pub shared_files: SharedFiles,
    /// What to do where the branch is protected and takes no push: `pull-request` proposes the revert; `hold` leaves it to a
    /// person. `pull-request` by default.
    #[serde(default)]
    pub on_protected: OnProtected,
    /// What pull requests are like.
    #[serde(default)]
    pub pull_request: PullRequest,
    /// What is never reverted: where the revert would touch it, it is left to a person.
    #[serde(default)]
    pub never_revert: NeverRevert,
}

/// What pull requests are like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PullRequest {
    /// Labels to put on it, made where the forge has none of that name; none by default.
    pub labels: Vec<String>,
    /// Who is asked for a review: user names, or teams as `organisation/team` (not at GitLab); nobody by default.
    pub reviewers: Vec<String>,
    /// Has the forge merge it by itself as soon as the forge's own rules allow, which is at once where it has none; without
    /// this, people merge it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_merge: Option<AutoMerge>,
}

/// What is never reverted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NeverRevert {
    /// Files, as globs from the repository's root: `*` stays within a folder, `**` does not, and a plain name means
    /// everything below it too; `[]` by default.
    pub paths: Vec<String>,
    /// Kinds of Kubernetes objects, each as `Kind` or `group/Kind`. A list given here replaces that of the default.
    pub kinds: Vec<String>,
}

impl Default for NeverRevert {
    fn default() -> Self {
        let rules = crate::engine::policy::NeverRevert::default();
        Self { paths: rules.paths, kinds: rules.kinds }
    }
}

impl Rollback {
    /// The limits by default, with this mode.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            push_timeout: five_minutes(),
            live_timeout: ten_minutes(),
            recovery_timeout: five_minutes(),
            terminate_stuck_sync: true,
            reverts_per_day: three(),
            others_degraded: three(),
            on_conflict: OnConflict::default(),
            on_newer_change: OnNewerChange::default(),
            shared_files: SharedFiles::default(),
            never_revert: NeverRevert::default(),
            on_protected: OnProtected::default(),
            pull_request: PullRequest::default(),
        }
    }
}

fn five_minutes() -> Span {
    Span::secs(300)
}

fn ten_minutes() -> Span {
    Span::secs(600)
}

fn yes() -> bool {
    true
}

/// How Git is reached, and who stands on revert commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Git {
    /// A Secret with credentials, in Argo CD's namespace (`--argocd-namespace`); by default Argo CD's repository Secrets
    /// are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The forge that pull requests are opened at.
    #[serde(deserialize_with = "or_default")]
    pub forge: Forge,
    /// Who stands on revert commits; `lastgood <lastgood@localhost>` by default.
    pub author: Author,
    /// The key that signs revert commits; without it they are not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
}

/// The forge that pull requests are opened at; without any of this, the repository's URL tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Forge {
    /// Which API it speaks; needed where neither the host's name nor its first part tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ForgeKind>,
    /// Its address for browsers; needed where the repository is reached by SSH through another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A Secret with a token for its API, in Argo CD's namespace: `url`, and `password` or `bearerToken`; by default the
    /// credentials of the repository's HTTPS URL are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The key that signs revert commits. Where it is missing or unusable, nothing is pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signing {
    /// A Secret in Argo CD's namespace with `gpgPrivateKey` (armored) or `sshPrivateKey` (OpenSSH's form), and `passphrase`
    /// where the key has one. Argo CD checks GPG signatures only.
    pub secret: String,
}

/// Who stands on revert commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

impl Default for Author {
    fn default() -> Self {
        Self { name: "lastgood".to_owned(), email: "lastgood@localhost".to_owned() }
    }
}
