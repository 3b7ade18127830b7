//! Which other applications are rendered from files that a plan changes.

use git2::{Oid, Repository};

use super::footprint::{Followed, follow, follow_each};
use super::plan::commit_id;
use crate::engine::action::{Other, Standing, Touched};
use crate::engine::facts::Rendering;

/// What applications are rendered from at either of some commits; those that are not at hand add nothing.
pub(crate) fn followed(
    repo: &Repository,
    commits: &[Oid],
    renderings: &[Rendering],
) -> Result<Followed, git2::Error> {
    let mut found = Followed::default();
    for commit in commits {
        if let Ok(commit) = repo.find_commit(*commit) {
            found.unite(follow(repo, commit.tree_id(), renderings)?);
        }
    }
    Ok(found)
}

/// Those whose footprint at one of these commits, the bad one first, holds one of the files.
pub(crate) fn touched(
    repo: &Repository,
    others: &[Other],
    commits: &[Oid],
    files: &[Vec<u8>],
) -> Result<Vec<Touched>, git2::Error> {
    let renderings: Vec<&[Rendering]> = others.iter().map(|other| other.renderings.as_slice()).collect();
    let mut all: Vec<Followed> = others.iter().map(|_| Followed::default()).collect();
    for commit in commits {
        let tree = repo.find_commit(*commit)?.tree_id();
        for (known, found) in all.iter_mut().zip(follow_each(repo, tree, &renderings)?) {
            known.unite(found);
        }
    }
    let mut touched = Vec::new();
    for (other, followed) in others.iter().zip(all) {
        // One that is rendered from nothing here has no footprint.
        let Ok(footprint) = followed.footprint() else { continue };
        if files.iter().any(|file| footprint.contains(file)) {
            let standing = match (other.standing, commits.first()) {
                (Standing::Well, Some(bad)) if !has_change(repo, other, *bad)? => Standing::Undecided,
                (standing, _) => standing,
            };
            touched.push(Touched { app: other.app.clone(), standing });
        }
    }
    Ok(touched)
}

/// Whether the change has reached the other application; if that is not known, it has.
fn has_change(repo: &Repository, other: &Other, bad: Oid) -> Result<bool, git2::Error> {
    let Some(at) = other.revision.as_ref().and_then(|at| commit_id(at).ok()) else { return Ok(true) };
    if at == bad || repo.find_commit(at).is_err() {
        return Ok(true);
    }
    repo.graph_descendant_of(at, bad)
}
