//! Charts that lie in the repository, with the charts that they depend on.

use serde_json::Value;

use super::super::tree::{Entry, join};
use super::follow::Root;
use super::path::{address, is_within, join as clean, shown};
use super::reader::Item;
use super::search::{Search, Seen};
use super::{Note, yaml};

/// The files that name a chart's dependencies; the second is Helm 2's.
const DEPENDENCIES: [&str; 2] = ["Chart.yaml", "requirements.yaml"];

/// Takes a chart's whole folder, and the charts that it depends on where they are in the repository too.
pub(super) fn chart(search: &mut Search<'_>, path: &[u8], folder: Entry) -> Result<(), git2::Error> {
    let mut ahead = vec![(path.to_vec(), folder)];
    while let Some((path, folder)) = ahead.pop() {
        if !search.first(Seen::Chart, &path) {
            continue;
        }
        search.take_folder(&path, folder)?;
        for name in DEPENDENCIES {
            if search.child(folder, name.as_bytes())?.is_none() {
                continue;
            }
            let from = join(&path, name.as_bytes());
            let Some((file_path, file)) = search.go(&from, b"", &from)? else { continue };
            for document in search.read_yaml(&file_path, file)? {
                for dependency in yaml::list(&document, "dependencies") {
                    ahead.extend(depend(search, &from, (&path, folder), dependency)?);
                }
            }
        }
    }
    Ok(())
}

/// The chart that a chart depends on, when it lies elsewhere in the repository.
fn depend(
    search: &mut Search<'_>,
    from: &[u8],
    (path, folder): (&[u8], Entry),
    dependency: &Value,
) -> Result<Option<Item>, git2::Error> {
    let name = yaml::text(dependency, "name").unwrap_or_default();
    // Without a repository it is in the folder `charts`.
    let Some(repository) = yaml::text(dependency, "repository") else { return Ok(None) };
    let Some(local) = repository.strip_prefix("file://") else {
        if !is_vendored(search, folder, name)? {
            let address = format!("{} of {}", name, address(repository));
            search.note(Note::Remote { from: shown(from), address });
        }
        return Ok(None);
    };
    // Helm takes it from the root of the disk.
    if local.starts_with('/') {
        search.note(Note::Outside { from: shown(from), path: local.to_owned() });
        return Ok(None);
    }
    // A chart in a chart is in its folder already, but may depend on others.
    let Some((target, entry)) = search.go(from, path, local.as_bytes())? else { return Ok(None) };
    if is_within(path, &target) {
        search.note(Note::Circle { from: shown(from), path: local.to_owned() });
        return Ok(None);
    }
    if entry.is_folder() {
        return Ok(Some((target, entry)));
    }
    search.add(&target, Root::File);
    Ok(None)
}

/// Whether a copy of a dependency lies in the chart.
fn is_vendored(search: &mut Search<'_>, folder: Entry, name: &str) -> Result<bool, git2::Error> {
    let Some(charts) = search.child(folder, b"charts")? else { return Ok(false) };
    let Some(entries) = search.entries(charts)? else { return Ok(true) };
    let is_copy = |file: &[u8]| {
        file.strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.is_empty() || (rest.starts_with(b"-") && rest.ends_with(b".tgz")))
    };
    Ok(entries.iter().any(|(file, _)| is_copy(file)))
}

/// Whether Helm or Argo CD takes it for an address.
pub(super) fn is_url(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

/// Takes a file of values: from the chart's folder, or with a slash at the beginning from the repository's root.
pub(super) fn value_file(
    search: &mut Search<'_>,
    from: &[u8],
    folder: &[u8],
    reference: &str,
) -> Result<(), git2::Error> {
    if is_url(reference) {
        let address = address(reference);
        search.note(Note::Remote { from: shown(from), address });
        return Ok(());
    }
    let folder = if reference.starts_with('/') { b"".as_slice() } else { folder };
    if !reference.contains(['*', '?', '[']) {
        return search.take(from, folder, reference.as_bytes());
    }
    match clean(folder, reference.as_bytes()) {
        Some(pattern) => super::glob::take(search, from, &pattern),
        None => {
            search.note(Note::Outside { from: shown(from), path: reference.to_owned() });
            Ok(())
        }
    }
}
