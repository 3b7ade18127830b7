//! Reads what a ledger and the reverts that it names are made of, and changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use git2::{ErrorCode, ObjectType, Oid, Repository, Sort, TreeWalkMode, TreeWalkResult};
use jiff::Timestamp;

use super::access::Access;
use super::cache::{self, Target};
use super::error::{Class, Failure, GitError};
use super::message::{TRAILER_ROLLBACK, trailer, trailers};
use super::plan::quoted;
use super::sign::Trusted;
use super::url::{Scheme, local_path};
use super::{Git, Trouble, tree};

/// A commit as it is, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// The commits that it was made on.
    pub parents: Vec<String>,
    /// Its author, `Name <address>`.
    pub author: String,
    /// Its author's time.
    pub authored_at: Timestamp,
    /// Its committer's time.
    pub committed_at: Timestamp,
    /// The first line of its message.
    pub subject: String,
    /// The trailers of its message.
    pub trailers: Vec<(String, String)>,
    /// The files that it changes, seen from its first parent; paths as Git prints them.
    pub changes: Vec<Change>,
    /// Whether it is signed, by whom.
    pub signature: Signed,
}

/// A file that a commit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path from the root.
    pub path: String,
    /// What becomes of it.
    pub kind: ChangeKind,
}

/// What a commit does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It has another content.
    Modified,
    /// It is gone.
    Removed,
}

/// What a commit's signature is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// There is none.
    Not,
    /// It is good, and made by this key, which is trusted.
    By(String),
    /// It is none of a trusted key, or not of this content.
    Wrong(String),
    /// Nobody said which keys to trust.
    NotChecked,
}

impl Commit {
    /// The value of the first trailer with this key.
    pub fn trailer(&self, key: &str) -> Option<&str> {
        self.trailers.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
    }
}

/// A repository on this disk that is only read.
pub struct Inspected {
    repo: Repository,
    place: String,
}

impl Git {
    /// Finds a repository on this disk, or fetches the branches below `prefix`, those named and the default one into a copy;
    /// gives its folder and the default branch.
    ///
    /// A branch that is not there is no error.
    pub fn inspect(
        &self,
        access: &Access,
        prefix: Option<&str>,
        branches: &BTreeSet<String>,
        deadline: Instant,
    ) -> Result<(PathBuf, Option<String>), GitError> {
        if Scheme::of(&access.url) == Some(Scheme::Local) {
            let path = local_path(&access.url).ok_or_else(|| {
                Failure::new(Class::NotFound, "the file URL names no path here").on(&access.url)
            })?;
            let default = Inspected::open(&path)?.default_branch();
            return Ok((path, default));
        }
        let fetched = self.with_copy(access, deadline, |repo, session| {
            if let Some(prefix) = prefix {
                cache::fetch_below(repo, session, &format!("{}/", prefix.trim_end_matches('/')))?;
            }
            for branch in branches {
                cache::fetch_branch(repo, session, branch)?;
            }
            let default = match cache::fetch_branch(repo, session, "HEAD")? {
                Target::Branch { name, .. } => Some(name),
                Target::NotABranch => None,
            };
            Ok((repo.path().to_path_buf(), default))
        });
        fetched.map_err(|trouble: Trouble| trouble.into_failure().on(&access.url))
    }
}

impl Inspected {
    /// Opens the repository in a folder: a bare one, or one with a working tree.
    pub fn open(folder: &Path) -> Result<Self, GitError> {
        let place = folder.display().to_string();
        // `open_bare` does not mind who owns the files.
        let opened = Repository::open_bare(folder).or_else(|_| Repository::open(folder));
        match opened {
            Ok(repo) => Ok(Self { repo, place }),
            Err(e) if e.code() == ErrorCode::NotFound => {
                Err(Failure::new(Class::NotFound, "the folder holds no Git repository").on(&place))
            }
            Err(e) => Err(Failure::from_git2(&e).on(&place)),
        }
    }

    /// The branch that `HEAD` names.
    fn default_branch(&self) -> Option<String> {
        let head = self.repo.find_reference("HEAD").ok()?;
        let target = head.symbolic_target_bytes()?;
        let name = String::from_utf8_lossy(target).into_owned();
        name.strip_prefix("refs/heads/").map(str::to_owned)
    }

    fn failed(&self, error: &git2::Error) -> GitError {
        Failure::from_git2(error).on(&self.place)
    }

    /// The branches below `prefix`, each with its newest commit: the repository's own, else those of the remote that it was
    /// cloned from.
    pub fn branches(&self, prefix: &str) -> Result<Vec<(String, Oid)>, GitError> {
        let find = || -> Result<_, git2::Error> {
            let mut found: Vec<(String, Oid)> = Vec::new();
            for (glob, skipped) in [("refs/heads", 2), ("refs/remotes/*", 3)] {
                for reference in self.repo.references_glob(&format!("{glob}/{prefix}/*"))? {
                    let reference = reference?;
                    let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
                    let name = name.splitn(skipped + 1, '/').last().unwrap_or_default().to_owned();
                    let Some(tip) = reference.target() else { continue };
                    if !found.iter().any(|(known, _)| *known == name) {
                        found.push((name, tip));
                    }
                }
            }
            found.sort();
            Ok(found)
        };
        find().map_err(|e| self.failed(&e))
    }

    /// The newest commit of a branch; none if there is no such branch.
    pub fn tip(&self, branch: &str) -> Result<Option<Oid>, GitError> {
        for name in [format!("refs/heads/{branch}"), format!("refs/remotes/origin/{branch}")] {
            match self.repo.refname_to_id(&name) {
                Ok(tip) => return Ok(Some(tip)),
                Err(e) if matches!(e.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => {}
                Err(e) => return Err(self.failed(&e)),
            }
        }
        Ok(None)
    }

    /// The URLs of its remotes.
    pub fn remotes(&self) -> Vec<String> {
        let Ok(names) = self.repo.remotes() else { return Vec::new() };
        let url = |name: &str| {
            Some(String::from_utf8_lossy(self.repo.find_remote(name).ok()?.url_bytes()).into_owned())
        };
        names.iter().flatten().flatten().filter_map(url).collect()
    }

    /// The files of a commit, by their paths.
    pub fn files(&self, commit: Oid) -> Result<Vec<(String, Oid)>, GitError> {
        let walk = || -> Result<_, git2::Error> {
            let mut files = Vec::new();
            self.repo.find_commit(commit)?.tree()?.walk(TreeWalkMode::PreOrder, |folder, entry| {
                if entry.kind() != Some(ObjectType::Tree) {
                    let path = [folder.as_bytes(), entry.name_bytes()].concat();
                    files.push((quoted(&path), entry.id()));
                }
                TreeWalkResult::Ok
            })?;
            Ok(files)
        };
        walk().map_err(|e| self.failed(&e))
    }

    /// The bytes of a file.
    pub fn file(&self, id: Oid) -> Result<Vec<u8>, GitError> {
        let read = || -> Result<_, git2::Error> { Ok(self.repo.odb()?.read(id)?.data().to_vec()) };
        read().map_err(|e| self.failed(&e))
    }

    /// All commits of a branch, oldest first.
    pub fn history(&self, tip: Oid, trusted: Option<&Trusted>) -> Result<Vec<Commit>, GitError> {
        let read = || -> Result<_, git2::Error> {
            let mut walk = self.repo.revwalk()?;
            walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
            walk.push(tip)?;
            walk.map(|id| self.read(id?, trusted)).collect()
        };
        read().map_err(|e| self.failed(&e))
    }

    /// The commits of a branch whose message says that they are a rollback, newest first, which were committed since then.
    pub fn reverts(
        &self,
        tip: Oid,
        since: Option<Timestamp>,
        trusted: Option<&Trusted>,
    ) -> Result<Vec<Commit>, GitError> {
        let read = || -> Result<_, git2::Error> {
            let mut walk = self.repo.revwalk()?;
            walk.push(tip)?;
            let mut found = Vec::new();
            for id in walk {
                let id = id?;
                let message = super::history::message(&self.repo, id)?;
                if trailer(&trailers(&message), TRAILER_ROLLBACK).is_none() {
                    continue;
                }
                let commit = self.read(id, trusted)?;
                if since.is_none_or(|since| since <= commit.committed_at) {
                    found.push(commit);
                }
            }
            Ok(found)
        };
        read().map_err(|e| self.failed(&e))
    }

    /// A commit by its id; none if it is not there.
    pub fn commit(&self, id: &str, trusted: Option<&Trusted>) -> Result<Option<Commit>, GitError> {
        let Ok(oid) = Oid::from_str(id) else { return Ok(None) };
        match self.repo.find_commit(oid) {
            Ok(_) => self.read(oid, trusted).map(Some).map_err(|e| self.failed(&e)),
            Err(e) if e.code() == ErrorCode::NotFound => Ok(None),
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// Whether the commit is on the branch with this newest commit.
    pub fn is_on(&self, tip: Oid, id: &str) -> Result<bool, GitError> {
        let Ok(oid) = Oid::from_str(id) else { return Ok(false) };
        let descends = tip == oid || self.repo.graph_descendant_of(tip, oid).map_err(|e| self.failed(&e))?;
        Ok(descends)
    }

    fn read(&self, id: Oid, trusted: Option<&Trusted>) -> Result<Commit, git2::Error> {
        let commit = self.repo.find_commit(id)?;
        let before = commit.parents().next().map(|parent| parent.tree_id());
        let changes = tree::differences(&self.repo, before, commit.tree_id())?;
        let kind = |before, after| match (before, after) {
            (false, _) => ChangeKind::Added,
            (true, true) => ChangeKind::Modified,
            (true, false) => ChangeKind::Removed,
        };
        let change = |d: tree::Difference| Change { path: quoted(&d.path), kind: kind(d.before, d.after) };
        let told = super::history::culprit(&self.repo, id)?;
        let message = super::history::message(&self.repo, id)?;
        let committed_at = Timestamp::from_second(commit.time().seconds()).unwrap_or_default();
        Ok(Commit {
            id: id.to_string(),
            parents: commit.parent_ids().map(|parent| parent.to_string()).collect(),
            author: told.author,
            authored_at: told.authored_at,
            committed_at,
            subject: told.subject,
            trailers: trailers(&message).into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            changes: changes.into_iter().map(change).collect(),
            signature: match trusted {
                Some(trusted) => self.signature(id, committed_at, trusted)?,
                None => Signed::NotChecked,
            },
        })
    }

    fn signature(&self, id: Oid, at: Timestamp, trusted: &Trusted) -> Result<Signed, git2::Error> {
        let (signature, content) = match self.repo.extract_signature(&id, None) {
            Ok(signed) => signed,
            Err(e) if e.code() == ErrorCode::NotFound => return Ok(Signed::Not),
            Err(e) => return Err(e),
        };
        Ok(match trusted.check(&String::from_utf8_lossy(&signature), &content, at) {
            Ok(by) => Signed::By(by),
            Err(why) => Signed::Wrong(why),
        })
    }
}
