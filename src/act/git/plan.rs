//! Plans a revert: a pure function from a repository and an order to the tree that the revert will hold.

use git2::{Oid, Repository};

use super::footprint::Footprint;
use super::history::{self, Culprits, History, revision};
use super::look;
use super::merge::{self, Sides};
use super::tree::{self, Snapshot};
use crate::engine::action::{Refusal, RevertOrder};
use crate::engine::facts::Revision;

/// What a plan starts from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The order.
    pub order: &'a RevertOrder,
    /// Its footprint.
    pub footprint: &'a Footprint,
    /// The branch's name.
    pub branch: &'a str,
    /// The branch's tip.
    pub tip: Oid,
}

/// What there is to do.
#[derive(Clone, Debug)]
pub enum Found {
    /// A commit on the branch undid it before.
    Already(Already),
    /// This is to be committed on the tip.
    Plan(Plan),
}

/// A revert that is on the branch.
#[derive(Clone, Debug)]
pub struct Already {
    /// The commit that undid the culprits.
    pub commit: Oid,
    /// What was undone.
    pub evidence: Evidence,
}

/// A revert to commit.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The tree of the new commit.
    pub tree: Oid,
    /// What is undone.
    pub evidence: Evidence,
}

/// The parts of a record that the history tells.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The commits that are undone, newest first; never empty.
    pub culprits: Vec<Oid>,
    /// The only one of them on the branch's own line, if it is only one.
    pub single: Option<Oid>,
    /// The files that the revert changes.
    pub files: Vec<Vec<u8>>,
    /// The content of the footprint at bad.
    pub content: String,
}

/// Why there is no plan.
#[derive(Debug)]
pub enum Stop {
    /// It must not be.
    Refused(Refusal),
    /// Later commits changed the same lines of these files.
    Conflict(Vec<Vec<u8>>),
    /// The repository could not be read.
    Git(git2::Error),
}

impl From<git2::Error> for Stop {
    fn from(error: git2::Error) -> Self {
        Self::Git(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Plans the revert on the tip, or finds it there.
pub fn plan(repo: &Repository, request: &Request<'_>) -> Result<Found, Stop> {
    let mut history = History::new(repo, request.footprint);
    let range = Range::check(&history, request)?;
    let at_good = history.snapshot(range.good)?;
    let at_bad = history.snapshot(range.bad)?;
    let content = at_bad.digest(request.footprint)?;
    let culprits = history.culprits(range.good, range.bad)?;

    if let Some(commit) = look::for_marked_revert(&mut history, request, &range, &culprits)? {
        if history.snapshot(range.tip)? == at_bad {
            return Err(Refusal::ContentReturned { bad: revision(range.bad) }.into());
        }
        return already(repo, request.footprint, commit, culprits, content);
    }
    if look::is_rollback(&mut history, &range)? {
        return Err(Refusal::BadIsARollback { bad: revision(range.bad) }.into());
    }
    if request.order.quarantine.contains(&content) {
        return Err(Refusal::ContentReturned { bad: revision(range.bad) }.into());
    }
    if at_good == at_bad {
        let (good, bad) = (revision(range.good), revision(range.bad));
        return Err(Refusal::NothingToRevert { good, bad }.into());
    }
    refuse_deletion(&at_good, &range)?;

    let new = merged(repo, request.footprint, &range)?;
    let old = repo.find_commit(range.tip)?.tree_id();
    if new == old {
        let commit = newest_touching(&mut history, &range)?;
        return already(repo, request.footprint, commit, culprits, content);
    }
    let files = tree::changed(repo, old, new)?;
    if let Some(file) = files.iter().find(|file| !request.footprint.contains(file)) {
        let file = String::from_utf8_lossy(file).into_owned();
        return Err(Refusal::OutsideFootprint { file }.into());
    }
    let Culprits { all, single } = culprits;
    Ok(Found::Plan(Plan { tree: new, evidence: Evidence { culprits: all, single, files, content } }))
}

/// The three commits of a plan, known to be at hand and in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) good: Oid,
    pub(crate) bad: Oid,
    pub(crate) tip: Oid,
}

impl Range {
    fn check(history: &History<'_>, request: &Request<'_>) -> Result<Self, Stop> {
        let order = request.order;
        let range = Self { good: commit_id(&order.good)?, bad: commit_id(&order.bad)?, tip: request.tip };
        let not_on_branch =
            || Refusal::BadNotOnBranch { bad: order.bad.clone(), branch: request.branch.to_owned() };
        let not_ancestor = || Refusal::GoodNotAncestor { good: order.good.clone(), bad: order.bad.clone() };
        // A commit may be missing because history was rewritten, or because it is cut off: the latter is said first.
        if !history.has_commit(range.bad)? {
            history.complete(range.tip, None)?;
            return Err(not_on_branch().into());
        }
        if !history.has_commit(range.good)? {
            history.complete(range.bad, None)?;
            return Err(not_ancestor().into());
        }
        history.complete(range.tip, Some(range.good))?;
        if !history.descends(range.tip, range.bad)? {
            return Err(not_on_branch().into());
        }
        if !history.descends(range.bad, range.good)? {
            return Err(not_ancestor().into());
        }
        Ok(range)
    }
}

/// The commit id of a revision; whatever is not 40 hexadecimal digits is a chart's version or a SHA-256 id.
pub(crate) fn commit_id(revision: &Revision) -> Result<Oid, Stop> {
    let id = Some(revision).filter(|r| r.is_commit()).and_then(|r| Oid::from_str(r.as_str()).ok());
    id.ok_or_else(|| {
        let reason = format!("`{revision}` is not a commit id of 40 hexadecimal digits");
        Refusal::Unsupported { reason }.into()
    })
}

/// An application that did not exist at last good is not brought back by deleting all of it.
fn refuse_deletion(at_good: &Snapshot, range: &Range) -> Result<(), Stop> {
    if at_good.is_empty() {
        let reason = format!(
            "none of the application's files exists at last good {}: the revert would delete all of them",
            revision(range.good)
        );
        return Err(Refusal::Unsupported { reason }.into());
    }
    Ok(())
}

/// The tip's tree with the footprint merged: base is bad, ours the tip, theirs last good.
pub(crate) fn merged(repo: &Repository, footprint: &Footprint, range: &Range) -> Result<Oid, Stop> {
    let root = |commit: Oid| repo.find_commit(commit).map(|c| c.tree_id());
    let (base, ours, theirs) = (root(range.bad)?, root(range.tip)?, root(range.good)?);
    let mut result = Some(tree::Entry::folder(ours));
    let mut conflicts = Vec::new();
    for path in footprint.roots() {
        let sides = Sides {
            base: tree::entry_at(repo, base, path)?,
            ours: tree::entry_at(repo, ours, path)?,
            theirs: tree::entry_at(repo, theirs, path)?,
        };
        let merged = merge::merge(repo, path, sides, &mut conflicts)?;
        if merged == sides.ours {
            continue;
        }
        match tree::put(repo, result.map(|e| e.oid), path, merged)? {
            Ok(new) => result = new,
            Err(file) => conflicts.push(file),
        }
    }
    if !conflicts.is_empty() {
        conflicts.sort();
        conflicts.dedup();
        return Err(Stop::Conflict(conflicts));
    }
    match result {
        Some(entry) => Ok(entry.oid),
        None => Ok(repo.treebuilder(None)?.write()?),
    }
}

fn newest_touching(history: &mut History<'_>, range: &Range) -> Result<Oid, Stop> {
    for commit in history.between(range.bad, range.tip)? {
        if history.touches(commit)? {
            return Ok(commit);
        }
    }
    // The tip's content differs from bad's, so some commit in between changed it.
    Ok(range.tip)
}

fn already(
    repo: &Repository,
    footprint: &Footprint,
    commit: Oid,
    culprits: Culprits,
    content: String,
) -> Result<Found, Stop> {
    let done = repo.find_commit(commit)?;
    let mut files = match done.parents().next() {
        Some(parent) => tree::changed(repo, parent.tree_id(), done.tree_id())?,
        None => Vec::new(),
    };
    files.retain(|file| footprint.contains(file));
    let Culprits { all, single } = culprits;
    let evidence = Evidence { culprits: all, single, files, content };
    Ok(Found::Already(Already { commit, evidence }))
}

/// The content of the footprint at a commit, and the relation of two commits.
pub(crate) fn relate(
    repo: &Repository,
    footprint: &Footprint,
    ancestor: Oid,
    descendant: Oid,
) -> Result<(bool, String, bool), Stop> {
    let mut history = History::new(repo, footprint);
    history.complete(descendant, Some(ancestor))?;
    let descends = history.descends(descendant, ancestor)?;
    let new = history.snapshot(descendant)?;
    let same = new == history.snapshot(ancestor)?;
    Ok((descends, new.digest(footprint)?, same))
}

/// Paths for people.
pub(crate) fn lossy(files: &[Vec<u8>]) -> Vec<String> {
    files.iter().map(|file| String::from_utf8_lossy(file).into_owned()).collect()
}

pub(crate) use history::culprit;
