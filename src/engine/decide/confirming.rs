//! From a revert on the branch to a recovered application, or a hold.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Turn, all_parts, newer_operation, next_round};
use crate::engine::action::{Action, RelateOrder, Relation, RevertOrder, When};
use crate::engine::analysis::{
    Bad, Confirming, LastGood, OperationId, Pair, Phase, Recovering, Stage, live_deadline,
};
use crate::engine::entry::{Kind, LastGoodFrom, LiveBy, Timings, Why};
use crate::engine::facts::{
    ApplicationFacts, Operation, OperationPhase, Revision, Revisions, SourceKind, SyncStatus,
};
use crate::engine::judge::rollout::SickBefore;
use crate::engine::judge::{Outcome, Signal, health, rollout, slo};
use crate::engine::time::{elapsed, later};

/// How often Argo CD is asked to look at Git until the revert is live; its own period is two to three minutes.
const REFRESH_EVERY: Duration = Duration::from_secs(15);

/// Passing measurements in a row that end the watch over a failed SLO.
const RECOVERY_PASSES: usize = 2;

/// What Argo CD has made live, and how that is known.
///
/// Two ways, since a bad commit that was never applied makes its revert equal to the cluster: then there is no
/// operation and no history entry.
fn live(application: &ApplicationFacts) -> Option<(&Revisions, LiveBy)> {
    let operation = application.operation.as_ref().filter(|o| !o.dry_run);
    let applied = operation
        .filter(|o| o.phase == OperationPhase::Succeeded)
        .and_then(|o| o.revisions.as_ref())
        .or_else(|| application.history.last().map(|h| &h.revisions));
    let compared = application
        .compared
        .as_ref()
        .filter(|_| application.sync == SyncStatus::Synced && health::trusted(application).is_ok());
    match (applied, compared) {
        (Some(applied), Some(compared)) if applied == compared => Some((applied, LiveBy::Operation)),
        (_, Some(compared)) => Some((compared, LiveBy::Comparison)),
        (Some(applied), None) => Some((applied, LiveBy::Operation)),
        (None, None) => None,
    }
}

/// Questions on their way, and answers.
struct Asked {
    asked: Vec<Pair>,
    known: Vec<Relation>,
}

/// How what is live is related to the revert.
#[derive(Default)]
struct Landing {
    /// None while some source has not got it, or while that is not known.
    end: Option<End>,
    /// What would tell more.
    questions: Vec<RelateOrder>,
}

enum End {
    /// It is live, and nothing else with it.
    Landed,
    /// It is live, and newer changes with it.
    Superseded,
    /// What was rolled back is live again, on top of it.
    Returned(Revision),
}

/// Where the application's definition was undone: what follows from its specification alone, if anything does.
///
/// It changes twice: the parent's sync writes the specification, and then the application's own sync applies it.
fn landing_of_specification(
    confirming: &Confirming,
    application: &ApplicationFacts,
    good: &LastGood,
) -> Option<Landing> {
    if application.spec_digest == confirming.bad.spec_digest {
        return Some(Landing::default());
    }
    let operation = application.operation.as_ref().filter(|o| o.is_whole());
    let operation = operation.filter(|o| o.phase == OperationPhase::Succeeded);
    let applied = operation.is_some_and(|o| o.spec_digest == application.spec_digest);
    let newest = application.history.last().is_some_and(|h| h.spec_digest == application.spec_digest);
    if application.spec_digest != good.spec_digest {
        // Somebody specified something else: that is judged by itself, once it is live.
        let end = (applied || newest).then_some(End::Superseded);
        return Some(Landing { end, ..Landing::default() });
    }
    if applied {
        return None;
    }
    // Nothing of bad was ever applied, so that there is nothing to sync.
    let settled = application.sync == SyncStatus::Synced && health::trusted(application).is_ok();
    (!newest || !settled).then(Landing::default)
}

/// Looks at the live revision of each source: the revert where something was undone, else what it was.
///
/// Where the definition was undone, a source may be at what it was at last good as well: it may be pinned there again.
fn landing(
    confirming: &Confirming,
    application: &ApplicationFacts,
    live: &Revisions,
    known: &[Relation],
    good: Option<&LastGood>,
) -> Landing {
    let good = good.filter(|_| confirming.order.definition().is_some());
    if let Some(open) = good.and_then(|good| landing_of_specification(confirming, application, good)) {
        return open;
    }
    let before = good.filter(|good| good.revisions.len() == live.len());
    let before = |i: usize| before.and_then(|good| good.revisions.iter().nth(i));
    let expected = confirming.reverted();
    let mut landing = Landing::default();
    if live.len() != expected.len() {
        // Sources were added or taken away: whatever this is, it is judged by itself.
        return Landing { end: Some(End::Superseded), ..landing };
    }
    if application.sources.len() != expected.len() {
        return landing;
    }
    let (mut waits, mut newer, mut returned) = (false, false, None);
    let sources = application.sources.iter().zip(expected.iter().zip(live.iter()));
    for (i, (source, (expected, live))) in sources.enumerate() {
        let undone = confirming.record.parts.iter().find(|part| part.sources.contains(&i));
        if live == expected || before(i) == Some(live) {
            continue;
        }
        if undone.is_some_and(|part| part.bad == *live) {
            waits = true;
            continue;
        }
        let relation = known.iter().find(|r| r.ancestor == *expected && r.descendant == *live);
        match (relation, &source.kind) {
            (Some(r), _) if r.descends && undone.is_some_and(|part| part.quarantine == r.content) => {
                returned = Some(live.clone());
            }
            (Some(r), _) if r.same_content && r.descends => {}
            (Some(r), _) if r.descends || undone.is_none() => newer = true,
            (None, SourceKind::Git { rendering }) if expected.is_commit() && live.is_commit() => {
                waits = true;
                let part = confirming.order.parts.iter().find(|part| part.sources.contains(&i));
                let own = || vec![rendering.as_ref().clone()];
                landing.questions.push(RelateOrder {
                    repo_url: part.map_or(&source.repo_url, |part| &part.repo_url).clone(),
                    project: part.map_or(&application.project, |_| &confirming.order.project).clone(),
                    target_revision: part
                        .map_or(&source.target_revision, |part| &part.target_revision)
                        .clone(),
                    renderings: part.map_or_else(own, |part| part.renderings.clone()),
                    hydrated: part.and_then(|part| part.hydrated.clone()),
                    ancestor: expected.clone(),
                    descendant: live.clone(),
                });
            }
            // A chart of another version.
            (None, _) if undone.is_none() => newer = true,
            (Some(_) | None, _) => waits = true,
        }
    }
    landing.end = match returned {
        Some(content) => Some(End::Returned(content)),
        None if waits => None,
        None if newer => Some(End::Superseded),
        None => Some(End::Landed),
    };
    landing
}

impl Turn<'_> {
    pub(super) fn advance_confirming(&mut self) -> bool {
        let Phase::Confirming(confirming) = &self.app.state.phase else { return false };
        let confirming = (**confirming).clone();
        match confirming.stage.clone() {
            Stage::Landing { since, next_refresh_at, asked, known } => {
                self.land(confirming, since, next_refresh_at, Asked { asked, known })
            }
            Stage::Recovering(recovering) => self.recover(confirming, recovering),
        }
    }

    fn land(
        &mut self,
        mut confirming: Confirming,
        since: Timestamp,
        mut next_refresh_at: Timestamp,
        Asked { mut asked, mut known }: Asked,
    ) -> bool {
        let (now, policy) = (self.context.now, self.context.policy);
        let refresh = now >= next_refresh_at;
        if refresh {
            next_refresh_at = later(now, REFRESH_EVERY);
            // An answer that got lost is asked for again.
            asked.clear();
        }
        let found = self.app.seen.application.clone();
        let found = found.as_deref().and_then(|a| live(a).map(|(r, how)| (a, r, how)));
        if let Some((application, live, how)) = found {
            known.retain(|relation| live.iter().any(|live| *live == relation.descendant));
            let good = self.app.state.last_good.as_ref();
            let landing = landing(&confirming, application, live, &known, good);
            match landing.end {
                Some(End::Landed) => return self.landed(confirming, live.clone(), how),
                Some(End::Superseded) => return self.superseded(&confirming, live.clone(), how),
                Some(End::Returned(content)) => return self.returned(&confirming, live.clone(), content),
                None => {}
            }
            for order in landing.questions {
                let pair = Pair { ancestor: order.ancestor.clone(), descendant: order.descendant.clone() };
                if !asked.contains(&pair) {
                    asked.push(pair);
                    self.actions.push(Action::Relate(order));
                }
            }
        }
        if now >= live_deadline(since, policy) {
            let (reverts, after) = (confirming.record.reverts().cloned().collect(), elapsed(since, now));
            let auto_sync = self.app.seen.application.as_ref().is_none_or(|a| a.auto_sync);
            self.hold(&confirming.bad.revisions, Why::NotLive { reverts, after, auto_sync });
            self.app.state.phase = Phase::Idle { current: confirming.bad.revisions };
            return true;
        }
        if refresh {
            self.terminate_stuck(&confirming.bad);
            self.refresh(&confirming.order);
        }
        confirming.stage = Stage::Landing { since, next_refresh_at, asked, known };
        self.app.state.phase = Phase::Confirming(Box::new(confirming));
        false
    }

    /// Has Argo CD look at Git: also for the application whose files define this one, where those were changed.
    pub(super) fn refresh(&mut self, order: &RevertOrder) {
        if let Some(definition) = order.definition() {
            self.actions.push(Action::Refresh { app: definition.parent.clone() });
        }
        self.actions.push(Action::Refresh { app: self.key.clone() });
    }

    /// While an operation of the bad revision runs, Argo CD starts none for what should come after it.
    pub(super) fn terminate_stuck(&mut self, bad: &Bad) {
        let operation = self.app.seen.application.as_ref().and_then(|a| a.operation.as_ref());
        // Where only the specification changed, last good's operation is of the same revisions.
        let is_bad = |o: &&Operation| {
            let same_spec = o.spec_digest.is_empty() || o.spec_digest == bad.spec_digest;
            o.phase == OperationPhase::Running && o.revisions.as_ref() == Some(&bad.revisions) && same_spec
        };
        let Some(operation) = operation.filter(is_bad) else { return };
        if self.context.policy.rollback.terminate_stuck_sync {
            self.actions.push(Action::Terminate { started_at: operation.started_at });
            self.record(Kind::SyncTerminated { revisions: bad.revisions.clone() });
        }
    }

    pub(super) fn related(&mut self, relation: Result<Relation, String>) {
        let Phase::Confirming(confirming) = &mut self.app.state.phase else { return };
        let Stage::Landing { asked, known, .. } = &mut confirming.stage else { return };
        // What is not known is asked for again with the next refresh.
        let Ok(relation) = relation else { return };
        let is_answer =
            |pair: &Pair| pair.ancestor == relation.ancestor && pair.descendant == relation.descendant;
        if asked.iter().any(is_answer) && !known.contains(&relation) {
            known.push(relation);
        }
    }

    fn returned(&mut self, confirming: &Confirming, live: Revisions, content: Revision) -> bool {
        self.hold(&confirming.bad.revisions, Why::ContentReturned { live: content });
        self.settle(confirming, live);
        true
    }

    /// `live` is what runs; an operation that brought it, the revert or the bad revision is dealt with, a newer one
    /// is not.
    fn settle(&mut self, confirming: &Confirming, live: Revisions) {
        let revert = confirming.reverted();
        if let Some(operation) = self.app.seen.application.as_ref().and_then(|a| a.operation.as_ref())
            && let Some(revisions) = operation.revisions.clone()
            && (revisions == live || revisions == revert || revisions == confirming.bad.revisions)
        {
            self.app.state.operation = Some(OperationId::of(operation, &revisions));
        }
        self.app.state.phase = Phase::Idle { current: live };
    }

    fn landed(&mut self, mut confirming: Confirming, live: Revisions, how: LiveBy) -> bool {
        let now = self.context.now;
        let took = elapsed(confirming.pushed_at, now);
        self.settle(&confirming, live.clone());
        // Live without a failure, be it that no sync was needed.
        self.app.state.sync_failed = false;
        self.record(Kind::RevertLive { live: live.clone(), how, took });
        let recovering = Recovering {
            live,
            live_at: now,
            since: now,
            after: BTreeMap::new(),
            round: 0,
            next_round_at: now,
        };
        confirming.stage = Stage::Recovering(recovering);
        self.app.state.phase = Phase::Confirming(Box::new(confirming));
        true
    }

    /// What is live holds the revert and newer changes on top of it: those are judged by an analysis of their own.
    fn superseded(&mut self, confirming: &Confirming, live: Revisions, how: LiveBy) -> bool {
        let took = elapsed(confirming.pushed_at, self.context.now);
        self.app.state.sync_failed = false;
        self.record(Kind::RevertLive { live, how, took });
        self.app.state.phase = Phase::Idle { current: confirming.reverted() };
        true
    }

    fn recover(&mut self, mut confirming: Confirming, mut recovering: Recovering) -> bool {
        let (now, policy) = (self.context.now, self.context.policy);
        let Some(application) = &self.app.seen.application else {
            // After a start, until the watch is up: nobody looks, so this time does not count.
            if now >= recovering.next_round_at.min(recovering.deadline(policy)) {
                recovering.since = now;
                recovering.next_round_at = next_round(recovering.next_round_at, policy.interval, now);
                confirming.stage = Stage::Recovering(recovering);
                self.app.state.phase = Phase::Confirming(Box::new(confirming));
            }
            return false;
        };
        if let Some(by) = newer_operation(application, &self.app).and_then(|o| o.revisions.clone()) {
            self.record(Kind::AnalysisSuperseded { revisions: recovering.live, by });
            return self.begin_analysis_if_newer(None);
        }
        let still = self.still_failing(&confirming, &recovering);
        if still.is_empty() {
            return self.recovered(&confirming, &recovering);
        }
        if now >= recovering.deadline(policy) {
            let after = elapsed(recovering.since, now);
            self.hold(
                &confirming.bad.revisions,
                Why::DidNotHelp { live: recovering.live.clone(), after, still },
            );
            self.app.state.phase = Phase::Idle { current: recovering.live };
            return true;
        }
        if now >= recovering.next_round_at {
            recovering.round = recovering.round.saturating_add(1);
            recovering.next_round_at = next_round(recovering.next_round_at, policy.interval, now);
            let failed = policy.slos.iter().filter(|slo| failed_before(&confirming, &slo.name));
            let queries = self.queries(all_parts(failed), &recovering.live);
            self.measure(recovering.round(recovering.round), When::Now, queries);
        }
        confirming.stage = Stage::Recovering(recovering);
        self.app.state.phase = Phase::Confirming(Box::new(confirming));
        false
    }

    /// What does not pass yet, one sentence each.
    fn still_failing(&self, confirming: &Confirming, recovering: &Recovering) -> Vec<String> {
        let mut still = Vec::new();
        let Some(application) = &self.app.seen.application else { return vec!["not seen".to_owned()] };
        let before = SickBefore::default();
        let case = rollout::Case {
            rules: &self.context.policy.rollout,
            application,
            rollout: self.app.seen.rollout.as_ref(),
            began_at: recovering.live_at,
            before: Some(&before),
            degraded_since: None,
            calm_since: None,
        };
        let (judgement, breach) = rollout::judge(&case, self.context.now);
        // A rollout that was not what failed may be as it always was: paused, or never complete.
        let rollout_failed = confirming.bad.breaches.iter().any(|b| !matches!(b.signal, Signal::Slo(_)));
        if breach.is_some() || (rollout_failed && judgement.outcome != Outcome::Pass) {
            still.push(judgement.why);
        }
        for slo in self.context.policy.slos.iter().filter(|slo| failed_before(confirming, &slo.name)) {
            let broken = confirming.bad.broken.get(&slo.name).map(Vec::as_slice).unwrap_or_default();
            if let Err(why) = slo::passes_again(slo, broken, recovering.after.get(&slo.name), RECOVERY_PASSES)
            {
                still.push(why);
            }
        }
        still
    }

    fn recovered(&mut self, confirming: &Confirming, recovering: &Recovering) -> bool {
        let now = self.context.now;
        let live = recovering.live.clone();
        let bad = &confirming.bad;
        let timings = Timings {
            detected: elapsed(bad.synced_at, bad.degraded_at),
            pushed: elapsed(bad.degraded_at, confirming.pushed_at),
            live: elapsed(confirming.pushed_at, recovering.live_at),
            recovered: elapsed(recovering.live_at, now),
        };
        self.record(Kind::Recovered { live: live.clone(), timings });
        let from = LastGoodFrom::Recovery;
        let good = self.app.state.last_good.as_ref().filter(|_| confirming.order.definition().is_some());
        let spec_digest = good.map_or(&bad.spec_digest, |good| &good.spec_digest).clone();
        let application = self.app.seen.application.as_ref();
        let tracked = application.map(|a| a.tracked(&spec_digest)).unwrap_or_default();
        let dry_digest = application.and_then(|a| a.dry_digest());
        let revisions = live.clone();
        let synced_at = application.and_then(|a| a.synced_at());
        let good = LastGood { revisions, spec_digest, dry_digest, tracked, synced_at, at: now, from };
        self.app.state.last_good = Some(good);
        self.record(Kind::LastGood { revisions: live.clone(), from });
        // Also where the revert needed no operation: the failed one is undone.
        self.app.state.sync_failed = false;
        self.app.state.phase = Phase::Idle { current: live };
        true
    }
}

fn failed_before(confirming: &Confirming, slo: &str) -> bool {
    confirming.bad.breaches.iter().any(|b| matches!(&b.signal, Signal::Slo(name) if name == slo))
}
