//! One revert from fetch to push, again and again while others push first.

use std::sync::Arc;

use git2::{Oid, Repository};
use jiff::Timestamp;

use super::cache::{self, Target};
use super::commit;
use super::error::{Class, Failure};
use super::footprint::Footprint;
use super::history::{History, revision};
use super::message::{self, Told};
use super::never::Never;
use super::plan::{self, Evidence, Found, OnConflict, Plan, Request, Rollback, Stop, commit_id};
use super::push::{self, PushOutcome};
use super::transport::Session;
use super::{Identity, Trouble, redact};
use crate::engine::action::{
    Delivery, Refusal, RelateOrder, Relation, RevertOrder, RevertOutcome, RevertPart, RevertRecord,
    RevertedPart,
};
use crate::engine::policy::{self, NeverRevert};

/// Files named in a record; the record is kept in an object of bounded size, and the commit itself has them all.
const RECORD_FILES_MAX: usize = 100;

/// Culprits named in a record, for the same reason.
const RECORD_CULPRITS_MAX: usize = 50;

/// One call of [`Git::revert`](super::Git::revert).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) order: &'a RevertOrder,
    pub(crate) part: &'a RevertPart,
    pub(crate) identity: &'a Identity,
    pub(crate) now: Timestamp,
}

/// What follows from the look at the branch.
pub(crate) enum Next {
    /// Nothing: it is done, or nothing is to be done.
    Done(RevertOutcome),
    /// A commit on the tip.
    Commit {
        /// The branch.
        branch: String,
        /// Its tip.
        tip: Oid,
        /// What to commit.
        plan: Plan,
    },
}

impl Call<'_> {
    pub(crate) fn run(&self, repo: &Repository, session: &Arc<Session>) -> Result<RevertOutcome, Trouble> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (branch, tip, plan) = match self.next(repo, session, attempts)? {
                Next::Done(outcome) => return Ok(outcome),
                Next::Commit { branch, tip, plan } => (branch, tip, plan),
            };
            let new = self.commit(repo, tip, &plan)?;
            let record = self.record(repo, &branch, new, &plan.evidence, attempts)?;
            if let Some(outcome) = push_and_look(repo, session, record, new, tip)? {
                return Ok(outcome);
            }
            session.pause(attempts);
            if session.is_over() {
                let why = format!("the branch moved before each of {attempts} pushes, until the time was up");
                return Err(Failure::new(Class::Unreachable, why).into());
            }
        }
    }

    /// Fetches, looks whether it is done, and plans.
    pub(crate) fn next(
        &self,
        repo: &Repository,
        session: &Arc<Session>,
        attempts: u32,
    ) -> Result<Next, Trouble> {
        if session.is_over() {
            return Err(Failure::new(Class::Unreachable, "the time was up before the push").into());
        }
        let footprint = footprint(&self.part.footprint)?;
        let (good, bad) = (commit_id(&self.part.good)?, commit_id(&self.part.bad)?);
        let NeverRevert { paths, kinds } = &self.order.rules.never_revert;
        let never = Never::new(paths, kinds)
            .map_err(|e| Stop::from(Refusal::Unsupported { reason: e.to_string() }))?;
        let target = &self.part.target_revision;
        let Target::Branch { name: branch, tip } = cache::fetch_branch(repo, session, target)? else {
            return Err(Stop::from(Refusal::NotABranch { target_revision: target.clone() }).into());
        };
        let request = Request {
            good,
            bad,
            tip,
            branch: &branch,
            footprint: &footprint,
            at_bad: &footprint,
            rollback: Some(Rollback {
                id: &self.order.rollback,
                app: &self.order.app,
                quarantine: &self.order.quarantine,
            }),
            on_conflict: match self.order.rules.on_conflict {
                policy::OnConflict::Hold => OnConflict::Hold,
                policy::OnConflict::Restore => OnConflict::Restore,
            },
            never: &never,
        };
        let plan = match plan::plan(repo, &request)? {
            Found::Already(done) => {
                let record = self.record(repo, &branch, done.commit, &done.evidence, attempts)?;
                return Ok(Next::Done(RevertOutcome::AlreadyReverted(whole(record))));
            }
            Found::Plan(plan) => plan,
        };
        if self.order.only_look {
            return Ok(Next::Done(RevertOutcome::NotThere));
        }
        // Found out before anything is written, and in a dry run too.
        self.identity.signer()?;
        if self.order.mode == Delivery::DryRun {
            let record = self.record(repo, &branch, tip, &plan.evidence, attempts)?;
            return Ok(Next::Done(RevertOutcome::Planned(whole(record))));
        }
        Ok(Next::Commit { branch, tip, plan })
    }

    /// Writes the commit, without a reference to it.
    pub(crate) fn commit(&self, repo: &Repository, tip: Oid, plan: &Plan) -> Result<Oid, Trouble> {
        let app = self.order.app.to_string();
        Ok(commit::of_plan(repo, self.identity, plan, tip, self.now, |undone| {
            message::compose(&Told {
                name: &self.order.app.name,
                app: &app,
                cluster: &self.order.cluster,
                rollback: &self.order.rollback,
                bad: &self.part.bad,
                good: &self.part.good,
                evidence: &self.order.evidence,
                undone,
            })
        })?)
    }

    pub(crate) fn record(
        &self,
        repo: &Repository,
        branch: &str,
        revert: Oid,
        evidence: &Evidence,
        attempts: u32,
    ) -> Result<RevertedPart, Trouble> {
        let mut culprits = Vec::new();
        for id in evidence.culprits.iter().take(RECORD_CULPRITS_MAX) {
            culprits.push(plan::culprit(repo, *id)?);
        }
        let mut files = plan::lossy(evidence.files.get(..RECORD_FILES_MAX).unwrap_or(&evidence.files));
        if let Some(more) = evidence.files.len().checked_sub(RECORD_FILES_MAX).filter(|more| *more > 0) {
            files.push(format!("and {more} more"));
        }
        Ok(RevertedPart {
            repo_url: redact(&self.part.repo_url),
            branch: branch.to_owned(),
            sources: self.part.sources.clone(),
            bad: self.part.bad.clone(),
            revert: revision(revert),
            culprits,
            files,
            quarantine: evidence.content.clone(),
            attempts,
        })
    }
}

pub(crate) fn whole(part: RevertedPart) -> RevertRecord {
    RevertRecord { parts: vec![part], touches: Vec::new() }
}

/// Pushes, and looks at the branch afterwards; none when somebody else was faster.
fn push_and_look(
    repo: &Repository,
    session: &Session,
    record: RevertedPart,
    new: Oid,
    tip: Oid,
) -> Result<Option<RevertOutcome>, Trouble> {
    match push::push(repo, session, &record.branch, new, tip) {
        PushOutcome::Moved => Ok(None),
        PushOutcome::Unknown(failure) => Err(failure.into()),
        PushOutcome::NotAuthorised(message) => Err(Failure::new(Class::NotAuthorised, message).into()),
        PushOutcome::Declined(declined) => {
            // A server that lost a race refuses in words of its own; whether it was one, the branch tells.
            let now = cache::fetch_branch(repo, session, &format!("refs/heads/{}", record.branch))?;
            let moved = !matches!(now, Target::Branch { tip: now, .. } if now == tip);
            if moved {
                return Ok(None);
            }
            let refusal = declined.refusal(&record.branch, &session.access.url)?;
            Ok(Some(RevertOutcome::Refused(refusal)))
        }
        PushOutcome::Pushed => {
            let branch = format!("refs/heads/{}", record.branch);
            let there = match cache::fetch_branch(repo, session, &branch) {
                Ok(Target::Branch { tip, .. }) => tip == new || repo.graph_descendant_of(tip, new)?,
                Ok(Target::NotABranch) => false,
                // The server's word is final; that it could not be asked again does not change it.
                Err(_) => true,
            };
            if there {
                return Ok(Some(RevertOutcome::Pushed(whole(record))));
            }
            let why = "the server accepted the push, but the branch does not hold it: somebody rewrote it";
            Err(Failure::new(Class::Other, why).into())
        }
    }
}

/// Answers [`Git::relate`](super::Git::relate).
pub(crate) fn relate(
    order: &RelateOrder,
    repo: &Repository,
    session: &Arc<Session>,
) -> Result<Relation, Trouble> {
    let footprint = footprint(&order.footprint)?;
    let (ancestor, descendant) = (commit_id(&order.ancestor)?, commit_id(&order.descendant)?);
    let history = History::new(repo, &footprint);
    // A commit that is here does not change; of many applications in one repository only the first has it fetched.
    if !(history.has_commit(ancestor)? && history.has_commit(descendant)?) {
        cache::fetch_any(repo, session, &order.target_revision)?;
    }
    for (id, wanted) in [(ancestor, &order.ancestor), (descendant, &order.descendant)] {
        if !history.has_commit(id)? {
            let target = &order.target_revision;
            let why = format!("{wanted} is not in the history of `{target}`; was the branch rewritten?");
            return Err(Failure::new(Class::Other, why).into());
        }
    }
    let (descends, content, same_content) = plan::relate(repo, &footprint, ancestor, descendant)?;
    let (ancestor, descendant) = (order.ancestor.clone(), order.descendant.clone());
    Ok(Relation { ancestor, descendant, descends, content, same_content })
}

fn footprint(paths: &[String]) -> Result<Footprint, Trouble> {
    Footprint::new(paths).map_err(|e| Stop::from(Refusal::Unsupported { reason: e.to_string() }).into())
}
