//! Pods: a pure function from a pod's age and image to its status.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Behaviour, Pace};
use crate::sandbox::apiserver::{PODS, Part, Preconditions, Store};
use crate::sandbox::clock::{between, later, whole_seconds};
use crate::sandbox::json::{list, set, text};

/// Runs pods, in thought.
#[derive(Debug)]
pub(super) struct Kubelet {
    pace: Pace,
    /// When each pod was first seen, by uid: `creationTimestamp` has only whole seconds.
    seen: BTreeMap<String, Timestamp>,
    /// When the end of each pod was first seen.
    ending: BTreeMap<String, Timestamp>,
}

/// How one container looks.
struct Look {
    state: Value,
    last_state: Value,
    restarts: u32,
    running_since: Option<Timestamp>,
    ready_since: Option<Timestamp>,
    /// Whether it ever ran: a pod is `Pending` until all of its containers did.
    started: bool,
}

impl Kubelet {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, seen: BTreeMap::new(), ending: BTreeMap::new() }
    }

    pub(super) fn tick(&mut self, store: &Store, now: Timestamp) {
        let mut alive = BTreeSet::new();
        for pod in store.objects(&PODS) {
            let uid = text(&pod, "/metadata/uid").to_owned();
            let (namespace, name) = (text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
            let born = *self.seen.entry(uid.clone()).or_insert(now);
            if text(&pod, "/metadata/deletionTimestamp").is_empty() {
                let status = self.status(&pod, born, now);
                if pod.get("status") == Some(&status) {
                    alive.insert(uid);
                    continue;
                }
                // Fails only when somebody deleted the pod in between.
                store.edit(&PODS, namespace, name, Part::Status, |pod| set(pod, &["status"], status)).ok();
            } else {
                let since = *self.ending.entry(uid.clone()).or_insert(now);
                if between(since, now) >= self.pace.termination {
                    let expect = Preconditions { uid: Some(uid.clone()), now: true, ..Default::default() };
                    store.delete_if(&PODS, namespace, name, &expect).ok();
                }
            }
            alive.insert(uid);
        }
        self.seen.retain(|uid, _| alive.contains(uid));
        self.ending.retain(|uid, _| alive.contains(uid));
    }

    fn status(&self, pod: &Value, born: Timestamp, now: Timestamp) -> Value {
        let containers = list(pod, "/spec/containers");
        let looks: Vec<(&Value, Look)> =
            containers.iter().map(|container| (container, self.look(pod, container, born, now))).collect();
        let ready_since = looks
            .iter()
            .map(|(_, look)| look.ready_since)
            .collect::<Option<Vec<_>>>()
            .and_then(|all| all.into_iter().max());
        let started = looks.iter().all(|(_, look)| look.started);
        let unready: Vec<&str> = looks
            .iter()
            .filter(|(_, look)| look.ready_since.is_none())
            .map(|(container, _)| text(container, "/name"))
            .collect();
        let statuses: Vec<Value> =
            looks.iter().map(|(container, look)| container_status(container, look)).collect();
        let readiness = |kind: &str| {
            let mut condition = condition(kind, ready_since.unwrap_or(born));
            if ready_since.is_none() {
                set(&mut condition, &["status"], json!("False"));
                set(&mut condition, &["reason"], json!("ContainersNotReady"));
                let message = format!("containers with unready status: [{}]", unready.join(" "));
                set(&mut condition, &["message"], json!(message));
            }
            condition
        };
        json!({
            "phase": if started { "Running" } else { "Pending" },
            "startTime": whole_seconds(born),
            "conditions": [condition("PodScheduled", born), condition("Initialized", born),
                           readiness("ContainersReady"), readiness("Ready")],
            "containerStatuses": statuses,
        })
    }

    fn look(&self, pod: &Value, container: &Value, born: Timestamp, now: Timestamp) -> Look {
        let begin = later(born, self.pace.container_start);
        if now < begin {
            return waiting("ContainerCreating", None);
        }
        let image = text(container, "/image");
        match Behaviour::of(image) {
            Behaviour::Works | Behaviour::Errors => {
                let ready = later(begin, self.pace.readiness);
                Look {
                    state: running(begin),
                    last_state: json!({}),
                    restarts: 0,
                    running_since: Some(begin),
                    ready_since: (now >= ready).then_some(ready),
                    started: true,
                }
            }
            Behaviour::Missing => self.missing(image, begin, now),
            Behaviour::Crashes => self.crashing(pod, container, begin, now),
        }
    }

    /// An image that cannot be pulled: an error for a moment after each try, back-off in between.
    fn missing(&self, image: &str, begin: Timestamp, now: Timestamp) -> Look {
        let mut tried = begin;
        let mut backoff = self.pace.backoff_first;
        while later(tried, backoff) <= now {
            tried = later(tried, backoff);
            backoff = self.longer(backoff);
        }
        let cause = format!(
            "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed to resolve \
             reference \"{image}\": {image}: not found"
        );
        if between(tried, now) < self.pace.crash_after {
            waiting("ErrImagePull", Some(cause))
        } else {
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {cause}");
            waiting("ImagePullBackOff", Some(message))
        }
    }

    /// A container that ends soon after each start. As the kubelet: the first restart is at once, later ones wait.
    fn crashing(&self, pod: &Value, container: &Value, begin: Timestamp, now: Timestamp) -> Look {
        let mut started = begin;
        let mut restarts = 0_u32;
        let mut last_state = json!({});
        let mut pause = self.pace.crash_after / 2;
        loop {
            let ended = later(started, self.pace.crash_after);
            if now < ended {
                return Look {
                    state: running(started),
                    last_state,
                    restarts,
                    running_since: Some(started),
                    ready_since: None,
                    started: true,
                };
            }
            let end = terminated(started, ended);
            let next = later(ended, pause);
            if now < next {
                if restarts == 0 {
                    return Look { state: end, last_state, restarts, ..waiting("", None).ran() };
                }
                let message = format!(
                    "back-off {}s restarting failed container={} pod={}_{}({})",
                    pause.as_secs(),
                    text(container, "/name"),
                    text(pod, "/metadata/name"),
                    text(pod, "/metadata/namespace"),
                    text(pod, "/metadata/uid")
                );
                return Look {
                    last_state: end,
                    restarts,
                    ..waiting("CrashLoopBackOff", Some(message)).ran()
                };
            }
            pause = if restarts == 0 { self.pace.backoff_first } else { self.longer(pause) };
            restarts += 1;
            started = next;
            last_state = end;
        }
    }

    fn longer(&self, backoff: Duration) -> Duration {
        (backoff * 2).min(self.pace.backoff_max)
    }
}

impl Look {
    fn ran(self) -> Self {
        Self { started: true, ..self }
    }
}

fn waiting(reason: &str, message: Option<String>) -> Look {
    let mut state = json!({"waiting": {"reason": reason}});
    if let Some(message) = message {
        set(&mut state, &["waiting", "message"], json!(message));
    }
    let last_state = json!({});
    Look { state, last_state, restarts: 0, running_since: None, ready_since: None, started: false }
}

fn running(since: Timestamp) -> Value {
    json!({"running": {"startedAt": whole_seconds(since)}})
}

fn terminated(from: Timestamp, to: Timestamp) -> Value {
    json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": whole_seconds(from),
                          "finishedAt": whole_seconds(to)}})
}

fn condition(kind: &str, since: Timestamp) -> Value {
    json!({"type": kind, "status": "True", "lastTransitionTime": whole_seconds(since), "lastProbeTime": null})
}

fn container_status(container: &Value, look: &Look) -> Value {
    let image = text(container, "/image");
    json!({
        "name": text(container, "/name"),
        "image": image,
        "imageID": if look.started { format!("sandbox://{image}") } else { String::new() },
        "state": look.state,
        "lastState": look.last_state,
        "ready": look.ready_since.is_some(),
        "started": look.running_since.is_some(),
        "restartCount": look.restarts,
    })
}
