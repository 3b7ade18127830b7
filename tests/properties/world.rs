//! Plays moves against the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lastgood::engine::action::{
    Action, Delivery, MeasureOrder, Proposed, Refusal, RelateOrder, Relation, RevertOrder, RevertOutcome,
    RevertRecord, RevertedPart, Round, Standing, Touched, When,
};
use lastgood::engine::analysis::{App, Seen};
use lastgood::engine::decide::{Context, Step, step};
use lastgood::engine::entry::Entry;
use lastgood::engine::event::{Event, SloAnswer};
use lastgood::engine::facts::{
    AppKey, ApplicationFacts, Gap, HistoryEntry, Operation, PodTrouble, Rendering, Revision, Revisions,
    RolloutFacts, Source, SourceKind, WorkloadFacts, WorkloadFailure, WorkloadKind, WorkloadRef,
};
use lastgood::engine::forge::{
    ForgeRules, ProposalRules, ProposedPart, PullRequest, PullRequestState, WithdrawOrder,
};
use lastgood::engine::policy::{
    GitRules, Mode, Objective, Part, Policy, Prometheus, RevertRules, RollbackRules, RolloutRules, Rule, Slo,
    Strikes,
};
use lastgood::engine::template::Template;

use crate::moves::{Application, Move, Outcome, Rollout, What};

pub(crate) fn policy(dry_run: bool) -> Policy {
    let seconds = Duration::from_secs;
    let slo = |name: &str, failures, of| {
        let rule = Rule::Threshold { objective: Objective::Max(0.05), strikes: Strikes { failures, of } };
        Slo::new(name, Template::parse("up").unwrap(), rule)
    };
    Policy {
        name: "shop".into(),
        text: String::new(),
        mode: if dry_run { Mode::DryRun } else { Mode::Push },
        duration: seconds(10),
        interval: seconds(5),
        rollout: RolloutRules {
            image_pull_grace: seconds(10),
            crash_loop_grace: seconds(5),
            container_config_grace: seconds(0),
            unschedulable_grace: seconds(20),
            degraded_grace: seconds(5),
            restarts: 3,
            oom_kill: true,
        },
        sync_failed_attempts: 2,
        slos: vec![slo("errors", 2, 2)],
        guards: Vec::new(),
        warm_up: Duration::ZERO,
        baseline: seconds(600),
        false_rollback_rate: 0.001,
        variables: BTreeMap::new(),
        prometheus: Some(Prometheus::new("http://prometheus", seconds(5))),
        rollback: RollbackRules {
            push_timeout: seconds(100),
            live_timeout: seconds(100),
            recovery_timeout: seconds(60),
            terminate_stuck_sync: true,
            reverts_per_day: 4,
            others_degraded: 2,
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

pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) now: Timestamp,
    pub(crate) policy: Policy,
    pub(crate) journal: Vec<Entry>,
    key: AppKey,
    questions: Vec<MeasureOrder>,
    revert: Option<RevertOrder>,
    relate: Option<RelateOrder>,
    withdraw: Option<WithdrawOrder>,
    reverts: u8,
    others_degraded: u32,
}

fn revision(number: u8) -> Revision {
    Revision::new(format!("{number:02x}").repeat(20))
}

fn content(number: u8) -> String {
    format!("{:040x}", u32::from(number) + 7)
}

impl World {
    pub(crate) fn new(dry_run: bool) -> Self {
        Self {
            app: App::default(),
            now: Timestamp::from_second(1_750_000_000).unwrap(),
            policy: policy(dry_run),
            journal: Vec::new(),
            key: AppKey::new("argocd", "shop"),
            questions: Vec::new(),
            revert: None,
            relate: None,
            withdraw: None,
            reverts: 100,
            others_degraded: 0,
        }
    }

    /// The history so far, for a failure.
    pub(crate) fn told(&self) -> String {
        self.journal.iter().map(|entry| format!("{} {}\n", entry.at, entry.kind)).collect()
    }

    /// Lets the time before a move pass.
    pub(crate) fn pass(&mut self, one: &Move) {
        self.now += SignedDuration::from_secs(one.after);
    }

    /// Plays a move; false where it says nothing.
    pub(crate) fn play(&mut self, one: &Move) -> bool {
        self.pass(one);
        let Some(event) = self.event(one) else { return false };
        let step = self.step(event);
        self.take(step);
        true
    }

    pub(crate) fn step(&self, event: Event) -> Step {
        let (policy, now, others_degraded) = (&self.policy, self.now, self.others_degraded);
        let context = Context { policy, cluster: "test", now, others_degraded, parent: None };
        step(&self.key, self.app.clone(), event, &context)
    }

    pub(crate) fn take(&mut self, step: Step) {
        self.app = step.app;
        self.journal.extend(step.entries);
        for action in step.actions {
            match action {
                Action::Measure(order) => self.questions.insert(0, order),
                Action::Revert(order) => self.revert = Some(*order),
                Action::Relate(order) => self.relate = Some(order),
                Action::Withdraw(order) => self.withdraw = Some(*order),
                Action::Refresh { .. } | Action::Terminate { .. } => {}
            }
        }
    }

    /// The event that a move stands for; none where there is nothing to answer.
    pub(crate) fn event(&mut self, one: &Move) -> Option<Event> {
        Some(match &one.what {
            What::Application(facts) => Event::Application(Box::new(self.application(facts))),
            What::Rollout(facts) => Event::Rollout(self.rollout(facts)),
            What::Measured { question, reading } => {
                let nobodys = MeasureOrder {
                    round: Round { began_at: self.now, number: 1 },
                    when: When::Now,
                    queries: vec![],
                };
                let order = self.questions.get(*question).unwrap_or(&nobodys);
                let times = order.when.times(self.now);
                // An SLO that the policy no longer has may be answered too.
                let slos = order.queries.iter().map(|q| q.slo.as_str()).chain(["gone"]);
                let answers = slos.flat_map(|slo| {
                    times.iter().map(|at| SloAnswer {
                        slo: slo.to_owned(),
                        part: Part::Value,
                        series: std::collections::BTreeMap::new(),
                        at: *at,
                        reading: reading.clone(),
                    })
                });
                Event::Measured { round: order.round, answers: answers.collect() }
            }
            What::Reverted { asked, outcome } => {
                let order = self.revert.clone()?;
                let rollback = if *asked { order.rollback.clone() } else { "another".to_owned() };
                Event::Reverted { rollback, outcome: self.outcome(&order, *outcome) }
            }
            What::Withdrawn { asked, done } => {
                let order = self.withdraw.clone()?;
                let rollback = if *asked { order.rollback } else { "another".to_owned() };
                let closed =
                    |part: ProposedPart| PullRequest { state: PullRequestState::Closed, ..part.pull_request };
                let ended = order.parts.into_iter().map(closed).collect();
                let outcome = if *done { Ok(ended) } else { Err("the forge is down".to_owned()) };
                Event::Withdrawn { rollback, outcome }
            }
            What::Related { known: false, .. } => Event::Related(Err("git is down".into())),
            What::Related { asked, descends, content: number, same, .. } => {
                let order = self.relate.clone()?;
                let descendant = if *asked { order.descendant } else { revision(99) };
                let content = content(*number);
                let ancestor = order.ancestor;
                Event::Related(Ok(Relation {
                    ancestor,
                    descendant,
                    descends: *descends,
                    content,
                    same_content: *same,
                }))
            }
            What::Others(count) => {
                self.others_degraded = *count;
                Event::Tick
            }
            What::Restart => {
                self.app.seen = Seen::default();
                (self.questions, self.revert, self.relate) = (Vec::new(), None, None);
                self.withdraw = None;
                Event::Started
            }
            What::Started => Event::Started,
            What::Tick => Event::Tick,
        })
    }

    fn outcome(&mut self, order: &RevertOrder, outcome: Outcome) -> RevertOutcome {
        let long = "x".repeat(500);
        let (dry_run, proposes) =
            (order.mode == Delivery::DryRun, matches!(order.mode, Delivery::PullRequest { .. }));
        let part = &order.parts[0];
        let record = |revert: Revision| {
            // As long as they get: see the limits in `act::git`.
            let files = (0..100).map(|i| format!("apps/shop/some/folder/file-{i}.yaml")).collect();
            let part = RevertedPart {
                repo_url: part.repo_url.clone(),
                branch: "main".into(),
                sources: part.sources.clone(),
                definition: part.definition.clone(),
                bad: part.bad.clone(),
                revert,
                culprits: Vec::new(),
                files,
                quarantine: content(part.bad.as_str().bytes().next().unwrap_or_default() % 5),
                notes: Vec::new(),
                attempts: 1,
            };
            RevertRecord { parts: vec![part], touches: Vec::new() }
        };
        match outcome {
            // Git makes a new commit each time.
            Outcome::Pushed | Outcome::Already if dry_run => RevertOutcome::Planned(record(part.bad.clone())),
            Outcome::Pushed | Outcome::Already if !(proposes && matches!(outcome, Outcome::Pushed)) => {
                self.reverts += 1;
                let made = record(revision(self.reverts));
                if matches!(outcome, Outcome::Pushed) {
                    RevertOutcome::Pushed(made)
                } else {
                    RevertOutcome::AlreadyReverted(made)
                }
            }
            Outcome::Open | Outcome::Closed | Outcome::Pushed | Outcome::Already if proposes => {
                let record = record(revision(90));
                let state = match outcome {
                    Outcome::Closed => PullRequestState::Closed,
                    _ => PullRequestState::Open,
                };
                let made = &record.parts[0];
                let part = ProposedPart {
                    repo_url: made.repo_url.clone(),
                    base: made.branch.clone(),
                    branch: format!("lastgood/{}", order.rollback),
                    commit: made.revert.clone(),
                    pull_request: PullRequest {
                        number: 1,
                        url: format!("https://git.example.com/{}", order.rollback),
                        state,
                    },
                };
                RevertOutcome::Proposed(Box::new(Proposed { record, parts: vec![part], remarks: vec![long] }))
            }
            Outcome::Protected => {
                RevertOutcome::Refused(Refusal::Protected { branch: "main".into(), message: long })
            }
            Outcome::Open | Outcome::Closed | Outcome::Pushed | Outcome::Already => RevertOutcome::NotThere,
            Outcome::Conflict => RevertOutcome::Conflict { files: vec!["shop/app.yaml".into()] },
            Outcome::Refused => {
                RevertOutcome::Refused(Refusal::Declined { branch: "main".into(), message: long })
            }
            Outcome::Failed => RevertOutcome::Failed { error: long },
            Outcome::Shared => {
                let app = AppKey::new("argocd", "blog");
                let standing =
                    if self.reverts.is_multiple_of(2) { Standing::Undecided } else { Standing::Well };
                RevertOutcome::Shared { with: vec![Touched { app, standing }] }
            }
            Outcome::Newer => {
                let revision = revision(self.reverts % 5);
                RevertOutcome::Newer { revision, branch: "main".into() }
            }
            Outcome::Partly => {
                self.reverts += 1;
                let RevertRecord { parts, .. } = record(revision(self.reverts));
                RevertOutcome::Partly { done: parts, missing: vec!["https://x".into()], reason: long }
            }
        }
    }

    fn named(&self, number: u8) -> Revisions {
        revision(if number == 100 { self.reverts } else { number }).into()
    }

    fn ago(&self, seconds: i64) -> Timestamp {
        Timestamp::from_second(self.now.as_second() - seconds).unwrap()
    }

    fn application(&self, facts: &Application) -> ApplicationFacts {
        let git = Source {
            repo_url: "https://git.example.com/shop.git".into(),
            target_revision: "main".into(),
            kind: SourceKind::git(Rendering::plain("shop")),
        };
        let operation = facts.operation.as_ref().map(|operation| Operation {
            phase: operation.phase,
            revisions: Some(self.named(operation.revision)),
            started_at: self.ago(operation.started),
            finished_at: operation.finished.map(|ago| self.ago(ago)),
            retry_count: operation.retries,
            dry_run: operation.dry_run,
            partial: operation.started % 7 == 3,
            resource_failed: operation.started % 2 == 0,
            spec_digest: if operation.started % 3 == 0 { String::new() } else { facts.spec.to_string() },
            message: String::new(),
            initiated_by: "automated".into(),
        });
        let history = facts.history.iter().zip(0..).map(|(number, id)| HistoryEntry {
            id,
            revisions: self.named(*number),
            started_at: None,
            deployed_at: self.ago(300 - id),
            initiated_by: None,
            spec_digest: "0".into(),
        });
        ApplicationFacts {
            app: self.key.clone(),
            uid: "uid".into(),
            project: "default".into(),
            labels: BTreeMap::new(),
            sources: vec![git; if facts.several_sources { 2 } else { 1 }],
            spec_digest: facts.spec.to_string(),
            hydrated: false,
            destination_cluster: String::new(),
            destination_namespace: "shop".into(),
            in_cluster: true,
            auto_sync: true,
            operation_requested: facts.requested,
            operation,
            sync: facts.sync,
            compared: Some(self.named(facts.compared)),
            health: facts.health,
            reconciled_at: Some(self.ago(facts.reconciled)),
            history: history.collect(),
            workloads: Vec::new(),
            dry: None,
            parent: None,
            children: Vec::new(),
            resume: facts.resumes.then(|| self.app.state.hold.as_ref().map(|hold| hold.id.clone())).flatten(),
        }
    }

    fn rollout(&self, facts: &Rollout) -> RolloutFacts {
        let workload =
            WorkloadRef { kind: WorkloadKind::Deployment, namespace: "shop".into(), name: "shop".into() };
        let trouble = facts.trouble.map(|(kind, ago, restarts)| PodTrouble {
            pod: "shop-1".into(),
            created_at: self.ago(ago),
            container: None,
            kind,
            message: "m".repeat(300),
            restarts,
            ended_at: Some(self.ago(ago / 2)),
        });
        let failed = facts.gave_up.then(|| WorkloadFailure {
            reason: "ProgressDeadlineExceeded".into(),
            message: "m".repeat(300),
            since: Some(self.ago(5)),
        });
        RolloutFacts {
            at: self.now,
            workloads: vec![WorkloadFacts {
                workload,
                observed: true,
                desired: 1,
                updated: u32::from(facts.complete),
                available: u32::from(facts.complete),
                paused: false,
                failed,
                troubled: trouble.into_iter().collect(),
            }],
            gap: facts.gap.then(|| Gap::NotWatching("pods".into())),
        }
    }
}
