//! Reverts commits on a branch: fetch, look, plan, push; safe to repeat at any point.
//!
//! All methods block, and must be called where blocking is allowed.

mod access;
mod advert;
mod attributes;
mod cache;
pub mod checkout;
pub mod commit;
pub mod credentials;
mod declined;
mod defined;
mod error;
pub mod footprint;
pub mod github_app;
mod graph;
mod history;
pub(crate) mod http;
mod hydrated;
pub mod inspect;
pub mod ledger;
mod list;
mod look;
mod merge;
pub mod message;
pub mod never;
pub mod offline;
mod parts;
pub mod plan;
mod propose;
mod push;
mod renames;
mod shared;
pub mod sign;
mod ssh;
mod transport;
mod tree;
pub(crate) mod url;
mod wire;
mod write_access;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use git2::Repository;
use jiff::Timestamp;

pub use access::{Access, Auth, Secret};
pub use error::GitError;
pub use footprint::{Footprint, FootprintError};
pub use propose::Aside;
pub use sign::{KeyText, SignError, Signer, Trusted};
pub use url::redact;
pub use write_access::WriteAccess;

use crate::engine::action::{
    Delivery, Refusal, RelateOrder, Relation, RevertOrder, RevertOutcome, RevertPart,
};
use cache::Cache;
use error::{Class, Failure};
use plan::Stop;
use transport::Session;

mod revert;

/// Who stands on commits as author and committer, and with which key they are signed.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
    /// The key, where commits are to be signed: without it, there is none, and nothing is pushed.
    pub signer: Option<Result<Signer, SignError>>,
}

impl Identity {
    /// The key, if one was asked for.
    pub(crate) fn signer(&self) -> Result<Option<&Signer>, Stop> {
        let signer = self.signer.as_ref().map(Result::as_ref).transpose();
        signer.map_err(commit::cannot_sign)
    }
}

/// Reverts in repositories, with a copy of each kept in a folder.
#[derive(Debug)]
pub struct Git {
    dir: PathBuf,
    // One call at a time for each copy: libgit2 does not lock them.
    locks: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

impl Git {
    /// Keeps copies under `dir`, which need not exist; they are a cache, and an empty folder is as good.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, GitError> {
        Self::init()?;
        Ok(Self { dir: dir.into(), locks: Mutex::default() })
    }

    /// Prepares libgit2 for the whole process; later calls do nothing.
    pub fn init() -> Result<(), GitError> {
        transport::init().map_err(|message| GitError::Unprepared { message })
    }

    /// Plans and pushes a revert, or finds it on the branch; `accesses` has the way to the repository of each part.
    ///
    /// It always looks before it acts, so that it can be called again after a crash or an unknown outcome.
    pub fn revert(
        &self,
        order: &RevertOrder,
        accesses: &[Access],
        identity: &Identity,
        now: Timestamp,
        deadline: Instant,
    ) -> RevertOutcome {
        self.carry_out(order, accesses, identity, now, deadline).0
    }

    /// The same for a pull request: where the revert is not on the branch, it is on a side branch.
    ///
    /// For [`RevertOutcome::Proposed`] with what is on which side branch; its pull requests are for others to open. Only
    /// where it is one repository: of several, one could be merged and another not.
    pub fn propose(
        &self,
        order: &RevertOrder,
        accesses: &[Access],
        identity: &Identity,
        now: Timestamp,
        deadline: Instant,
    ) -> (RevertOutcome, Vec<Aside>) {
        let parts = order.parts.len();
        if parts > 1 && matches!(order.mode, Delivery::PullRequest { .. }) {
            let reason =
                format!("the change is in {parts} repositories, and they can only be merged one by one");
            return (RevertOutcome::Refused(Refusal::NoPullRequest { reason }), Vec::new());
        }
        self.carry_out(order, accesses, identity, now, deadline)
    }

    fn carry_out(
        &self,
        order: &RevertOrder,
        accesses: &[Access],
        identity: &Identity,
        now: Timestamp,
        deadline: Instant,
    ) -> (RevertOutcome, Vec<Aside>) {
        let asides = RefCell::new(Vec::new());
        let outcome = parts::revert(order, |i, part, push| {
            let (access, call) =
                (access(accesses, i, part)?, revert::Call { order, part, identity, now, push });
            let done = self.with_copy(access, deadline, |repo, session| call.run(repo, session))?;
            if let revert::Done::Aside(aside, _) = &done {
                asides.borrow_mut().push(aside.clone());
            }
            Ok(done)
        });
        (outcome, asides.into_inner())
    }

    /// Finds out how two revisions are related, and what the footprint holds at the newer one.
    pub fn relate(
        &self,
        order: &RelateOrder,
        access: &Access,
        deadline: Instant,
    ) -> Result<Relation, GitError> {
        let related = self.with_copy(access, deadline, |repo, session| revert::relate(order, repo, session));
        related.map_err(|trouble| match trouble {
            Trouble::Stop(Stop::Refused(refusal)) => GitError::Refused(refusal),
            trouble => trouble.into_failure().on(&order.repo_url),
        })
    }

    /// Finds out whether the credentials may push to a branch, without leaving a trace and without a copy.
    ///
    /// It opens a session for a push and pushes nothing. That shows a wrong password, a key or token that may only
    /// read, an archived repository and a missing branch. It cannot show what a server decides by the commit or the
    /// branch: protection, hooks, required signatures. Gitea and Forgejo decide even the account's right that late.
    pub fn check_write(&self, access: &Access, target_revision: &str, deadline: Instant) -> WriteAccess {
        write_access::check(&Session::new(access, deadline), target_revision)
    }

    /// Works on the copy; if it turns out to be damaged or cut off, once more on a new one.
    fn with_copy<T>(
        &self,
        access: &Access,
        deadline: Instant,
        work: impl Fn(&Repository, &Arc<Session>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        if url::Scheme::of(&access.url).is_none() {
            let reason = format!("`{}` is not an HTTP, SSH or file URL", redact(&access.url));
            return Err(Stop::from(Refusal::Unsupported { reason }).into());
        }
        let cache = Cache::new(&self.dir, &access.url).map_err(Stop::from)?;
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(cache.dir().to_path_buf()).or_default())
        };
        let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let session = Session::new(access, deadline);
        let _entered = session.enter();
        match cache.open().map_err(Trouble::from).and_then(|repo| work(&repo, &session)) {
            Err(trouble) if trouble.may_be_the_copys() => {}
            other => return other,
        }
        cache.discard()?;
        work(&cache.open()?, &session)
    }
}

/// The way to the repository of a part.
fn access<'a>(accesses: &'a [Access], i: usize, part: &RevertPart) -> Result<&'a Access, Trouble> {
    accesses.get(i).ok_or_else(|| {
        let why = format!("nobody said how to reach {}", redact(&part.repo_url));
        Failure::new(Class::Other, why).into()
    })
}

/// Why a call ended without an outcome.
#[derive(Debug)]
enum Trouble {
    Stop(Stop),
    Failure(Failure),
}

impl Trouble {
    /// Whether a new copy may help: a gap in history may be one of the copy alone.
    fn may_be_the_copys(&self) -> bool {
        match self {
            Self::Stop(Stop::Refused(Refusal::Shallow { .. })) => true,
            Self::Stop(Stop::Git(e)) => Failure::from_git2(e).class == Class::Damaged,
            Self::Stop(Stop::Refused(_) | Stop::Conflict(_)) => false,
            Self::Failure(failure) => failure.class == Class::Damaged,
        }
    }

    fn into_failure(self) -> Failure {
        match self {
            Self::Failure(failure) => failure,
            Self::Stop(Stop::Git(e)) => Failure::from_git2(&e),
            Self::Stop(Stop::Refused(refusal)) => Failure::new(Class::Other, refusal.to_string()),
            Self::Stop(Stop::Conflict(files)) => {
                Failure::new(Class::Other, format!("conflicts in {}", plan::lossy(&files).join(", ")))
            }
        }
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<git2::Error> for Trouble {
    fn from(error: git2::Error) -> Self {
        Self::Stop(error.into())
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
