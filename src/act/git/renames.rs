//! The merge of a footprint in which files have moved: libgit2's, which follows renames as Git does.

use std::collections::BTreeSet;

use git2::{Delta, Diff, DiffFindOptions, DiffOptions, IndexConflict, MergeOptions, Oid, Repository, Tree};

use super::attributes::{Attributes, Driver};
use super::footprint::Footprint;
use super::tree;

/// Files on each side that are compared to find what moved where, as Git's `merge.renameLimit`; beyond it the merge
/// sees files that were removed and others that were added, which conflicts where both sides changed them.
const RENAMES_MAX: u32 = 7000;

/// Merges the footprint of base, ours and theirs into ours; or the conflicting paths, sorted.
pub(crate) fn merge(
    repo: &Repository,
    footprint: &Footprint,
    roots: [Oid; 3],
    attributes: &Attributes<'_>,
) -> Result<Result<Oid, Vec<Vec<u8>>>, git2::Error> {
    let [_, whole, _] = roots;
    let mut only = Vec::with_capacity(roots.len());
    for root in roots {
        only.push(repo.find_tree(limited(repo, footprint, root)?)?);
    }
    let [base, ours, theirs] = only.as_slice() else { return Ok(Err(Vec::new())) };
    let mut changed = Vec::new();
    for side in [ours, theirs] {
        changed.extend(tree::changed(repo, base.id(), side.id())?);
    }
    attributes.load(changed.iter().map(Vec::as_slice))?;
    let mut options = MergeOptions::new();
    options.find_renames(true).target_limit(RENAMES_MAX);
    let mut index = repo.merge_trees(base, ours, theirs, Some(&options))?;
    let mut conflicts = BTreeSet::new();
    for conflict in index.conflicts()? {
        conflicts.extend(paths(&conflict?));
    }
    conflicts.extend(misplaced(repo, base, ours, theirs)?);
    if conflicts.is_empty() {
        let merged = index.write_tree_to(repo)?;
        conflicts.extend(merged_by_nobody(repo, merged, [ours, theirs], attributes)?);
        if conflicts.is_empty() {
            let entries = tree::entries_at(repo, merged, footprint.roots())?;
            let entries: Vec<_> = footprint.roots().iter().cloned().zip(entries).collect();
            return tree::put_all(repo, whole, &entries);
        }
    }
    Ok(Err(conflicts.into_iter().collect()))
}

/// A tree that holds the footprint and nothing else.
fn limited(repo: &Repository, footprint: &Footprint, root: Oid) -> Result<Oid, git2::Error> {
    let empty = repo.treebuilder(None)?.write()?;
    let entries = tree::entries_at(repo, root, footprint.roots())?;
    let entries: Vec<_> = footprint.roots().iter().cloned().zip(entries).collect();
    // No root lies in another one, so that none can stand in another's way.
    tree::put_all(repo, empty, &entries).map(|put| put.unwrap_or(empty))
}

fn paths(conflict: &IndexConflict) -> impl Iterator<Item = Vec<u8>> {
    let sides = [&conflict.ancestor, &conflict.our, &conflict.their];
    sides.map(|side| side.as_ref().map(|entry| entry.path.clone())).into_iter().flatten()
}

/// What one side did to files that the other side moved and libgit2 does not see, where Git asks a person: files added to
/// a folder that moved away as a whole (`merge.directoryRenames=conflict`, its default), and a moved file that became a
/// link or the like.
fn misplaced(
    repo: &Repository,
    base: &Tree<'_>,
    ours: &Tree<'_>,
    theirs: &Tree<'_>,
) -> Result<Vec<Vec<u8>>, git2::Error> {
    let mut found = Vec::new();
    for (mover, other) in [(ours, theirs), (theirs, ours)] {
        let mut folders = BTreeSet::new();
        let moves = diff(repo, base, mover)?;
        for delta in moves.deltas().filter(|delta| delta.status() == Delta::Renamed) {
            let (Some(old), Some(new)) = (delta.old_file().path_bytes(), delta.new_file().path_bytes())
            else {
                continue;
            };
            if folder(old) != folder(new)
                && let Some(folder) = folder(old)
                && tree::entry_at(repo, mover.id(), folder)?.is_none()
            {
                folders.insert(folder.to_vec());
            }
        }
        for gone in tree::changed(repo, base.id(), mover.id())? {
            // The bits above the permissions: file, link, submodule or folder.
            let kind = |root: Oid| -> Result<_, git2::Error> {
                Ok(tree::entry_at(repo, root, &gone)?.map(|entry| entry.mode >> 12))
            };
            let (before, here, there) = (kind(base.id())?, kind(mover.id())?, kind(other.id())?);
            if here.is_none() && before.is_some() && there.is_some() && there != before {
                found.push(gone);
            }
        }
        if folders.is_empty() {
            continue;
        }
        for delta in diff(repo, base, other)?.deltas() {
            let is_new = matches!(delta.status(), Delta::Added | Delta::Renamed | Delta::Copied);
            if let Some(new) = delta.new_file().path_bytes().filter(|_| is_new)
                && folder(new).is_some_and(|folder| folders.contains(folder))
            {
                found.push(new.to_vec());
            }
        }
    }
    Ok(found)
}

/// The folder that a path lies in; none at the root.
fn folder(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|b| *b == b'/').and_then(|slash| path.get(..slash))
}

fn diff<'r>(repo: &'r Repository, old: &Tree<'_>, new: &Tree<'_>) -> Result<Diff<'r>, git2::Error> {
    let mut diff = repo.diff_tree_to_tree(Some(old), Some(new), Some(&mut DiffOptions::new()))?;
    let mut options = DiffFindOptions::new();
    options.renames(true).rename_limit(RENAMES_MAX as usize);
    diff.find_similar(Some(&mut options))?;
    Ok(diff)
}

/// Files that came out like neither side though a program of somebody's own should have merged them.
fn merged_by_nobody(
    repo: &Repository,
    merged: Oid,
    [ours, theirs]: [&Tree<'_>; 2],
    attributes: &Attributes<'_>,
) -> Result<Vec<Vec<u8>>, git2::Error> {
    let like_theirs: BTreeSet<_> = tree::changed(repo, theirs.id(), merged)?.into_iter().collect();
    let mut found = Vec::new();
    for file in tree::changed(repo, ours.id(), merged)? {
        if like_theirs.contains(&file)
            && tree::entry_at(repo, merged, &file)?.is_some()
            && attributes.driver(&file)? == Driver::Custom
        {
            found.push(file);
        }
    }
    Ok(found)
}
