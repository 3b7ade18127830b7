//! A ledger on a branch of a Git repository, `lastgood/ledger/CLUSTER/YEAR`.
//!
//! Each append is one commit on the branch's tip, which adds files and changes none; its trailer has the new head. It is
//! pushed by comparing and swapping, so of two writers one is told that the branch moved, chains its records anew and
//! tries again. A year's branch has no history in common with others: its first record seals the one before, after that
//! one was ended by a commit that nothing may follow.

mod append;
mod copy;
mod files;
mod mark;
mod name;
mod steps;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use git2::Oid;
use jiff::Timestamp;

use super::error::{Class, Failure};
use super::{Access, Git, GitError, Identity, redact};
use crate::record::ledger::{Head, Ledger, LedgerError, Link, Record};
use append::Append;
use copy::{Copy, End};
use steps::Steps;

pub use mark::{TRAILER_LEDGER, TRAILER_LEDGER_END, TRAILER_LEDGER_NEXT};

/// Finds out how the repository is reached and who commits, anew for each call, so that no secret is kept.
pub type Reach = dyn Fn() -> Result<(Access, Identity), String> + Send + Sync;

/// Keeps a ledger on a branch.
pub struct GitLedger {
    /// A copy of its own: no revert waits until a record is pushed.
    git: Git,
    place: String,
    prefix: String,
    timeout: Duration,
    reach: Box<Reach>,
    /// The newest commit of each year's branch that was believed, also when the copy is lost.
    seen: Mutex<BTreeMap<i16, Oid>>,
    /// The years before one that have branches.
    years: Mutex<HashMap<i16, Vec<i16>>>,
    /// What each commit of a year's branch adds.
    steps: Mutex<HashMap<i16, Steps>>,
}

impl GitLedger {
    /// Keeps the ledger of `cluster` in the repository at `repo_url`, and a copy of that under `dir`. One call takes
    /// `timeout` at most.
    pub fn new(
        dir: impl Into<PathBuf>,
        repo_url: &str,
        cluster: &str,
        timeout: Duration,
        reach: Box<Reach>,
    ) -> Result<Self, GitError> {
        let prefix = name::prefix(cluster);
        let place = format!("on {prefix}* of {}", redact(repo_url));
        let (seen, years, steps) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { git: Git::new(dir)?, place, prefix, timeout, reach, seen, years, steps })
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<i16, Oid>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn years(&self) -> MutexGuard<'_, HashMap<i16, Vec<i16>>> {
        self.years.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn steps(&self) -> MutexGuard<'_, HashMap<i16, Steps>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreachable(&self, why: String) -> LedgerError {
        LedgerError::Unreachable { place: self.place.clone(), why }
    }

    /// Works on the copy.
    fn call<T>(&self, work: impl Fn(&Copy<'_>, &Identity) -> Result<T, End>) -> Result<T, LedgerError> {
        let deadline = Instant::now() + self.timeout;
        let (access, identity) = (self.reach)().map_err(|why| self.unreachable(why))?;
        let done = self.git.with_copy(&access, deadline, |repo, session| {
            match work(&Copy { ledger: self, repo, session }, &identity) {
                Ok(value) => Ok(Ok(value)),
                Err(End::Ledger(error)) => Ok(Err(error)),
                Err(End::Git(trouble)) => Err(trouble),
            }
        });
        done.unwrap_or_else(|trouble| {
            let Failure { class, message } = trouble.into_failure();
            Err(self.unreachable(match class {
                Class::NotAuthorised => {
                    format!("not authorised: {message}; check its credentials, and whether they may push")
                }
                Class::NotFound => {
                    format!("{message}; check the URL, and whether the credentials may see the repository")
                }
                Class::Unreachable | Class::Damaged | Class::Other => message,
            }))
        })
    }
}

impl Ledger for GitLedger {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn append(&self, records: &[Record]) -> Result<Option<Head>, LedgerError> {
        let now = Timestamp::now();
        self.call(|copy, identity| Append { copy, identity, records, now }.run())
    }

    fn after(&self, sequence: u64, most: usize) -> Result<Vec<Link>, LedgerError> {
        self.call(|copy, _| copy.after(sequence, most))
    }
}
