//! Workloads as the API server has them, and the little of them that is kept.

use std::borrow::Cow;

use jiff::Timestamp;
use kube::Resource;
use kube::core::{NamespaceResourceScope, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

use super::super::object::{Lenient, LenientList, metadata, resource};
use super::index::Key;
use crate::engine::facts::{WorkloadFailure, WorkloadKind};

/// Characters of Kubernetes' words that are kept.
pub(super) const MESSAGE_CHARS_MAX: usize = 300;

/// A workload of any kind, only what is read: their fields do not contradict each other.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WorkloadObject {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Lenient<Spec>,
    #[serde(default)]
    status: Lenient<Status>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    replicas: Lenient<u32>,
    paused: Lenient<bool>,
    suspend: Lenient<bool>,
    completions: Lenient<u32>,
    parallelism: Lenient<u32>,
    #[serde(rename = "updateStrategy")]
    update_strategy: Lenient<UpdateStrategy>,
}

/// How a `StatefulSet` or a `DaemonSet` replaces its pods.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UpdateStrategy {
    #[serde(rename = "type")]
    type_: Lenient<String>,
    rolling_update: Lenient<RollingUpdate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RollingUpdate {
    partition: Lenient<u32>,
}

impl UpdateStrategy {
    /// Replicas that keep their template until a person acts, and so do not keep a rollout from being complete.
    fn left_alone(&self, desired: u32) -> u32 {
        if self.type_.text() == "OnDelete" {
            return desired;
        }
        let partition = self.rolling_update.get().and_then(|rolling| rolling.partition.0);
        partition.unwrap_or_default().min(desired)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    /// A number, but a text in a Rollout.
    observed_generation: Lenient<Value>,
    updated_replicas: Lenient<u32>,
    available_replicas: Lenient<u32>,
    desired_number_scheduled: Lenient<u32>,
    updated_number_scheduled: Lenient<u32>,
    number_available: Lenient<u32>,
    update_revision: Lenient<String>,
    active: Lenient<u32>,
    succeeded: Lenient<u32>,
    #[serde(rename = "currentPodHash")]
    current_pod_hash: Lenient<String>,
    phase: Lenient<String>,
    message: Lenient<String>,
    abort: Lenient<bool>,
    aborted_at: Lenient<Timestamp>,
    controller_pause: Lenient<bool>,
    pause_conditions: LenientList<Value>,
    conditions: LenientList<Condition>,
}

/// What a controller says about one of its objects.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) type_: Lenient<String>,
    pub(super) status: Lenient<String>,
    pub(super) reason: Lenient<String>,
    pub(super) message: Lenient<String>,
    pub(super) last_transition_time: Lenient<Timestamp>,
}

impl Resource for WorkloadObject {
    type DynamicType = WorkloadKind;
    type Scope = NamespaceResourceScope;

    fn kind(kind: &WorkloadKind) -> Cow<'_, str> {
        kind.to_string().into()
    }

    fn group(kind: &WorkloadKind) -> Cow<'_, str> {
        match kind {
            WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => "apps".into(),
            WorkloadKind::Job => "batch".into(),
            WorkloadKind::Rollout => "argoproj.io".into(),
        }
    }

    fn version(kind: &WorkloadKind) -> Cow<'_, str> {
        match kind {
            WorkloadKind::Rollout => "v1alpha1".into(),
            _ => "v1".into(),
        }
    }

    fn plural(kind: &WorkloadKind) -> Cow<'_, str> {
        super::kind_name(*kind).into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What is kept of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) uid: String,
    pub(super) observed: bool,
    pub(super) desired: u32,
    pub(super) updated: u32,
    pub(super) available: u32,
    pub(super) paused: bool,
    pub(super) failed: Option<WorkloadFailure>,
    pub(super) newest: Newest,
}

/// How the pods of a workload's newest template are told from older ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Newest {
    /// There is only one template.
    All,
    /// The pods of its `ReplicaSet` with this revision annotation.
    ReplicaSet(String),
    /// The pods with this label.
    Label(&'static str, String),
    /// There are none yet, or they do not matter any more.
    Nothing,
}

/// The label that a `StatefulSet` puts on its pods.
pub(super) const REVISION_HASH: &str = "controller-revision-hash";
/// The label that a `DaemonSet` puts on its pods.
pub(super) const TEMPLATE_GENERATION: &str = "pod-template-generation";
/// The label that a Rollout puts on its pods.
pub(super) const POD_HASH: &str = "rollouts-pod-template-hash";

impl WorkloadObject {
    /// What is kept of it, and where.
    pub(super) fn row(&self, kind: WorkloadKind) -> (Key, Workload) {
        let spec = self.spec.0.clone().unwrap_or_default();
        let status = self.status.0.clone().unwrap_or_default();
        // A Job's template cannot change, so it has no generation to observe.
        let observed = kind == WorkloadKind::Job || status.observed() >= self.metadata.generation;
        let finished = kind == WorkloadKind::Job && status.condition("Complete", "True").is_some();
        let [desired, updated, available] = counts(kind, &spec, &status, finished);
        let paused = match kind {
            WorkloadKind::Job => spec.suspend.0 == Some(true),
            WorkloadKind::Rollout => {
                spec.paused.0 == Some(true)
                    || status.controller_pause.0 == Some(true)
                    || status.pause_conditions.elements().next().is_some()
            }
            WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                spec.paused.0 == Some(true)
            }
        };
        let newest = if finished || !observed { Newest::Nothing } else { self.newest(kind, &status, paused) };
        let workload = Workload {
            uid: self.metadata.uid.clone().unwrap_or_default(),
            observed,
            desired,
            updated,
            available,
            paused,
            // Until the newest specification is observed, the conditions are about the one before.
            failed: status.failure(kind).filter(|_| observed),
            newest,
        };
        (Key::named(&self.metadata), workload)
    }

    fn newest(&self, kind: WorkloadKind, status: &Status, paused: bool) -> Newest {
        let annotation = |name: &str| self.metadata.annotations.as_ref()?.get(name).cloned();
        let label = |name, value: Option<String>| {
            value
                .filter(|value| !value.is_empty())
                .map_or(Newest::Nothing, |value| Newest::Label(name, value))
        };
        match kind {
            // A paused Deployment observes a new template without making its ReplicaSet.
            WorkloadKind::Deployment if paused && status.updated_replicas.0.unwrap_or(0) == 0 => {
                Newest::Nothing
            }
            WorkloadKind::Deployment => {
                annotation(DEPLOYMENT_REVISION).map_or(Newest::Nothing, Newest::ReplicaSet)
            }
            WorkloadKind::StatefulSet => label(REVISION_HASH, status.update_revision.0.clone()),
            WorkloadKind::DaemonSet => {
                label(TEMPLATE_GENERATION, annotation("deprecated.daemonset.template.generation"))
            }
            WorkloadKind::Rollout => label(POD_HASH, status.current_pod_hash.0.clone()),
            WorkloadKind::Job => Newest::All,
        }
    }
}

const DEPLOYMENT_REVISION: &str = "deployment.kubernetes.io/revision";

/// Replicas desired, of the newest template, and available.
fn counts(kind: WorkloadKind, spec: &Spec, status: &Status, finished: bool) -> [u32; 3] {
    let or_zero = |count: &Lenient<u32>| count.0.unwrap_or_default();
    let left_alone = |desired| spec.update_strategy.get().map_or(0, |strategy| strategy.left_alone(desired));
    match kind {
        WorkloadKind::StatefulSet => {
            let desired = spec.replicas.0.unwrap_or(1);
            let updated = or_zero(&status.updated_replicas);
            [
                desired,
                updated.saturating_add(left_alone(desired)).min(desired),
                or_zero(&status.available_replicas),
            ]
        }
        WorkloadKind::Deployment | WorkloadKind::Rollout => [
            spec.replicas.0.unwrap_or(1),
            or_zero(&status.updated_replicas),
            or_zero(&status.available_replicas),
        ],
        WorkloadKind::DaemonSet => {
            let desired = or_zero(&status.desired_number_scheduled);
            let updated = or_zero(&status.updated_number_scheduled);
            [
                desired,
                updated.saturating_add(left_alone(desired)).min(desired),
                or_zero(&status.number_available),
            ]
        }
        WorkloadKind::Job => {
            let desired = spec.completions.0.or(spec.parallelism.0).unwrap_or(1);
            let succeeded = or_zero(&status.succeeded);
            if finished {
                // Without `completions` one success of many is enough.
                [desired, desired, desired]
            } else {
                [desired, succeeded.saturating_add(or_zero(&status.active)), succeeded]
            }
        }
    }
}

impl Status {
    fn observed(&self) -> Option<i64> {
        match self.observed_generation.get()? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn condition(&self, type_: &str, status: &str) -> Option<&Condition> {
        self.conditions.elements().find(|c| c.type_.text() == type_ && c.status.text() == status)
    }

    /// Why the controller gave up, if it did.
    fn failure(&self, kind: WorkloadKind) -> Option<WorkloadFailure> {
        match kind {
            WorkloadKind::Deployment => self
                .condition("Progressing", "False")
                .filter(|condition| condition.reason.text() == "ProgressDeadlineExceeded")
                .map(Condition::failure),
            WorkloadKind::Job => self.condition("Failed", "True").map(Condition::failure),
            WorkloadKind::Rollout => {
                let aborted = self.abort.0 == Some(true);
                if !aborted && self.phase.text() != "Degraded" {
                    return None;
                }
                let condition = self.condition("Progressing", "False").map(Condition::failure);
                Some(condition.unwrap_or_else(|| WorkloadFailure {
                    reason: if aborted { "RolloutAborted".into() } else { "Degraded".into() },
                    message: shortened(self.message.text()),
                    since: self.aborted_at.0,
                }))
            }
            // They never give up.
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => None,
        }
    }
}

impl Condition {
    fn failure(&self) -> WorkloadFailure {
        WorkloadFailure {
            reason: shortened(self.reason.text()),
            message: shortened(self.message.text()),
            since: self.last_transition_time.0,
        }
    }
}

/// Kubernetes' words, as many as are kept.
pub(super) fn shortened(words: &str) -> String {
    words.chars().take(MESSAGE_CHARS_MAX).collect()
}

/// A `ReplicaSet`, only what is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ReplicaSetObject {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Lenient<ReplicaCount>,
    #[serde(default)]
    status: Lenient<ReplicaCount>,
}

resource!(ReplicaSetObject, "apps", "v1", "ReplicaSet", "replicasets");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ReplicaCount {
    replicas: Lenient<u32>,
}

/// What is kept of a `ReplicaSet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplicaSet {
    /// The uid of the Deployment or Rollout.
    pub(super) owner: String,
    /// The Deployment's revision that it is of.
    pub(super) revision: Option<String>,
}

impl ReplicaSetObject {
    /// What is kept of it: nothing for one without pods, of which a Deployment leaves ten behind.
    pub(super) fn row(&self) -> (Key, Option<ReplicaSet>) {
        let has = |count: &Lenient<ReplicaCount>| count.get().and_then(|c| c.replicas.0).unwrap_or(0) > 0;
        let kept = has(&self.spec) || has(&self.status);
        let revision =
            self.metadata.annotations.as_ref().and_then(|all| all.get(DEPLOYMENT_REVISION).cloned());
        let row = controller(&self.metadata).filter(|_| kept).map(|owner| ReplicaSet { owner, revision });
        (Key::unique(&self.metadata), row)
    }
}

/// The uid of the object that controls this one.
pub(super) fn controller(meta: &ObjectMeta) -> Option<String> {
    let owners = meta.owner_references.as_ref()?;
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}
