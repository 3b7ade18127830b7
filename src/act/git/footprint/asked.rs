//! How a folder is rendered: what the Application says, and then what files beside the manifests say.

use serde_json::Value;

use super::super::tree::{Entry, join};
use super::kustomize;
use super::search::Search;
use super::yaml;
use crate::engine::facts::{Directory, Rendering, Tool};

/// What the files are called in which a folder overrides the Application: for all of them, and for one.
const FOR_ALL: &[u8] = b".argocd-source.yaml";
const FOR_ONE: &[u8] = b".argocd-source-";

/// A file that overrides the Application, with its documents.
type Override = (Vec<u8>, Vec<Value>);

/// The files in a folder that override the Application.
pub(super) fn overrides(
    search: &mut Search<'_>,
    path: &[u8],
    folder: Entry,
    instance: Option<&str>,
) -> Result<Vec<Override>, git2::Error> {
    let mut names = vec![FOR_ALL.to_vec()];
    match instance {
        Some(instance) => names.push([FOR_ONE, instance.as_bytes(), b".yaml"].concat()),
        // Nobody knows whose folder it is: it may be everybody's who has a file there.
        None => {
            let entries = search.entries(folder)?.unwrap_or_default().into_iter().map(|(name, _)| name);
            names.extend(entries.filter(|name| name.starts_with(FOR_ONE) && name.ends_with(b".yaml")));
        }
    }
    let mut found = Vec::new();
    for name in names {
        let from = join(path, &name);
        if search.child(folder, &name)?.is_some()
            && let Some((file, entry)) = search.go(&from, b"", &from)?
            && !entry.is_folder()
        {
            found.push((from, search.read_yaml(&file, entry)?));
        }
    }
    Ok(found)
}

/// Merges what a file says into what the Application says: a list takes the place of a list.
pub(super) fn merge(rendering: &mut Rendering, file: &Value) {
    let mut named = Vec::new();
    for (field, tool) in [
        ("kustomize", Tool::Kustomize),
        ("helm", Tool::Helm),
        ("directory", Tool::Directory),
        ("plugin", Tool::Plugin),
    ] {
        match file.get(field) {
            Some(Value::Null) if rendering.tool == Some(tool) => rendering.tool = None,
            Some(Value::Null) | None => {}
            Some(_) => named.push(tool),
        }
    }
    rendering.tool = rendering.tool.or(named.first().copied());
    // A list that is null there is empty.
    let paths = |field: &Value, list: &str| -> Option<Vec<String>> {
        let list = field.get(list).filter(|list| list.is_array() || list.is_null())?;
        Some(
            list.as_array()
                .into_iter()
                .flatten()
                .filter_map(|item| yaml::text(item, "path"))
                .map(str::to_owned)
                .collect(),
        )
    };
    let texts = |field: &Value, list: &str| -> Option<Vec<String>> {
        field.get(list).filter(|list| list.is_array() || list.is_null())?;
        Some(yaml::texts(field, list).map(str::to_owned).collect())
    };
    if let Some(helm) = file.get("helm") {
        set(&mut rendering.value_files, texts(helm, "valueFiles"));
        set(&mut rendering.file_parameters, paths(helm, "fileParameters"));
    }
    if let Some(kustomize) = file.get("kustomize") {
        set(&mut rendering.components, texts(kustomize, "components"));
        set(&mut rendering.patches, paths(kustomize, "patches"));
    }
    if let Some(asked) = file.get("directory").filter(|asked| asked.is_object()) {
        let directory = rendering.directory.get_or_insert_with(Directory::default);
        let text = |name: &str| asked.get(name).and_then(Value::as_str).map(str::to_owned);
        set(&mut directory.recurse, asked.get("recurse").and_then(Value::as_bool));
        set(&mut directory.include, text("include"));
        set(&mut directory.exclude, text("exclude"));
        set(&mut directory.libraries, asked.get("jsonnet").and_then(|jsonnet| texts(jsonnet, "libs")));
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// The tool that renders a folder: the one that is named, else the one whose file it holds.
pub(super) fn tool(
    search: &mut Search<'_>,
    folder: Entry,
    rendering: &Rendering,
) -> Result<Tool, git2::Error> {
    if let Some(tool) = rendering.tool {
        return Ok(tool);
    }
    // Which folders a plugin takes for itself is known to Argo CD alone.
    if rendering.tool_seen == Some(Tool::Plugin) {
        return Ok(Tool::Plugin);
    }
    for name in kustomize::FILES {
        if search.child(folder, name.as_bytes())?.is_some_and(|entry| !entry.is_folder()) {
            return Ok(Tool::Kustomize);
        }
    }
    let is_chart = search.child(folder, b"Chart.yaml")?.is_some_and(|entry| !entry.is_folder());
    Ok(if is_chart { Tool::Helm } else { Tool::Directory })
}
