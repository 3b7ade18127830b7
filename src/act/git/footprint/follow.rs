//! Finds what renderings are made from in one tree.

use std::collections::{BTreeMap, BTreeSet};

use git2::{Oid, Repository};

use super::kustomize::{self, Reference};
use super::path::{is_within, join, shown};
use super::search::{APPLICATION, Search};
use super::{Footprint, FootprintError, Note, asked, directory, glob, helm};
use crate::engine::facts::{Rendering, Tool};

/// The files that some sources of one repository are rendered from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    pub(super) roots: BTreeMap<Vec<u8>, Root>,
    pub(super) notes: BTreeSet<Note>,
}

/// What a root is where it was found; a later one says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Root {
    /// Something refers to it, but it is not there.
    Missing,
    /// A file, a link or a submodule.
    File,
    /// A folder with everything in it.
    Folder,
}

impl Followed {
    /// These folders and files and nothing that they refer to.
    pub fn only<P: AsRef<[u8]>>(paths: &[P]) -> Self {
        let roots = paths.iter().map(|path| (path.as_ref().to_vec(), Root::File)).collect();
        Self { roots, notes: BTreeSet::new() }
    }

    pub(super) fn add(&mut self, path: &[u8], root: Root) {
        let known = self.roots.entry(path.to_vec()).or_insert(root);
        *known = root.max(*known);
    }

    /// Adds what was found in another tree: a reference may be there at bad and not at last good, or the other way.
    pub fn unite(&mut self, other: Self) {
        for (path, root) in other.roots {
            self.add(&path, root);
        }
        self.notes.extend(other.notes);
    }

    /// The footprint.
    ///
    /// # Errors
    /// When nothing at all was found.
    pub fn footprint(&self) -> Result<Footprint, FootprintError> {
        let paths = self.roots.iter().filter(|(path, root)| self.counts(path, **root));
        Footprint::new(&paths.map(|(path, _)| path).collect::<Vec<_>>())
    }

    /// What is missing may be a folder in another tree, where exactly those files in it were found that matter.
    fn counts(&self, path: &[u8], root: Root) -> bool {
        let mut below = self.roots.range(path.to_vec()..).skip(1).take_while(|(p, _)| p.starts_with(path));
        root > Root::Missing || !below.any(|(p, root)| is_within(p, path) && *root > Root::Missing)
    }

    /// The roots for people, folders with `/` at the end.
    ///
    /// # Errors
    /// When nothing at all was found.
    pub fn listed(&self) -> Result<Vec<String>, FootprintError> {
        let footprint = self.footprint()?;
        let list = footprint.roots().iter().map(|path| {
            let is_folder = !path.is_empty() && self.roots.get(path) == Some(&Root::Folder);
            format!("{}{}", shown(path), if is_folder { "/" } else { "" })
        });
        Ok(list.collect())
    }

    /// What was not followed.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }
}

/// Finds in one tree what the sources are rendered from; it reads only files that refer to others.
///
/// # Errors
/// When the repository cannot be read. What its files say never is an error.
pub fn follow(repo: &Repository, tree: Oid, renderings: &[Rendering]) -> Result<Followed, git2::Error> {
    let mut found = follow_each(repo, tree, &[renderings])?;
    Ok(found.pop().unwrap_or_default())
}

/// The same for each of several applications by itself; what they have in common is read once.
///
/// # Errors
/// When the repository cannot be read.
pub fn follow_each(
    repo: &Repository,
    tree: Oid,
    applications: &[&[Rendering]],
) -> Result<Vec<Followed>, git2::Error> {
    let mut search = Search::new(repo, tree);
    let mut all = Vec::with_capacity(applications.len());
    for renderings in applications {
        for rendering in *renderings {
            one(&mut search, rendering)?;
        }
        all.push(search.finish());
    }
    Ok(all)
}

fn one(search: &mut Search<'_>, rendering: &Rendering) -> Result<(), git2::Error> {
    if let Some(path) = &rendering.path {
        own(search, rendering, path)?;
    }
    for file in &rendering.referred {
        // What else was to be put in is put in.
        if file.contains('$') {
            unknown(search, APPLICATION, file);
        } else {
            helm::value_file(search, APPLICATION, b"", file)?;
        }
    }
    Ok(())
}

/// Follows a source from its own folder.
fn own(search: &mut Search<'_>, rendering: &Rendering, path: &str) -> Result<(), git2::Error> {
    let Some((path, entry)) = search.go(APPLICATION, b"", path.as_bytes())? else {
        return generate_paths(search, rendering, path.as_bytes(), true);
    };
    if !entry.is_folder() {
        return search.take_entry(&path, entry);
    }
    let mut merged = rendering.clone();
    let mut from = APPLICATION.to_vec();
    for (file, documents) in asked::overrides(search, &path, entry, rendering.instance.as_deref())? {
        search.add(&file, Root::File);
        for document in &documents {
            asked::merge(&mut merged, document);
        }
        if !documents.is_empty() {
            from = file;
        }
    }
    let tool = asked::tool(search, entry, &merged)?;
    match tool {
        Tool::Kustomize => {
            search.add(&path, Root::Folder);
            let components = merged.components.into_iter().map(Reference::Base);
            let added = components.chain(merged.patches.into_iter().map(Reference::File)).collect();
            kustomize::follow(search, &from, &path, entry, added)?;
        }
        Tool::Helm => {
            helm::chart(search, &path, entry)?;
            values(search, &from, &path, &merged)?;
        }
        Tool::Directory => match &merged.directory {
            Some(directory) => directory::manifests(search, &path, entry, directory)?,
            None => search.take_folder(&path, entry).map(drop)?,
        },
        Tool::Plugin => {
            search.take_folder(&path, entry)?;
            search.note(Note::Plugin { path: shown(&path) });
        }
    }
    generate_paths(search, rendering, &path, tool != Tool::Plugin)
}

/// Takes the files that Helm gets values from.
fn values(
    search: &mut Search<'_>,
    from: &[u8],
    path: &[u8],
    rendering: &Rendering,
) -> Result<(), git2::Error> {
    for file in &rendering.value_files {
        match rendering.expand(file) {
            Some(file) => helm::value_file(search, from, path, &file)?,
            None => unknown(search, from, file),
        }
    }
    for file in &rendering.file_parameters {
        match rendering.expand(file) {
            // No pattern counts here.
            Some(file) if !helm::is_url(&file) => {
                let folder = if file.starts_with('/') { b"".as_slice() } else { path };
                search.take(from, folder, file.as_bytes())?;
            }
            Some(file) => helm::value_file(search, from, path, &file)?,
            None => unknown(search, from, file),
        }
    }
    Ok(())
}

fn unknown(search: &mut Search<'_>, from: &[u8], file: &str) {
    search.note(Note::Unknown { from: shown(from), path: file.to_owned() });
}

/// Takes the paths of the annotation.
fn generate_paths(
    search: &mut Search<'_>,
    rendering: &Rendering,
    path: &[u8],
    is_known: bool,
) -> Result<(), git2::Error> {
    for item in &rendering.generate_paths {
        let folder = if item.starts_with('/') { b"".as_slice() } else { path };
        let Some(pattern) = join(folder, item.as_bytes()) else {
            search.note(Note::Outside { from: shown(APPLICATION), path: item.clone() });
            continue;
        };
        // It says when Argo CD looks again. Where all files are known, a folder above would only take others' files in.
        if is_known && is_within(path, &pattern) {
            if pattern != path {
                search.note(Note::Broad { path: shown(&pattern) });
            }
            continue;
        }
        if item.contains(['*', '?', '[']) {
            glob::take(search, APPLICATION, &pattern)?;
        } else {
            search.take(APPLICATION, b"", &pattern)?;
        }
    }
    Ok(())
}
