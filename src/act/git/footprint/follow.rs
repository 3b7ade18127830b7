//! Finds the footprint of a rendering in one tree.

use std::collections::{BTreeMap, BTreeSet};

use git2::{Oid, Repository};

use super::super::tree;
use super::{Footprint, FootprintError, Note};
use crate::engine::facts::Rendering;

/// The files that some sources of one repository are rendered from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    // With whether it is a folder.
    roots: BTreeMap<Vec<u8>, bool>,
    notes: BTreeSet<Note>,
}

impl Followed {
    /// These folders and files and nothing that they refer to.
    pub fn only<P: AsRef<[u8]>>(paths: &[P]) -> Self {
        let roots = paths.iter().map(|path| (path.as_ref().to_vec(), false)).collect();
        Self { roots, notes: BTreeSet::new() }
    }

    /// Adds what was found in another tree: a reference may be there at bad and not at last good, or the other way.
    pub fn unite(&mut self, other: Self) {
        for (root, is_folder) in other.roots {
            *self.roots.entry(root).or_default() |= is_folder;
        }
        self.notes.extend(other.notes);
    }

    /// The footprint.
    pub fn footprint(&self) -> Result<Footprint, FootprintError> {
        Footprint::new(&self.roots.keys().collect::<Vec<_>>())
    }

    /// The roots for people: folders end in `/`.
    pub fn listed(&self) -> Result<Vec<String>, FootprintError> {
        let footprint = self.footprint()?;
        let shown = footprint.roots().iter().map(|root| {
            let is_folder = self.roots.get(root).is_some_and(|is_folder| *is_folder);
            format!("{}{}", String::from_utf8_lossy(root), if is_folder { "/" } else { "" })
        });
        Ok(shown.collect())
    }

    /// What was not followed.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }
}

/// Finds in one tree what the sources are rendered from; it reads only files that refer to others.
pub fn follow(repo: &Repository, tree: Oid, renderings: &[Rendering]) -> Result<Followed, git2::Error> {
    let mut found = Followed::default();
    for rendering in renderings {
        let generated = rendering.generate_paths.iter().filter_map(|path| path.strip_prefix('/'));
        for path in rendering.path.as_deref().into_iter().chain(generated) {
            let entry = tree::entry_at(repo, tree, path.as_bytes())?;
            found.roots.insert(path.as_bytes().to_vec(), entry.is_some_and(tree::Entry::is_folder));
        }
        for path in &rendering.referred {
            found.roots.insert(path.as_bytes().to_vec(), false);
        }
    }
    Ok(found)
}
