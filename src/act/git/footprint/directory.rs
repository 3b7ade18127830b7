//! Plain manifests: exactly the files that Argo CD reads.

use super::super::tree::Entry;
use super::follow::Root;
use super::glob::Pattern;
use super::path::shown;
use super::search::Search;
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
        let pattern = |text: &str| Some(text).filter(|text| !text.is_empty()).map(Pattern::across_folders);
        // What is no pattern matches nothing.
        let matches =
            |pattern: &Option<Pattern>, file: &[u8]| pattern.as_ref().is_some_and(|p| p.matches(file));
        let (include, exclude) = (pattern(&directory.include), pattern(&directory.exclude));
        listing.files.retain(|(file, _)| {
            let below = file.get(path.len()..).unwrap_or_default();
            let below = below.strip_prefix(b"/").unwrap_or(below);
            ENDINGS.iter().any(|ending| file.ends_with(ending))
                && !exclude.as_ref().is_some_and(|pattern| matches(pattern, below))
                && include.as_ref().is_none_or(|pattern| matches(pattern, below))
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
        search.add(&target, if entry.is_folder() { Root::Missing } else { Root::File });
        if file.ends_with(b".jsonnet") && !entry.is_folder() {
            jsonnet::follow(search, path, &libraries, &file, entry)?;
        }
    }
    Ok(())
}
