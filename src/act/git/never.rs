//! What must not be reverted, whatever is sick: data and definitions that a revert could destroy, and what a person
//! excepted.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use git2::{Oid, Repository};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::Value;

use super::history::{self, revision};
use super::message::{trailer, trailers};
use super::plan::{Stop, quoted};
use super::tree;
use crate::engine::action::Refusal;

/// The kinds that are never reverted unless a policy says otherwise: without them data is gone, not only unreachable.
pub const KINDS: [&str; 3] = ["CustomResourceDefinition", "PersistentVolumeClaim", "StorageClass"];

/// The trailer by which a commit says of itself that it must not be reverted; its value is `skip`.
pub const TRAILER_SKIP: &str = "Lastgood";

/// Files above this size are not parsed but searched line by line.
const PARSE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What must not be reverted.
#[derive(Clone, Debug, Default)]
pub struct Never {
    paths: GlobSet,
    globs: Vec<String>,
    kinds: Vec<String>,
}

impl Never {
    /// Takes globs from the repository's root (`*` stays within a folder, `**` does not; a plain name means everything
    /// below it too), and kinds, each as `Kind` or `group/Kind`.
    ///
    /// # Errors
    /// Names the glob that cannot be read.
    pub fn new<S: AsRef<str>>(paths: &[S], kinds: &[S]) -> Result<Self, globset::Error> {
        let mut set = GlobSetBuilder::new();
        let mut globs = Vec::new();
        for path in paths {
            let path = path.as_ref().trim_matches('/');
            for glob in [path.to_owned(), format!("{path}/**")] {
                set.add(GlobBuilder::new(&glob).literal_separator(true).build()?);
                globs.push(path.to_owned());
            }
        }
        let kinds = kinds.iter().map(|kind| kind.as_ref().to_owned()).collect();
        Ok(Self { paths: set.build()?, globs, kinds })
    }

    /// The glob that covers a path, as it was given.
    fn glob(&self, path: &[u8]) -> Option<&str> {
        let found = self.paths.matches(OsStr::from_bytes(path));
        found.first().and_then(|at| self.globs.get(*at)).map(String::as_str)
    }

    fn is_kind(&self, object: &Object) -> bool {
        let group = object.api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds.iter().any(|kind| match kind.rsplit_once('/') {
            Some((of, kind)) => of == group && kind == object.kind,
            None => *kind == object.kind,
        })
    }
}

/// Refuses when the change of `files` from one tree to the other touches what must not be reverted.
pub(crate) fn check(
    repo: &Repository,
    never: &Never,
    culprits: &[Oid],
    old: Oid,
    new: Oid,
    files: &[Vec<u8>],
) -> Result<(), Stop> {
    for file in files {
        if let Some(glob) = never.glob(file) {
            let rule = format!("the path `{glob}`");
            return Err(Refusal::NeverRevert { rule, file: quoted(file) }.into());
        }
    }
    skipped(repo, culprits, files)?;
    if never.kinds.is_empty() {
        return Ok(());
    }
    for file in files {
        let (before, after) = (objects(repo, old, file, never)?, objects(repo, new, file, never)?);
        if let Some(object) = before.symmetric_difference(&after).next() {
            let rule = match object.name.as_str() {
                "" => format!("the kind {}", object.kind),
                name => format!("the kind {} (`{name}`)", object.kind),
            };
            return Err(Refusal::NeverRevert { rule, file: quoted(file) }.into());
        }
    }
    Ok(())
}

/// Refuses to undo what a commit brought that says of itself that it must stay.
fn skipped(repo: &Repository, culprits: &[Oid], files: &[Vec<u8>]) -> Result<(), Stop> {
    for culprit in culprits {
        let message = history::message(repo, *culprit)?;
        let skip = trailer(&trailers(&message), TRAILER_SKIP).is_some_and(|v| v.eq_ignore_ascii_case("skip"));
        if !skip {
            continue;
        }
        let commit = repo.find_commit(*culprit)?;
        let changed = match commit.parents().next() {
            Some(parent) => tree::changed(repo, parent.tree_id(), commit.tree_id())?,
            None => files.to_vec(),
        };
        if let Some(file) = changed.iter().find(|file| files.contains(file)) {
            return Err(Refusal::Skipped { commit: revision(*culprit), file: quoted(file) }.into());
        }
    }
    Ok(())
}

/// A Kubernetes object in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    api_version: String,
    kind: String,
    name: String,
    /// Its content, without what says nothing: comments and order of keys where it could be parsed.
    content: String,
}

/// The objects of a file that must not be reverted.
fn objects(
    repo: &Repository,
    root: Oid,
    path: &[u8],
    never: &Never,
) -> Result<BTreeSet<Object>, git2::Error> {
    let Some(entry) = tree::entry_at(repo, root, path)?.filter(|e| e.is_file()) else {
        return Ok(BTreeSet::new());
    };
    let blob = repo.find_blob(entry.oid)?;
    if blob.is_binary() {
        return Ok(BTreeSet::new());
    }
    let text = String::from_utf8_lossy(blob.content());
    let mut found = Vec::new();
    for document in documents(&text) {
        read(document, &mut found);
    }
    Ok(found.into_iter().filter(|object| never.is_kind(object)).collect())
}

/// The documents of a YAML stream; JSON is one document.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.match_indices("\n---").map(|(at, _)| at + 1).find(|at| is_divider(text, *at));
        let (document, after) = match end {
            Some(at) => (text.get(..at), text.get(at + 3..)),
            None => (Some(text), None),
        };
        rest = after;
        // A stream may begin with a divider.
        document.map(|document| document.strip_prefix("---").unwrap_or(document))
    })
}

fn is_divider(text: &str, at: usize) -> bool {
    text.get(at + 3..).is_some_and(|after| after.is_empty() || after.starts_with([' ', '\t', '\r', '\n']))
}

/// Reads a document's objects; what is no YAML, as a template, is searched line by line.
fn read(document: &str, found: &mut Vec<Object>) {
    let parsed = Some(document).filter(|text| text.len() <= PARSE_BYTES_MAX);
    match parsed.and_then(|text| serde_saphyr::from_str::<Value>(text).ok()) {
        Some(value) => collect(&value, found),
        None => found.extend(searched(document)),
    }
}

fn collect(value: &Value, found: &mut Vec<Object>) {
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = text(value, "kind");
    if let Some(items) = value.get("items").and_then(Value::as_array).filter(|_| kind.ends_with("List")) {
        for item in items {
            collect(item, found);
        }
    }
    if !kind.is_empty() {
        let name = value.get("metadata").map_or_else(String::new, |metadata| text(metadata, "name"));
        found.push(Object { api_version: text(value, "apiVersion"), kind, name, content: value.to_string() });
    }
}

fn searched(document: &str) -> Option<Object> {
    let value = |key: &str| {
        let line = document.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(line.split(" #").next()?.trim().trim_matches(['"', '\'']).to_owned())
    };
    let kind = value("kind")?;
    let content = document.trim().to_owned();
    Some(Object { api_version: value("apiVersion").unwrap_or_default(), kind, name: String::new(), content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let never = Never::new::<&str>(&[], &KINDS).unwrap();
        let mut found = Vec::new();
        documents(text).for_each(|document| read(document, &mut found));
        let names: Vec<_> =
            found.iter().filter(|o| never.is_kind(o)).map(|o| format!("{} {}", o.kind, o.name)).collect();
        assert_eq!(names, expected, "{text}");
    }

    #[test]
    fn kinds_are_found_wherever_they_stand() {
        check("kind: StorageClass\nmetadata: {name: fast}\n", &["StorageClass fast"]);
        check("---\nkind: A\n---\nkind: StorageClass # x\n--- \nkind: B\n", &["StorageClass "]);
        check(
            "\"kind\": 'StorageClass'\r\n---\r\nkind: StorageClass\r\n",
            &["StorageClass ", "StorageClass "],
        );
        check(
            "{\"kind\": \"PersistentVolumeClaim\", \"metadata\": {\"name\": \"x\"}}",
            &["PersistentVolumeClaim x"],
        );
        check("kind: List\nitems:\n- kind: StorageClass\n  metadata: {name: b}\n", &["StorageClass b"]);
        check("# a template\n{{ if .x }}\nkind: StorageClass\n{{ end }}\n", &["StorageClass "]);
        // A text that only looks like a divider, and kinds that are no objects of their own.
        check("kind: ConfigMap\ndata:\n  a: |\n    kind: StorageClass\n    ---x\n", &[]);
        check("kind: StatefulSet\nspec:\n  volumeClaimTemplates:\n  - kind: PersistentVolumeClaim\n", &[]);
        check("", &[]);
        check("---", &[]);
    }

    #[test]
    fn a_group_tells_kinds_of_one_name_apart() {
        let never = Never::new::<&str>(&[], &["db.example.org/Cluster", "Bucket"]).unwrap();
        let object = |api_version: &str, kind: &str| Object {
            api_version: api_version.into(),
            kind: kind.into(),
            name: String::new(),
            content: String::new(),
        };
        assert!(never.is_kind(&object("db.example.org/v1", "Cluster")));
        assert!(!never.is_kind(&object("other.example.org/v1", "Cluster")));
        assert!(never.is_kind(&object("other.example.org/v1", "Bucket")));
    }

    #[test]
    fn globs_cover_folders_and_stay_within_them() {
        let never = Never::new(&["db/", "*/secret*.yaml", "**/pvc.yaml"], &[]).unwrap();
        for (path, glob) in [
            ("db/a/b.yaml", Some("db")),
            ("dbx/a.yaml", None),
            ("apps/secrets.yaml", Some("*/secret*.yaml")),
            ("apps/shop/secrets.yaml", None),
            ("apps/shop/pvc.yaml", Some("**/pvc.yaml")),
        ] {
            assert_eq!(never.glob(path.as_bytes()), glob, "{path}");
        }
    }
}
