//! Paths in a repository, as bytes from its root, and what is told of them.

use super::super::url::redact;

/// Joins and cleans as Go's `filepath.Join` does; none when that leaves the repository.
pub(super) fn join(folder: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = folder.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// The folder that a path lies in.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|b| *b == b'/');
    slash.and_then(|at| path.get(..at)).unwrap_or_default()
}

/// Whether a path is the folder or lies in it.
pub(super) fn is_within(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// A path for people.
pub(super) fn shown(path: &[u8]) -> String {
    if path.is_empty() { "/".to_owned() } else { String::from_utf8_lossy(path).into_owned() }
}

/// An address for people, without what may be secret: passwords, and all parameters but the revision.
pub(super) fn address(text: &str) -> String {
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let revision = query.split('&').find(|p| p.starts_with("ref=") || p.starts_with("version="));
    redact(place) + &revision.map(|revision| format!("?{revision}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_stay_inside() {
        let check = |folder: &str, path: &str, expected: Option<&str>| {
            let joined = join(folder.as_bytes(), path.as_bytes());
            assert_eq!(joined.map(|p| String::from_utf8(p).unwrap()).as_deref(), expected, "{folder} {path}");
        };
        check("apps/shop", "../../base/./x/", Some("base/x"));
        check("apps/shop", "../..", Some(""));
        check("apps/shop", "a/../../../..", None);
        check("", "/a//b", Some("a/b"));
        check("", "..", None);
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"a", b""));
        assert!(!is_within(b"ab", b"a") && !is_within(b"a", b"a/b"));
        assert_eq!(parent(b"a/b/c"), b"a/b");
        assert_eq!(parent(b"a"), b"");
        assert_eq!(address("https://u:p@host/a?token=x&ref=v1"), "https://u:***@host/a?ref=v1");
    }
}
