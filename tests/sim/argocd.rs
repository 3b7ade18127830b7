//! Argo CD and the cluster: what is synced, what is live, and how it does.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use lastgood::engine::facts::{
    AppKey, ApplicationFacts, HealthStatus, HistoryEntry, Operation, OperationPhase, PodTrouble, Rendering,
    RolloutFacts, Source, SourceKind, SyncStatus, TroubleKind, WorkloadFacts, WorkloadKind, WorkloadRef,
};

use crate::repo::{Behaviour, Content, Repo};
use crate::rng::Rng;

/// Argo CD's times have whole seconds.
fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap()
}

pub struct ArgoCd {
    operation: Option<Operation>,
    ends_at: Timestamp,
    history: Vec<HistoryEntry>,
    compared: usize,
    sync: SyncStatus,
    health: HealthStatus,
    reconciled_at: Timestamp,
    next_look_at: Timestamp,
    next_health_at: Timestamp,
    pub live: Content,
    live_since: Timestamp,
    failed: Option<usize>,
    past: Vec<(Timestamp, Content)>,
    /// Counts what a watch would bring.
    pub changes: u64,
}

impl ArgoCd {
    pub fn new(now: Timestamp, content: Content) -> Self {
        let entry = HistoryEntry {
            id: 0,
            revisions: Repo::revision(0).into(),
            started_at: None,
            deployed_at: second(now),
            initiated_by: None,
            spec_digest: "spec".into(),
        };
        Self {
            operation: None,
            ends_at: now,
            history: vec![entry],
            compared: 0,
            sync: SyncStatus::Synced,
            health: HealthStatus::Healthy,
            reconciled_at: second(now),
            next_look_at: now,
            next_health_at: now,
            live: content,
            live_since: now - SignedDuration::from_secs(3600),
            failed: None,
            past: vec![(now - SignedDuration::from_secs(3600), content)],
            changes: 1,
        }
    }

    /// What was live then.
    pub fn live_at(&self, at: Timestamp) -> Content {
        self.past.iter().rev().find(|(since, _)| *since <= at).map_or(self.live, |(_, content)| *content)
    }

    fn running(&self) -> bool {
        self.operation.as_ref().is_some_and(|o| o.phase == OperationPhase::Running)
    }

    /// Asked to look now.
    pub fn refresh(&mut self, now: Timestamp) {
        self.next_look_at = now;
    }

    pub fn terminate(&mut self, started_at: Timestamp, now: Timestamp) {
        if let Some(operation) = self.operation.as_mut().filter(|o| o.started_at == started_at)
            && operation.phase == OperationPhase::Running
        {
            operation.phase = OperationPhase::Failed;
            operation.message = "Operation terminated".into();
            operation.finished_at = Some(second(now));
            self.next_look_at = now;
            self.changes += 1;
        }
    }

    pub fn step(&mut self, now: Timestamp, repo: &Repo, rng: &mut Rng) {
        if self.running() {
            if now >= self.ends_at {
                self.changes += 1;
                self.end_operation(now, repo, rng);
            } else if now == self.live_since + SignedDuration::from_secs(3) {
                self.changes += 1;
            }
            return;
        }
        if now >= self.next_look_at {
            self.changes += 1;
            self.look(now, repo, rng);
        }
        if now >= self.next_health_at {
            // Health is written by another loop than operations: for a while it is the previous revision's.
            self.next_health_at = now + SignedDuration::from_secs(2 + i64::try_from(rng.below(12)).unwrap());
            self.changes += 1;
            let crashing = self.live.behaviour == Behaviour::Crashes;
            self.health = if crashing { HealthStatus::Progressing } else { HealthStatus::Healthy };
            self.reconciled_at = second(now);
        }
    }

    fn look(&mut self, now: Timestamp, repo: &Repo, rng: &mut Rng) {
        self.next_look_at = now + SignedDuration::from_secs(20 + i64::try_from(rng.below(60)).unwrap());
        let tip = repo.tip();
        let content = repo.commits[tip].content;
        self.compared = tip;
        self.reconciled_at = second(now);
        if content == self.live {
            self.sync = SyncStatus::Synced;
            return;
        }
        self.sync = SyncStatus::OutOfSync;
        if self.failed == Some(tip) {
            return;
        }
        self.operation = Some(Operation {
            phase: OperationPhase::Running,
            revisions: Some(Repo::revision(tip).into()),
            started_at: second(now),
            finished_at: None,
            retry_count: 0,
            dry_run: false,
            partial: false,
            resource_failed: false,
            spec_digest: "spec".into(),
            message: String::new(),
            initiated_by: "automated".into(),
        });
        // A bad wave can keep an operation running for very long.
        let stuck = content.behaviour == Behaviour::Crashes && rng.once_in(3);
        let seconds = if stuck { 600 } else { 1 + i64::try_from(rng.below(4)).unwrap() };
        self.ends_at = now + SignedDuration::from_secs(seconds);
        if content.behaviour != Behaviour::FailsToSync {
            (self.live, self.live_since) = (content, second(now));
            self.past.push((self.live_since, content));
        }
    }

    fn end_operation(&mut self, now: Timestamp, repo: &Repo, rng: &mut Rng) {
        let Some(operation) = self.operation.as_mut() else { return };
        let revisions = operation.revisions.clone().unwrap();
        let index = Repo::index(revisions.single().unwrap());
        operation.finished_at = Some(second(now));
        if repo.commits[index].content.behaviour == Behaviour::FailsToSync {
            operation.resource_failed = true;
            if operation.retry_count < 2 && rng.once_in(2) {
                // As Argo CD does: counted up when it begins to wait.
                operation.retry_count += 1;
                self.ends_at = now + SignedDuration::from_secs(5);
                return;
            }
            operation.phase = OperationPhase::Failed;
            operation.message = "one or more objects failed to apply".into();
            self.failed = Some(index);
            return;
        }
        operation.phase = OperationPhase::Succeeded;
        let id = i64::try_from(self.history.len()).unwrap();
        self.history.push(HistoryEntry {
            id,
            revisions,
            started_at: None,
            deployed_at: second(now),
            initiated_by: None,
            spec_digest: "spec".into(),
        });
        if self.history.len() > 10 {
            self.history.remove(0);
        }
        self.sync = SyncStatus::Synced;
    }

    pub fn application(&self, app: &AppKey) -> ApplicationFacts {
        ApplicationFacts {
            app: app.clone(),
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
            operation_requested: self.running(),
            operation: self.operation.clone(),
            sync: self.sync,
            compared: Some(Repo::revision(self.compared).into()),
            health: self.health,
            reconciled_at: Some(self.reconciled_at),
            history: self.history.clone(),
            workloads: Vec::new(),
            dry: None,
            parent: None,
            children: Vec::new(),
            resume: None,
        }
    }

    pub fn rollout(&self, now: Timestamp) -> RolloutFacts {
        let crashing =
            self.live.behaviour == Behaviour::Crashes && now > self.live_since + SignedDuration::from_secs(2);
        let trouble = PodTrouble {
            pod: format!("shop-{}", self.live.id),
            created_at: self.live_since,
            container: Some("shop".into()),
            kind: TroubleKind::CrashLoop,
            message: String::new(),
            restarts: 2,
            ended_at: None,
        };
        RolloutFacts {
            at: now,
            workloads: vec![WorkloadFacts {
                workload: WorkloadRef {
                    kind: WorkloadKind::Deployment,
                    namespace: "shop".into(),
                    name: "shop".into(),
                },
                observed: true,
                desired: 1,
                updated: 1,
                available: u32::from(!crashing),
                paused: false,
                failed: None,
                troubled: if crashing { vec![trouble] } else { Vec::new() },
            }],
            gap: None,
        }
    }
}
