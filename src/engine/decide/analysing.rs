//! The watch over one sync, from its start to the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Turn, all_parts, newer_operation, next_round};
use crate::engine::action::{Action, RelateOrder, When};
use crate::engine::analysis::{Analysis, Bad, LastGood, OperationId, Phase, Sick};
use crate::engine::entry::{HoldEndedBy, Kind, LastGoodFrom};
use crate::engine::facts::{
    ApplicationFacts, HealthStatus, Operation, OperationPhase, Revisions, SourceKind,
};
use crate::engine::judge::guard::{self, Standing};
use crate::engine::judge::rollout::SickBefore;
use crate::engine::judge::slo::{Broken, Case, Past, SloJudgement};
use crate::engine::judge::sync::Attempts;
use crate::engine::judge::{Breach, Outcome, Signal, Verdict, health, rollout, slo, sync};
use crate::engine::policy::{Guard, Part, Rule, Slo};
use crate::engine::samples::Lines;
use crate::engine::time::{earlier, elapsed, later};

/// How long a sync operation may run before its analysis ends inconclusive; Argo CD itself sets no limit.
const OPERATION_MAX: Duration = Duration::from_secs(2 * 60 * 60);

/// What the signals say together at one moment.
#[derive(Default)]
struct Opinion {
    breaches: Vec<Breach>,
    broken: BTreeMap<String, Vec<Broken>>,
    open: Vec<String>,
    recheck_at: Option<Timestamp>,
    /// What would convict if the guards passed.
    suspended: Vec<Breach>,
    /// Why it does not.
    guards: Vec<String>,
}

/// What the guards say of the environment, as far as one kind of signal is concerned.
#[derive(Default)]
struct Environment {
    /// Why what this signal shows convicts nobody now; nothing where it may.
    suspends: Vec<String>,
    /// Since when the environment is well again, if it was not at some time.
    calm_since: Option<Timestamp>,
}

impl Environment {
    fn of<'g>(guards: impl Iterator<Item = &'g Guard>, analysis: &Analysis) -> Self {
        let mut environment = Self::default();
        for guard in guards {
            match guard::judge(guard, analysis.after.get(&guard.asks.name)) {
                Standing::Passes(since) => environment.calm_since = environment.calm_since.max(since),
                Standing::Suspends(why) => environment.suspends.push(why),
            }
        }
        environment
    }
}

impl Turn<'_> {
    /// Begins the analysis of the newest operation if it was not dealt with; `unjudged` is the one that it cuts off.
    pub(super) fn begin_analysis_if_newer(&mut self, unjudged: Option<Analysis>) -> bool {
        let Some(application) = &self.app.seen.application else { return false };
        let Some(operation) = newer_operation(application, &self.app) else { return false };
        let Some(revisions) = operation.revisions.clone() else { return false };
        let (now, began_at) = (self.context.now, operation.started_at);
        let sick_before = self.app.state.sick.take().map(|sick| sick.what);
        let fresh = (began_at, sick_before, self.app.state.sync_failed, BTreeMap::new());
        if unjudged.is_none() {
            self.app.seen.past.clear();
        }
        let (baseline_at, sick_before, sync_failed_before, before) = unjudged
            .map_or(fresh, |old| (old.baseline_at, old.sick_before, old.sync_failed_before, old.before));
        let analysis = Analysis {
            revisions: revisions.clone(),
            spec_digest: applied_spec(operation, application),
            began_at,
            seen_at: now,
            baseline_at,
            sick_before,
            sync_failed_before,
            attempts: Attempts::default(),
            degraded_since: None,
            before,
            after: BTreeMap::new(),
            round: 0,
            // At once there is nothing to measure: the sync has only begun.
            next_round_at: later(now, self.context.policy.interval),
            recheck_at: None,
            suspended: false,
        };
        self.app.state.operation = Some(OperationId::of(operation, &revisions));
        let last_good = self.app.state.last_good.as_ref().map(|good| good.revisions.clone());
        self.prepare(&revisions, last_good.as_ref());
        self.ask_before(&analysis, last_good.as_ref());
        self.app.state.phase = Phase::Analysing(Box::new(analysis));
        self.record(Kind::AnalysisBegan { revisions, last_good });
        true
    }

    pub(super) fn advance_analysing(&mut self) -> bool {
        let Phase::Analysing(analysis) = &self.app.state.phase else { return false };
        let Some(application) = &self.app.seen.application else { return self.nobody_looks() };
        if let Some(by) = newer_operation(application, &self.app).and_then(|o| o.revisions.clone()) {
            let unjudged = Analysis::clone(analysis);
            self.record(Kind::AnalysisSuperseded { revisions: unjudged.revisions.clone(), by });
            return self.begin_analysis_if_newer(Some(unjudged));
        }
        // Taken out instead of copied, since it may hold thousands of samples; put back if it goes on.
        let Phase::Analysing(mut analysis) = std::mem::take(&mut self.app.state.phase) else { return false };
        self.look(&mut analysis);
        let opinion = self.opinion(&analysis);
        self.tell_of_suspension(&mut analysis, &opinion);
        if !opinion.breaches.is_empty() {
            return self.end_degraded(&analysis, opinion.breaches, opinion.broken);
        }
        let (until, limit) = self.ends(&analysis);
        let now = self.context.now;
        if opinion.open.is_empty() && now >= until {
            return self.end_healthy(*analysis);
        }
        if now >= limit {
            return self.end_inconclusive(&analysis, opinion.open);
        }
        analysis.recheck_at = opinion.recheck_at.filter(|at| *at > now);
        if now >= analysis.next_round_at {
            self.ask(&mut analysis);
        }
        self.app.state.phase = Phase::Analysing(analysis);
        false
    }

    /// After a start, until the watch is up, nobody looks, so this time does not count.
    fn nobody_looks(&mut self) -> bool {
        let (interval, now) = (self.context.policy.interval, self.context.now);
        if let Phase::Analysing(analysis) = &mut self.app.state.phase {
            if now >= analysis.next_round_at {
                analysis.seen_at = now;
                analysis.next_round_at = next_round(analysis.next_round_at, interval, now);
            }
            analysis.recheck_at = None;
        }
        false
    }

    /// From when the analysis may end healthy, and when it ends at the latest.
    ///
    /// What is not clear at its end gets as long again: a slow rollout, an outage of Prometheus.
    fn ends(&self, analysis: &Analysis) -> (Timestamp, Timestamp) {
        let duration = self.context.policy.duration;
        let operation = self.app.seen.application.as_ref().and_then(|a| a.operation.as_ref());
        let finished = self.synced_at(analysis);
        let running = operation.is_some_and(|o| o.phase == OperationPhase::Running);
        match finished {
            Some(finished) => {
                let from = finished.max(analysis.seen_at);
                (later(from, duration), later(from, duration.saturating_mul(2)))
            }
            None if running => (Timestamp::MAX, later(analysis.seen_at, OPERATION_MAX)),
            None => (Timestamp::MAX, later(analysis.seen_at, duration.saturating_mul(2))),
        }
    }

    /// Says once that guards stand between what the signals show and a verdict.
    fn tell_of_suspension(&mut self, analysis: &mut Analysis, opinion: &Opinion) {
        let suspended = !opinion.suspended.is_empty();
        if suspended && !analysis.suspended {
            self.record(Kind::Suspended {
                revisions: analysis.revisions.clone(),
                guards: opinion.guards.clone(),
                breaches: opinion.suspended.clone(),
            });
        }
        analysis.suspended = suspended;
    }

    fn opinion(&self, analysis: &Analysis) -> Opinion {
        let policy = self.context.policy;
        let mut opinion = Opinion::default();
        let Some(application) = &self.app.seen.application else { return opinion };
        let environment = Environment::of(policy.guards.iter(), analysis);
        let of_rollout = Environment::of(policy.guards.iter().filter(|g| g.suspends_rollout), analysis);

        let operation = application.operation.as_ref();
        let sync =
            sync::judge(operation, &analysis.revisions, analysis.attempts, policy.sync_failed_attempts);
        match sync.outcome {
            Outcome::Pass => {}
            Outcome::Fail if !analysis.sync_failed_before => {
                // The end of a failed operation is a failed attempt that is not waited after.
                let failing = analysis.attempts.failed.max(1);
                let needed = policy.sync_failed_attempts.min(failing);
                opinion.breaches.push(Breach {
                    signal: Signal::Sync,
                    why: sync.why,
                    failing,
                    needed,
                    passing_before: 1,
                });
            }
            Outcome::Fail => opinion.open.push(format!("{}, as the sync before", sync.why)),
            Outcome::Inconclusive => opinion.open.push(sync.why),
        }

        let case = rollout::Case {
            rules: &policy.rollout,
            application,
            rollout: self.app.seen.rollout.as_ref(),
            began_at: analysis.began_at,
            before: analysis.sick_before.as_ref(),
            degraded_since: analysis.degraded_since,
            calm_since: of_rollout.calm_since,
        };
        let (judgement, breach) = rollout::judge(&case, self.context.now);
        opinion.recheck_at = judgement.recheck_at;
        match breach {
            Some(breach) if !of_rollout.suspends.is_empty() => opinion.suspended.push(breach),
            Some(breach) => opinion.breaches.push(breach),
            None if judgement.outcome == Outcome::Pass => {}
            None => opinion.open.push(judgement.why),
        }

        let mut waits = false;
        for slo in &policy.slos {
            match self.slo(slo, analysis, environment.calm_since) {
                SloJudgement::Convicts(breach, _) if !environment.suspends.is_empty() => {
                    opinion.suspended.push(breach);
                }
                SloJudgement::Convicts(breach, broken) => {
                    opinion.breaches.push(breach);
                    opinion.broken.insert(slo.name.clone(), broken);
                }
                SloJudgement::Passes => {}
                SloJudgement::Open(why) => {
                    opinion.open.push(why);
                    waits = true;
                }
            }
        }
        if let Some(since) = environment.calm_since.filter(|_| waits && environment.suspends.is_empty()) {
            opinion
                .open
                .push(format!("the guards pass since {since} only, and what was before does not count"));
        }
        // First of all what stands in the way of the rest.
        opinion.open.splice(0..0, environment.suspends.iter().cloned());
        let meanwhile = |breach: &Breach| format!("without that it would be degraded: {breach}");
        opinion.open.extend(opinion.suspended.iter().map(meanwhile));
        opinion.guards = environment.suspends;
        opinion
    }

    fn slo(&self, slo: &Slo, analysis: &Analysis, calm_since: Option<Timestamp>) -> SloJudgement {
        static NONE: Lines = Lines::none();
        let policy = self.context.policy;
        let warm_at = match policy.warm_up {
            Duration::ZERO => Timestamp::MIN,
            warm_up => later(analysis.began_at, warm_up.saturating_add(slo.looks_back)),
        };
        let warm_at = calm_since.map_or(warm_at, |calm| warm_at.max(later(calm, slo.looks_back)));
        slo::judge(&Case {
            slo,
            before: analysis.before.get(&slo.name).unwrap_or(&NONE),
            after: analysis.after.get(&slo.name).unwrap_or(&NONE),
            past: self.app.seen.past.get(&slo.name),
            synced_at: self.synced_at(analysis),
            warm_at,
            level: slo::level(policy),
        })
    }

    /// When the sync had succeeded, as far as it was watched since.
    fn synced_at(&self, analysis: &Analysis) -> Option<Timestamp> {
        let operation = self.app.seen.application.as_ref().and_then(|a| a.operation.as_ref());
        let done = operation.filter(|o| {
            o.revisions.as_ref() == Some(&analysis.revisions) && o.phase == OperationPhase::Succeeded
        });
        done.and_then(|o| o.finished_at)
    }

    /// Remembers what passes by: retries, terminations, and since when Argo CD says Degraded.
    fn look(&self, analysis: &mut Analysis) {
        let Some(application) = &self.app.seen.application else { return };
        if let Some(operation) =
            application.operation.as_ref().filter(|o| o.revisions.as_ref() == Some(&analysis.revisions))
        {
            analysis.attempts.note(operation);
        }
        match health::trusted(application) {
            Ok(HealthStatus::Degraded) => {
                analysis.degraded_since = analysis.degraded_since.or(Some(self.context.now));
            }
            Ok(_) => analysis.degraded_since = None,
            Err(_) => {}
        }
    }

    /// Has Git fetched before it is urgent: the first copy of a large repository takes minutes.
    fn prepare(&mut self, bad: &Revisions, good: Option<&Revisions>) {
        let (Some(application), Some(good)) = (self.app.seen.application.clone(), good) else { return };
        if application.sources.len() != bad.len() || good.len() != bad.len() {
            return;
        }
        for (source, (good, bad)) in application.sources.iter().zip(good.iter().zip(bad.iter())) {
            let SourceKind::Git { rendering } = &source.kind else { continue };
            if good == bad || !good.is_commit() || !bad.is_commit() {
                continue;
            }
            // The answer is of no interest.
            self.actions.push(Action::Relate(RelateOrder {
                repo_url: source.repo_url.clone(),
                project: application.project.clone(),
                target_revision: source.target_revision.clone(),
                renderings: vec![rendering.as_ref().clone()],
                hydrated: None,
                ancestor: good.clone(),
                descendant: bad.clone(),
            }));
        }
    }

    /// Asks for the time before the sync, where it is not known (any more): it had the revision before.
    fn ask_before(&mut self, analysis: &Analysis, last_good: Option<&Revisions>) {
        let policy = self.context.policy;
        let revisions = last_good.unwrap_or(&analysis.revisions);
        let unknown = |slo: &&Slo| {
            slo.rule.tests() == 0 && analysis.before.get(&slo.name).is_none_or(Lines::worth_asking_again)
        };
        let before = self.queries(all_parts(policy.slos.iter().filter(unknown)), revisions);
        let round = analysis.round(0);
        let mut statistical: Vec<(When, Vec<(&Slo, Part)>)> = Vec::new();
        for slo in &policy.slos {
            let past = self.app.seen.past.get(&slo.name);
            for (when, part) in Past::unknown(past, slo, policy, analysis.baseline_at) {
                match statistical.iter_mut().find(|(other, _)| *other == when) {
                    Some((_, parts)) => parts.push((slo, part)),
                    None => statistical.push((when, vec![(slo, part)])),
                }
            }
        }
        let strikes = policy.slos.iter().filter_map(|slo| match &slo.rule {
            Rule::Threshold { strikes, .. } | Rule::Boolean { strikes, .. } => Some(strikes.of),
            Rule::Comparison(_) | Rule::BurnRate(_) => None,
        });
        let most = strikes.max().unwrap_or_default();
        let (to, step) = (analysis.baseline_at, policy.interval);
        let from = earlier(to, step.saturating_mul(most.saturating_sub(1)));
        self.measure(round, When::Range { from, to, step }, before);
        for (when, parts) in statistical {
            let queries = self.queries(parts.into_iter(), revisions);
            self.measure(round, when, queries);
        }
    }

    /// Sends the round that is due.
    fn ask(&mut self, analysis: &mut Analysis) {
        let last_good = self.app.state.last_good.as_ref().map(|good| good.revisions.clone());
        self.ask_before(analysis, last_good.as_ref());
        let policy = self.context.policy;
        analysis.round = analysis.round.saturating_add(1);
        analysis.next_round_at = next_round(analysis.next_round_at, policy.interval, self.context.now);
        let now = self.queries(all_parts(policy.asked()), &analysis.revisions);
        self.measure(analysis.round(analysis.round), When::Now, now);
    }

    fn end_healthy(&mut self, analysis: Analysis) -> bool {
        let took = elapsed(analysis.began_at, self.context.now);
        let (revisions, from) = (analysis.revisions, LastGoodFrom::Analysis);
        let application = self.app.seen.application.as_ref();
        let tracked = application.map(|a| a.tracked(&analysis.spec_digest)).unwrap_or_default();
        let dry_digest = application.and_then(|a| a.dry_digest());
        self.record(Kind::AnalysisEnded { revisions: revisions.clone(), verdict: Verdict::Healthy, took });
        self.app.state.last_good = Some(LastGood {
            revisions: revisions.clone(),
            spec_digest: analysis.spec_digest,
            dry_digest,
            tracked,
            synced_at: Some(analysis.began_at),
            at: self.context.now,
            from,
        });
        self.record(Kind::LastGood { revisions: revisions.clone(), from });
        self.end_hold(HoldEndedBy::HealthyAnalysis);
        self.app.state.phase = Phase::Idle { current: revisions };
        true
    }

    fn end_inconclusive(&mut self, analysis: &Analysis, open: Vec<String>) -> bool {
        let took = elapsed(analysis.began_at, self.context.now);
        let revisions = analysis.revisions.clone();
        self.record(Kind::AnalysisEnded {
            revisions: revisions.clone(),
            verdict: Verdict::Inconclusive(open),
            took,
        });
        // Nothing is better known than before; what is seen now is added when the step ends.
        let what = analysis.sick_before.clone();
        self.app.state.sick = what.map(|what| Sick { what, since: self.context.now });
        let operation = self.app.seen.application.as_ref().and_then(|a| a.operation.as_ref());
        let applied = operation.is_some_and(|o| {
            o.revisions.as_ref() == Some(&revisions) && o.phase == OperationPhase::Succeeded
        });
        // What was not applied is judged when it is synced again.
        let good = self.app.state.last_good.as_ref().map(|good| good.revisions.clone());
        let current = if applied { revisions } else { good.unwrap_or(revisions) };
        self.app.state.phase = Phase::Idle { current };
        true
    }

    pub(super) fn end_degraded(
        &mut self,
        analysis: &Analysis,
        breaches: Vec<Breach>,
        broken: BTreeMap<String, Vec<Broken>>,
    ) -> bool {
        let took = elapsed(analysis.began_at, self.context.now);
        let verdict = Verdict::Degraded(breaches.clone());
        self.record(Kind::AnalysisEnded { revisions: analysis.revisions.clone(), verdict, took });
        let bad = Bad {
            revisions: analysis.revisions.clone(),
            spec_digest: analysis.spec_digest.clone(),
            synced_at: analysis.began_at,
            degraded_at: self.context.now,
            breaches,
            broken,
        };
        // What is sick now is the state before the next sync.
        if let (Some(application), Some(rollout)) = (&self.app.seen.application, &self.app.seen.rollout) {
            let degraded = application.health == HealthStatus::Degraded;
            let rules = &self.context.policy.rollout;
            let what = SickBefore::of(application, rollout, rules, None, Some(degraded));
            self.app.state.sick = what.map(|what| Sick { what, since: self.context.now });
        }
        self.begin_rollback(bad);
        true
    }
}

/// The specification that an operation applies, else the Application's own.
fn applied_spec(operation: &Operation, application: &ApplicationFacts) -> String {
    let digest =
        if operation.spec_digest.is_empty() { &application.spec_digest } else { &operation.spec_digest };
    digest.clone()
}
