//! The first look at an application: may what runs now be called last good?

use std::time::Duration;

use super::{Turn, all_parts, newer_operation};
use crate::engine::action::{Round, When};
use crate::engine::analysis::{Adopting, LastGood, OperationId, Phase};
use crate::engine::entry::{Kind, LastGoodFrom};
use crate::engine::event::SloAnswer;
use crate::engine::facts::{HealthStatus, OperationPhase, Reading, SyncStatus};
use crate::engine::judge::slo::passes_at_first_sight;
use crate::engine::judge::{Outcome, health, rollout};
use crate::engine::policy::Slo;
use crate::engine::time::later;

/// The longest pause between two looks at an application whose signals do not pass.
const PAUSE_MAX: Duration = Duration::from_secs(10 * 60);

/// The SLOs that pass in these answers.
pub(super) fn passed(slos: &[Slo], answers: &[SloAnswer]) -> Vec<String> {
    let passes = |slo: &&Slo| {
        let own: Vec<_> = answers.iter().filter(|answer| answer.slo == slo.name).collect();
        // Of several series one without a value says nothing; alone it would say that nothing is known.
        let silent = |a: &&&SloAnswer| !a.series.is_empty() && matches!(a.reading, Reading::Gap(_));
        let mut said = own.iter().filter(|answer| !silent(answer)).peekable();
        said.peek().is_some() && said.all(|answer| passes_at_first_sight(slo, answer))
    };
    slos.iter().filter(passes).map(|slo| slo.name.clone()).collect()
}

impl Turn<'_> {
    /// An application without a state: watch the sync that is under way, or look at what runs.
    pub(super) fn first_sight(&mut self) -> bool {
        let Some(application) = &self.app.seen.application else { return false };
        let running = application.operation.as_ref().filter(|o| {
            o.is_whole() && matches!(o.phase, OperationPhase::Running | OperationPhase::Terminating)
        });
        let newest = application.history.last();
        if let Some(operation) = running
            && operation.revisions.as_ref() != newest.map(|h| &h.revisions)
        {
            return self.begin_analysis_if_newer(None);
        }
        let Some(newest) = newest else { return false };
        let revisions = newest.revisions.clone();
        // A newer operation that had ended before we came is not ours to judge.
        if let Some(operation) = &application.operation
            && let Some(revisions) = &operation.revisions
        {
            self.app.state.operation = Some(OperationId::of(operation, revisions));
        }
        let now = self.context.now;
        self.app.state.phase = Phase::Adopting(Adopting {
            revisions,
            began_at: now,
            round: 0,
            next_round_at: now,
            passed: Vec::new(),
        });
        true
    }

    pub(super) fn advance_adopting(&mut self) -> bool {
        let Phase::Adopting(adopting) = &self.app.state.phase else { return false };
        let mut adopting = adopting.clone();
        if self.app.seen.application.as_ref().is_some_and(|a| newer_operation(a, &self.app).is_some()) {
            return self.begin_analysis_if_newer(None);
        }
        let newest = self.app.seen.application.as_ref().and_then(|a| a.history.last());
        if let Some(newest) = newest.filter(|newest| newest.revisions != adopting.revisions) {
            // What runs changed without an operation of its own to be judged.
            adopting.revisions = newest.revisions.clone();
            adopting.passed.clear();
            adopting.next_round_at = self.context.now;
            self.app.state.phase = Phase::Adopting(adopting);
            return true;
        }
        let eligible = self.eligible(&adopting);
        if eligible && self.context.policy.slos.iter().all(|slo| adopting.passed.contains(&slo.name)) {
            return self.adopt(&adopting);
        }
        if self.context.now >= adopting.next_round_at {
            self.look_again(adopting, eligible);
        }
        false
    }

    /// Whether what runs is Synced, Healthy and complete, by Argo CD and by the workloads.
    fn eligible(&self, adopting: &Adopting) -> bool {
        let Some(application) = &self.app.seen.application else { return false };
        let Some(newest) = application.history.last().filter(|h| h.revisions == adopting.revisions) else {
            return false;
        };
        let case = rollout::Case {
            rules: &self.context.policy.rollout,
            application,
            rollout: self.app.seen.rollout.as_ref(),
            began_at: newest.deployed_at,
            before: None,
            degraded_since: None,
            calm_since: None,
        };
        application.sync == SyncStatus::Synced
            // History that names no source says nothing about a changed one.
            && (newest.spec_digest.is_empty() || newest.spec_digest == application.spec_digest)
            && health::trusted(application) == Ok(HealthStatus::Healthy)
            && rollout::judge(&case, self.context.now).0.outcome == Outcome::Pass
    }

    fn adopt(&mut self, adopting: &Adopting) -> bool {
        let Some(application) = &self.app.seen.application else { return false };
        let (revisions, from) = (adopting.revisions.clone(), LastGoodFrom::FirstSight);
        self.app.state.last_good = Some(LastGood {
            revisions: revisions.clone(),
            spec_digest: application.spec_digest.clone(),
            dry_digest: application.dry_digest(),
            tracked: application.tracked(&application.spec_digest),
            synced_at: application.synced_at(),
            at: self.context.now,
            from,
        });
        self.app.state.phase = Phase::Idle { current: revisions.clone() };
        self.record(Kind::LastGood { revisions, from });
        true
    }

    fn look_again(&mut self, mut adopting: Adopting, eligible: bool) {
        if self.app.seen.application.is_none() {
            // After a start, until the watch is up: this was no look, so the pause does not grow.
            adopting.next_round_at = later(self.context.now, self.context.policy.interval);
            self.app.state.phase = Phase::Adopting(adopting);
            return;
        }
        adopting.round = adopting.round.saturating_add(1);
        adopting.passed.clear();
        // Pauses double, so that an application without data costs next to nothing.
        let pause = self.context.policy.interval.saturating_mul(1 << adopting.round.min(10)).min(PAUSE_MAX);
        adopting.next_round_at = later(self.context.now, pause);
        if eligible {
            let queries = self.queries(all_parts(self.context.policy.slos.iter()), &adopting.revisions);
            self.measure(Round { began_at: adopting.began_at, number: adopting.round }, When::Now, queries);
        }
        self.app.state.phase = Phase::Adopting(adopting);
    }
}
