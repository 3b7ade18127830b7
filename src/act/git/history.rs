//! Walking commits: which are in a range, and which of them touch a footprint.

use std::collections::{HashMap, HashSet};

use git2::{ErrorCode, Oid, Repository};

use super::footprint::Footprint;
use super::graph::{self, Graph, Node};
use super::plan::Stop;
use super::tree::{Snapshot, Trail};
use crate::engine::action::Culprit;
use crate::engine::facts::Revision;

/// Reads snapshots of one footprint and remembers them, since one plan asks for the same commits again and again.
pub(crate) struct History<'r> {
    pub(crate) repo: &'r Repository,
    pub(crate) footprint: &'r Footprint,
    snapshots: HashMap<Oid, Snapshot>,
    /// The way to each root of the footprint in the tree that was read last; the next one differs little.
    trails: Vec<Trail>,
    /// The range that was found complete.
    graph: Option<Graph>,
}

impl<'r> History<'r> {
    pub(crate) fn new(repo: &'r Repository, footprint: &'r Footprint) -> Self {
        let trails = vec![Trail::default(); footprint.roots().len()];
        Self { repo, footprint, snapshots: HashMap::new(), trails, graph: None }
    }

    /// What the footprint holds at a commit.
    pub(crate) fn snapshot(&mut self, commit: Oid) -> Result<Snapshot, git2::Error> {
        if let Some(known) = self.snapshots.get(&commit) {
            return Ok(known.clone());
        }
        let tree = self.node(commit, |node| node.tree)?;
        let snapshot = Snapshot::along(self.repo, tree, self.footprint, &mut self.trails)?;
        self.snapshots.insert(commit, snapshot.clone());
        Ok(snapshot)
    }

    /// Something of a commit, from memory if it is in the range that was read.
    fn node<T>(&self, commit: Oid, get: impl Fn(&Node) -> T) -> Result<T, git2::Error> {
        match self.graph.as_ref().and_then(|graph| graph.node(commit)) {
            Some(node) => Ok(get(node)),
            None => Node::read(&self.repo.odb()?, commit).map(|node| get(&node)),
        }
    }

    /// The commits that it was made on.
    pub(crate) fn parents(&self, commit: Oid) -> Result<Vec<Oid>, git2::Error> {
        self.node(commit, |node| node.parents.clone())
    }

    fn first_parent(&self, commit: Oid) -> Result<Option<Oid>, git2::Error> {
        self.node(commit, |node| node.parents.first().copied())
    }

    /// Whether a commit changed the footprint, seen from its first parent.
    pub(crate) fn touches(&mut self, commit: Oid) -> Result<bool, git2::Error> {
        let before = match self.first_parent(commit)? {
            Some(parent) => self.snapshot(parent)?,
            None => Snapshot::of(self.repo, None, self.footprint)?,
        };
        Ok(before != self.snapshot(commit)?)
    }

    /// The commits after `old` up to `new`, newest first.
    pub(crate) fn between(&self, old: Oid, new: Oid) -> Result<Vec<Oid>, git2::Error> {
        self.after(&[old], new)
    }

    fn after(&self, olds: &[Oid], new: Oid) -> Result<Vec<Oid>, git2::Error> {
        match self.graph.as_ref().and_then(|graph| graph.between(olds, new)) {
            Some(commits) => Ok(commits),
            None => graph::walk(self.repo, olds, new),
        }
    }

    /// The commits after `old` up to `tip` that touch the footprint, newest first; merges off the line repeat others.
    pub(crate) fn newer(&mut self, old: Oid, tip: Oid) -> Result<Vec<Oid>, git2::Error> {
        let mut newer = Vec::new();
        for commit in self.between(old, tip)? {
            if self.touches(commit)? {
                newer.push(commit);
            }
        }
        Ok(newer)
    }

    /// The newest commit on the first-parent line before `bad` whose footprint differs from bad's.
    ///
    /// The first-parent line, since only what was the branch's tip once can have been live.
    pub(crate) fn newest_differing(&mut self, bad: Oid) -> Result<Option<Oid>, Stop> {
        let content = self.snapshot(bad)?;
        let mut at = bad;
        loop {
            graph::has_parents(self.repo, at)?;
            let Some(parent) = self.first_parent(at)? else { return Ok(None) };
            let tree = self.node(parent, |node| node.tree)?;
            if Snapshot::along(self.repo, tree, self.footprint, &mut self.trails)? != content {
                return Ok(Some(parent));
            }
            at = parent;
        }
    }

    /// The culprit range: what made the footprint differ between good and bad.
    ///
    /// Merges off the branch's own line are left out: seen from their first parent they repeat what the branch had.
    pub(crate) fn culprits(&mut self, good: Oid, bad: Oid) -> Result<Culprits, git2::Error> {
        let content = self.snapshot(good)?;
        let range: HashSet<Oid> = self.between(good, bad)?.into_iter().collect();
        let mut line = Vec::new();
        let mut anchor = None;
        let mut at = Some(bad).filter(|bad| range.contains(bad));
        while let Some(commit) = at {
            // What came before the newest return to the good content has cancelled itself.
            if self.snapshot(commit)? == content {
                anchor = Some(commit);
                break;
            }
            line.push(commit);
            at = self.first_parent(commit)?.filter(|p| range.contains(p));
        }
        let hidden: Vec<Oid> = [Some(good), anchor].into_iter().flatten().collect();
        let mainline: HashSet<Oid> = line.into_iter().collect();
        let mut all = Vec::new();
        let mut own = Vec::new();
        for commit in self.after(&hidden, bad)? {
            let on_line = mainline.contains(&commit);
            let is_merge = self.node(commit, |node| node.parents.len())? > 1;
            if (on_line || !is_merge) && self.touches(commit)? {
                all.push(commit);
                own.extend(on_line.then_some(commit));
            }
        }
        if all.is_empty() {
            // Only a merge whose sides say nothing of it can get here; whatever it is, bad brought it.
            all.push(bad);
        }
        let single = if let [only] = own.as_slice() { Some(*only) } else { None };
        Ok(Culprits { all, single })
    }

    /// Refuses when history is cut off between `old` and `tip`; what was read is kept.
    pub(crate) fn complete(&mut self, tip: Oid, old: Option<Oid>) -> Result<(), Stop> {
        self.graph = Some(Graph::read(self.repo, tip, old)?);
        Ok(())
    }

    /// Whether `descendant` is `ancestor` or comes after it.
    pub(crate) fn descends(&self, descendant: Oid, ancestor: Oid) -> Result<bool, git2::Error> {
        if descendant == ancestor {
            return Ok(true);
        }
        match self.graph.as_ref().and_then(|graph| graph.descends(descendant, ancestor)) {
            Some(descends) => Ok(descends),
            None => self.repo.graph_descendant_of(descendant, ancestor),
        }
    }

    /// Whether the commit is at hand.
    pub(crate) fn has_commit(&self, id: Oid) -> Result<bool, git2::Error> {
        match self.repo.find_commit(id) {
            Ok(_) => Ok(true),
            Err(e) if e.code() == ErrorCode::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// The culprit range.
#[derive(Clone, Debug)]
pub(crate) struct Culprits {
    /// Its commits, newest first; never empty.
    pub(crate) all: Vec<Oid>,
    /// The only one on the branch's own line, if it is only one.
    pub(crate) single: Option<Oid>,
}

/// The id as the engine writes it.
pub(crate) fn revision(id: Oid) -> Revision {
    Revision::new(id.to_string())
}

/// The commit's message, whatever its encoding.
pub(crate) fn message(repo: &Repository, id: Oid) -> Result<String, git2::Error> {
    let odb = repo.odb()?;
    let object = odb.read(id)?;
    let data = object.data();
    // Without libgit2's parsing, which costs more than reading where thousands are looked at.
    let end = data.windows(2).position(|two| two == b"\n\n").map_or(data.len(), |at| at + 2);
    let message = String::from_utf8_lossy(data.get(end..).unwrap_or_default());
    Ok(message.trim_start_matches('\n').to_owned())
}

/// The commit as evidence names it.
pub(crate) fn culprit(repo: &Repository, id: Oid) -> Result<Culprit, git2::Error> {
    let commit = repo.find_commit(id)?;
    let (author, authored_at) = signature(&commit.author());
    let (committer, committed_at) = signature(&commit.committer());
    let subject = String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned();
    let (committer, committed_at) = (Some(committer), Some(committed_at));
    Ok(Culprit { revision: revision(id), author, authored_at, committer, committed_at, subject })
}

/// Who, and when.
fn signature(signature: &git2::Signature<'_>) -> (String, jiff::Timestamp) {
    let name = String::from_utf8_lossy(signature.name_bytes());
    let email = String::from_utf8_lossy(signature.email_bytes());
    // A time that no calendar holds is a forged one; the epoch says so well enough.
    let at = jiff::Timestamp::from_second(signature.when().seconds()).unwrap_or_default();
    (format!("{name} <{email}>"), at)
}
