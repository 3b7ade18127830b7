//! Reverts that wait to be merged: opened once, looked at until somebody decides, withdrawn when they are needless.

use std::time::Duration;

use super::Turn;
use crate::engine::action::{Action, Delivery, Proposed};
use crate::engine::analysis::{Needless, PROPOSALS_MAX, Phase, Proposal, Reverting, Waiting};
use crate::engine::entry::{Kind, WaitsFor, Why};
use crate::engine::forge::{PullRequest, PullRequestState, WithdrawOrder};
use crate::engine::time::{elapsed, later};

/// How often the forge is asked what has become of a pull request: some 120 calls an hour, of 5,000 that GitHub allows.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The same once it is merged: Git has it within moments.
const LOOK_AFTER_MERGE: Duration = Duration::from_secs(3);

/// How long an answer to a withdrawal is waited for before it is asked for again.
const WITHDRAW_EVERY: Duration = Duration::from_secs(60);

/// How often a withdrawal is tried: what is still open then is for people to close.
const WITHDRAWALS_MAX: u32 = 60;

impl Turn<'_> {
    /// A push is not possible or not wanted, and a pull request may be.
    pub(super) fn propose_instead(&mut self, mut reverting: Reverting, because: String) {
        let rollback = reverting.order.rollback.clone();
        self.record(Kind::PullRequestInstead { rollback, because });
        reverting.order.mode = Delivery::PullRequest { complete: false };
        (reverting.attempts, reverting.since) = (0, self.context.now);
        reverting.waiting = None;
        self.app.state.phase = Phase::Reverting(Box::new(reverting));
        self.ask_now();
    }

    /// It is open, or what else has become of it.
    pub(super) fn proposed(&mut self, mut reverting: Reverting, proposed: Proposed) {
        let now = self.context.now;
        let pull_requests: Vec<PullRequest> =
            proposed.parts.iter().map(|part| part.pull_request.clone()).collect();
        let rollback = reverting.order.rollback.clone();
        if let Some(closed) = pull_requests.iter().find(|one| one.state == PullRequestState::Closed) {
            // Whoever closed it decides about its branch too.
            self.app.state.proposals.retain(|known| known.rollback != rollback);
            let url = closed.url.clone();
            return self.give_up(reverting, Why::PullRequestClosed { url });
        }
        if self.note_proposal(&reverting, &proposed) {
            self.record(Kind::PullRequestOpened {
                rollback,
                record: proposed.record,
                pull_requests: pull_requests.clone(),
                remarks: proposed.remarks,
                took: elapsed(reverting.bad.degraded_at, now),
            });
        }
        let merged = |all: &[PullRequest]| all.iter().any(|one| one.state != PullRequestState::Open);
        // Once it was merged and yet is not found on the branch, it is not what was proposed.
        let news = match reverting.waiting.as_ref().map(|waiting| &waiting.what) {
            Some(WaitsFor::Merge { pull_requests: before }) => merged(&pull_requests) && !merged(before),
            _ => merged(&pull_requests),
        };
        let since = reverting.waiting.as_ref().map_or(now, |waiting| waiting.since);
        reverting.waiting = Some(Waiting { what: WaitsFor::Merge { pull_requests }, since });
        reverting.order.mode = Delivery::PullRequest { complete: true };
        (reverting.attempts, reverting.since) = (0, now);
        reverting.retry_at = later(now, if news { LOOK_AFTER_MERGE } else { LOOK_EVERY });
        self.app.state.phase = Phase::Reverting(Box::new(reverting));
    }

    /// Remembers what is open; false if it was known.
    fn note_proposal(&mut self, reverting: &Reverting, proposed: &Proposed) -> bool {
        let proposals = &mut self.app.state.proposals;
        let rollback = &reverting.order.rollback;
        if let Some(known) = proposals.iter_mut().find(|known| known.rollback == *rollback) {
            known.parts.clone_from(&proposed.parts);
            known.needless = None;
            return false;
        }
        if proposals.len() >= PROPOSALS_MAX {
            proposals.remove(0);
        }
        proposals.push(Proposal {
            rollback: rollback.clone(),
            project: reverting.order.project.clone(),
            parts: proposed.parts.clone(),
            at: self.context.now,
            needless: None,
        });
        true
    }

    /// The forge or Git could not be asked; whoever merges does not wait for that.
    pub(super) fn look_again_later(&mut self, mut reverting: Reverting, error: String) {
        let retry_at = later(self.context.now, LOOK_EVERY);
        if reverting.retry_at <= retry_at {
            // This answer came before; the next look is due already.
            return;
        }
        if reverting.attempts == 1 {
            // Once for each outage.
            self.record(Kind::RevertRetried { error, attempts: reverting.attempts });
        }
        reverting.retry_at = retry_at;
        self.app.state.phase = Phase::Reverting(Box::new(reverting));
    }

    /// A proposal is not needed any more.
    pub(super) fn needless(&mut self, rollback: &str, why: &str) {
        let retry_at = self.context.now;
        let open = self.app.state.proposals.iter_mut().filter(|one| one.needless.is_none());
        for proposal in open.filter(|one| one.rollback == rollback) {
            proposal.needless = Some(Needless { why: why.to_owned(), attempts: 0, retry_at });
        }
    }

    /// Finds what is needless, and asks for its withdrawal until it is done.
    pub(super) fn withdraw_what_is_needless(&mut self) {
        let state = &self.app.state;
        let mut needless = Vec::new();
        for proposal in state.proposals.iter().filter(|one| one.needless.is_none()) {
            let why = match &state.phase {
                Phase::Reverting(r) if r.order.rollback != proposal.rollback && r.waits_for_merge() => {
                    "It is superseded by the rollback of a newer change.".to_owned()
                }
                Phase::Confirming(c) if c.order.rollback != proposal.rollback => {
                    "It is superseded by the rollback of a newer change.".to_owned()
                }
                Phase::Idle { current } => match &state.last_good {
                    Some(good) if good.revisions == *current && good.at >= proposal.at => {
                        format!("The application recovered by itself: it is healthy at {current}.")
                    }
                    _ => continue,
                },
                _ => continue,
            };
            needless.push((proposal.rollback.clone(), why));
        }
        for (rollback, why) in needless {
            self.needless(&rollback, &why);
        }
        self.withdraw();
    }

    fn withdraw(&mut self) {
        let now = self.context.now;
        for proposal in &mut self.app.state.proposals {
            let Some(needless) = proposal.needless.as_mut().filter(|needless| now >= needless.retry_at)
            else {
                continue;
            };
            needless.attempts = needless.attempts.saturating_add(1);
            needless.retry_at = later(now, WITHDRAW_EVERY);
            self.actions.push(Action::Withdraw(Box::new(WithdrawOrder {
                rollback: proposal.rollback.clone(),
                project: proposal.project.clone(),
                parts: proposal.parts.clone(),
                why: needless.why.clone(),
            })));
        }
        let given_up = |one: &Proposal| one.needless.as_ref().is_some_and(|n| n.attempts > WITHDRAWALS_MAX);
        self.app.state.proposals.retain(|one| !given_up(one));
    }

    pub(super) fn withdrawn(&mut self, rollback: &str, outcome: Result<Vec<PullRequest>, String>) {
        // What could not be done is asked for again.
        let Ok(pull_requests) = outcome else { return };
        let proposals = &mut self.app.state.proposals;
        let Some(at) = proposals.iter().position(|one| one.rollback == rollback && one.needless.is_some())
        else {
            return;
        };
        let because = proposals.remove(at).needless.map(|needless| needless.why).unwrap_or_default();
        let because = because.trim_end_matches('.').to_owned();
        for pull_request in pull_requests {
            let (rollback, because) = (rollback.to_owned(), because.clone());
            self.record(Kind::PullRequestEnded { rollback, pull_request, because });
        }
    }
}
