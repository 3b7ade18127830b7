//! A revert on a side branch, for a pull request: planned as any other, pushed beside the branch, adopted if it is there.

use std::sync::Arc;

use git2::{Oid, Repository};

use super::Trouble;
use super::cache::{self, Target};
use super::error::{Class, Failure};
use super::history;
use super::message::{TRAILER_ROLLBACK, trailer, trailers};
use super::plan::Stop;
use super::push::{self, PushOutcome};
use super::revert::{Call, Ready};
use super::transport::Session;
use crate::act::forge::proposal;
use crate::engine::action::{Refusal, RevertedPart};

/// Commits of a side branch that are looked through for ours: people may have put some on top.
const SIDE_COMMITS_MAX: usize = 100;

/// A revert on a side branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// What it is; its commit is the side branch's.
    pub part: RevertedPart,
    /// The repository, as the Application writes it.
    pub repo_url: String,
    /// The side branch.
    pub branch: String,
    /// The revert's message.
    pub message: String,
}

impl Call<'_> {
    /// Sees to it that the side branch holds what is ready: its commit, and the branch's name.
    pub(crate) fn propose(
        &self,
        repo: &Repository,
        session: &Arc<Session>,
        ready: &Ready,
    ) -> Result<(Oid, String), Trouble> {
        let side = proposal::branch(&self.order.app, &self.part.bad);
        if let Some(ours) = self.on_side_branch(repo, session, &side, ready.tip)? {
            return Ok((ours, side));
        }
        let new = self.commit(repo, ready)?;
        match push::push(repo, session, &side, new, Oid::ZERO_SHA1) {
            PushOutcome::Pushed => Ok((new, side)),
            // Somebody else's daemon, or ours from before a crash, was faster: the next try adopts it.
            PushOutcome::Moved => {
                let why = format!("the branch `{side}` came to be while it was pushed");
                Err(Failure::new(Class::Unreachable, why).into())
            }
            PushOutcome::Declined(declined) => {
                Err(Stop::from(declined.refusal(&side, &session.access.url)?).into())
            }
            PushOutcome::NotAuthorised(message) => Err(Failure::new(Class::NotAuthorised, message).into()),
            PushOutcome::Unknown(failure) => Err(failure.into()),
        }
    }

    /// Our revert on the side branch; none where there is no such branch.
    fn on_side_branch(
        &self,
        repo: &Repository,
        session: &Arc<Session>,
        side: &str,
        tip: Oid,
    ) -> Result<Option<Oid>, Trouble> {
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
                return Ok(Some(id));
            }
        }
        let reason =
            format!("there is a branch `{side}` already, which does not hold this rollback; delete it");
        Err(Stop::from(Refusal::Unsupported { reason }).into())
    }
}
