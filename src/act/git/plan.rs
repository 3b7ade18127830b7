//! Plans a revert: a pure function from a repository and an order to the tree that the revert will hold.

use git2::{Oid, Repository};

use super::footprint::Footprint;
use super::history::{self, Culprits, History, revision};
use super::look;
use super::merge;
use super::never::{self, Never};
use super::tree::{self, Snapshot};
use crate::engine::action::Refusal;
use crate::engine::facts::{AppKey, Revision};

/// What a plan starts from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Last good.
    pub good: Oid,
    /// Bad.
    pub bad: Oid,
    /// The branch's tip.
    pub tip: Oid,
    /// The branch's name.
    pub branch: &'a str,
    /// What the application is rendered from at good and at bad: nothing else may change.
    pub footprint: &'a Footprint,
    /// What it is rendered from at bad alone: its content there is what is quarantined.
    pub at_bad: &'a Footprint,
    /// The rollback that this belongs to; none for a person who asks offline, whose wish counts more than history.
    pub rollback: Option<Rollback<'a>>,
    /// What to do where later commits changed the same lines.
    pub on_conflict: OnConflict,
    /// What must not be reverted.
    pub never: &'a Never,
}

/// By what a rollback is known in a branch's history.
#[derive(Clone, Copy, Debug)]
pub struct Rollback<'a> {
    /// Its name.
    pub id: &'a str,
    /// Whose it is.
    pub app: &'a AppKey,
    /// Content that was rolled back before: if bad holds it, refuse.
    pub quarantine: &'a [String],
}

/// What to do where later commits changed the same lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Plan nothing.
    #[default]
    Hold,
    /// Put the footprint back to exactly what it was at last good; what others changed in it since is lost.
    Restore,
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
    /// The files where later changes were given up, with [`OnConflict::Restore`].
    pub restored: Vec<Vec<u8>>,
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
    let range = Range::check(&mut history, request)?;
    let at_good = history.snapshot(range.good)?;
    let at_bad = history.snapshot(range.bad)?;
    let bad_tree = repo.find_commit(range.bad)?.tree_id();
    let content = Snapshot::of(repo, Some(bad_tree), request.at_bad)?.digest(request.at_bad)?;
    let culprits = history.culprits(range.good, range.bad)?;

    if let Some(rollback) = &request.rollback {
        if let Some(commit) = look::for_marked_revert(&mut history, rollback, &range, &culprits)? {
            if history.snapshot(range.tip)? == at_bad {
                return Err(Refusal::ContentReturned { bad: revision(range.bad) }.into());
            }
            return already(repo, request.footprint, commit, culprits, content);
        }
        if look::is_rollback(&mut history, &range)? {
            return Err(Refusal::BadIsARollback { bad: revision(range.bad) }.into());
        }
        if rollback.quarantine.contains(&content) {
            return Err(Refusal::ContentReturned { bad: revision(range.bad) }.into());
        }
    }
    if at_good == at_bad {
        let (good, bad) = (revision(range.good), revision(range.bad));
        return Err(Refusal::NothingToRevert { good, bad }.into());
    }
    refuse_deletion(&at_good, &range)?;
    if history.snapshot(range.tip)?.is_empty() && !at_bad.is_empty() {
        return Err(Refusal::Gone { branch: request.branch.to_owned() }.into());
    }

    let old = repo.find_commit(range.tip)?.tree_id();
    let (new, restored) = match merged(repo, request.footprint, &range) {
        Err(Stop::Conflict(files)) if request.on_conflict == OnConflict::Restore => {
            (restored(repo, request.footprint, &range)?, files)
        }
        other => (other?, Vec::new()),
    };
    if new == old {
        let commit = history.newer(range.bad, range.tip)?.first().copied().unwrap_or(range.tip);
        return already(repo, request.footprint, commit, culprits, content);
    }
    let files = tree::changed(repo, old, new)?;
    if let Some(file) = files.iter().find(|file| !request.footprint.contains(file)) {
        let file = quoted(file);
        return Err(Refusal::OutsideFootprint { file }.into());
    }
    never::check(repo, request.never, &culprits.all, old, new, &files)?;
    let Culprits { all, single } = culprits;
    let evidence = Evidence { culprits: all, single, files, restored, content };
    Ok(Found::Plan(Plan { tree: new, evidence }))
}

/// The three commits of a plan, known to be at hand and in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) good: Oid,
    pub(crate) bad: Oid,
    pub(crate) tip: Oid,
}

impl Range {
    fn check(history: &mut History<'_>, request: &Request<'_>) -> Result<Self, Stop> {
        let range = Self { good: request.good, bad: request.bad, tip: request.tip };
        let (good, bad) = (revision(range.good), revision(range.bad));
        let not_on_branch =
            || Refusal::BadNotOnBranch { bad: bad.clone(), branch: request.branch.to_owned() };
        let not_ancestor = || Refusal::GoodNotAncestor { good: good.clone(), bad: bad.clone() };
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
    let roots = [root(range.bad)?, root(range.tip)?, root(range.good)?];
    merge::footprint(repo, footprint, roots)?.map_err(Stop::Conflict)
}

/// The tip's tree with the footprint exactly as it was at last good.
fn restored(repo: &Repository, footprint: &Footprint, range: &Range) -> Result<Oid, Stop> {
    let good = repo.find_commit(range.good)?.tree_id();
    let entries = tree::entries_at(repo, good, footprint.roots())?;
    let entries: Vec<_> = footprint.roots().iter().cloned().zip(entries).collect();
    let tip = repo.find_commit(range.tip)?.tree_id();
    tree::put_all(repo, tip, &entries)?.map_err(Stop::Conflict)
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
    let evidence = Evidence { culprits: all, single, files, restored: Vec::new(), content };
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

/// Paths for people, each as [`quoted`].
pub(crate) fn lossy(files: &[Vec<u8>]) -> Vec<String> {
    files.iter().map(|file| quoted(file)).collect()
}

/// A path as it is if it is plain UTF-8; else in quotes and with octal escapes as Git prints it, which loses nothing.
pub(crate) fn quoted(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(|c| c.is_control() || c == '"' || c == '\\') => text.to_owned(),
        _ => {
            let mut quoted = String::from("\"");
            for byte in path {
                match byte {
                    b'"' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
                    b'\n' => quoted.push_str("\\n"),
                    b'\t' => quoted.push_str("\\t"),
                    0x20..0x7f => quoted.push(char::from(*byte)),
                    _ => quoted.push_str(&format!("\\{byte:03o}")),
                }
            }
            quoted.push('"');
            quoted
        }
    }
}

pub(crate) use history::culprit;
