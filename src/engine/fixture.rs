//! What the tables of several files begin with.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::facts::{
    AppKey, ApplicationFacts, HealthStatus, Operation, OperationPhase, Rendering, Revision, Revisions,
    Source, SourceKind, SyncStatus,
};
use super::forge::{ForgeRules, ProposalRules};
use super::policy::{GitRules, Mode, Policy, RevertRules, RollbackRules, RolloutRules};

/// The time `second` of every table.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A commit id of one digit, again and again.
pub(crate) fn commit(digit: char) -> Revision {
    Revision::new(digit.to_string().repeat(40))
}

/// A Synced and Healthy Application that follows the folder `shop`, long after its last sync.
pub(crate) fn application() -> ApplicationFacts {
    ApplicationFacts {
        app: AppKey::new("argocd", "shop"),
        uid: "uid".into(),
        project: "default".into(),
        labels: BTreeMap::new(),
        sources: vec![Source {
            repo_url: "https://git.example.com/shop.git".into(),
            target_revision: "main".into(),
            kind: SourceKind::git(Rendering::plain("shop")),
        }],
        spec_digest: "spec".into(),
        hydrated: false,
        destination_cluster: String::new(),
        destination_namespace: "shop".into(),
        in_cluster: true,
        auto_sync: true,
        operation_requested: false,
        operation: None,
        sync: SyncStatus::Synced,
        compared: Some(commit('b').into()),
        health: HealthStatus::Healthy,
        reconciled_at: Some(at(0)),
        history: Vec::new(),
        workloads: Vec::new(),
        dry: None,
        parent: None,
        children: Vec::new(),
        resume: None,
    }
}

/// An operation that started at second 100.
pub(crate) fn operation(phase: OperationPhase, finished: Option<i64>) -> Operation {
    Operation {
        phase,
        revisions: Some(Revisions::from(commit('b'))),
        started_at: at(100),
        finished_at: finished.map(at),
        retry_count: 0,
        dry_run: false,
        partial: false,
        resource_failed: phase == OperationPhase::Failed,
        spec_digest: "spec".into(),
        message: String::new(),
        initiated_by: "automated".into(),
    }
}

/// A policy without SLOs.
pub(crate) fn policy() -> Policy {
    let seconds = Duration::from_secs;
    Policy {
        name: "shop".into(),
        text: String::new(),
        mode: Mode::Push,
        duration: seconds(60),
        interval: seconds(10),
        rollout: RolloutRules {
            image_pull_grace: seconds(20),
            crash_loop_grace: seconds(10),
            container_config_grace: seconds(30),
            unschedulable_grace: seconds(40),
            degraded_grace: seconds(4),
            restarts: 3,
            oom_kill: true,
        },
        sync_failed_attempts: 2,
        slos: Vec::new(),
        guards: Vec::new(),
        warm_up: Duration::ZERO,
        baseline: seconds(600),
        false_rollback_rate: 0.001,
        variables: BTreeMap::new(),
        prometheus: None,
        rollback: RollbackRules {
            push_timeout: seconds(60),
            live_timeout: seconds(60),
            recovery_timeout: seconds(60),
            terminate_stuck_sync: true,
            reverts_per_day: 2,
            others_degraded: 3,
            revert: RevertRules::default(),
            proposals: ProposalRules::default(),
        },
        git: GitRules {
            secret: None,
            forge: ForgeRules::default(),
            author_name: "lastgood".into(),
            author_email: "lastgood@test".into(),
            signing_secret: None,
        },
    }
}
