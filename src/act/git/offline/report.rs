//! What came of a person's wish, in a form that can be printed.

use git2::{DiffOptions, Oid, Patch, Repository};

use super::super::plan::{self, Evidence, Plan, quoted};
use super::super::tree;
use crate::engine::action::{Culprit, Refusal};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a plan.
    Revert,
    /// There is nothing to do.
    Nothing,
    /// Later commits changed the same lines.
    Conflict,
    /// It must not be.
    Refused,
}

/// A file that the plan changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file, quoted as Git does where its name is not plain.
    pub file: String,
    /// Lines that come; none for a binary file.
    pub added: Option<usize>,
    /// Lines that go.
    pub removed: Option<usize>,
}

/// The answer to a [`Wish`](super::Wish).
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The branch's tip.
    pub tip: Oid,
    /// Last good, where it is known.
    pub good: Option<Oid>,
    /// Bad, where it is known.
    pub bad: Option<Oid>,
    /// The tree of the planned commit.
    pub tree: Option<Oid>,
    /// The files that it changes.
    pub changes: Vec<Change>,
    /// The commits that it undoes, newest first.
    pub culprits: Vec<Culprit>,
    /// Commits after bad that touch the footprint, newest first: one of them may be the fix.
    pub newer: Vec<Culprit>,
    /// Files where later changes conflict.
    pub conflicts: Vec<String>,
    /// Files where later changes are given up, with [`OnConflict::Restore`](super::OnConflict::Restore).
    pub restored: Vec<String>,
    /// Files and folders that the plan may touch; folders end in `/`.
    pub footprint: Vec<String>,
    /// What was not followed.
    pub notes: Vec<String>,
    /// The other paths that are rendered from files that the plan changes.
    pub touched: Vec<String>,
    /// Why there is no plan.
    pub reason: Option<String>,
    /// The commit, once it is on the branch.
    pub pushed: Option<Oid>,
    pub(super) plan: Option<Plan>,
}

impl Report {
    pub(super) fn new(tip: Oid, good: Oid, bad: Oid) -> Self {
        Self { good: Some(good), bad: Some(bad), ..Self::empty(tip) }
    }

    pub(super) fn refused(tip: Oid, refusal: &Refusal) -> Self {
        let mut report = Self::empty(tip);
        report.refuse(refusal);
        report
    }

    fn empty(tip: Oid) -> Self {
        Self {
            outcome: Outcome::Nothing,
            tip,
            good: None,
            bad: None,
            tree: None,
            changes: Vec::new(),
            culprits: Vec::new(),
            newer: Vec::new(),
            conflicts: Vec::new(),
            restored: Vec::new(),
            footprint: Vec::new(),
            notes: Vec::new(),
            touched: Vec::new(),
            reason: None,
            pushed: None,
            plan: None,
        }
    }

    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        self.outcome = Outcome::Refused;
        self.reason = Some(refusal.to_string());
    }

    pub(super) fn nothing(
        &mut self,
        reason: &str,
        evidence: Option<Evidence>,
        repo: &Repository,
    ) -> Result<(), git2::Error> {
        self.outcome = Outcome::Nothing;
        self.reason = Some(reason.to_owned());
        // Nothing changes: the planned commit would have the tip's own tree.
        self.tree = Some(repo.find_commit(self.tip)?.tree_id());
        if let Some(evidence) = evidence {
            self.culprits = told(repo, &evidence.culprits)?;
        }
        Ok(())
    }

    pub(super) fn conflict(
        &mut self,
        repo: &Repository,
        files: &[Vec<u8>],
        culprits: &[Oid],
    ) -> Result<(), git2::Error> {
        self.outcome = Outcome::Conflict;
        self.conflicts = plan::lossy(files);
        self.culprits = told(repo, culprits)?;
        self.reason = Some(format!("later commits changed the same lines in {}", self.conflicts.join(", ")));
        Ok(())
    }

    pub(super) fn planned(
        &mut self,
        repo: &Repository,
        plan: &Plan,
        newer: &[Oid],
    ) -> Result<(), git2::Error> {
        let evidence = &plan.evidence;
        self.outcome = Outcome::Revert;
        self.tree = Some(plan.tree);
        self.culprits = told(repo, &evidence.culprits)?;
        self.newer = told(repo, newer)?;
        self.restored = plan::lossy(&evidence.restored);
        let old = repo.find_commit(self.tip)?.tree_id();
        for file in &evidence.files {
            self.changes.push(change(repo, old, plan.tree, file)?);
        }
        Ok(())
    }
}

fn told(repo: &Repository, commits: &[Oid]) -> Result<Vec<Culprit>, git2::Error> {
    commits.iter().map(|id| plan::culprit(repo, *id)).collect()
}

fn change(repo: &Repository, old: Oid, new: Oid, file: &[u8]) -> Result<Change, git2::Error> {
    let blob = |root: Oid| -> Result<_, git2::Error> {
        let entry = tree::entry_at(repo, root, file)?.filter(|e| e.is_file());
        entry.map(|e| repo.find_blob(e.oid)).transpose()
    };
    let (before, after) = (blob(old)?, blob(new)?);
    let content =
        |blob: &Option<git2::Blob<'_>>| blob.as_ref().map_or_else(Vec::new, |b| b.content().to_vec());
    let is_binary = [&before, &after].into_iter().flatten().any(git2::Blob::is_binary);
    let (mut added, mut removed) = (None, None);
    if !is_binary {
        let (before, after) = (content(&before), content(&after));
        let patch = Patch::from_buffers(&before, None, &after, None, Some(&mut DiffOptions::new()))?;
        let (_, plus, minus) = patch.line_stats()?;
        (added, removed) = (Some(plus), Some(minus));
    }
    Ok(Change { file: quoted(file), added, removed })
}
