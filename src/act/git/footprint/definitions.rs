//! Which files define an Application: where a change of its own specification is found and undone.

use git2::{Oid, Repository};
use serde_json::Value;

use super::super::tree::{Entry, entry_at};
use super::search::Search;
use super::{Followed, Footprint, yaml};
use crate::engine::facts::Origin;

/// The kinds' API group.
const GROUP: &str = "argoproj.io";

/// A file that defines an Application or an `ApplicationSet`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Definition {
    /// The file.
    pub file: Vec<u8>,
    /// Which of the file's documents that are not empty, counted from 0; none in a template, of which only the text is
    /// known.
    pub document: Option<usize>,
}

/// Finds the files of a footprint, in one tree, that define an object; what could not be searched is among the notes.
///
/// A name that a template or an `ApplicationSet` makes up is in no file: then nothing is found.
///
/// # Errors
/// When the repository cannot be read.
pub fn definitions(
    repo: &Repository,
    tree: Oid,
    footprint: &Footprint,
    wanted: &Origin,
) -> Result<(Vec<Definition>, Followed), git2::Error> {
    let mut search = Search::new(repo, tree);
    let mut found = Vec::new();
    for root in footprint.roots() {
        let Some((path, entry)) = search.go_if_there(root, b"", root)? else { continue };
        let listing =
            if entry.is_folder() { search.list(&path, entry, true)?.files } else { vec![(path, entry)] };
        for (file, entry) in listing {
            find(&mut search, &file, entry, wanted, &mut found)?;
        }
    }
    found.sort();
    found.dedup();
    Ok((found, search.finish()))
}

fn find(
    search: &mut Search<'_>,
    file: &[u8],
    entry: Entry,
    wanted: &Origin,
    found: &mut Vec<Definition>,
) -> Result<(), git2::Error> {
    let is_manifest = [b".yaml".as_slice(), b".yml", b".json", b".tpl"].iter().any(|e| file.ends_with(e));
    // A link's target is a file of its own.
    if !is_manifest || !entry.is_file() {
        return Ok(());
    }
    let Some(content) = search.read(file, entry)? else { return Ok(()) };
    let text = String::from_utf8_lossy(&content);
    if !text.contains(GROUP) || !text.contains(wanted.key().name.as_str()) {
        return Ok(());
    }
    match yaml::documents(&content) {
        Ok(documents) => {
            let at = documents.iter().enumerate().filter(|(_, document)| defines(document, wanted));
            found.extend(at.map(|(at, _)| Definition { file: file.to_vec(), document: Some(at) }));
        }
        // A template: it names the kind and the object, which is all that can be said.
        Err(_) => {
            let of_kind = text.lines().any(|line| {
                line.trim_start().strip_prefix("kind:").is_some_and(|kind| kind.trim() == wanted.kind())
            });
            if of_kind {
                found.push(Definition { file: file.to_vec(), document: None });
            }
        }
    }
    Ok(())
}

/// The objects in a file of a tree, those in lists too; none where the file is not there. Of a file that cannot be read as
/// YAML its text.
pub(crate) fn documents(repo: &Repository, tree: Oid, file: &[u8]) -> Result<Vec<Value>, git2::Error> {
    let Some(entry) = entry_at(repo, tree, file)?.filter(|entry| entry.is_file()) else {
        return Ok(Vec::new());
    };
    let blob = repo.find_blob(entry.oid)?;
    let unread = |_| vec![Value::String(String::from_utf8_lossy(blob.content()).into_owned())];
    let mut open = yaml::documents(blob.content()).unwrap_or_else(unread);
    let mut objects = Vec::new();
    while let Some(document) = open.pop() {
        if yaml::text(&document, "kind").is_some_and(|kind| kind.ends_with("List")) {
            open.extend(yaml::list(&document, "items").cloned());
        } else if !document.is_null() {
            objects.push(document);
        }
    }
    objects.reverse();
    Ok(objects)
}

/// Whether a document is the object, or a list that holds it.
pub(crate) fn defines(document: &Value, wanted: &Origin) -> bool {
    let kind = yaml::text(document, "kind").unwrap_or_default();
    if kind.ends_with("List") {
        return yaml::list(document, "items").any(|item| defines(item, wanted));
    }
    let group = yaml::text(document, "apiVersion").and_then(|version| version.split('/').next());
    let metadata = document.get("metadata").unwrap_or(&Value::Null);
    kind == wanted.kind()
        && group == Some(GROUP)
        && yaml::text(metadata, "name") == Some(wanted.key().name.as_str())
        // Without one it goes where the parent's resources go.
        && yaml::text(metadata, "namespace").is_none_or(|namespace| namespace == wanted.key().namespace)
}
