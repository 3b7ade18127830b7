//! The Deployment and ReplicaSet controllers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rolling::{Replicas, Strategy};
use crate::sandbox::apiserver::{DEPLOYMENTS, PODS, Part, REPLICA_SETS, Store, short_hash};
use crate::sandbox::clock::{between, whole_seconds};
use crate::sandbox::json::{annotation, at, list, number, set, text};

const REVISION: &str = "deployment.kubernetes.io/revision";
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Kubernetes' default for `progressDeadlineSeconds`.
const PROGRESS_DEADLINE_SECONDS: u64 = 600;

/// Rolls Deployments and keeps the pods of `ReplicaSets`.
#[derive(Debug, Default)]
pub(super) struct Deployments {
    /// The newest progress of each Deployment, by uid.
    progress: BTreeMap<String, Progress>,
    pods_made: u64,
}

#[derive(Clone, Debug)]
struct Progress {
    hash: String,
    updated: i64,
    available: i64,
    old: i64,
    since: Timestamp,
}

/// A ReplicaSet with its pods.
struct Set {
    object: Arc<Value>,
    pods: Vec<Arc<Value>>,
    replicas: Replicas,
}

impl Set {
    fn name(&self) -> &str {
        text(&self.object, "/metadata/name")
    }
}

impl Deployments {
    pub(super) fn tick(&mut self, store: &Store, now: Timestamp) {
        let pods = store.objects(&PODS);
        let sets = store.objects(&REPLICA_SETS);
        let deployments = store.objects(&DEPLOYMENTS);
        for deployment in &deployments {
            let mut owned: Vec<Set> = owned_by(deployment, &sets).map(|set| with_pods(set, &pods)).collect();
            owned.sort_by_key(|set| revision(&set.object));
            self.deploy(store, deployment, owned, now);
        }
        for object in store.objects(&REPLICA_SETS) {
            self.keep_pods(store, &with_pods(&object, &pods));
        }
        self.progress.retain(|uid, _| deployments.iter().any(|object| text(object, "/metadata/uid") == uid));
    }

    fn deploy(&mut self, store: &Store, deployment: &Value, mut sets: Vec<Set>, now: Timestamp) {
        let namespace = text(deployment, "/metadata/namespace");
        let hash = template_hash(deployment);
        let newest = sets.iter().map(|set| revision(&set.object)).max().unwrap_or_default();
        let found = sets.iter().position(|set| label(&set.object, TEMPLATE_HASH) == hash);
        let Some(new) = found.map(|at| sets.remove(at)) else {
            let object = replica_set(deployment, &hash, newest + 1);
            // Fails only when a ReplicaSet of that name belongs to somebody else; the next look tries again.
            store.create(&REPLICA_SETS, namespace, object).ok();
            self.status(store, deployment, None, &sets, newest + 1, now);
            return;
        };
        let mut number = revision(&new.object);
        if number < newest {
            // An older template again: its ReplicaSet becomes the newest revision.
            number = newest + 1;
            annotate(store, namespace, new.name(), number);
        }
        if at(deployment, "/spec/paused") != Some(&json!(true)) {
            let old: Vec<Replicas> = sets.iter().map(|set| set.replicas.clone()).collect();
            let (size, sizes) = Strategy::of(deployment).next(&new.replicas, &old);
            scale(store, namespace, &new, size);
            for (set, size) in sets.iter().zip(sizes) {
                scale(store, namespace, set, size);
            }
        }
        self.status(store, deployment, Some(&new), &sets, number, now);
    }

    fn status(
        &mut self,
        store: &Store,
        deployment: &Value,
        new: Option<&Set>,
        old: &[Set],
        revision: i64,
        now: Timestamp,
    ) {
        let desired = number(deployment, "/spec/replicas").unwrap_or(1);
        let updated = new.map_or(0, |set| set.replicas.existing);
        let older: i64 = old.iter().map(|set| set.replicas.existing).sum();
        let total = updated + older;
        let available = new.map_or(0, |set| set.replicas.available)
            + old.iter().map(|set| set.replicas.available).sum::<i64>();
        let counts = Counts { desired, updated, available, old: older };
        let progressing = self.progressing(deployment, new, &counts, now);
        let mut conditions = vec![progressing];
        let (status, reason, message) = if available >= desired - Strategy::of(deployment).unavailable() {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        conditions.push(json!({"type": "Available", "status": status, "reason": reason, "message": message}));
        let conditions: Vec<Value> = conditions.into_iter().map(|c| keep_times(deployment, c, now)).collect();
        let mut wanted = json!({"observedGeneration": number(deployment, "/metadata/generation"),
                                "conditions": conditions});
        let unavailable = (desired.max(total) - available).max(0);
        for (field, count) in [
            ("replicas", total),
            ("updatedReplicas", updated),
            ("readyReplicas", available),
            ("availableReplicas", available),
            ("unavailableReplicas", unavailable),
        ] {
            // Go's omitempty: a zero is not written.
            if count != 0 {
                set(&mut wanted, &[field], json!(count));
            }
        }
        let revision = revision.to_string();
        if deployment.get("status") == Some(&wanted) && annotation(deployment, REVISION) == Some(&revision) {
            return;
        }
        let (namespace, name) = (text(deployment, "/metadata/namespace"), text(deployment, "/metadata/name"));
        let edit = |object: &mut Value| {
            set(object, &["metadata", "annotations", REVISION], json!(revision));
            set(object, &["status"], wanted);
        };
        store.edit(&DEPLOYMENTS, namespace, name, Part::Status, edit).ok();
    }

    /// The condition `Progressing`: what the Deployment waits for, and whether it waited too long.
    fn progressing(
        &mut self,
        deployment: &Value,
        new: Option<&Set>,
        counts: &Counts,
        now: Timestamp,
    ) -> Value {
        let hash = template_hash(deployment);
        let name = new.map_or_else(|| set_name(deployment, &hash), |set| set.name().to_owned());
        let uid = text(deployment, "/metadata/uid").to_owned();
        let fresh = Progress {
            hash,
            updated: counts.updated,
            available: counts.available,
            old: counts.old,
            since: now,
        };
        let known = self.progress.entry(uid).or_insert_with(|| fresh.clone());
        let moved = known.hash != fresh.hash
            || counts.updated > known.updated
            || counts.available > known.available
            || counts.old < known.old;
        let since = if moved { now } else { known.since };
        *known = Progress { since, ..fresh };
        let deadline = at(deployment, "/spec/progressDeadlineSeconds").and_then(Value::as_u64);
        let deadline = Duration::from_secs(deadline.unwrap_or(PROGRESS_DEADLINE_SECONDS));
        let (status, reason, message) = if counts.complete() {
            ("True", "NewReplicaSetAvailable", format!("ReplicaSet \"{name}\" has successfully progressed."))
        } else if between(since, now) > deadline {
            ("False", "ProgressDeadlineExceeded", format!("ReplicaSet \"{name}\" has timed out progressing."))
        } else if new.is_none() {
            ("True", "NewReplicaSetCreated", format!("Created new replica set \"{name}\""))
        } else {
            ("True", "ReplicaSetUpdated", format!("ReplicaSet \"{name}\" is progressing."))
        };
        json!({"type": "Progressing", "status": status, "reason": reason, "message": message,
               "lastUpdateTime": whole_seconds(since)})
    }

    /// Makes as many pods as a ReplicaSet wants, and reports on them.
    fn keep_pods(&mut self, store: &Store, set: &Set) {
        let namespace = text(&set.object, "/metadata/namespace");
        let wanted = number(&set.object, "/spec/replicas").unwrap_or_default();
        for _ in set.replicas.existing..wanted {
            self.pods_made += 1;
            store.create(&PODS, namespace, pod(set, self.pods_made)).ok();
        }
        // Pods that do not work go first, as the real controller ranks them.
        let mut victims: Vec<&Arc<Value>> = set.pods.iter().collect();
        victims.sort_by_key(|pod| is_ready(pod));
        let surplus = usize::try_from(set.replicas.existing - wanted).unwrap_or_default();
        for pod in victims.into_iter().take(surplus) {
            store.delete(&PODS, namespace, text(pod, "/metadata/name")).ok();
        }
        let (existing, available) = (set.replicas.existing, set.replicas.available);
        let generation = number(&set.object, "/metadata/generation");
        let mut status = json!({"replicas": existing, "observedGeneration": generation});
        for (field, count) in [
            ("fullyLabeledReplicas", existing),
            ("readyReplicas", available),
            ("availableReplicas", available),
        ] {
            if count != 0 {
                crate::sandbox::json::set(&mut status, &[field], json!(count));
            }
        }
        if set.object.get("status") == Some(&status) {
            return;
        }
        let edit = |object: &mut Value| crate::sandbox::json::set(object, &["status"], status);
        store.edit(&REPLICA_SETS, namespace, set.name(), Part::Status, edit).ok();
    }
}

/// How many pods a Deployment has.
struct Counts {
    desired: i64,
    updated: i64,
    available: i64,
    old: i64,
}

impl Counts {
    fn complete(&self) -> bool {
        self.updated == self.desired && self.old == 0 && self.available == self.desired
    }
}

fn owned_by<'a>(owner: &Value, objects: &'a [Arc<Value>]) -> impl Iterator<Item = &'a Arc<Value>> {
    let uid = text(owner, "/metadata/uid").to_owned();
    objects.iter().filter(move |object| {
        list(object, "/metadata/ownerReferences").iter().any(|owner| text(owner, "/uid") == uid)
    })
}

fn with_pods(object: &Arc<Value>, pods: &[Arc<Value>]) -> Set {
    let pods: Vec<Arc<Value>> = owned_by(object, pods)
        .filter(|pod| text(pod, "/metadata/deletionTimestamp").is_empty())
        .cloned()
        .collect();
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let replicas = Replicas {
        wanted: number(object, "/spec/replicas").unwrap_or_default(),
        existing: count(pods.len()),
        available: count(pods.iter().filter(|pod| is_ready(pod)).count()),
    };
    Set { object: Arc::clone(object), pods, replicas }
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    list(pod, "/status/conditions")
        .iter()
        .any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True")
}

fn label<'a>(object: &'a Value, name: &str) -> &'a str {
    at(object, "/metadata/labels").and_then(|labels| labels.get(name)?.as_str()).unwrap_or_default()
}

fn revision(object: &Value) -> i64 {
    annotation(object, REVISION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The hash of a Deployment's pod template.
fn template_hash(deployment: &Value) -> String {
    let template = at(deployment, "/spec/template").map(ToString::to_string).unwrap_or_default();
    // FNV-1a; Kubernetes uses its 32-bit form over another text.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in template.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    short_hash(hash, 10)
}

fn set_name(deployment: &Value, hash: &str) -> String {
    format!("{}-{hash}", text(deployment, "/metadata/name"))
}

fn owner(object: &Value, api_version: &str, kind: &str) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": text(object, "/metadata/name"),
            "uid": text(object, "/metadata/uid"), "controller": true, "blockOwnerDeletion": true}])
}

fn replica_set(deployment: &Value, hash: &str, revision: i64) -> Value {
    let mut template = at(deployment, "/spec/template").cloned().unwrap_or_default();
    set(&mut template, &["metadata", "labels", TEMPLATE_HASH], json!(hash));
    let mut selector = at(deployment, "/spec/selector").cloned().unwrap_or_default();
    set(&mut selector, &["matchLabels", TEMPLATE_HASH], json!(hash));
    json!({
        "metadata": {
            "name": set_name(deployment, hash),
            "labels": at(&template, "/metadata/labels"),
            "annotations": {REVISION: revision.to_string()},
            "ownerReferences": owner(deployment, "apps/v1", "Deployment"),
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    })
}

fn pod(set: &Set, serial: u64) -> Value {
    let template = at(&set.object, "/spec/template").cloned().unwrap_or_default();
    let mut spec = template.get("spec").cloned().unwrap_or_default();
    crate::sandbox::json::set(&mut spec, &["nodeName"], json!("sandbox"));
    json!({
        "metadata": {
            "name": format!("{}-{}", set.name(), short_hash(serial, 5)),
            "generateName": format!("{}-", set.name()),
            "labels": at(&template, "/metadata/labels"),
            "annotations": at(&template, "/metadata/annotations").cloned().unwrap_or_else(|| json!({})),
            "ownerReferences": owner(&set.object, "apps/v1", "ReplicaSet"),
        },
        "spec": spec,
    })
}

fn scale(store: &Store, namespace: &str, of: &Set, size: i64) {
    if of.replicas.wanted != size {
        let edit = |object: &mut Value| set(object, &["spec", "replicas"], json!(size));
        store.edit(&REPLICA_SETS, namespace, of.name(), Part::Main, edit).ok();
    }
}

fn annotate(store: &Store, namespace: &str, name: &str, revision: i64) {
    let edit = |object: &mut Value| {
        set(object, &["metadata", "annotations", REVISION], json!(revision.to_string()));
    };
    store.edit(&REPLICA_SETS, namespace, name, Part::Main, edit).ok();
}

/// Gives a condition its times: a transition is a change of `status`, an update a change of anything.
fn keep_times(deployment: &Value, mut condition: Value, now: Timestamp) -> Value {
    let before = list(deployment, "/status/conditions")
        .iter()
        .find(|before| text(before, "/type") == text(&condition, "/type"));
    let now = json!(whole_seconds(now));
    let same = |field: &str| before.is_some_and(|before| before.get(field) == condition.get(field));
    let old =
        |field: &str| before.and_then(|before| before.get(field)).cloned().unwrap_or_else(|| now.clone());
    let transition = if same("status") { old("lastTransitionTime") } else { now.clone() };
    let update = if same("status") && same("reason") { old("lastUpdateTime") } else { now.clone() };
    set(&mut condition, &["lastTransitionTime"], transition);
    if condition.get("lastUpdateTime").is_none() {
        set(&mut condition, &["lastUpdateTime"], update);
    }
    condition
}
