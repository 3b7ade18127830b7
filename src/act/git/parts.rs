//! All parts of a revert: every one is planned before any is pushed.

use super::error::{Class, Failure};
use super::plan::{self, Stop};
use super::revert::Done;
use super::{Trouble, redact};
use crate::engine::action::{
    Proposed, Refusal, RevertOrder, RevertOutcome, RevertPart, RevertRecord, RevertedPart, Touched,
};

/// What became of one part, or why it is not known.
type Tried = Result<Done, Trouble>;

/// Carries an order out; `run` does one part, and pushes if it is told to.
pub(crate) fn revert(order: &RevertOrder, run: impl Fn(usize, &RevertPart, bool) -> Tried) -> RevertOutcome {
    if let [part] = order.parts.as_slice() {
        // Planned and pushed in one go.
        return match run(0, part, true) {
            Ok(done) => whole(vec![done]),
            Err(trouble) => stopped(part, trouble),
        };
    }
    let mut planned = Vec::with_capacity(order.parts.len());
    for (i, part) in order.parts.iter().enumerate() {
        planned.push((part, run(i, part, false)));
    }
    match settle(order, planned) {
        Settled::Over(outcome) => outcome,
        Settled::Go(planned) => push(order, planned, run),
    }
}

enum Settled {
    /// There is nothing to push.
    Over(RevertOutcome),
    /// None stands for a part in which nothing changed.
    Go(Vec<Option<Done>>),
}

/// Whether all that is planned may be pushed.
fn settle(order: &RevertOrder, planned: Vec<(&RevertPart, Tried)>) -> Settled {
    let mut parts = Vec::with_capacity(planned.len());
    let (mut nothing, mut stopping) = (None, None);
    for (part, tried) in planned {
        match tried {
            // A commit to another folder of one repository, and the change in another one.
            Err(Trouble::Stop(Stop::Refused(refusal @ Refusal::NothingToRevert { .. }))) => {
                nothing = Some(refusal);
                parts.push(None);
            }
            Ok(done @ (Done::Already(_) | Done::Planned(..) | Done::Pushed(..) | Done::Aside(..))) => {
                parts.push(Some(done));
            }
            Ok(done) => {
                stopping = stopping.or_else(|| Some((part, whole(vec![done]))));
                parts.push(None);
            }
            Err(trouble) => {
                stopping = stopping.or_else(|| Some((part, stopped(part, trouble))));
                parts.push(None);
            }
        }
    }
    let done: Vec<RevertedPart> = parts.iter().flatten().filter_map(Done::on_branch).cloned().collect();
    let all_done = parts.iter().flatten().all(|done| done.on_branch().is_some());
    match (stopping, nothing) {
        (Some((part, outcome)), _) => Settled::Over(partly(part, done, outcome)),
        (None, Some(refusal)) if parts.iter().all(Option::is_none) => {
            Settled::Over(RevertOutcome::Refused(refusal))
        }
        (None, _) if all_done || !order.pushes() => {
            Settled::Over(whole(parts.into_iter().flatten().collect()))
        }
        (None, _) => Settled::Go(parts),
    }
}

/// Pushes what is planned, one after the other.
fn push(
    order: &RevertOrder,
    planned: Vec<Option<Done>>,
    run: impl Fn(usize, &RevertPart, bool) -> Tried,
) -> RevertOutcome {
    let mut all = Vec::with_capacity(planned.len());
    for (i, (part, planned)) in order.parts.iter().zip(planned).enumerate() {
        let tried = match planned {
            Some(Done::Planned(..)) => run(i, part, true),
            Some(done) => Ok(done),
            None => continue,
        };
        let outcome = match tried {
            Ok(done @ (Done::Already(_) | Done::Pushed(..) | Done::Aside(..))) => {
                all.push(done);
                continue;
            }
            Ok(done) => whole(vec![done]),
            Err(trouble) => stopped(part, trouble),
        };
        let done = all.iter().filter_map(Done::on_branch).cloned().collect();
        return partly(part, done, outcome);
    }
    whole(all)
}

/// What stopped one part while others are done: no longer all or nothing, unless trying again may help.
fn partly(part: &RevertPart, done: Vec<RevertedPart>, outcome: RevertOutcome) -> RevertOutcome {
    if done.is_empty() {
        return outcome;
    }
    let reason = match outcome {
        RevertOutcome::Failed { error } => {
            let there: Vec<_> = done.iter().map(|part| part.repo_url.as_str()).collect();
            let error = format!("{error}; the revert is in {} already", there.join(", "));
            return RevertOutcome::Failed { error };
        }
        RevertOutcome::Conflict { files } => {
            format!("later commits changed the same lines in {}", files.join(", "))
        }
        RevertOutcome::Refused(refusal) => refusal.to_string(),
        RevertOutcome::Shared { with } => {
            let with: Vec<_> = with.iter().map(ToString::to_string).collect();
            format!("other applications are rendered from the same files: {}", with.join(", "))
        }
        RevertOutcome::Newer { revision, .. } => {
            format!("the newer commit {revision} changes the application's files too")
        }
        RevertOutcome::NotThere => "a newer revision was synced before it was pushed there".to_owned(),
        other @ (RevertOutcome::Pushed(_)
        | RevertOutcome::AlreadyReverted(_)
        | RevertOutcome::Planned(_)
        | RevertOutcome::Proposed(_)
        | RevertOutcome::Partly { .. }) => return other,
    };
    RevertOutcome::Partly { done, missing: vec![redact(&part.repo_url)], reason }
}

/// One outcome for all; what stops one part stops all.
pub(crate) fn whole(all: Vec<Done>) -> RevertOutcome {
    let (mut parts, mut touches): (Vec<RevertedPart>, Vec<Touched>) = (Vec::new(), Vec::new());
    let (mut pushed, mut planned, mut aside_any) = (false, false, false);
    for done in all {
        match done {
            Done::Already(part) => parts.push(part),
            Done::Pushed(part, others) => {
                (pushed, touches) = (true, united(touches, others));
                parts.push(part);
            }
            Done::Planned(part, others) => {
                (planned, touches) = (true, united(touches, others));
                parts.push(part);
            }
            Done::Aside(aside, others) => {
                (aside_any, touches) = (true, united(touches, others));
                parts.push(aside.part);
            }
            Done::NotThere => return RevertOutcome::NotThere,
            Done::Shared(with) => return RevertOutcome::Shared { with },
            Done::Newer(revision, branch) => return RevertOutcome::Newer { revision, branch },
        }
    }
    let record = RevertRecord { parts, touches };
    if aside_any {
        let (parts, remarks) = (Vec::new(), Vec::new());
        return RevertOutcome::Proposed(Box::new(Proposed { record, parts, remarks }));
    }
    match (planned, pushed) {
        (true, _) => RevertOutcome::Planned(record),
        (false, true) => RevertOutcome::Pushed(record),
        (false, false) => RevertOutcome::AlreadyReverted(record),
    }
}

fn united(mut all: Vec<Touched>, more: Vec<Touched>) -> Vec<Touched> {
    for other in more {
        if !all.iter().any(|known| known.app == other.app) {
            all.push(other);
        }
    }
    all
}

/// Why a part ended without an outcome, as one.
pub(crate) fn stopped(part: &RevertPart, trouble: Trouble) -> RevertOutcome {
    match trouble {
        Trouble::Stop(Stop::Refused(refusal)) => RevertOutcome::Refused(refusal),
        Trouble::Stop(Stop::Conflict(files)) => RevertOutcome::Conflict { files: plan::lossy(&files) },
        trouble => match trouble.into_failure() {
            Failure { class: Class::NotAuthorised, message } => {
                let repo_url = redact(&part.repo_url);
                RevertOutcome::Refused(Refusal::NotAuthorised { repo_url, message })
            }
            failure => RevertOutcome::Failed { error: failure.on(&part.repo_url).to_string() },
        },
    }
}
