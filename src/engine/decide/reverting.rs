//! From a degraded verdict to a revert on the branch, or a hold.

use std::time::Duration;

use super::{REVERT_ANSWER_MAX, Turn, newer_operation};
use crate::engine::action::{Action, Delivery, RevertOrder, RevertOutcome, RevertPart, RevertRecord};
use crate::engine::analysis::{
    AppState, Bad, Confirming, PAST_REVERTS_MAX, PastPart, PastRevert, Phase, Reverting, Stage,
};
use crate::engine::entry::{Abandoned, Kind, Why};
use crate::engine::guards;
use crate::engine::policy::Mode;
use crate::engine::time::{elapsed, later};

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Turn<'_> {
    /// Runs the guards, then intends the revert or holds.
    pub(super) fn begin_rollback(&mut self, bad: Bad) {
        self.app.state.phase = Phase::Idle { current: bad.revisions.clone() };
        if let Some(hold) = &self.app.state.hold {
            let id = hold.id.clone();
            return self.record(Kind::Refrained { id });
        }
        let Some(application) = self.app.seen.application.clone() else { return };
        let order = match guards::check(
            &self.app.state,
            &application,
            &bad.revisions,
            &bad.spec_digest,
            self.context,
        ) {
            Err(why) => return self.hold(&bad.revisions, why),
            Ok(cleared) => RevertOrder {
                rollback: format!(
                    "{}@{}",
                    self.key,
                    cleared.bad.as_str().get(..12).unwrap_or(cleared.bad.as_str())
                ),
                app: self.key.clone(),
                cluster: self.context.cluster.to_owned(),
                project: application.project.clone(),
                parts: vec![RevertPart {
                    repo_url: cleared.repo_url.to_owned(),
                    target_revision: cleared.target_revision.to_owned(),
                    sources: vec![0],
                    footprint: vec![cleared.path.to_owned()],
                    others: Vec::new(),
                    bad: cleared.bad.clone(),
                    good: cleared.good.clone(),
                }],
                evidence: bad.breaches.iter().map(ToString::to_string).collect(),
                quarantine: quarantined(&self.app.state),
                rules: self.context.policy.rollback.revert.clone(),
                mode: match self.context.policy.mode {
                    Mode::Push => Delivery::Push,
                    Mode::DryRun => Delivery::DryRun,
                },
                only_look: false,
            },
        };
        self.record(Kind::RevertIntended {
            order: order.clone(),
            breaches: bad.breaches.clone(),
            others_degraded: self.context.others_degraded,
        });
        let reverting =
            Reverting { bad, order, attempts: 0, since: self.context.now, retry_at: self.context.now };
        self.app.state.phase = Phase::Reverting(Box::new(reverting));
    }

    pub(super) fn advance_reverting(&mut self) -> bool {
        let now = self.context.now;
        let abandoned = self.abandoned();
        let unseen = self.app.seen.application.is_none();
        let Phase::Reverting(reverting) = &mut self.app.state.phase else { return false };
        if now < reverting.retry_at {
            return false;
        }
        if unseen {
            // After a start, until the watch is up: whether the intent still holds is not known yet.
            reverting.retry_at = later(now, PAUSE_MAX);
            return false;
        }
        let after = elapsed(reverting.since, now);
        if reverting.attempts > 0 && after >= self.context.policy.rollback.push_timeout {
            let reverting = (**reverting).clone();
            self.give_up(reverting, Why::PushFailed { error: "no answer".to_owned(), after });
            return true;
        }
        reverting.attempts = reverting.attempts.saturating_add(1);
        reverting.retry_at = later(now, REVERT_ANSWER_MAX);
        let mut order = reverting.order.clone();
        // An intent may have grown old in a crash or while Git was away; what is on the branch already still counts.
        order.only_look = abandoned.is_some();
        self.actions.push(Action::Revert(Box::new(order)));
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
            RevertOutcome::NotThere => match self.abandoned() {
                Some(because) => {
                    self.record(Kind::RevertAbandoned { rollback: rollback.to_owned(), because });
                    self.app.state.phase = Phase::Idle { current: reverting.bad.revisions };
                }
                None => self.ask_now(),
            },
            RevertOutcome::Conflict { files } => self.give_up(reverting, Why::Conflict { files }),
            RevertOutcome::Refused(refusal) => self.give_up(reverting, Why::Refused { refusal }),
            RevertOutcome::Failed { error } => self.try_again(reverting, error),
        }
    }

    /// It was only looked for, and the reason for that is gone.
    fn ask_now(&mut self) {
        if let Phase::Reverting(reverting) = &mut self.app.state.phase {
            reverting.retry_at = self.context.now;
        }
    }

    fn give_up(&mut self, reverting: Reverting, why: Why) {
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
        if self.app.state.reverts.len() >= PAST_REVERTS_MAX {
            self.app.state.reverts.remove(0);
        }
        let parts = record.parts.iter().map(|part| PastPart {
            bad: part.bad.clone(),
            revert: part.revert.clone(),
            quarantine: part.quarantine.clone(),
        });
        self.app.state.reverts.push(PastRevert { parts: parts.collect(), at: now });
        let stage = Stage::Landing { since: now, next_refresh_at: now, asked: None };
        self.app.state.phase =
            Phase::Confirming(Box::new(Confirming { bad, order, record, pushed_at: now, stage }));
    }
}

/// The content of everything that was rolled back.
fn quarantined(state: &AppState) -> Vec<String> {
    let parts = state.reverts.iter().flat_map(|past| &past.parts);
    parts.map(|part| part.quarantine.clone()).collect()
}
