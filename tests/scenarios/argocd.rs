//! The Application and its one Deployment, as the watches would bring them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lastgood::engine::facts::{
    AppKey, ApplicationFacts, HealthStatus, HistoryEntry, Operation, OperationPhase, PodTrouble, Rendering,
    Revisions, RolloutFacts, Source, SourceKind, SyncStatus, TroubleKind, WorkloadFacts, WorkloadFailure,
    WorkloadKind, WorkloadRef,
};

/// Kubernetes' times have whole seconds.
pub fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap()
}

pub fn health(word: &str) -> Result<HealthStatus, String> {
    match word {
        "Healthy" => Ok(HealthStatus::Healthy),
        "Suspended" => Ok(HealthStatus::Suspended),
        "Progressing" => Ok(HealthStatus::Progressing),
        "Missing" => Ok(HealthStatus::Missing),
        "Degraded" => Ok(HealthStatus::Degraded),
        "Unknown" => Ok(HealthStatus::Unknown),
        _ => Err(format!("`{word}` is no health of Argo CD's")),
    }
}

pub fn git_source() -> Source {
    Source {
        repo_url: "https://git.example.com/shop.git".into(),
        target_revision: "main".into(),
        kind: SourceKind::git(Rendering::plain("shop")),
    }
}

pub fn values_source() -> Source {
    Source { repo_url: "https://git.example.com/values.git".into(), ..git_source() }
}

pub fn chart_source() -> Source {
    Source {
        repo_url: "https://charts.example.com".into(),
        target_revision: "*".into(),
        kind: SourceKind::Chart { chart: "shop".into() },
    }
}

/// An Application that was synced to `revisions` long ago and is healthy.
pub fn synced(app: &AppKey, revisions: Revisions, at: Timestamp) -> ApplicationFacts {
    ApplicationFacts {
        app: app.clone(),
        uid: "uid".into(),
        project: "default".into(),
        labels: BTreeMap::new(),
        sources: vec![git_source()],
        spec_digest: "spec".into(),
        hydrated: false,
        destination_cluster: String::new(),
        destination_namespace: "shop".into(),
        in_cluster: true,
        auto_sync: true,
        operation_requested: false,
        operation: None,
        sync: SyncStatus::Synced,
        compared: Some(revisions.clone()),
        health: HealthStatus::Healthy,
        reconciled_at: Some(second(at)),
        history: vec![HistoryEntry {
            id: 0,
            revisions,
            started_at: None,
            deployed_at: second(at),
            initiated_by: None,
            spec_digest: "spec".into(),
        }],
        workloads: Vec::new(),
        dry: None,
        parent: None,
        children: Vec::new(),
        resume: None,
    }
}

/// Its source follows another branch or version; with none the one that it followed at first.
pub fn follow(application: &mut ApplicationFacts, target: &str) {
    let before = if application.sources[0].repo_url.contains("charts") { "*" } else { "main" };
    let (target, digest) =
        if target.is_empty() { (before, "spec".to_owned()) } else { (target, format!("spec of {target}")) };
    target.clone_into(&mut application.sources[0].target_revision);
    application.spec_digest = digest;
}

/// An operation starts.
pub fn start(application: &mut ApplicationFacts, revisions: Revisions, now: Timestamp) {
    application.operation_requested = true;
    application.compared = Some(revisions.clone());
    application.sync = SyncStatus::OutOfSync;
    application.operation = Some(Operation {
        phase: OperationPhase::Running,
        revisions: Some(revisions),
        started_at: second(now),
        finished_at: None,
        retry_count: 0,
        dry_run: false,
        partial: false,
        resource_failed: false,
        spec_digest: application.spec_digest.clone(),
        message: String::new(),
        initiated_by: "automated".into(),
    });
}

/// The operation of these revisions, which must be the newest.
pub fn operation<'a>(
    application: &'a mut ApplicationFacts,
    revisions: &Revisions,
) -> Result<&'a mut Operation, String> {
    let operation = application.operation.as_mut().filter(|o| o.revisions.as_ref() == Some(revisions));
    operation.ok_or_else(|| "that sync has not started".to_owned())
}

/// The operation ends.
pub fn end(
    application: &mut ApplicationFacts,
    revisions: &Revisions,
    phase: OperationPhase,
    message: &str,
    now: Timestamp,
) -> Result<(), String> {
    let operation = operation(application, revisions)?;
    (operation.phase, operation.finished_at) = (phase, Some(second(now)));
    operation.resource_failed = phase == OperationPhase::Failed;
    message.clone_into(&mut operation.message);
    let dry_run = operation.dry_run;
    application.operation_requested = false;
    if phase == OperationPhase::Succeeded && !dry_run {
        application.sync = SyncStatus::Synced;
        let id = i64::try_from(application.history.len()).unwrap();
        let (revisions, spec_digest) = (revisions.clone(), application.spec_digest.clone());
        application.history.push(HistoryEntry {
            id,
            revisions,
            started_at: None,
            deployed_at: second(now),
            initiated_by: None,
            spec_digest,
        });
    }
    Ok(())
}

/// The Deployment with all pods running.
pub fn running(at: Timestamp) -> RolloutFacts {
    let workload =
        WorkloadRef { kind: WorkloadKind::Deployment, namespace: "shop".into(), name: "shop".into() };
    let deployment = WorkloadFacts {
        workload,
        observed: true,
        desired: 1,
        updated: 1,
        available: 1,
        paused: false,
        failed: None,
        troubled: Vec::new(),
    };
    RolloutFacts { at, workloads: vec![deployment], gap: None }
}

/// The Deployment whose newest pod is in trouble.
pub fn troubled(
    at: Timestamp,
    pod: &str,
    created_at: Timestamp,
    kind: TroubleKind,
    restarts: u32,
) -> RolloutFacts {
    let mut facts = running(at);
    let deployment = &mut facts.workloads[0];
    deployment.available = u32::from(kind == TroubleKind::Restarted);
    deployment.troubled.push(PodTrouble {
        pod: pod.to_owned(),
        created_at,
        container: Some("shop".into()),
        kind,
        message: String::new(),
        restarts,
        ended_at: Some(at),
    });
    facts
}

/// The Deployment whose controller gave up.
pub fn given_up(at: Timestamp) -> RolloutFacts {
    let mut facts = running(at);
    let deployment = &mut facts.workloads[0];
    deployment.available = 0;
    deployment.failed = Some(WorkloadFailure {
        reason: "ProgressDeadlineExceeded".into(),
        message: "ReplicaSet has timed out progressing.".into(),
        since: Some(second(at)),
    });
    facts
}

/// The Deployment between two templates.
pub fn rolling(at: Timestamp) -> RolloutFacts {
    let mut facts = running(at);
    facts.workloads[0].updated = 0;
    facts
}
