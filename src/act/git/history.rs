//! Walking commits: which are in a range, which of them touch a footprint, and whether history is all there.

use std::collections::{HashMap, HashSet};

use git2::{Commit, ErrorCode, Oid, Repository, Sort};

use super::footprint::Footprint;
use super::plan::Stop;
use super::tree::Snapshot;
use crate::engine::action::{Culprit, Refusal};
use crate::engine::facts::Revision;

/// Reads snapshots of one footprint and remembers them, since one plan asks for the same commits again and again.
pub(crate) struct History<'r> {
    pub(crate) repo: &'r Repository,
    pub(crate) footprint: &'r Footprint,
    snapshots: HashMap<Oid, Snapshot>,
}

impl<'r> History<'r> {
    pub(crate) fn new(repo: &'r Repository, footprint: &'r Footprint) -> Self {
        Self { repo, footprint, snapshots: HashMap::new() }
    }

    /// What the footprint holds at a commit.
    pub(crate) fn snapshot(&mut self, commit: Oid) -> Result<Snapshot, git2::Error> {
        if let Some(known) = self.snapshots.get(&commit) {
            return Ok(known.clone());
        }
        let tree = self.repo.find_commit(commit)?.tree_id();
        let snapshot = Snapshot::of(self.repo, Some(tree), self.footprint)?;
        self.snapshots.insert(commit, snapshot.clone());
        Ok(snapshot)
    }

    /// Whether a commit changed the footprint, seen from its first parent.
    pub(crate) fn touches(&mut self, commit: Oid) -> Result<bool, git2::Error> {
        let before = match self.repo.find_commit(commit)?.parent_ids().next() {
            Some(parent) => self.snapshot(parent)?,
            None => Snapshot::of(self.repo, None, self.footprint)?,
        };
        Ok(before != self.snapshot(commit)?)
    }

    /// The commits after `old` up to `new`, newest first.
    pub(crate) fn between(&self, old: Oid, new: Oid) -> Result<Vec<Oid>, git2::Error> {
        between(self.repo, &[old], new)
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
            self.has_parents(at)?;
            let Some(parent) = self.repo.find_commit(at)?.parent_ids().next() else { return Ok(None) };
            if Snapshot::of(self.repo, Some(self.repo.find_commit(parent)?.tree_id()), self.footprint)?
                != content
            {
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
            at = self.repo.find_commit(commit)?.parent_ids().next().filter(|p| range.contains(p));
        }
        let hidden: Vec<Oid> = [Some(good), anchor].into_iter().flatten().collect();
        let mainline: HashSet<Oid> = line.into_iter().collect();
        let mut all = Vec::new();
        let mut own = Vec::new();
        for commit in between(self.repo, &hidden, bad)? {
            let on_line = mainline.contains(&commit);
            let is_merge = self.repo.find_commit(commit)?.parent_count() > 1;
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

    /// Refuses when history is cut off between `hidden` and `tip`.
    ///
    /// libgit2 takes a boundary commit for one without parents, and undoing that would delete everything in it.
    pub(crate) fn complete(&self, tip: Oid, hidden: Option<Oid>) -> Result<(), Stop> {
        let walked: Result<Vec<Oid>, git2::Error> = between(self.repo, hidden.as_slice(), tip);
        match walked {
            Ok(commits) => {
                for commit in commits {
                    self.has_parents(commit)?;
                }
                Ok(())
            }
            Err(e) if e.code() == ErrorCode::NotFound => {
                self.find_gap(tip)?;
                Err(e.into())
            }
            Err(e) => Err(e.into()),
        }
    }

    fn has_parents(&self, id: Oid) -> Result<(), Stop> {
        let commit = self.repo.find_commit(id)?;
        let odb = self.repo.odb()?;
        let present = commit.parent_ids().all(|parent| odb.exists(parent));
        if present && written_parents(&commit) == commit.parent_ids().collect::<Vec<_>>() {
            Ok(())
        } else {
            Err(Refusal::Shallow { at: revision(id) }.into())
        }
    }

    /// Names the commit whose parents are missing, walking everything: libgit2's own walk only says that it failed.
    fn find_gap(&self, tip: Oid) -> Result<(), Stop> {
        let mut seen = HashSet::from([tip]);
        let mut open = vec![tip];
        while let Some(commit) = open.pop() {
            self.has_parents(commit)?;
            let parents: Vec<Oid> = self.repo.find_commit(commit)?.parent_ids().collect();
            open.extend(parents.into_iter().filter(|p| seen.insert(*p)));
        }
        Ok(())
    }

    /// Whether `descendant` is `ancestor` or comes after it.
    pub(crate) fn descends(&self, descendant: Oid, ancestor: Oid) -> Result<bool, git2::Error> {
        Ok(descendant == ancestor || self.repo.graph_descendant_of(descendant, ancestor)?)
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

fn between(repo: &Repository, hidden: &[Oid], tip: Oid) -> Result<Vec<Oid>, git2::Error> {
    let mut walk = repo.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
    walk.push(tip)?;
    for commit in hidden {
        walk.hide(*commit)?;
    }
    walk.collect()
}

/// The parents as the commit object itself names them, also those that libgit2 hides at a shallow boundary.
fn written_parents(commit: &Commit<'_>) -> Vec<Oid> {
    commit
        .raw_header_bytes()
        .split(|b| *b == b'\n')
        .filter_map(|line| line.strip_prefix(b"parent "))
        .filter_map(|hex| std::str::from_utf8(hex).ok().and_then(|hex| Oid::from_str(hex.trim()).ok()))
        .collect()
}

/// The id as the engine writes it.
pub(crate) fn revision(id: Oid) -> Revision {
    Revision::new(id.to_string())
}

/// The commit's message, whatever its encoding.
pub(crate) fn message(repo: &Repository, id: Oid) -> Result<String, git2::Error> {
    Ok(String::from_utf8_lossy(repo.find_commit(id)?.message_bytes()).into_owned())
}

/// The commit as evidence names it.
pub(crate) fn culprit(repo: &Repository, id: Oid) -> Result<Culprit, git2::Error> {
    let commit = repo.find_commit(id)?;
    let author = commit.author();
    let name = String::from_utf8_lossy(author.name_bytes()).into_owned();
    let email = String::from_utf8_lossy(author.email_bytes()).into_owned();
    let subject = String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned();
    // A time that no calendar holds is a forged one; the epoch says so well enough.
    let authored_at = jiff::Timestamp::from_second(author.when().seconds()).unwrap_or_default();
    Ok(Culprit { revision: revision(id), author: format!("{name} <{email}>"), authored_at, subject })
}
