//! Patterns, as Argo CD's libraries understand them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use globset::{GlobBuilder, GlobMatcher};

use super::super::tree::{Entry, join};
use super::Note;
use super::follow::Root;
use super::path::shown;
use super::search::Search;

/// A pattern for the whole of a path or a name.
pub(super) struct Pattern(GlobMatcher);

impl Pattern {
    /// As `gobwas/glob` without separators: `*` and `?` stand for slashes too. None for what is no pattern.
    pub(super) fn across_folders(pattern: &str) -> Option<Self> {
        // In the library used here two stars beside a slash may stand for no folder at all.
        let mut single = String::with_capacity(pattern.len());
        for c in pattern.chars() {
            if c != '*' || !single.ends_with('*') || single.ends_with("\\*") {
                single.push(c);
            }
        }
        Self::new(&single, false)
    }

    fn new(pattern: &str, is_literal: bool) -> Option<Self> {
        let built = GlobBuilder::new(pattern)
            .literal_separator(is_literal)
            .backslash_escape(true)
            .empty_alternates(true)
            .build();
        built.ok().map(|glob| Self(glob.compile_matcher()))
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.0.is_match(OsStr::from_bytes(path))
    }
}

/// Takes every file that a pattern from the repository's root stands for: `*` stays within a folder, `**` does not.
pub(super) fn take(search: &mut Search<'_>, from: &[u8], pattern: &[u8]) -> Result<(), git2::Error> {
    let unknown = || Note::Unknown { from: shown(from), path: shown(pattern) };
    let Ok(text) = std::str::from_utf8(pattern) else {
        search.note(unknown());
        return Ok(());
    };
    let parts: Vec<&str> = text.split('/').collect();
    let fixed = parts.iter().take_while(|part| !part.contains(['*', '?', '[', '{', '\\'])).count();
    let (Some(folder), Some(rest)) = (parts.get(..fixed), parts.get(fixed..)) else { return Ok(()) };
    let Some((folder, entry)) = search.go_if_there(from, b"", folder.join("/").as_bytes())? else {
        return Ok(());
    };
    let Some(whole) = Pattern::new(&rest.join("/"), true) else {
        search.note(unknown());
        return Ok(());
    };
    let names: Vec<Option<Pattern>> = rest.iter().map(|part| Pattern::new(part, true)).collect();
    let any_depth = rest.iter().position(|part| part.contains("**")).unwrap_or(usize::MAX);
    let mut ahead: Vec<(Vec<u8>, Entry, usize)> = vec![(Vec::new(), entry, 0)];
    while let Some((below, at, depth)) = ahead.pop() {
        let Some(entries) = search.entries(at)? else {
            search.note(Note::Limit { from: shown(from), limit: "folders in which a pattern is looked for" });
            return Ok(());
        };
        for (name, entry) in entries {
            let path = join(&below, &name);
            let may_be_on_the_way = depth >= any_depth
                || names.get(depth).is_some_and(|part| part.as_ref().is_none_or(|part| part.matches(&name)));
            if entry.is_folder() {
                if may_be_on_the_way && (any_depth < usize::MAX || depth + 1 < rest.len()) {
                    ahead.push((path, entry, depth + 1));
                }
            } else if whole.matches(&path) {
                let path = join(&folder, &path);
                search.add(&path, Root::File);
                search.take(from, b"", &path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    /// The answers are those of `gobwas/glob` 0.2.3.
    #[test]
    fn patterns_across_folders() {
        let check = |pattern: &str, path: &str, expected: bool| {
            let found =
                Pattern::across_folders(pattern).is_some_and(|pattern| pattern.matches(path.as_bytes()));
            assert_eq!(found, expected, "{pattern} {path}");
        };
        check("*.yaml", "a/c/b.yaml", true);
        check("a/**/*.yaml", "a/b.yaml", false);
        check("a/**/*.yaml", "a/c/b.yaml", true);
        check("**/x.yaml", "x.yaml", false);
        check("**/x.yaml", "d/e/x.yaml", true);
        check("x-?.yaml", "x-/.yaml", true);
        check("[!a].yaml", "b.yaml", true);
        check("a\\*.yaml", "a*.yaml", true);
        check("a\\*.yaml", "ab.yaml", false);
        check("{a,b/c}.yaml", "b/c.yaml", true);
        check("a{b,c{d,e}}.yaml", "acd.yaml", true);
        check("{a,}x.yaml", "x.yaml", true);
        check("*{.yaml,.yml}", "d/x.yaml", true);
        check("", "a.yaml", false);
    }
}
