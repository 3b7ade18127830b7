//! From a degraded verdict to a revert on the branch, or a hold.

use std::time::Duration;

use super::{REVERT_ANSWER_MAX, Turn, newer_operation};
use crate::engine::action::{
    Action, Delivery, Refusal, RevertOrder, RevertOutcome, RevertPart, RevertRecord, RevertedPart, Standing,
    Touched,
};
use crate::engine::analysis::{
    AppState, Bad, Confirming, PAST_REVERTS_MAX, PastPart, PastRevert, Phase, Reverting, Stage, Waiting,
};
use crate::engine::entry::{Abandoned, Kind, WaitsFor, Why};
use crate::engine::facts::{Revision, SyncStatus};
use crate::engine::forge::SIDE_BRANCHES;
use crate::engine::guards;
use crate::engine::judge::health;
use crate::engine::policy::{Mode, SharedFiles};
use crate::engine::time::{elapsed, later};

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often it is asked whether what a revert waits for has come.
const ASK_EVERY: Duration = Duration::from_secs(15);

impl Turn<'_> {
    /// Runs the guards, then intends the revert or holds.
    pub(super) fn begin_rollback(&mut self, bad: Bad) {
        self.app.state.phase = Phase::Idle { current: bad.revisions.clone() };
        if let Some(hold) = &self.app.state.hold {
            let id = hold.id.clone();
            return self.record(Kind::Refrained { id });
        }
        let Some(application) = self.app.seen.application.clone() else { return };
        let parts = match guards::check(&self.app.state, &application, &bad, self.context) {
            Err(why) => return self.hold(&bad.revisions, why),
            Ok(parts) => parts,
        };
        let of_parent = self.context.parent.filter(|_| parts.iter().any(|part| part.definition.is_some()));
        let project = of_parent.map_or(&application.project, |parent| &parent.project);
        let short = |part: &RevertPart| part.bad.as_str().get(..12).unwrap_or(part.bad.as_str()).to_owned();
        let order = RevertOrder {
            rollback: format!("{}@{}", self.key, parts.iter().map(short).collect::<Vec<_>>().join("+")),
            app: self.key.clone(),
            cluster: self.context.cluster.to_owned(),
            project: project.clone(),
            parts,
            evidence: bad.breaches.iter().map(ToString::to_string).collect(),
            quarantine: quarantined(&self.app.state),
            rules: self.context.policy.rollback.revert.clone(),
            mode: match self.context.policy.mode {
                Mode::Push => Delivery::Push,
                Mode::PullRequest => Delivery::PullRequest { complete: false },
                Mode::DryRun => Delivery::DryRun,
            },
            only_look: false,
            record: None,
        };
        self.record(Kind::RevertIntended {
            order: order.clone(),
            breaches: bad.breaches.clone(),
            others_degraded: self.context.others_degraded,
        });
        let now = self.context.now;
        let reverting = Reverting { bad, order, attempts: 0, since: now, retry_at: now, waiting: None };
        self.app.state.phase = Phase::Reverting(Box::new(reverting));
    }

    pub(super) fn advance_reverting(&mut self) -> bool {
        let now = self.context.now;
        let abandoned = self.abandoned();
        let unseen = self.app.seen.application.is_none();
        let Phase::Reverting(reverting) = &mut self.app.state.phase else { return false };
        // What is waited for has come.
        let come = abandoned.is_some() && reverting.waiting.is_some();
        if now < reverting.retry_at && !come {
            return false;
        }
        if unseen {
            // After a start, until the watch is up: whether the intent still holds is not known yet.
            reverting.retry_at = later(now, PAUSE_MAX);
            return false;
        }
        if let Some(why) = self.waited_too_long().filter(|_| !come) {
            return self.give_up_waiting(why);
        }
        let no_fix = self.no_fix();
        let Phase::Reverting(reverting) = &mut self.app.state.phase else { return false };
        if let Some((of, revision)) = no_fix
            && let Some(part) = reverting.order.parts.get_mut(of)
        {
            part.no_fix = Some(revision);
        }
        let after = elapsed(reverting.since, now);
        if reverting.attempts > 0
            && !reverting.waits_for_merge()
            && after >= self.context.policy.rollback.push_timeout
        {
            let reverting = (**reverting).clone();
            self.give_up(reverting, Why::PushFailed { error: "no answer".to_owned(), after });
            return true;
        }
        reverting.attempts = reverting.attempts.saturating_add(1);
        reverting.retry_at = later(now, REVERT_ANSWER_MAX);
        let mut order = reverting.order.clone();
        // An intent may have grown old in a crash or while Git was away; what is on the branch already still counts.
        order.only_look = abandoned.is_some();
        if order.only_look {
            reverting.waiting = None;
        }
        let (bad, newer) = (reverting.bad.clone(), reverting.waits_for_newer());
        self.actions.push(Action::Revert(Box::new(order)));
        if newer {
            self.call_newer(&bad);
        }
        false
    }

    /// Why the intent no longer holds, if so.
    fn abandoned(&self) -> Option<Abandoned> {
        let Phase::Reverting(reverting) = &self.app.state.phase else { return None };
        if self.context.policy.mode == Mode::DryRun && reverting.order.mode != Delivery::DryRun {
            return Some(Abandoned::DryRun);
        }
        let application = self.app.seen.application.as_ref()?;
        let by = newer_operation(application, &self.app)?.revisions.clone()?;
        Some(Abandoned::Newer { by })
    }

    pub(super) fn reverted(&mut self, rollback: &str, outcome: RevertOutcome) {
        let Phase::Reverting(reverting) = &self.app.state.phase else { return };
        if reverting.order.rollback != rollback {
            return;
        }
        let reverting = (**reverting).clone();
        match outcome {
            RevertOutcome::Pushed(record) => self.on_branch(reverting, record, false),
            RevertOutcome::AlreadyReverted(record) => self.on_branch(reverting, record, true),
            RevertOutcome::Planned(record) => {
                self.record(Kind::RevertPlanned { record });
                self.app.state.phase = Phase::Idle { current: reverting.bad.revisions };
            }
            RevertOutcome::Proposed(proposed) => self.proposed(reverting, *proposed),
            RevertOutcome::NotThere => match self.abandoned() {
                Some(because) => {
                    self.record(Kind::RevertAbandoned { rollback: rollback.to_owned(), because });
                    self.app.state.phase = Phase::Idle { current: reverting.bad.revisions };
                }
                None => self.ask_now(),
            },
            RevertOutcome::Shared { with } => self.shared(reverting, with),
            RevertOutcome::Newer { revision, branch } => {
                self.wait(reverting, WaitsFor::Newer { revision, branch });
            }
            RevertOutcome::Partly { done, missing, reason } => self.partly(reverting, &done, missing, reason),
            RevertOutcome::Conflict { files } => self.give_up(reverting, Why::Conflict { files }),
            RevertOutcome::Refused(refusal @ Refusal::Protected { .. })
                if reverting.order.mode == Delivery::Push
                    && self.context.policy.rollback.proposals.if_protected =>
            {
                self.propose_instead(reverting, refusal.to_string());
            }
            // An answer from before the pull request took the place of the push.
            RevertOutcome::Refused(Refusal::Protected { branch, .. })
                if reverting.order.mode != Delivery::Push && !branch.starts_with(SIDE_BRANCHES) => {}
            RevertOutcome::Refused(refusal) => self.give_up(reverting, Why::Refused { refusal }),
            RevertOutcome::Failed { error } => self.try_again(reverting, error),
        }
    }

    /// Others are rendered from the same files: a verdict that is still to come may allow it.
    fn shared(&mut self, reverting: Reverting, with: Vec<Touched>) {
        let may_be_proposed = reverting.order.rules.shared_files == SharedFiles::PullRequest;
        if may_be_proposed && matches!(reverting.order.mode, Delivery::PullRequest { .. }) {
            // An answer from before the pull request took the place of the push.
            return;
        }
        if with.iter().any(|other| other.standing == Standing::Well) {
            if may_be_proposed {
                let others: Vec<_> = with.iter().map(ToString::to_string).collect();
                let because =
                    format!("other applications are rendered from the same files: {}", others.join(", "));
                return self.propose_instead(reverting, because);
            }
            return self.give_up(reverting, Why::SharedFiles { with });
        }
        self.wait(reverting, WaitsFor::Verdicts { of: with });
    }

    fn wait(&mut self, mut reverting: Reverting, what: WaitsFor) {
        let now = self.context.now;
        let since = match &reverting.waiting {
            // Another newer commit, or another verdict: it is waited as long for all of them.
            Some(waiting) if std::mem::discriminant(&waiting.what) == std::mem::discriminant(&what) => {
                waiting.since
            }
            Some(_) | None => now,
        };
        let news = reverting.waiting.as_ref().is_none_or(|waiting| waiting.what != what);
        if news {
            let rollback = reverting.order.rollback.clone();
            self.record(Kind::RevertWaits { rollback, what: what.clone() });
        }
        reverting.waiting = Some(Waiting { what, since });
        // Git answered; what is tried after the wait has its time from then on.
        (reverting.attempts, reverting.since) = (0, now);
        reverting.retry_at = later(now, ASK_EVERY);
        let (bad, newer) = (reverting.bad.clone(), reverting.waits_for_newer());
        self.app.state.phase = Phase::Reverting(Box::new(reverting));
        if news && newer {
            self.call_newer(&bad);
        }
    }

    /// What is waited for must be able to come.
    fn call_newer(&mut self, bad: &Bad) {
        self.terminate_stuck(bad);
        let Phase::Reverting(reverting) = &self.app.state.phase else { return };
        let order = reverting.order.clone();
        self.refresh(&order);
    }

    fn waited_too_long(&self) -> Option<Why> {
        let Phase::Reverting(reverting) = &self.app.state.phase else { return None };
        let waiting = reverting.waiting.as_ref()?;
        let (policy, after) = (self.context.policy, elapsed(waiting.since, self.context.now));
        let live_timeout = policy.rollback.live_timeout;
        match &waiting.what {
            // The others are synced as soon as this one could be, and then judged.
            WaitsFor::Verdicts { of } => (after >= live_timeout.saturating_add(policy.duration))
                .then(|| Why::SharedUndecided { with: of.clone(), after }),
            // People take their time.
            WaitsFor::Merge { .. } => None,
            WaitsFor::Newer { revision, .. } => (after >= live_timeout).then(|| Why::NewerNotSynced {
                newer: revision.clone(),
                after,
                auto_sync: self.app.seen.application.as_ref().is_none_or(|a| a.auto_sync),
            }),
        }
    }

    fn give_up_waiting(&mut self, why: Why) -> bool {
        let Phase::Reverting(reverting) = &self.app.state.phase else { return false };
        let reverting = (**reverting).clone();
        let may_be_proposed = reverting.order.rules.shared_files == SharedFiles::PullRequest;
        if may_be_proposed && matches!(why, Why::SharedUndecided { .. }) {
            self.propose_instead(reverting, why.to_string());
            return true;
        }
        self.give_up(reverting, why);
        true
    }

    /// The newer commit that is waited for, if Argo CD compared it and found nothing to sync: then it runs as bad does.
    fn no_fix(&self) -> Option<(usize, Revision)> {
        let Phase::Reverting(reverting) = &self.app.state.phase else { return None };
        let Some(Waiting { what: WaitsFor::Newer { revision, .. }, .. }) = &reverting.waiting else {
            return None;
        };
        let application = self.app.seen.application.as_ref()?;
        let same = application.sync == SyncStatus::Synced && !application.operation_requested;
        if !same || health::trusted(application).is_err() {
            return None;
        }
        let compared = application.compared.as_ref()?;
        let of = reverting.order.parts.iter().position(|part| {
            part.sources.iter().any(|source| compared.iter().nth(*source) == Some(revision))
        });
        Some((of?, revision.clone()))
    }

    /// Some repositories have it and others never will: what was undone is remembered, and a person must decide.
    fn partly(&mut self, reverting: Reverting, done: &[RevertedPart], missing: Vec<String>, reason: String) {
        self.remember(done);
        let done = done.iter().map(|p| format!("`{}` of {} as {}", p.branch, p.repo_url, p.revert.short()));
        let done = done.collect();
        self.give_up(reverting, Why::PartlyReverted { done, missing, reason });
    }

    fn remember(&mut self, parts: &[RevertedPart]) {
        if self.app.state.reverts.len() >= PAST_REVERTS_MAX {
            self.app.state.reverts.remove(0);
        }
        let parts = parts.iter().map(|part| PastPart {
            bad: part.bad.clone(),
            revert: part.revert.clone(),
            quarantine: part.quarantine.clone(),
        });
        self.app.state.reverts.push(PastRevert { parts: parts.collect(), at: self.context.now });
    }

    /// It was only looked for, and the reason for that is gone.
    pub(super) fn ask_now(&mut self) {
        if let Phase::Reverting(reverting) = &mut self.app.state.phase {
            reverting.retry_at = self.context.now;
        }
    }

    pub(super) fn give_up(&mut self, reverting: Reverting, why: Why) {
        self.hold(&reverting.bad.revisions, why);
        self.app.state.phase = Phase::Idle { current: reverting.bad.revisions };
    }

    fn try_again(&mut self, mut reverting: Reverting, error: String) {
        let pause = Duration::from_secs(1 << reverting.attempts.saturating_sub(1).min(5)).min(PAUSE_MAX);
        let retry_at = later(self.context.now, pause);
        if reverting.retry_at <= retry_at {
            // This answer came before; the next try is due already.
            return;
        }
        if reverting.waits_for_merge() {
            return self.look_again_later(reverting, error);
        }
        let after = elapsed(reverting.since, self.context.now);
        self.record(Kind::RevertRetried { error: error.clone(), attempts: reverting.attempts });
        if after >= self.context.policy.rollback.push_timeout {
            return self.give_up(reverting, Why::PushFailed { error, after });
        }
        reverting.retry_at = retry_at;
        self.app.state.phase = Phase::Reverting(Box::new(reverting));
    }

    fn on_branch(&mut self, reverting: Reverting, record: RevertRecord, already: bool) {
        let Reverting { bad, order, .. } = reverting;
        let now = self.context.now;
        self.record(Kind::RevertPushed {
            rollback: order.rollback.clone(),
            record: record.clone(),
            already,
            took: elapsed(bad.degraded_at, now),
        });
        self.remember(&record.parts);
        self.needless(&order.rollback, "The revert is on the branch.");
        let stage = Stage::Landing { since: now, next_refresh_at: now, asked: Vec::new(), known: Vec::new() };
        self.app.state.phase =
            Phase::Confirming(Box::new(Confirming { bad, order, record, pushed_at: now, stage }));
    }
}

/// The content of everything that was rolled back.
fn quarantined(state: &AppState) -> Vec<String> {
    let parts = state.reverts.iter().flat_map(|past| &past.parts);
    parts.map(|part| part.quarantine.clone()).collect()
}
