//! What Kustomize builds a folder from, followed through all its bases.

use serde_json::Value;

use super::super::tree::{Entry, join};
use super::follow::Root;
use super::path::{address, shown};
use super::reader::Item;
use super::search::{Search, Seen};
use super::{Note, helm, yaml};

/// The names of the file that tells how a folder is built.
pub(super) const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The folder of charts, where none is named.
const CHART_HOME: &str = "charts";

/// Something that a kustomization refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A file.
    File(String),
    /// A file, or a folder to build, here or elsewhere.
    Resource(String),
    /// A folder to build, here or elsewhere.
    Base(String),
    /// A patch: a file, or the text itself.
    Patch(String),
    /// A generator, transformer or validator: a file or a folder to build, or the text itself.
    Plugin(String),
    /// A chart to render.
    Chart(Chart),
}

/// A chart to render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chart {
    folder: String,
    /// Where it is downloaded from when it is not there.
    repository: Option<String>,
}

/// Follows a folder that Kustomize builds, with what the Application adds to it.
pub(super) fn follow(
    search: &mut Search<'_>,
    from: &[u8],
    path: &[u8],
    folder: Entry,
    added: Vec<Reference>,
) -> Result<(), git2::Error> {
    let mut ahead = vec![(path.to_vec(), folder)];
    for reference in added {
        ahead.extend(one(search, from, path, reference)?);
    }
    while let Some((path, folder)) = ahead.pop() {
        if search.first(Seen::Kustomization, &path) {
            build(search, &path, folder, &mut ahead)?;
        }
    }
    Ok(())
}

/// Takes the files that a folder is built from; folders to build are `ahead`.
fn build(
    search: &mut Search<'_>,
    path: &[u8],
    folder: Entry,
    ahead: &mut Vec<Item>,
) -> Result<(), git2::Error> {
    let mut is_there = false;
    for name in FILES {
        let from = join(path, name.as_bytes());
        if search.child(folder, name.as_bytes())?.is_none() {
            continue;
        }
        is_there = true;
        let Some((file, entry)) = search.go(&from, b"", &from)? else { continue };
        search.add(&file, Root::File);
        for document in search.read_yaml(&file, entry)? {
            for reference in references(&document) {
                ahead.extend(one(search, &from, path, reference)?);
            }
        }
    }
    if !is_there {
        search.add(&join(path, b"kustomization.yaml"), Root::Missing);
    }
    Ok(())
}

/// Takes what one reference leads to, or gives the folder to build.
fn one(
    search: &mut Search<'_>,
    from: &[u8],
    path: &[u8],
    reference: Reference,
) -> Result<Option<Item>, git2::Error> {
    match reference {
        Reference::File(file) if is_web(&file) => remote(search, from, &file),
        Reference::File(file) => file_at(search, from, path, &file)?,
        Reference::Resource(resource) => return build_or_take(search, from, path, &resource),
        Reference::Base(base) if is_elsewhere(&base) => remote(search, from, &base),
        Reference::Base(base) => return build_or_take(search, from, path, &base),
        Reference::Patch(file) if is_inline(&file) => {}
        Reference::Patch(file) => file_at(search, from, path, &file)?,
        Reference::Plugin(plugin) => return plugin_at(search, from, path, &plugin),
        Reference::Chart(chart) => chart_at(search, from, path, &chart)?,
    }
    Ok(None)
}

fn remote(search: &mut Search<'_>, from: &[u8], reference: &str) {
    let address = address(reference);
    search.note(Note::Remote { from: shown(from), address });
}

fn file_at(search: &mut Search<'_>, from: &[u8], path: &[u8], file: &str) -> Result<(), git2::Error> {
    match search.go(from, path, file.as_bytes())? {
        // A folder is no file: Kustomize fails.
        Some((_, entry)) if entry.is_folder() => {}
        Some((file, _)) => search.add(&file, Root::File),
        None => {}
    }
    Ok(())
}

/// A file is taken, a folder is to be built.
fn build_or_take(
    search: &mut Search<'_>,
    from: &[u8],
    path: &[u8],
    reference: &str,
) -> Result<Option<Item>, git2::Error> {
    if is_web(reference) {
        remote(search, from, reference);
        return Ok(None);
    }
    // A file of that name counts more than an address.
    let found = if is_elsewhere(reference) {
        let found = search.go_if_there(from, path, reference.as_bytes())?;
        let found = found.filter(|(_, entry)| !entry.is_folder());
        if found.is_none() {
            remote(search, from, reference);
        }
        found
    } else {
        search.go(from, path, reference.as_bytes())?
    };
    match found {
        Some((folder, entry)) if entry.is_folder() => Ok(Some((folder, entry))),
        Some((file, _)) => {
            search.add(&file, Root::File);
            Ok(None)
        }
        None => Ok(None),
    }
}

/// The configuration of a plugin, which may refer to files as a kustomization does.
fn plugin_at(
    search: &mut Search<'_>,
    from: &[u8],
    path: &[u8],
    plugin: &str,
) -> Result<Option<Item>, git2::Error> {
    let (from, documents) = if is_inline(plugin) {
        (from.to_vec(), yaml::documents(plugin.as_bytes()).unwrap_or_default())
    } else {
        if let Some(folder) = build_or_take(search, from, path, plugin)? {
            return Ok(Some(folder));
        }
        match search.go_if_there(from, path, plugin.as_bytes())? {
            Some((file, entry)) => (file.clone(), search.read_yaml(&file, entry)?),
            None => return Ok(None),
        }
    };
    for reference in documents.iter().flat_map(plugin_references) {
        one(search, &from, path, reference)?;
    }
    Ok(None)
}

fn chart_at(search: &mut Search<'_>, from: &[u8], path: &[u8], chart: &Chart) -> Result<(), git2::Error> {
    let found = match &chart.repository {
        None => search.go(from, path, chart.folder.as_bytes())?,
        Some(repository) => {
            let found = search.go_if_there(from, path, chart.folder.as_bytes())?;
            if found.is_none() {
                remote(search, from, repository);
            }
            found
        }
    };
    match found {
        Some((folder, entry)) => helm::chart(search, &folder, entry),
        None => Ok(()),
    }
}

/// Everything that a kustomization refers to.
fn references(file: &Value) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut all = |fields: &[&str], reference: fn(String) -> Reference| {
        let texts = fields.iter().flat_map(|field| yaml::texts(file, field));
        found.extend(texts.map(str::to_owned).map(reference));
    };
    all(&["resources", "bases"], Reference::Resource);
    all(&["components"], Reference::Base);
    all(&["crds", "configurations"], Reference::File);
    // The second may hold texts in files of old.
    all(&["patchesStrategicMerge", "patches"], Reference::Patch);
    all(&["generators", "transformers", "validators"], Reference::Plugin);
    for field in ["patches", "patchesJson6902", "replacements"] {
        found.extend(yaml::list(file, field).filter_map(|item| file_in(item, "path")));
    }
    for field in ["configMapGenerator", "secretGenerator"] {
        found.extend(yaml::list(file, field).flat_map(sources));
    }
    found.extend(file.get("openapi").and_then(|openapi| file_in(openapi, "path")));
    let home = file.get("helmGlobals").and_then(|globals| yaml::text(globals, "chartHome"));
    found.extend(yaml::list(file, "helmCharts").flat_map(|chart| charts(chart, home)));
    for chart in yaml::list(file, "helmChartInflationGenerator") {
        let home = yaml::text(chart, "chartHome").or(home);
        found.extend(file_in(chart, "values"));
        found.extend(chart_in(chart, home, ["chartName", "chartVersion", "chartRepoUrl"]));
    }
    found
}

/// Everything that the configuration of a builtin plugin refers to.
fn plugin_references(document: &Value) -> Vec<Reference> {
    let mut found = match yaml::text(document, "kind").unwrap_or_default() {
        "ConfigMapGenerator" | "SecretGenerator" => sources(document),
        "HelmChartInflationGenerator" => charts(document, yaml::text(document, "chartHome")),
        _ => Vec::new(),
    };
    found.extend(file_in(document, "path"));
    found.extend(file_in(document, "targetFilePath"));
    found.extend(yaml::texts(document, "paths").map(str::to_owned).map(Reference::Patch));
    found.extend(yaml::list(document, "replacements").filter_map(|item| file_in(item, "path")));
    found
}

fn file_in(value: &Value, field: &str) -> Option<Reference> {
    yaml::text(value, field).map(|file| Reference::File(file.to_owned()))
}

/// The files of a generator; a file may be written as `key=file`.
fn sources(generator: &Value) -> Vec<Reference> {
    let files =
        yaml::texts(generator, "files").map(|file| file.split_once('=').map_or(file, |(_, file)| file));
    let files = files.chain(yaml::texts(generator, "envs")).chain(yaml::text(generator, "env"));
    files.map(|file| Reference::File(file.to_owned())).collect()
}

fn charts(chart: &Value, home: Option<&str>) -> Vec<Reference> {
    let mut found: Vec<_> =
        yaml::texts(chart, "additionalValuesFiles").map(|file| Reference::File(file.to_owned())).collect();
    found.extend(file_in(chart, "valuesFile"));
    found.extend(chart_in(chart, home, ["name", "version", "repo"]));
    found
}

fn chart_in(chart: &Value, home: Option<&str>, [name, version, repository]: [&str; 3]) -> Option<Reference> {
    let name = yaml::text(chart, name)?;
    let home = home.unwrap_or(CHART_HOME);
    let repository = yaml::text(chart, repository).map(str::to_owned);
    let folder = match yaml::text(chart, version).filter(|_| repository.is_some()) {
        Some(version) => format!("{home}/{name}-{version}/{name}"),
        None => format!("{home}/{name}"),
    };
    Some(Reference::Chart(Chart { folder, repository }))
}

/// Whether it is the text itself and not the name of a file.
fn is_inline(text: &str) -> bool {
    text.contains('\n') || text.trim_start().starts_with('{')
}

/// Whether Kustomize downloads it as a file.
fn is_web(reference: &str) -> bool {
    let lower = reference.get(..8).unwrap_or(reference).to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https:/")
}

/// Whether Kustomize takes it for a repository: with a scheme, `user@host:path`, or on GitHub.
fn is_elsewhere(reference: &str) -> bool {
    let lower = reference.to_ascii_lowercase();
    let lower = lower.strip_prefix("git::").unwrap_or(&lower);
    let is_user = |user: &str| {
        user.starts_with(|c: char| c.is_ascii_alphabetic())
            && user.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    ["ssh://", "http://", "https://", "file://", "github.com/", "github.com:"]
        .iter()
        .any(|start| lower.starts_with(start))
        || lower.split_once('@').is_some_and(|(user, rest)| is_user(user) && rest.contains([':', '/']))
        || lower.contains("://")
}
