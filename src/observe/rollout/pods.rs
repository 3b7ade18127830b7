//! What is wrong with a pod.

use jiff::Timestamp;
use kube::core::ObjectMeta;
use serde::Deserialize;

use super::super::object::{Lenient, LenientList, metadata, resource};
use super::index::Key;
use super::workloads::{Condition, POD_HASH, REVISION_HASH, TEMPLATE_GENERATION, controller, shortened};
use crate::engine::facts::{PodTrouble, TroubleKind};

/// A pod, only what is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PodObject {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: Lenient<Status>,
}

resource!(PodObject, "", "v1", "Pod", "pods");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Lenient<String>,
    reason: Lenient<String>,
    message: Lenient<String>,
    conditions: LenientList<Condition>,
    init_container_statuses: LenientList<Container>,
    container_statuses: LenientList<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: Lenient<String>,
    restart_count: Lenient<u32>,
    state: Lenient<ContainerState>,
    last_state: Lenient<ContainerState>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Lenient<Stop>,
    terminated: Lenient<Stop>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stop {
    reason: Lenient<String>,
    message: Lenient<String>,
    exit_code: Lenient<i64>,
    finished_at: Lenient<Timestamp>,
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    /// The uid of its `ReplicaSet`, `StatefulSet`, `DaemonSet` or Job.
    pub(super) owner: String,
    /// Those of its labels that name a template.
    pub(super) labels: Vec<(&'static str, String)>,
    /// What is wrong with it, never empty.
    pub(super) troubles: Vec<PodTrouble>,
}

impl PodObject {
    /// What is kept of it: nothing of a pod without trouble, without owner or that is being deleted.
    pub(super) fn row(&self) -> (Key, Option<Pod>) {
        let key = Key::unique(&self.metadata);
        let (None, Some(owner)) = (&self.metadata.deletion_timestamp, controller(&self.metadata)) else {
            return (key, None);
        };
        let troubles = self.troubles();
        if troubles.is_empty() {
            return (key, None);
        }
        let label = |name: &'static str| Some((name, self.metadata.labels.as_ref()?.get(name)?.clone()));
        let labels = [REVISION_HASH, TEMPLATE_GENERATION, POD_HASH].into_iter().filter_map(label).collect();
        (key, Some(Pod { owner, labels, troubles }))
    }

    fn troubles(&self) -> Vec<PodTrouble> {
        let Some(status) = self.status.get() else { return Vec::new() };
        let (Some(pod), Some(created)) = (&self.metadata.name, &self.metadata.creation_timestamp) else {
            return Vec::new();
        };
        let trouble = |kind, container: Option<&Container>, message: &str| PodTrouble {
            pod: pod.clone(),
            created_at: created.0,
            container: container.map(|container| container.name.text().to_owned()),
            kind,
            message: shortened(message),
            restarts: container.and_then(|container| container.restart_count.0).unwrap_or_default(),
            ended_at: container.and_then(Container::ended_at),
        };
        match status.phase.text() {
            "Succeeded" => Vec::new(),
            "Failed" if status.failed_by_the_node() => Vec::new(),
            "Failed" => {
                let culprit =
                    status.containers().find(|container| container.exit_code().is_some_and(|code| code != 0));
                let oom = status.containers().filter(|c| c.oom_killed());
                let mut all = vec![trouble(TroubleKind::Failed, culprit, &status.failure(culprit))];
                all.extend(
                    oom.map(|c| trouble(TroubleKind::OomKilled, Some(c), "the container ran out of memory")),
                );
                all
            }
            _ => {
                let mut all: Vec<PodTrouble> = status
                    .containers()
                    .flat_map(|container| {
                        container.troubles().map(move |(kind, message)| (container, kind, message))
                    })
                    .map(|(container, kind, message)| trouble(kind, Some(container), &message))
                    .collect();
                if let Some(message) = status.unschedulable() {
                    all.push(trouble(TroubleKind::Unschedulable, None, message));
                }
                all
            }
        }
    }
}

impl Status {
    fn containers(&self) -> impl Iterator<Item = &Container> {
        self.init_container_statuses.elements().chain(self.container_statuses.elements())
    }

    fn unschedulable(&self) -> Option<&str> {
        let condition = self.conditions.elements().find(|c| c.type_.text() == "PodScheduled")?;
        let refused = condition.status.text() == "False" && condition.reason.text() == "Unschedulable";
        refused.then(|| condition.message.text())
    }

    /// Whether the node or the cluster ended the pod: eviction, preemption, a drained or lost node. Such pods stay for
    /// days, and say nothing about the commit.
    fn failed_by_the_node(&self) -> bool {
        let disrupted = self
            .conditions
            .elements()
            .any(|c| c.type_.text() == "DisruptionTarget" && c.status.text() == "True");
        disrupted || !matches!(self.reason.text(), "" | "DeadlineExceeded")
    }

    fn failure(&self, culprit: Option<&Container>) -> String {
        let ended = culprit.and_then(|container| container.state.get()?.terminated.get());
        match ended {
            Some(stop) if self.message.text().is_empty() => {
                let code = stop.exit_code.0.unwrap_or_default();
                format!("exit code {code}: {}", stop.reason.text()).trim_end_matches([':', ' ']).to_owned()
            }
            _ => format!("{} {}", self.reason.text(), self.message.text()).trim().to_owned(),
        }
    }
}

impl Container {
    /// At most one about how it stands now, and one more if it was killed for memory: a policy may convict by either.
    fn troubles(&self) -> impl Iterator<Item = (TroubleKind, String)> {
        let waiting = self.state.get().and_then(|state| state.waiting.get());
        let stands = match waiting.and_then(|stop| Some((stuck(stop.reason.text())?, stop))) {
            Some((kind, stop)) => Some((kind, format!("{}: {}", stop.reason.text(), stop.message.text()))),
            // An init container that is through has done its work, at whichever attempt.
            None if self.restart_count.0.unwrap_or(0) > 0 && self.exit_code() != Some(0) => {
                Some((TroubleKind::Restarted, self.last_end()))
            }
            None => None,
        };
        let killed = self.oom_killed().then(|| (TroubleKind::OomKilled, self.last_end()));
        stands.into_iter().chain(killed)
    }

    fn exit_code(&self) -> Option<i64> {
        self.state.get()?.terminated.get()?.exit_code.0
    }

    fn ended_at(&self) -> Option<Timestamp> {
        [&self.state, &self.last_state]
            .into_iter()
            .find_map(|state| state.get()?.terminated.get()?.finished_at.0)
    }

    fn oom_killed(&self) -> bool {
        let ends =
            [&self.state, &self.last_state].into_iter().filter_map(|state| state.get()?.terminated.get());
        ends.into_iter().any(|stop| stop.reason.text() == "OOMKilled")
    }

    fn last_end(&self) -> String {
        let ended =
            [&self.state, &self.last_state].into_iter().find_map(|state| state.get()?.terminated.get());
        ended.map_or_else(String::new, |stop| {
            let code = stop.exit_code.0.unwrap_or_default();
            // Never the message: it can be the end of the container's log, and so hold anything.
            format!("last exit code {code}: {}", stop.reason.text()).trim_end_matches([':', ' ']).to_owned()
        })
    }
}

/// What a container waits for, where it will not come by waiting.
fn stuck(reason: &str) -> Option<TroubleKind> {
    match reason {
        "ImagePullBackOff"
        | "ErrImagePull"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(TroubleKind::ImagePull),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError" => Some(TroubleKind::ContainerConfig),
        "CrashLoopBackOff" => Some(TroubleKind::CrashLoop),
        _ => None,
    }
}

/// When a pod's first trouble's pod was created, for ordering.
pub(super) fn age(trouble: &PodTrouble) -> (Timestamp, &str, Option<&str>, TroubleKind) {
    (trouble.created_at, trouble.pod.as_str(), trouble.container.as_deref(), trouble.kind)
}
