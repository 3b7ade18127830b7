//! The sources of an Application, and what it says of how one in Git is rendered, as far as that tells which files it
//! takes.

use serde::{Deserialize, Serialize};

/// One source of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The repository's URL as the Application writes it.
    pub repo_url: String,
    /// The branch, tag, commit or `HEAD` that Argo CD follows.
    pub target_revision: String,
    /// What the source holds.
    pub kind: SourceKind,
}

/// Where the revisions of a source come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracked {
    /// The repository's URL as the Application writes it.
    pub repo_url: String,
    /// The branch, tag, commit, version or `HEAD` that Argo CD follows.
    pub target_revision: String,
}

impl Source {
    /// What it follows.
    pub fn tracked(&self) -> Tracked {
        Tracked { repo_url: self.repo_url.clone(), target_revision: self.target_revision.clone() }
    }
}

/// What a hydrator renders from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dry {
    /// The source that people change.
    pub source: Source,
    /// A digest of its whole specification: no commit tells when that changes.
    pub digest: String,
}

/// What a source holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SourceKind {
    /// Files in a Git repository.
    Git {
        /// Which of them, and how they are read.
        rendering: Box<Rendering>,
    },
    /// A chart from a Helm or OCI registry.
    Chart {
        /// The chart's name.
        chart: String,
    },
}

impl SourceKind {
    /// Files in a Git repository.
    pub fn git(rendering: Rendering) -> Self {
        Self::Git { rendering: Box::new(rendering) }
    }
}

/// Everything an Application says of how one Git source is rendered that tells which files are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rendering {
    /// What Argo CD calls the application, as in `.argocd-source-<instance>.yaml`: its name, after `namespace_` if it
    /// is not in Argo CD's own namespace. None when nobody knows.
    pub instance: Option<String>,
    /// The folder from the repository's root, which is the empty path; none for a source that only others refer to.
    pub path: Option<String>,
    /// The tool, where the Application names it; else what the folder holds decides.
    pub tool: Option<Tool>,
    /// The tool that Argo CD found last. The folder may hold something else at another revision.
    pub tool_seen: Option<Tool>,
    /// How plain manifests are read; none when nobody knows.
    pub directory: Option<Directory>,
    /// Helm's value files, without those in other sources.
    pub value_files: Vec<String>,
    /// Files that Helm parameters are set to, without those in other sources.
    pub file_parameters: Vec<String>,
    /// Kustomize components that the Application adds.
    pub components: Vec<String>,
    /// Files of Kustomize patches that the Application adds.
    pub patches: Vec<String>,
    /// The paths of the annotation `argocd.argoproj.io/manifest-generate-paths`.
    pub generate_paths: Vec<String>,
    /// Files of this source that this or another source refers to as `$name/path`; from the repository's root.
    pub referred: Vec<String>,
    /// What Argo CD puts in for `$ARGOCD_APP_…` in the names of files; none when nobody knows.
    pub variables: Option<Box<Variables>>,
}

/// What Argo CD puts in for its variables, as far as it is the same at each revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Variables {
    /// The `AppProject`.
    pub project: String,
    /// The namespace that the resources go to.
    pub namespace: String,
    /// The repository's URL.
    pub repo_url: String,
    /// The branch, tag, commit or `HEAD`, as the Application writes it.
    pub target_revision: String,
}

/// What turns files into manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tool {
    /// Manifests as they are, or Jsonnet.
    Directory,
    /// Kustomize.
    Kustomize,
    /// Helm.
    Helm,
    /// A program that reads what it likes.
    Plugin,
}

/// How plain manifests are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Directory {
    /// Whether the folders below are read too.
    pub recurse: bool,
    /// The pattern of the only files that are read; empty for all.
    pub include: String,
    /// The pattern of the files that are not read; empty for none.
    pub exclude: String,
    /// Folders in which Jsonnet looks for libraries, from the repository's root.
    pub libraries: Vec<String>,
}

/// Splits what follows a `$` into the variable's name and the rest, as Go's `os.Expand` does; no name keeps the dollar.
fn variable(text: &str) -> (Option<&str>, &str) {
    if let Some(inside) = text.strip_prefix('{') {
        let (name, rest) = inside.split_once('}').unwrap_or(("", inside));
        return (Some(name), rest);
    }
    // One of these is a whole name.
    if let Some(first) = text.chars().next().filter(|c| "*#$@!?-0123456789".contains(*c)) {
        let (name, rest) = text.split_at(first.len_utf8());
        return (Some(name), rest);
    }
    let end = text.find(|c: char| !(c == '_' || c.is_ascii_alphanumeric())).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (Some(name).filter(|name| !name.is_empty()), rest)
}

impl Rendering {
    /// A folder or file of which nothing else is known: what it holds tells how it is rendered.
    pub fn of_path(path: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// Plain manifests that lie right in a folder.
    pub fn plain(path: impl Into<String>) -> Self {
        let directory = Some(Directory::default());
        Self { tool: Some(Tool::Directory), directory, ..Self::of_path(path) }
    }

    /// Puts the variables in as Argo CD does: `$NAME`, `${NAME}`, `$$` for a dollar, and nothing for an unknown one.
    ///
    /// None where it depends on the revision, or on what nobody knows.
    pub fn expand(&self, text: &str) -> Option<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            let (name, left) = variable(after);
            match name {
                None | Some("$") => expanded.push('$'),
                Some(name) => expanded.push_str(self.variable(name)?),
            }
            rest = left;
        }
        expanded.push_str(rest);
        Some(expanded)
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let Some(name) = name.strip_prefix("ARGOCD_APP_") else { return Some("") };
        let known = self.variables.as_deref();
        match name {
            "NAME" => self.instance.as_deref(),
            "NAMESPACE" => known.map(|known| known.namespace.as_str()),
            "PROJECT_NAME" => known.map(|known| known.project.as_str()),
            "SOURCE_REPO_URL" => known.map(|known| known.repo_url.as_str()),
            "SOURCE_PATH" => Some(self.path.as_deref().unwrap_or_default()),
            "SOURCE_TARGET_REVISION" => known.map(|known| known.target_revision.as_str()),
            "REVISION" | "REVISION_SHORT" | "REVISION_SHORT_8" => None,
            _ => Some(""),
        }
    }

    /// Whether only files right in the folder are read, as far as that is known without looking into it.
    pub fn is_flat(&self) -> bool {
        // Kustomize, Helm and plugins read what they like.
        self.tool.or(self.tool_seen) == Some(Tool::Directory)
            && self.directory.as_ref().is_some_and(|directory| !directory.recurse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_as_argo_cd_does() {
        let rendering = Rendering { instance: Some("shop".into()), ..Rendering::default() };
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(rendering.expand(text).as_deref(), expected, "{text}");
        };
        check("values.yaml", Some("values.yaml"));
        check("$ARGOCD_APP_NAME/v.yaml", Some("shop/v.yaml"));
        check("v-${ARGOCD_APP_NAME}.yaml", Some("v-shop.yaml"));
        check("a$$ARGOCD_APP_NAME.yaml", Some("a$ARGOCD_APP_NAME.yaml"));
        check("$UNKNOWN/v.yaml", Some("/v.yaml"));
        check("${ARGOCD_APP_REVISION_SHORT}.yaml", None);
        check("$ARGOCD_APP_NAMESPACE", None);
        check("$ARGOCD_APP_OTHER", Some(""));
        check("é$", Some("é$"));
        check("${ARGOCD", Some("ARGOCD"));
        check("$é", Some("$é"));
    }

    #[test]
    fn only_plain_manifests_without_the_folders_below_are_flat() {
        assert!(Rendering::plain("a").is_flat());
        assert!(!Rendering::of_path("a").is_flat());
        let helm = Rendering { tool: None, tool_seen: Some(Tool::Helm), ..Rendering::plain("a") };
        assert!(!helm.is_flat());
    }
}
