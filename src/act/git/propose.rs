//! A revert on a side branch, for a pull request: planned as any other, pushed beside the branch, adopted if it is there.

use std::sync::Arc;

use git2::{Oid, Repository};

use super::Trouble;
use super::cache::{self, Target};
use super::error::{Class, Failure};
use super::history::{self, revision};
use super::message::{TRAILER_ROLLBACK, trailer, trailers};
use super::parts::whole;
use super::plan::Stop;
use super::push::{self, PushOutcome};
use super::revert::{Call, Done, Next};
use super::transport::Session;
use crate::engine::action::{Delivery, Refusal, RevertOutcome, RevertRecord};

/// Commits of a side branch that are looked through for ours: people may have put some on top.
const SIDE_COMMITS_MAX: usize = 100;

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// The revert is on the side branch.
    Aside(Aside),
    /// There is nothing to propose: it is done, or cannot be.
    Outcome(RevertOutcome),
}

/// A revert on a side branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// What it is; its commit is the side branch's.
    pub record: RevertRecord,
    /// The side branch.
    pub branch: String,
    /// The newest commit of the side branch: the revert, unless somebody put more on top.
    pub head: String,
    /// The revert's message.
    pub message: String,
}

impl Call<'_> {
    /// Looks whether it is done, else sees to it that the side branch holds the revert.
    pub(crate) fn propose(
        &self,
        repo: &Repository,
        session: &Arc<Session>,
        side: &str,
    ) -> Result<Proposed, Trouble> {
        let ready = match self.next(repo, session, 1)? {
            Next::Done(done) => return Ok(Proposed::Outcome(whole(vec![done]))),
            Next::Commit(ready) => ready,
        };
        if self.order.mode == Delivery::DryRun {
            let record = self.record(repo, &ready, ready.tip, 1)?;
            return Ok(Proposed::Outcome(whole(vec![Done::Planned(record, ready.touches)])));
        }
        let (ours, head) = match self.on_side_branch(repo, session, side, ready.tip)? {
            Some(there) => there,
            None => {
                let new = self.commit(repo, &ready)?;
                match push::push(repo, session, side, new, Oid::ZERO_SHA1) {
                    PushOutcome::Pushed => {}
                    // Somebody else's daemon, or ours from before a crash, was faster: the next try adopts it.
                    PushOutcome::Moved => {
                        let why = format!("the branch `{side}` came to be while it was pushed");
                        return Err(Failure::new(Class::Unreachable, why).into());
                    }
                    PushOutcome::Declined(declined) => {
                        let refusal = declined.refusal(side, &session.access.url)?;
                        return Ok(Proposed::Outcome(RevertOutcome::Refused(refusal)));
                    }
                    PushOutcome::NotAuthorised(message) => {
                        return Err(Failure::new(Class::NotAuthorised, message).into());
                    }
                    PushOutcome::Unknown(failure) => return Err(failure.into()),
                }
                (new, new)
            }
        };
        let part = self.record(repo, &ready, ours, 1)?;
        let record = RevertRecord { parts: vec![part], touches: ready.touches };
        let message = history::message(repo, ours)?;
        Ok(Proposed::Aside(Aside {
            record,
            branch: side.to_owned(),
            head: revision(head).to_string(),
            message,
        }))
    }

    /// Our revert on the side branch and the branch's newest commit; none where there is no such branch.
    fn on_side_branch(
        &self,
        repo: &Repository,
        session: &Arc<Session>,
        side: &str,
        tip: Oid,
    ) -> Result<Option<(Oid, Oid)>, Trouble> {
        let Target::Branch { tip: head, .. } =
            cache::fetch_branch(repo, session, &format!("refs/heads/{side}"))?
        else {
            return Ok(None);
        };
        let mut walk = repo.revwalk()?;
        walk.push(head)?;
        walk.hide(tip)?;
        for id in walk.take(SIDE_COMMITS_MAX) {
            let id = id?;
            let message = history::message(repo, id)?;
            if trailer(&trailers(&message), TRAILER_ROLLBACK) == Some(self.order.rollback.as_str()) {
                return Ok(Some((id, head)));
            }
        }
        let reason =
            format!("there is a branch `{side}` already, which does not hold this rollback; delete it");
        Err(Stop::from(Refusal::Unsupported { reason }).into())
    }
}
