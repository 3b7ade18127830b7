//! The footprint: which files of a repository an application is rendered from.

mod asked;
mod definitions;
mod directory;
mod dry;
mod follow;
mod glob;
mod helm;
mod jsonnet;
mod kustomize;
mod note;
mod path;
mod reader;
mod search;
mod yaml;

use std::collections::BTreeSet;

pub use definitions::{Definition, definitions};
pub(crate) use definitions::{defines, documents};
pub use dry::dry_revision;
pub use follow::{Followed, follow, follow_each};
pub use note::Note;

/// Folders and files from the repository's root, as bytes, since Git's paths need not be UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    // Sorted, none inside another one, so that each file belongs to exactly one root.
    roots: Vec<Vec<u8>>,
}

impl Footprint {
    /// Takes paths as an Application writes them; `.` and the empty path are the whole repository.
    pub fn new<P: AsRef<[u8]>>(paths: &[P]) -> Result<Self, FootprintError> {
        let mut roots = BTreeSet::new();
        for path in paths {
            roots.insert(normalise(path.as_ref())?);
        }
        let outer: Vec<_> = roots
            .iter()
            .filter(|root| !folders_of(root).any(|folder| roots.contains(folder)))
            .cloned()
            .collect();
        if outer.is_empty() { Err(FootprintError::Empty) } else { Ok(Self { roots: outer }) }
    }

    /// Whether the file or folder at `path` is in the footprint.
    pub fn contains(&self, path: &[u8]) -> bool {
        let is_root = |path: &[u8]| self.roots.binary_search_by(|root| root.as_slice().cmp(path)).is_ok();
        is_root(path) || folders_of(path).any(is_root)
    }

    /// The roots, sorted, none inside another one.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }
}

/// Why a list of paths is not a footprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FootprintError {
    /// No path at all.
    #[error("the footprint is empty: name at least one folder or file")]
    Empty,
    /// A path that leaves the repository.
    #[error("the path `{path}` leaves the repository: write it from the repository's root, without `..`")]
    Outside {
        /// The path.
        path: String,
    },
}

fn normalise(path: &[u8]) -> Result<Vec<u8>, FootprintError> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                return Err(FootprintError::Outside { path: String::from_utf8_lossy(path).into_owned() });
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

/// The folders that a path lies in, the root of the repository among them.
fn folders_of(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let root = Some(path).filter(|path| !path.is_empty()).map(|_| [].as_slice());
    let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
    root.into_iter().chain(slashes.filter_map(|(at, _)| path.get(..at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(paths: &[&str]) -> Vec<String> {
        let footprint = Footprint::new(paths).unwrap();
        footprint.roots().iter().map(|r| String::from_utf8(r.clone()).unwrap()).collect()
    }

    #[test]
    fn paths_are_cleaned_sorted_and_folded_together() {
        assert_eq!(roots(&["/apps/shop/"]), ["apps/shop"]);
        assert_eq!(roots(&["b", "a/c", "a-b", "a", "./a//c"]), ["a", "a-b", "b"]);
        assert_eq!(roots(&["apps", "."]), [""]);
    }

    #[test]
    fn a_path_that_leaves_the_repository_is_refused() {
        assert!(matches!(Footprint::new(&["apps/../.."]), Err(FootprintError::Outside { .. })));
        assert_eq!(Footprint::new::<&str>(&[]), Err(FootprintError::Empty));
    }

    #[test]
    fn a_folder_is_not_a_prefix_of_its_neighbour() {
        let footprint = Footprint::new(&["apps/shop", "values.yaml"]).unwrap();
        assert!(footprint.contains(b"apps/shop/a.yaml"));
        assert!(footprint.contains(b"values.yaml"));
        assert!(!footprint.contains(b"apps/shop-eu/a.yaml"));
        assert!(!footprint.contains(b"apps"));
        assert!(Footprint::new(&[""]).unwrap().contains(b"\xff\xfe"));
    }
}
