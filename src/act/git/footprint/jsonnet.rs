//! What Jsonnet files import.

use super::super::tree::Entry;
use super::Note;
use super::follow::Root;
use super::path::{join, parent, shown};
use super::search::{Search, Seen};

/// The words that come before the name of a file, and whether that file is Jsonnet itself.
const WORDS: [(&str, bool); 3] = [("importstr", false), ("importbin", false), ("import", true)];

/// Takes what a file imports, and what that imports.
pub(super) fn follow(
    search: &mut Search<'_>,
    application: &[u8],
    libraries: &[Vec<u8>],
    file: &[u8],
    entry: Entry,
) -> Result<(), git2::Error> {
    let mut ahead = vec![(file.to_vec(), entry)];
    while let Some((file, entry)) = ahead.pop() {
        if !search.first(Seen::Jsonnet, &file) {
            continue;
        }
        let Some(content) = search.read(&file, entry)? else { continue };
        for (name, is_code) in imports(&String::from_utf8_lossy(&content)) {
            let folder = parent(&file).to_vec();
            if name.starts_with('/') {
                search.note(Note::Outside { from: shown(&file), path: name });
                continue;
            }
            // The folder of the file first, then the last library, and the application's folder at the end.
            let mut folders = std::iter::once(folder.as_slice())
                .chain(libraries.iter().rev().map(Vec::as_slice))
                .chain(std::iter::once(application));
            let found =
                folders.find_map(|folder| search.go_if_there(&file, folder, name.as_bytes()).transpose());
            match found.transpose()? {
                Some((path, entry)) => {
                    search.add(&path, Root::File);
                    if is_code {
                        ahead.push((path, entry));
                    }
                }
                None => match join(&folder, name.as_bytes()) {
                    Some(path) => search.add(&path, Root::Missing),
                    None => search.note(Note::Outside { from: shown(&file), path: name }),
                },
            }
        }
    }
    Ok(())
}

/// The files that are named after a word for importing, also in a comment.
fn imports(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("import") {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if text.get(..at).is_some_and(|before| before.ends_with(is_word)) {
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        let after = WORDS.iter().find_map(|(word, is_code)| {
            let after = rest.strip_prefix(word).filter(|after| !after.starts_with(is_word))?;
            Some((after.trim_start(), *is_code))
        });
        let Some((after, is_code)) = after else { continue };
        let after = after.strip_prefix('@').unwrap_or(after);
        let Some(quote) = after.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
        let name = after.get(1..).and_then(|name| name.split_once(quote)).map(|(name, _)| name);
        found.extend(name.filter(|name| !name.contains('\n')).map(|name| (name.to_owned(), is_code)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::imports;

    #[test]
    fn imports_are_found() {
        let text = "local a = import 'a.libsonnet';\n{ b: (importstr \"b.txt\"), c: import\n @'c.jsonnet', \
                    reimport: 'no', important: 1, d: importbin 'd', e: import e }";
        let names = imports(text);
        let names: Vec<_> = names.iter().map(|(name, is_code)| (name.as_str(), *is_code)).collect();
        assert_eq!(names, [("a.libsonnet", true), ("b.txt", false), ("c.jsonnet", true), ("d", false)]);
    }
}
