//! Plain manifests: exactly the files that Argo CD reads.

use super::super::tree::Entry;
use super::follow::Root;
use super::glob::Pattern;
use super::path::shown;
use super::search::{APPLICATION, Search};
use super::{Note, jsonnet};
use crate::engine::facts::Directory;

/// The endings of the files that are read, of which the last one refers to others.
const ENDINGS: [&[u8]; 4] = [b".yaml", b".yml", b".json", b".jsonnet"];

/// Takes the manifests of a folder.
pub(super) fn manifests(
    search: &mut Search<'_>,
    path: &[u8],
    folder: Entry,
    directory: &Directory,
) -> Result<(), git2::Error> {
    let whole = directory.recurse && directory.include.is_empty() && directory.exclude.is_empty();
    let mut listing = if whole {
        search.take_folder(path, folder)?
    } else {
        search.list(path, folder, directory.recurse)?
    };
    if whole {
        listing.files.retain(|(file, _)| file.ends_with(b".jsonnet"));
    } else if listing.is_complete {
        let include = pattern(search, &directory.include);
        let exclude = pattern(search, &directory.exclude);
        listing.files.retain(|(file, _)| {
            let below = file.get(path.len()..).unwrap_or_default();
            let below = below.strip_prefix(b"/").unwrap_or(below);
            ENDINGS.iter().any(|ending| file.ends_with(ending))
                && !exclude.as_ref().is_some_and(|pattern| pattern.matches(below))
                && include.as_ref().is_none_or(|pattern| pattern.matches(below))
        });
    } else {
        search.note(Note::Limit { from: shown(path), limit: "folders that are listed" });
        search.add(path, Root::Folder);
        return Ok(());
    }
    let libraries: Vec<Vec<u8>> = directory.libraries.iter().map(|path| path.as_bytes().to_vec()).collect();
    for (file, _) in listing.files {
        search.add(&file, Root::File);
        // A link's target is read as what the link is called.
        let Some((target, entry)) = search.go(&file, b"", &file)? else { continue };
        if entry.is_folder() {
            continue;
        }
        search.add(&target, Root::File);
        if file.ends_with(b".jsonnet") {
            jsonnet::follow(search, path, &libraries, &file, entry)?;
        }
    }
    Ok(())
}

/// A pattern; where it is not understood, more files are taken than it stands for.
fn pattern(search: &mut Search<'_>, text: &str) -> Option<Pattern> {
    if text.is_empty() {
        return None;
    }
    let pattern = Pattern::across_folders(text);
    if pattern.is_none() {
        search.note(Note::Unknown { from: shown(APPLICATION), path: text.to_owned() });
    }
    pattern
}
