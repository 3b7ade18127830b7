//! The ledger's branches in the copy of their repository: what was found on the server and believed.

use std::sync::Arc;

use git2::{ErrorCode, Oid, Repository};

use super::super::Trouble;
use super::super::cache::{self, Target};
use super::super::error::{Class, Failure};
use super::super::history;
use super::super::list;
use super::super::plan::Stop;
use super::super::transport::Session;
use super::files::{self, Read, Wrong};
use super::mark::Mark;
use super::{GitLedger, name};
use crate::record::ledger::{LedgerError, Seal};

/// The newest commit of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) year: i16,
    pub(super) commit: Oid,
    pub(super) mark: Mark,
}

/// Why a call on a ledger ended.
#[derive(Debug)]
pub(super) enum End {
    Ledger(LedgerError),
    Git(Trouble),
}

impl From<LedgerError> for End {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<git2::Error> for End {
    fn from(error: git2::Error) -> Self {
        Self::Git(error.into())
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Git(failure.into())
    }
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        Self::Git(stop.into())
    }
}

/// One call on a ledger.
pub(super) struct Copy<'a> {
    pub(super) ledger: &'a GitLedger,
    pub(super) repo: &'a Repository,
    pub(super) session: &'a Arc<Session>,
}

impl Copy<'_> {
    pub(super) fn branch(&self, year: i16) -> String {
        name::branch(&self.ledger.prefix, year)
    }

    /// Where the copy notes the newest commit that was believed.
    fn reference(&self, year: i16) -> String {
        format!("refs/lastgood/{}", self.branch(year))
    }

    pub(super) fn broken(&self, path: impl Into<String>, why: impl Into<String>) -> End {
        LedgerError::Broken { place: self.ledger.place.clone(), path: path.into(), why: why.into() }.into()
    }

    fn wrong(&self, wrong: Wrong) -> End {
        self.broken(wrong.path, wrong.why)
    }

    /// The branch as it was believed last; none if it is not in the copy.
    pub(super) fn known(&self, year: i16) -> Result<Option<Tip>, End> {
        let commit = match self.repo.refname_to_id(&self.reference(year)) {
            Ok(commit) => commit,
            Err(e) if e.code() == ErrorCode::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let mark = Mark::read(&history::message(self.repo, commit)?);
        Ok(mark.map(|mark| Tip { year, commit, mark }))
    }

    /// The newest of the branches as they were believed last.
    pub(super) fn newest_known(&self) -> Result<Option<Tip>, End> {
        let mut newest = None;
        for reference in self.repo.references_glob(&format!("refs/lastgood/{}*", self.ledger.prefix))? {
            let reference = reference?;
            let branch = reference.name().ok().and_then(|name| name.strip_prefix("refs/lastgood/"));
            newest = newest.max(branch.and_then(|branch| name::year(&self.ledger.prefix, branch)));
        }
        newest.map_or(Ok(None), |year| self.known(year))
    }

    /// Notes a commit as the newest one.
    pub(super) fn believe(&self, tip: &Tip) -> Result<(), End> {
        self.repo.reference(&self.reference(tip.year), tip.commit, true, "lastgood: ledger")?;
        self.ledger.seen().insert(tip.year, tip.commit);
        Ok(())
    }

    /// Looks at the server for the newest branch, and fetches it.
    pub(super) fn look(&self) -> Result<Option<Tip>, End> {
        let prefix = &self.ledger.prefix;
        let there = list::branches(self.session, prefix)?;
        let newest = there.iter().filter_map(|(branch, _)| name::year(prefix, branch)).max();
        let seen = self.ledger.seen().keys().max().copied().max(self.newest_known()?.map(|tip| tip.year));
        if let Some(seen) = seen.filter(|seen| newest.is_none_or(|newest| newest < *seen)) {
            return Err(self.gone(seen));
        }
        match newest {
            Some(year) => self.fetch(year),
            None => Ok(None),
        }
    }

    /// The years before this one that have branches. Once it has one itself, no more are added before it.
    pub(super) fn years_before(&self, newest: i16) -> Result<Vec<i16>, End> {
        if let Some(years) = self.ledger.years().get(&newest) {
            return Ok(years.clone());
        }
        let prefix = &self.ledger.prefix;
        let there = list::branches(self.session, prefix)?;
        let years = there.iter().filter_map(|(branch, _)| name::year(prefix, branch));
        let years: Vec<_> = years.filter(|year| *year < newest).collect();
        self.ledger.years().insert(newest, years.clone());
        Ok(years)
    }

    /// Fetches the branch of a year, if there is one.
    pub(super) fn fetch(&self, year: i16) -> Result<Option<Tip>, End> {
        let branch = self.branch(year);
        let before = self.ledger.seen().get(&year).copied();
        let before = before.or(self.known(year)?.map(|tip| tip.commit));
        let commit = match cache::fetch_branch(self.repo, self.session, &format!("refs/heads/{branch}"))? {
            Target::Branch { tip, .. } => tip,
            Target::NotABranch if before.is_some() => return Err(self.gone(year)),
            Target::NotABranch => return Ok(None),
        };
        let is_kept = match before {
            Some(before) if before != commit => {
                self.repo.find_commit(before).is_ok() && self.repo.graph_descendant_of(commit, before)?
            }
            _ => true,
        };
        if !is_kept {
            let why = format!(
                "its history was rewritten: commit {} was on it and is not any more; find out who did so, and put \
                 it back, or begin with an empty cache to go on from what is there",
                before.map(|id| id.to_string()).unwrap_or_default()
            );
            return Err(self.broken(branch, why));
        }
        let mark = if before == Some(commit) { self.known(year)?.map(|tip| tip.mark) } else { None };
        let mark = mark.map_or_else(|| self.verify(&branch, commit), Ok)?;
        let tip = Tip { year, commit, mark };
        self.believe(&tip)?;
        Ok(Some(tip))
    }

    fn gone(&self, year: i16) -> End {
        let why = "it was there, and is not any more; find out who removed it, and put it back, or begin with an \
                   empty cache to begin a new chain";
        self.broken(self.branch(year), why)
    }

    /// Makes sure that a commit adds what it says and nothing else, upon one that ends where this begins.
    fn verify(&self, branch: &str, commit: Oid) -> Result<Mark, End> {
        let not = |why: &str| self.broken(branch, format!("its newest commit {commit} {why}"));
        let Some(mark) = Mark::read(&history::message(self.repo, commit)?) else {
            return Err(not("was not made by lastgood: it has no trailer `Lastgood-Ledger`"));
        };
        let mut parents = self.repo.find_commit(commit)?.parent_ids().collect::<Vec<_>>().into_iter();
        let (parent, second) = (parents.next(), parents.next());
        if second.is_some() {
            return Err(not("is a merge"));
        }
        let before = match parent {
            Some(parent) => Some(Mark::read(&history::message(self.repo, parent)?)),
            None => None,
        };
        let read = self.between(parent, commit)?;
        let ends_before = match &before {
            Some(Some(Mark::Added { head, .. })) => Some(head),
            Some(_) => {
                return Err(not("stands upon one that ends the branch, or that lastgood did not make"));
            }
            // A branch begins with the first link of all, or with a seal.
            None => None,
        };
        match &mark {
            Mark::Added { first, head } => {
                let numbers = read.iter().map(|read| read.link.sequence);
                let begin = read.first();
                let follows = match (ends_before, begin) {
                    (Some(before), Some(begin)) => {
                        before.sequence.checked_add(1) == Some(*first)
                            && begin.link.previous.as_ref() == Some(&before.hash)
                    }
                    (None, Some(begin)) => begin.link.previous == seal(begin).map(|seal| seal.hash),
                    (_, None) => false,
                };
                if !numbers.eq(*first..=head.sequence) || read.last().map(|read| &read.head) != Some(head) {
                    return Err(not("does not add what its trailer `Lastgood-Ledger` says"));
                }
                if !follows {
                    return Err(not("does not go on where the one before ends"));
                }
            }
            Mark::Ended { head, .. } => {
                if !read.is_empty() || ends_before != Some(head) {
                    return Err(not("does not end what is before it"));
                }
            }
        }
        Ok(mark)
    }

    /// What was added after one commit, up to another one.
    pub(super) fn between(&self, after: Option<Oid>, to: Oid) -> Result<Vec<Read>, End> {
        let tree = |id| self.repo.find_commit(id).map(|commit| commit.tree_id());
        let old = after.map(tree).transpose()?;
        let files = files::added(self.repo, old, tree(to)?)?.map_err(|wrong| self.wrong(wrong))?;
        files::read(self.repo, &files)?.map_err(|wrong| self.wrong(wrong))
    }

    /// Ends with an error once the time is up.
    pub(super) fn in_time(&self, attempts: u32) -> Result<(), End> {
        if self.session.is_over() {
            let why = format!("others were faster at each of {attempts} pushes, until the time was up");
            return Err(Failure::new(Class::Unreachable, why).into());
        }
        Ok(())
    }
}

/// The seal that a file holds, if it holds one.
pub(super) fn seal(read: &Read) -> Option<Seal> {
    read.link.record().ok().as_ref().and_then(Seal::of)
}
