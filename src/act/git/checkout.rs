//! What commit a folder on this machine is checked out at.

use std::path::Path;

use git2::{Repository, StatusOptions};

use super::history;
use crate::engine::action::Culprit;

/// A folder in the working tree of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// The commit that is checked out.
    pub commit: Culprit,
    /// Whether the folder holds something else than that commit.
    pub changed: bool,
}

/// The commit that `folder` is checked out at; none where it lies in no repository, or in one that cannot be read.
pub fn of(folder: &Path) -> Option<Checkout> {
    let folder = folder.canonicalize().ok()?;
    let repo = Repository::discover(&folder).ok()?;
    let commit = history::culprit(&repo, repo.head().ok()?.peel_to_commit().ok()?.id()).ok()?;
    let root = repo.workdir()?.canonicalize().ok()?;
    let mut options = StatusOptions::new();
    options.include_untracked(true).disable_pathspec_match(true);
    let inside = folder.strip_prefix(&root).ok()?;
    if !inside.as_os_str().is_empty() {
        options.pathspec(inside);
    }
    let changed = !repo.statuses(Some(&mut options)).ok()?.is_empty();
    Some(Checkout { commit, changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_at_the_commit_that_is_checked_out() {
        let dir = tempfile::tempdir().unwrap();
        let policies = dir.path().join("deep/policies");
        std::fs::create_dir_all(&policies).unwrap();
        std::fs::write(policies.join("a.yaml"), "a").unwrap();
        assert_eq!(of(&policies), None, "it lies in no repository");
        let repo = Repository::init(dir.path()).unwrap();
        assert_eq!(of(&policies), None, "there is no commit");
        let mut index = repo.index().unwrap();
        index.add_path(Path::new("deep/policies/a.yaml")).unwrap();
        index.write().unwrap();
        let tree = repo.find_tree(index.write_tree().unwrap()).unwrap();
        let ann = git2::Signature::now("Ann", "ann@example.org").unwrap();
        let id = repo.commit(Some("HEAD"), &ann, &ann, "policies: a\n", &tree, &[]).unwrap();
        std::fs::write(dir.path().join("elsewhere"), "new").unwrap();
        let found = of(&policies).unwrap();
        assert_eq!((found.commit.revision.as_str(), found.changed), (id.to_string().as_str(), false));
        assert_eq!(found.commit.committer.as_deref(), Some("Ann <ann@example.org>"));
        std::fs::write(policies.join("a.yaml"), "b").unwrap();
        assert!(of(&policies).unwrap().changed);
        assert!(of(dir.path()).unwrap().changed);
    }
}
