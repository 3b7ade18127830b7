//! What becomes of workloads and pods, as facts.

use serde_json::{Value, json};

use super::super::watching::Watched;
use super::*;
use crate::cluster::fake;
use crate::engine::facts::{TROUBLED_PODS_MAX, TroubleKind, WorkloadFacts};

const CREATED: &str = "2026-11-20T10:00:00Z";

/// An index whose first lists are complete.
fn index() -> Index {
    let mut index = Index::default();
    for kind in KINDS {
        index.workload(kind, Watched::Complete);
    }
    index.replica_set(Watched::Complete);
    index.pod(Watched::Complete);
    index.take_touched();
    index
}

fn now() -> Timestamp {
    "2026-11-20T11:00:00Z".parse().unwrap()
}

fn web(kind: WorkloadKind) -> WorkloadRef {
    WorkloadRef { kind, namespace: "shop".into(), name: "web".into() }
}

/// The metadata of an object in namespace `shop`, owned by the object with uid `owner`.
fn meta(uid: &str, name: &str, owner: &str) -> Value {
    let owners = json!([{ "apiVersion": "x", "kind": "X", "name": "x", "uid": owner, "controller": true }]);
    json!({
        "name": name, "namespace": "shop", "uid": uid, "generation": 2, "creationTimestamp": CREATED,
        "ownerReferences": if owner.is_empty() { Value::Null } else { owners },
    })
}

/// Merges `over` into `base`, as a merge patch does.
fn with(mut base: Value, over: &Value) -> Value {
    if let (Value::Object(base), Value::Object(over)) = (&mut base, over) {
        for (key, value) in over {
            let merged = with(base.remove(key).unwrap_or(Value::Null), value);
            base.insert(key.clone(), merged);
        }
        return Value::Object(std::mem::take(base));
    }
    over.clone()
}

fn put_workload(index: &mut Index, kind: WorkloadKind, over: &Value) {
    let base = json!({
        "metadata": meta("w", "web", ""),
        "spec": { "replicas": 3 },
        "status": { "observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 2 },
    });
    index.workload(kind, Watched::Object(serde_json::from_value(with(base, over)).unwrap()));
}

/// A Deployment at revision 2, with a `ReplicaSet` of revision 1 and one of revision 2.
fn deployment(index: &mut Index) {
    let revision = |n: u32| json!({ "deployment.kubernetes.io/revision": n.to_string() });
    put_workload(index, WorkloadKind::Deployment, &json!({ "metadata": { "annotations": revision(2) } }));
    for n in [1, 2] {
        let mut set = json!({ "metadata": meta(&format!("rs{n}"), &format!("web-{n}"), "w"), "spec": { "replicas": 2 } });
        set["metadata"]["annotations"] = revision(n);
        index.replica_set(Watched::Object(serde_json::from_value(set).unwrap()));
    }
}

fn pod_object(name: &str, owner: &str, over: &Value) -> PodObject {
    let base =
        json!({ "metadata": meta(&format!("uid-{name}"), name, owner), "status": { "phase": "Running" } });
    serde_json::from_value(with(base, over)).unwrap()
}

fn put_pod(index: &mut Index, name: &str, owner: &str, over: &Value) {
    index.pod(Watched::Object(pod_object(name, owner, over)));
}

/// A container's status.
fn container(state: &Value, last: &Value, restarts: u32) -> Value {
    json!({ "name": "app", "restartCount": restarts, "state": state, "lastState": last })
}

fn waiting(reason: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": "so it is" } })
}

fn ended(reason: &str, code: i32) -> Value {
    json!({ "terminated": { "reason": reason, "exitCode": code } })
}

/// A pod in a crash loop.
fn crashing() -> Value {
    let status = container(&waiting("CrashLoopBackOff"), &ended("Error", 1), 4);
    json!({ "status": { "containerStatuses": [status] } })
}

fn one(index: &Index, kind: WorkloadKind) -> WorkloadFacts {
    let facts = index.facts(&[web(kind)], now());
    assert_eq!(facts.gap, None);
    let [workload] = facts.workloads.as_slice() else { panic!("{facts:?}") };
    workload.clone()
}

/// The names of the troubled pods.
fn troubled(index: &Index, kind: WorkloadKind) -> Vec<String> {
    one(index, kind).troubled.into_iter().map(|trouble| trouble.pod).collect()
}

#[test]
fn what_is_wrong_with_a_pod() {
    use TroubleKind::{ContainerConfig, CrashLoop, Failed, ImagePull, OomKilled, Restarted, Unschedulable};
    let check = |what: &str, status: &Value, expected: &[TroubleKind]| {
        let mut index = index();
        deployment(&mut index);
        put_pod(&mut index, "p", "rs2", &json!({ "status": status }));
        let kinds: Vec<_> =
            one(&index, WorkloadKind::Deployment).troubled.into_iter().map(|trouble| trouble.kind).collect();
        assert_eq!(kinds, expected, "{what}");
    };
    let app = |state: &Value, last: &Value, restarts| json!({ "containerStatuses": [container(state, last, restarts)] });
    let init = |state: &Value, last: &Value, restarts| json!({ "initContainerStatuses": [container(state, last, restarts)] });
    let (runs, never) = (json!({ "running": {} }), json!({}));

    check("runs", &app(&runs, &never, 0), &[]);
    check("is being created", &app(&waiting("ContainerCreating"), &never, 0), &[]);
    check("waits for init containers", &app(&waiting("PodInitializing"), &never, 0), &[]);
    check("no status", &Value::Null, &[]);
    check(
        "odd status",
        &json!({ "containerStatuses": [null, 7, { "name": null, "state": "x" }], "phase": [] }),
        &[],
    );
    for reason in ["ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"] {
        check(reason, &app(&waiting(reason), &never, 0), &[ImagePull]);
    }
    for reason in ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"] {
        check(reason, &app(&waiting(reason), &never, 0), &[ContainerConfig]);
    }
    check("crash loop", &app(&waiting("CrashLoopBackOff"), &ended("Error", 1), 3), &[CrashLoop]);
    check(
        "crash loop of memory",
        &app(&waiting("CrashLoopBackOff"), &ended("OOMKilled", 137), 3),
        &[CrashLoop, OomKilled],
    );
    check("runs again", &app(&runs, &ended("Error", 1), 1), &[Restarted]);
    check("runs again after memory", &app(&runs, &ended("OOMKilled", 137), 1), &[OomKilled, Restarted]);
    check("init container without image", &init(&waiting("ErrImagePull"), &never, 0), &[ImagePull]);
    check("init container crashes", &init(&waiting("CrashLoopBackOff"), &ended("Error", 1), 2), &[CrashLoop]);
    check("init container got through at last", &init(&ended("Completed", 0), &ended("Error", 1), 2), &[]);
    let unscheduled = |reason| json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "reason": reason }] });
    check("no node", &unscheduled("Unschedulable"), &[Unschedulable]);
    check("held back on purpose", &unscheduled("SchedulingGated"), &[]);
    check("completed", &with(app(&ended("Completed", 0), &never, 1), &json!({ "phase": "Succeeded" })), &[]);
    let failed = with(app(&ended("Error", 2), &never, 0), &json!({ "phase": "Failed" }));
    check("failed", &failed, &[Failed]);
    check(
        "failed by its deadline",
        &with(failed.clone(), &json!({ "reason": "DeadlineExceeded" })),
        &[Failed],
    );
    check("evicted", &with(failed.clone(), &json!({ "reason": "Evicted" })), &[]);
    let disrupted = json!({ "conditions": [{ "type": "DisruptionTarget", "status": "True" }] });
    check("drained", &with(failed, &disrupted), &[]);
    let out_of_memory = with(app(&ended("OOMKilled", 137), &never, 0), &json!({ "phase": "Failed" }));
    check("failed of memory", &out_of_memory, &[OomKilled, Failed]);
}

#[test]
fn trouble_is_told_with_its_words() {
    let mut index = index();
    deployment(&mut index);
    put_pod(&mut index, "p", "rs2", &crashing());
    let [trouble] = &one(&index, WorkloadKind::Deployment).troubled[..] else { panic!() };
    assert_eq!(trouble.message, "CrashLoopBackOff: so it is");
    assert_eq!((trouble.container.as_deref(), trouble.restarts), (Some("app"), 4));
    assert_eq!(trouble.created_at, CREATED.parse().unwrap());
}

#[test]
fn of_a_deployment_only_pods_of_the_newest_revision_count() {
    let mut index = index();
    deployment(&mut index);
    put_pod(&mut index, "old", "rs1", &crashing());
    put_pod(&mut index, "new", "rs2", &crashing());
    put_pod(&mut index, "stranger", "rs9", &crashing());
    put_pod(&mut index, "orphan", "", &crashing());
    put_pod(
        &mut index,
        "leaving",
        "rs2",
        &with(crashing(), &json!({ "metadata": { "deletionTimestamp": CREATED } })),
    );
    assert_eq!(troubled(&index, WorkloadKind::Deployment), ["new"]);

    // The new template is not observed yet: the annotation still names the old revision.
    let revision = json!({ "annotations": { "deployment.kubernetes.io/revision": "2" }, "generation": 3 });
    put_workload(&mut index, WorkloadKind::Deployment, &json!({ "metadata": revision }));
    let web = one(&index, WorkloadKind::Deployment);
    assert!(!web.observed && web.troubled.is_empty(), "{web:?}");

    // Paused with a template that has no ReplicaSet.
    let revision = json!({ "annotations": { "deployment.kubernetes.io/revision": "2" } });
    let paused =
        json!({ "metadata": revision, "spec": { "paused": true }, "status": { "updatedReplicas": 0 } });
    put_workload(&mut index, WorkloadKind::Deployment, &paused);
    let web = one(&index, WorkloadKind::Deployment);
    assert!(web.paused && web.troubled.is_empty(), "{web:?}");
}

#[test]
fn the_old_replica_set_can_become_the_newest_again() {
    let mut index = index();
    deployment(&mut index);
    put_pod(&mut index, "p", "rs1", &crashing());
    assert!(troubled(&index, WorkloadKind::Deployment).is_empty());
    let three = json!({ "annotations": { "deployment.kubernetes.io/revision": "3" } });
    put_workload(&mut index, WorkloadKind::Deployment, &json!({ "metadata": three }));
    let set = json!({ "metadata": with(meta("rs1", "web-1", "w"), &three), "spec": { "replicas": 1 } });
    index.replica_set(Watched::Object(serde_json::from_value(set).unwrap()));
    assert_eq!(troubled(&index, WorkloadKind::Deployment), ["p"]);
}

#[test]
fn of_other_kinds_labels_tell_the_newest() {
    let check = |kind, workload: &Value, owner: &str, label: &str| {
        let mut index = index();
        put_workload(&mut index, kind, workload);
        let set = json!({ "metadata": meta("rs", "web-x", "w"), "spec": { "replicas": 1 } });
        index.replica_set(Watched::Object(serde_json::from_value(set).unwrap()));
        for value in ["old", "new"] {
            let labels = json!({ "metadata": { "labels": { label: value } } });
            put_pod(&mut index, value, owner, &with(crashing(), &labels));
        }
        assert_eq!(troubled(&index, kind), ["new"], "{kind}");
    };
    let set = json!({ "status": { "updateRevision": "new" } });
    check(WorkloadKind::StatefulSet, &set, "w", "controller-revision-hash");
    let set = json!({ "metadata": { "annotations": { "deprecated.daemonset.template.generation": "new" } } });
    check(WorkloadKind::DaemonSet, &set, "w", "pod-template-generation");
    let rollout = json!({ "status": { "currentPodHash": "new", "observedGeneration": "2" } });
    check(WorkloadKind::Rollout, &rollout, "rs", "rollouts-pod-template-hash");
}

#[test]
fn a_job_owns_its_pods_until_it_is_complete() {
    let mut index = index();
    put_workload(&mut index, WorkloadKind::Job, &json!({ "spec": { "completions": 1 } }));
    put_pod(&mut index, "try-1", "w", &json!({ "status": { "phase": "Failed" } }));
    put_pod(&mut index, "other-job", "w2", &json!({ "status": { "phase": "Failed" } }));
    assert_eq!(troubled(&index, WorkloadKind::Job), ["try-1"]);
    let complete =
        json!({ "status": { "succeeded": 1, "conditions": [{ "type": "Complete", "status": "True" }] } });
    put_workload(&mut index, WorkloadKind::Job, &with(json!({ "spec": { "completions": 1 } }), &complete));
    let job = one(&index, WorkloadKind::Job);
    assert_eq!((job.desired, job.updated, job.available, job.troubled.len()), (1, 1, 1, 0));
}

#[test]
fn replicas_are_counted_as_each_kind_counts() {
    let check = |kind, over: &Value, expected: [u32; 3], paused| {
        let mut index = index();
        put_workload(&mut index, kind, over);
        let facts = one(&index, kind);
        assert_eq!(
            ([facts.desired, facts.updated, facts.available], facts.paused),
            (expected, paused),
            "{over}"
        );
    };
    check(WorkloadKind::Deployment, &json!({}), [3, 1, 2], false);
    check(WorkloadKind::Deployment, &json!({ "spec": null, "status": null }), [1, 0, 0], false);
    check(WorkloadKind::StatefulSet, &json!({}), [3, 1, 2], false);
    let scheduled = json!({ "status": { "desiredNumberScheduled": 5, "updatedNumberScheduled": 4, "numberAvailable": 3 } });
    check(WorkloadKind::DaemonSet, &scheduled, [5, 4, 3], false);
    check(
        WorkloadKind::Job,
        &json!({ "spec": { "parallelism": 2, "suspend": true }, "status": { "active": 1 } }),
        [2, 1, 0],
        true,
    );
    check(
        WorkloadKind::Rollout,
        &json!({ "status": { "observedGeneration": "2", "pauseConditions": [{ "reason": "CanaryPauseStep" }] } }),
        [3, 1, 2],
        true,
    );
}

#[test]
fn a_controller_that_gave_up() {
    let check = |kind, status: &Value, expected: Option<&str>| {
        let mut index = index();
        put_workload(&mut index, kind, &json!({ "status": status }));
        let reason = one(&index, kind).failed.map(|failed| failed.reason);
        assert_eq!(reason.as_deref(), expected, "{kind} {status}");
    };
    let condition = |type_: &str, status: &str, reason: &str| json!({ "conditions": [{ "type": type_, "status": status, "reason": reason, "lastTransitionTime": CREATED }] });
    let exceeded = condition("Progressing", "False", "ProgressDeadlineExceeded");
    check(WorkloadKind::Deployment, &exceeded, Some("ProgressDeadlineExceeded"));
    check(WorkloadKind::Deployment, &with(exceeded.clone(), &json!({ "observedGeneration": 1 })), None);
    check(WorkloadKind::Deployment, &condition("Progressing", "True", "ReplicaSetUpdated"), None);
    check(WorkloadKind::Deployment, &condition("Available", "False", "MinimumReplicasUnavailable"), None);
    check(WorkloadKind::StatefulSet, &exceeded, None);
    check(
        WorkloadKind::Job,
        &condition("Failed", "True", "BackoffLimitExceeded"),
        Some("BackoffLimitExceeded"),
    );
    let rollout = |over: Value| with(json!({ "observedGeneration": "2" }), &over);
    check(WorkloadKind::Rollout, &rollout(json!({ "phase": "Progressing" })), None);
    check(WorkloadKind::Rollout, &rollout(json!({ "phase": "Degraded" })), Some("Degraded"));
    check(WorkloadKind::Rollout, &rollout(json!({ "abort": true })), Some("RolloutAborted"));
    let aborted = with(condition("Progressing", "False", "RolloutAborted"), &json!({ "phase": "Degraded" }));
    check(WorkloadKind::Rollout, &rollout(aborted), Some("RolloutAborted"));
}

#[test]
fn few_pods_are_kept_the_oldest_first() {
    let mut index = index();
    deployment(&mut index);
    for n in 0..9 {
        let created =
            json!({ "metadata": { "creationTimestamp": format!("2026-11-20T10:00:{:02}Z", 30 - n) } });
        put_pod(&mut index, &format!("p{n}"), "rs2", &with(crashing(), &created));
    }
    let pods = troubled(&index, WorkloadKind::Deployment);
    assert_eq!(pods.len(), TROUBLED_PODS_MAX);
    assert_eq!(pods, ["p8", "p7", "p6", "p5", "p4"]);
}

#[test]
fn a_watch_that_is_not_whole_is_a_gap() {
    let mut index = Index::default();
    let gap = |index: &Index, kinds: &[WorkloadKind]| {
        let refs: Vec<_> = kinds.iter().copied().map(web).collect();
        index.facts(&refs, now()).gap.map(|gap| gap.to_string())
    };
    let starting = |what: &str| Some(format!("not watching {what}: the first list is not complete"));
    assert_eq!(gap(&index, &[]), None, "nothing to watch");
    assert_eq!(gap(&index, &[WorkloadKind::Deployment]), starting("deployments"));
    index.workload(WorkloadKind::Deployment, Watched::Complete);
    assert_eq!(gap(&index, &[WorkloadKind::Deployment]), starting("replicasets"));
    index.replica_set(Watched::Complete);
    index.pod(Watched::Complete);
    assert_eq!(gap(&index, &[WorkloadKind::Deployment]), None);
    assert_eq!(gap(&index, &[WorkloadKind::Deployment, WorkloadKind::Rollout]), starting("rollouts"));
    index.workload(WorkloadKind::Rollout, Watched::Absent);
    assert_eq!(gap(&index, &[WorkloadKind::Rollout]), None, "without the CRD there are none");

    index.take_touched();
    index.pod(Watched::Down("forbidden".into()));
    assert!(index.is_touched());
    assert_eq!(gap(&index, &[WorkloadKind::Deployment]), Some("not watching pods: forbidden".into()));
    index.pod(Watched::Complete);
    assert_eq!(gap(&index, &[WorkloadKind::Deployment]), None);
}

#[test]
fn what_a_new_list_does_not_name_is_gone() {
    let mut index = index();
    deployment(&mut index);
    put_pod(&mut index, "a", "rs2", &crashing());
    put_pod(&mut index, "b", "rs2", &crashing());
    index.pod(Watched::Listing);
    put_pod(&mut index, "b", "rs2", &crashing());
    index.pod(Watched::Complete);
    assert_eq!(troubled(&index, WorkloadKind::Deployment), ["b"]);
    index.pod(Watched::Gone(pod_object("b", "rs2", &crashing())));
    assert!(troubled(&index, WorkloadKind::Deployment).is_empty());
    // Well again: nothing of it is kept.
    put_pod(&mut index, "c", "rs2", &crashing());
    put_pod(&mut index, "c", "rs2", &json!({}));
    assert!(troubled(&index, WorkloadKind::Deployment).is_empty());
}

#[test]
fn only_changed_facts_are_told() {
    let shop = AppKey::new("argocd", "shop");
    let mut state = State { index: index(), ..State::default() };
    deployment(&mut state.index);
    let workloads = vec![web(WorkloadKind::Deployment)];
    assert!(state.follow(shop.clone(), workloads.clone(), true));
    assert!(!state.follow(shop.clone(), workloads.clone(), true), "the same again");
    assert_eq!(state.due(now()).len(), 1, "the first facts");
    assert!(state.due(now()).is_empty());

    put_pod(&mut state.index, "p", "rs2", &json!({}));
    assert!(!state.index.is_touched(), "a pod without trouble is no news");
    put_pod(&mut state.index, "p", "rs2", &crashing());
    assert!(state.index.is_touched());
    assert_eq!(state.due(now()).len(), 1);
    put_pod(&mut state.index, "old", "rs1", &crashing());
    assert!(state.due(now()).is_empty(), "a pod of an old template");

    assert!(state.follow(shop.clone(), workloads, false));
    let due = state.due(now());
    assert_eq!(due.first().and_then(|(_, facts)| facts.gap.clone()), Some(Gap::OtherCluster));
    state.followed.remove(&shop);
    put_pod(&mut state.index, "p2", "rs2", &crashing());
    assert!(state.due(now()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_watches_feed_the_followers() {
    let client = fake::client(|asked| {
        let deployment = json!({
            "metadata": with(meta("w", "web", ""), &json!({ "annotations": { "deployment.kubernetes.io/revision": "2" } })),
            "spec": { "replicas": 3 }, "status": { "observedGeneration": 2 },
        });
        let status = json!([{ "name": "app", "state": waiting("ErrImagePull") }]);
        let pod =
            json!({ "metadata": meta("p", "web-2-x", "rs2"), "status": { "containerStatuses": status } });
        let mut set = json!({ "metadata": meta("rs2", "web-2", "w"), "spec": { "replicas": 1 } });
        set["metadata"]["annotations"] = deployment["metadata"]["annotations"].clone();
        let items = match asked.path.as_str() {
            "/apis/apps/v1/deployments" => vec![deployment],
            "/apis/apps/v1/replicasets" => vec![set],
            "/api/v1/pods" => vec![pod],
            "/apis/apps/v1/statefulsets" | "/apis/apps/v1/daemonsets" | "/apis/batch/v1/jobs" => vec![],
            "/apis/argoproj.io/v1alpha1/rollouts" => return fake::refusal(404, "NotFound"),
            other => panic!("{other}"),
        };
        if asked.is_watch() { fake::Answer::Silence } else { fake::list(&items) }
    });
    let (tx, mut rx) = mpsc::channel(1);
    let rollouts = Rollouts::start(&client, tx);
    let shop = AppKey::new("argocd", "shop");
    rollouts.follow(shop.clone(), vec![web(WorkloadKind::Deployment)], true);
    let facts = loop {
        let (app, facts) = rx.recv().await.unwrap();
        assert_eq!(app, shop);
        if facts.gap.is_none() {
            break facts;
        }
    };
    assert_eq!(facts.workloads[0].troubled[0].kind, TroubleKind::ImagePull);
    rollouts.forget(&shop);
    drop(rollouts);
    assert!(rx.recv().await.is_none(), "the watches end with their owner");
}
