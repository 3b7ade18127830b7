//! What an application is defined by in another one's files, and what a change of those files changes besides.

use git2::{Oid, Repository};
use serde_json::Value;

use super::Trouble;
use super::footprint::{Definition as Found, Footprint, defines, definitions, documents};
use super::history::History;
use super::plan::{Request, Stop, commit_id};
use super::shared::followed;
use crate::engine::action::{Definition, Other, Refusal, Touched, Unchanged};
use crate::engine::facts::Rendering;

/// Notes of one record, for its bounded size.
const NOTES_MAX: usize = 20;

/// The files that define an application.
pub(super) struct Here {
    /// At last good and at bad.
    pub(super) whole: Footprint,
    /// At bad alone.
    pub(super) at_bad: Footprint,
    /// What could not be searched.
    pub(super) notes: Vec<String>,
}

/// Finds the one file that defines the application at `good` and at `bad`, and refuses where the definition is not all
/// that changed.
pub(super) fn here(
    repo: &Repository,
    definition: &Definition,
    renderings: &[Rendering],
    [good, bad]: [Oid; 2],
    unchanged: &[Unchanged],
) -> Result<Here, Trouble> {
    let mut files = Vec::new();
    let mut notes = Vec::new();
    for commit in [good, bad] {
        // One that is not at hand is told by who looks for it.
        let Ok(found) = repo.find_commit(commit) else { continue };
        let all = followed(repo, &[commit], renderings)?;
        let footprint = all.footprint().map_err(|error| refused(error.to_string()))?;
        let (found, searched) = definitions(repo, found.tree_id(), &footprint, &definition.object)?;
        notes.extend(searched.notes().map(ToString::to_string));
        files.push(only(&found, definition, commit)?);
    }
    for source in unchanged {
        has_not_changed(repo, source)?;
    }
    notes.sort();
    notes.dedup();
    notes.truncate(NOTES_MAX);
    let at_bad = files.last().cloned().into_iter().collect::<Vec<_>>();
    let of = |files: &[Vec<u8>]| {
        // A tree has no `.git`: without a commit there is no file.
        let none = [b".git".to_vec()];
        Footprint::new(if files.is_empty() { &none } else { files }).map_err(|e| refused(e.to_string()))
    };
    Ok(Here { whole: of(&files)?, at_bad: of(&at_bad)?, notes })
}

fn has_not_changed(repo: &Repository, source: &Unchanged) -> Result<(), Trouble> {
    let (good, bad) = (commit_id(&source.good)?, commit_id(&source.bad)?);
    let own = followed(repo, &[good, bad], std::slice::from_ref(&source.rendering))?;
    let own = own.footprint().map_err(|error| refused(error.to_string()))?;
    let mut history = History::new(repo, &own);
    for commit in [good, bad] {
        if !history.has_commit(commit)? {
            return Err(refused(format!("{commit}, which it was synced to, is not at hand")).into());
        }
    }
    if history.snapshot(good)? != history.snapshot(bad)? {
        let why = "its specification changed, and its own files changed too";
        return Err(refused(format!("{why} between {} and {}", source.good, source.bad)).into());
    }
    Ok(())
}

fn only(found: &[Found], definition: &Definition, at: Oid) -> Result<Vec<u8>, Stop> {
    let (object, parent) = (&definition.object, &definition.parent);
    let mut files: Vec<_> = found.iter().map(|found| &found.file).collect();
    files.dedup();
    match files.as_slice() {
        [] => Err(refused(format!("no file of {parent} at {at} defines {object}; is it generated?"))),
        [file] if found.iter().all(|found| found.document.is_some()) => Ok((*file).clone()),
        [file] => {
            let file = String::from_utf8_lossy(file);
            Err(refused(format!(
                "{object} is defined by the template `{file}`, of which only the text is known"
            )))
        }
        files => {
            let files: Vec<_> =
                files.iter().map(|file| format!("`{}`", String::from_utf8_lossy(file))).collect();
            Err(refused(format!("{object} is defined in several files at {at}: {}", files.join(", "))))
        }
    }
}

/// Whether the application is defined at the tip as it is at bad.
pub(super) fn is_same(
    repo: &Repository,
    definition: &Definition,
    request: &Request<'_>,
) -> Result<bool, Trouble> {
    let ours = |commit: Oid| -> Result<Vec<Value>, Trouble> {
        let tree = repo.find_commit(commit)?.tree_id();
        let mut found = Vec::new();
        for file in request.footprint.roots() {
            found.extend(documents(repo, tree, file)?);
        }
        found.retain(|document| defines(document, &definition.object));
        Ok(found)
    };
    Ok(ours(request.bad)? == ours(request.tip)?)
}

/// What a revert makes of some files.
pub(super) struct Change<'a> {
    /// What they were.
    pub(super) tip: Oid,
    /// The tree in which they are as they shall be.
    pub(super) tree: Oid,
    /// Which.
    pub(super) files: &'a [Vec<u8>],
}

/// The other applications whose definitions in the same files it changes; refuses where it changes anything else.
pub(super) fn touched(
    repo: &Repository,
    definition: &Definition,
    others: &[Other],
    change: &Change<'_>,
) -> Result<Vec<Touched>, Trouble> {
    let mut touched: Vec<Touched> = Vec::new();
    let tip = repo.find_commit(change.tip)?.tree_id();
    for file in change.files {
        let (was, becomes) = (documents(repo, tip, file)?, documents(repo, change.tree, file)?);
        let is_ours = |document: &Value| defines(document, &definition.object);
        let alone = |documents: &[Value], other: &[Value]| -> Vec<Value> {
            documents.iter().filter(|one| !is_ours(one) && !other.contains(one)).cloned().collect()
        };
        for document in alone(&was, &becomes).iter().chain(&alone(&becomes, &was)) {
            let other = others
                .iter()
                .find(|other| other.defined.as_ref().is_some_and(|object| defines(document, object)));
            let Some(other) = other else {
                let (file, name) = (String::from_utf8_lossy(file), name(document));
                return Err(refused(format!("it would change {name} in `{file}` too")).into());
            };
            if touched.iter().all(|known| known.app != other.app) {
                touched.push(Touched { app: other.app.clone(), standing: other.standing });
            }
        }
    }
    Ok(touched)
}

fn name(document: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("?").to_owned();
    let metadata = document.get("metadata");
    format!("{} {}", text(document.get("kind")), text(metadata.and_then(|metadata| metadata.get("name"))))
}

fn refused(reason: String) -> Stop {
    Refusal::Unsupported { reason }.into()
}
