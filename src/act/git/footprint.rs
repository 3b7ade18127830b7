//! The footprint: which files of a repository an application is rendered from.

use std::fmt;

/// Folders and files from the repository's root, as bytes, since Git's paths need not be UTF-8.
///
/// For now a plain list. Following Kustomize bases, value files and local charts will only make the list longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    // Sorted, none inside another one, so that each file belongs to exactly one root.
    roots: Vec<Vec<u8>>,
}

impl Footprint {
    /// Takes paths as an Application writes them; `.` and the empty path are the whole repository.
    pub fn new<P: AsRef<[u8]>>(paths: &[P]) -> Result<Self, FootprintError> {
        let mut roots = Vec::with_capacity(paths.len());
        for path in paths {
            roots.push(normalise(path.as_ref())?);
        }
        roots.sort();
        roots.dedup();
        let mut outer: Vec<Vec<u8>> = Vec::with_capacity(roots.len());
        // A folder sorts before what is in it, but not directly before: `a`, `a-b`, `a/c`. So compare with all.
        for root in roots {
            if !outer.iter().any(|o| is_within(&root, o)) {
                outer.push(root);
            }
        }
        if outer.is_empty() { Err(FootprintError::Empty) } else { Ok(Self { roots: outer }) }
    }

    /// Whether the file or folder at `path` is in the footprint.
    pub fn contains(&self, path: &[u8]) -> bool {
        self.roots.iter().any(|root| is_within(path, root))
    }

    /// The roots, sorted, none inside another one.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, root) in self.roots.iter().enumerate() {
            let shown = if root.is_empty() { "/".into() } else { String::from_utf8_lossy(root) };
            write!(f, "{}{shown}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
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

fn is_within(path: &[u8], root: &[u8]) -> bool {
    root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
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
