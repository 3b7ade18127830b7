//! The sources of an Application and how each is rendered, in the Application's own words.

use serde::Deserialize;
use serde_json::Value;

use super::super::object::{Lenient, LenientList};
use crate::engine::facts::{Directory, Rendering, Source, SourceKind, Tool, Variables};

/// What the rest of the Application says about its sources.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// What Argo CD calls the application.
    pub(super) instance: &'a str,
    pub(super) project: &'a str,
    /// The destination's namespace.
    pub(super) namespace: &'a str,
    /// The tools that Argo CD found last, in the order of the sources.
    pub(super) types: &'a [&'a str],
    /// The annotation that names paths.
    pub(super) generate_paths: &'a str,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SourceSpec {
    #[serde(rename = "repoURL")]
    repo_url: Lenient<String>,
    target_revision: Lenient<String>,
    path: Lenient<String>,
    chart: Lenient<String>,
    r#ref: Lenient<String>,
    directory: Lenient<DirectorySpec>,
    helm: Lenient<Helm>,
    kustomize: Lenient<Kustomize>,
    plugin: Lenient<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct DirectorySpec {
    recurse: Lenient<bool>,
    include: Lenient<String>,
    exclude: Lenient<String>,
    jsonnet: Lenient<Jsonnet>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Jsonnet {
    libs: LenientList<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Helm {
    value_files: LenientList<String>,
    file_parameters: LenientList<File>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Kustomize {
    components: LenientList<String>,
    patches: LenientList<File>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    path: Lenient<String>,
}

/// Translates the sources of one Application.
pub(super) fn sources(values: &[Value], asked: &Asked<'_>) -> Vec<Source> {
    let specs: Vec<SourceSpec> =
        values.iter().map(|value| SourceSpec::deserialize(value).unwrap_or_default()).collect();
    // A source may be of use to others only, or to others as well.
    let names: Vec<&str> = specs.iter().map(|spec| spec.r#ref.text()).collect();
    let mut referred: Vec<Vec<String>> = vec![Vec::new(); specs.len()];
    let mut sources = Vec::with_capacity(specs.len());
    for (at, spec) in specs.iter().enumerate() {
        let mut source = spec.source(asked, at);
        // A chart's values may lie in Git.
        let with_variables = spec.rendering(asked, at, &source.repo_url);
        let mut own = |file: &str| match file.strip_prefix('$').and_then(|file| file.split_once('/')) {
            Some((name, path)) => match names.iter().position(|known| *known == name && !name.is_empty()) {
                Some(of) => {
                    // A name that the revision is part of is kept as it is, so that whoever looks for it says so.
                    let path = with_variables.expand(path).unwrap_or_else(|| path.to_owned());
                    if let Some(files) = referred.get_mut(of) {
                        files.push(path);
                    }
                    None
                }
                None => Some(file.to_owned()),
            },
            None => Some(file.to_owned()),
        };
        let (values, parameters) = spec.helm_files();
        let values = values.filter_map(&mut own).collect();
        let parameters = parameters.filter_map(&mut own).collect();
        if let SourceKind::Git { rendering } = &mut source.kind {
            (rendering.value_files, rendering.file_parameters) = (values, parameters);
        }
        sources.push(source);
    }
    for (source, files) in sources.iter_mut().zip(referred) {
        if let SourceKind::Git { rendering } = &mut source.kind {
            rendering.referred = files;
        }
    }
    sources
}

impl SourceSpec {
    fn source(&self, asked: &Asked<'_>, at: usize) -> Source {
        let repo_url = without_secrets(self.repo_url.text());
        let kind = if !self.chart.text().is_empty() {
            SourceKind::Chart { chart: self.chart.text().to_owned() }
        } else if let Some(image) = repo_url.strip_prefix("oci://") {
            SourceKind::Chart { chart: image.rsplit('/').next().unwrap_or_default().to_owned() }
        } else {
            SourceKind::git(self.rendering(asked, at, &repo_url))
        };
        let target_revision =
            Some(self.target_revision.text()).filter(|text| !text.is_empty()).unwrap_or("HEAD").to_owned();
        Source { repo_url, target_revision, kind }
    }

    fn rendering(&self, asked: &Asked<'_>, at: usize, repo_url: &str) -> Rendering {
        let only_for_others = self.path.text().is_empty() && !self.r#ref.text().is_empty();
        if only_for_others {
            return Rendering {
                instance: Some(asked.instance.to_owned()),
                variables: Some(Box::new(self.variables(asked, repo_url))),
                ..Rendering::default()
            };
        }
        let directory = self.directory.0.clone().unwrap_or_default();
        let kustomize = self.kustomize.0.clone().unwrap_or_default();
        Rendering {
            instance: Some(asked.instance.to_owned()),
            path: Some(folder(self.path.text())),
            tool: self.tool(),
            tool_seen: asked.types.get(at).and_then(|text| tool(text)),
            directory: Some(Directory {
                recurse: directory.recurse.0 == Some(true),
                include: directory.include.text().to_owned(),
                exclude: directory.exclude.text().to_owned(),
                libraries: texts(&directory.jsonnet.0.unwrap_or_default().libs),
            }),
            components: texts(&kustomize.components),
            patches: paths(&kustomize.patches).map(str::to_owned).collect(),
            generate_paths: split(asked.generate_paths),
            variables: Some(Box::new(self.variables(asked, repo_url))),
            // Those that the sources have among themselves come later.
            value_files: Vec::new(),
            file_parameters: Vec::new(),
            referred: Vec::new(),
        }
    }

    /// The tool that the Application names by what it configures.
    fn tool(&self) -> Option<Tool> {
        let named = [
            (self.kustomize.get().is_some(), Tool::Kustomize),
            (self.helm.get().is_some(), Tool::Helm),
            (self.directory.get().is_some(), Tool::Directory),
            (self.plugin.get().is_some(), Tool::Plugin),
        ];
        let mut named = named.into_iter().filter(|(is_named, _)| *is_named).map(|(_, tool)| tool);
        // Argo CD refuses to render what names several.
        named.next().filter(|_| named.next().is_none())
    }

    fn helm_files(&self) -> (impl Iterator<Item = &str>, impl Iterator<Item = &str>) {
        let helm = self.helm.get();
        let values = helm.into_iter().flat_map(|helm| helm.value_files.elements()).map(String::as_str);
        (values, helm.into_iter().flat_map(|helm| paths(&helm.file_parameters)))
    }

    fn variables(&self, asked: &Asked<'_>, repo_url: &str) -> Variables {
        Variables {
            project: asked.project.to_owned(),
            namespace: asked.namespace.to_owned(),
            repo_url: repo_url.to_owned(),
            target_revision: self.target_revision.text().to_owned(),
        }
    }
}

fn tool(text: &str) -> Option<Tool> {
    match text {
        "Directory" => Some(Tool::Directory),
        "Kustomize" => Some(Tool::Kustomize),
        "Helm" => Some(Tool::Helm),
        "Plugin" => Some(Tool::Plugin),
        _ => None,
    }
}

fn texts(list: &LenientList<String>) -> Vec<String> {
    list.elements().filter(|text| !text.is_empty()).cloned().collect()
}

fn paths(list: &LenientList<File>) -> impl Iterator<Item = &str> {
    list.elements().map(|file| file.path.text()).filter(|path| !path.is_empty())
}

fn split(annotation: &str) -> Vec<String> {
    annotation.split(';').map(str::trim).filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

/// The folder without what changes nothing: `./shop/` is `shop`, and `.` is the root.
fn folder(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

/// The URL without a user's name and password, which would reach the log and the state; Argo CD's Secrets are the place
/// for them. The user of an SSH URL is no secret.
fn without_secrets(repo_url: &str) -> String {
    match repo_url.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (host, path) = rest.split_at(end);
            format!("{scheme}://{}{path}", host.rsplit_once('@').map_or(host, |(_, host)| host))
        }
        _ => repo_url.to_owned(),
    }
}
