//! Manifests of an Application: the YAML files of its folder at a revision.

use std::path::PathBuf;

use git2::{ObjectType, Repository};
use serde_json::{Value, json};

use crate::sandbox::apiserver::Resource;
use crate::sandbox::json::{annotation, set, text};

/// The annotation by which Argo CD knows its resources (its default tracking method).
pub(super) const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";

const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";

/// What an Application is at one revision.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rendered {
    /// The commit.
    pub(super) revision: String,
    /// Its resources, in the order of their files.
    pub(super) manifests: Vec<Manifest>,
}

/// One resource as Git wants it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manifest {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) wave: i64,
    pub(super) object: Value,
    /// None for a kind that the sandbox's API server does not have.
    pub(super) resource: Option<&'static Resource>,
}

impl Manifest {
    /// `group/Kind/name`, as Argo CD writes resources in messages.
    pub(super) fn label(&self) -> String {
        format!("{}/{}/{}", self.group, self.kind, self.name)
    }
}

/// The commit that an Application's source names now.
pub(super) fn resolve(application: &Value) -> Result<String, String> {
    let wanted = text(application, "/spec/source/targetRevision");
    let wanted = if wanted.is_empty() { "HEAD" } else { wanted };
    let repository = open(application)?;
    // A branch before a tag or a commit id, as Argo CD resolves.
    let found = repository
        .revparse_single(&format!("refs/heads/{wanted}"))
        .or_else(|_| repository.revparse_single(wanted))
        .and_then(|object| object.peel_to_commit())
        .map_err(|_| format!("unable to resolve '{wanted}' to a commit SHA"))?;
    Ok(found.id().to_string())
}

/// Reads the manifests at a commit.
pub(super) fn render(application: &Value, revision: &str) -> Result<Rendered, String> {
    let failed = |error: git2::Error| format!("failed to read {revision}: {}", error.message());
    let repository = open(application)?;
    let path = text(application, "/spec/source/path").trim_matches('/');
    let mut tree =
        repository.revparse_single(revision).and_then(|object| object.peel_to_tree()).map_err(failed)?;
    if !path.is_empty() && path != "." {
        tree = tree
            .get_path(&PathBuf::from(path))
            .and_then(|entry| entry.to_object(&repository))
            .and_then(|object| object.peel_to_tree())
            .map_err(|_| format!("{path}: app path does not exist"))?;
    }
    let mut manifests = Vec::new();
    for entry in &tree {
        let name = entry.name().unwrap_or_default().to_owned();
        let yaml = [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending));
        if entry.kind() != Some(ObjectType::Blob) || !yaml {
            continue;
        }
        let object = entry.to_object(&repository).map_err(failed)?;
        let content = object.as_blob().map(git2::Blob::content).unwrap_or_default();
        let content = String::from_utf8_lossy(content);
        let documents: Vec<Value> = serde_saphyr::from_multiple(&content)
            .map_err(|error| format!("Failed to unmarshal \"{name}\": {error}"))?;
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            manifests.push(manifest(application, &name, document)?);
        }
    }
    Ok(Rendered { revision: revision.to_owned(), manifests })
}

fn manifest(application: &Value, file: &str, mut object: Value) -> Result<Manifest, String> {
    let (api_version, kind, name) = (
        text(&object, "/apiVersion").to_owned(),
        text(&object, "/kind").to_owned(),
        text(&object, "/metadata/name").to_owned(),
    );
    if api_version.is_empty() || kind.is_empty() || name.is_empty() {
        return Err(format!("Failed to unmarshal \"{file}\": apiVersion, kind or metadata.name is missing"));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = Resource::of_manifest(&object);
    let mut namespace = text(&object, "/metadata/namespace").to_owned();
    if namespace.is_empty() && resource.is_none_or(|resource| resource.namespaced) {
        text(application, "/spec/destination/namespace").clone_into(&mut namespace);
    }
    let wave = annotation(&object, SYNC_WAVE).and_then(|wave| wave.parse().ok()).unwrap_or_default();
    let app = text(application, "/metadata/name");
    let id = format!("{app}:{group}/{kind}:{namespace}/{name}");
    set(&mut object, &["metadata", "annotations", TRACKING_ID], json!(id));
    Ok(Manifest {
        group: group.to_owned(),
        version: version.to_owned(),
        kind,
        namespace,
        name,
        wave,
        object,
        resource,
    })
}

fn open(application: &Value) -> Result<Repository, String> {
    let url = text(application, "/spec/source/repoURL");
    if url.is_empty() {
        return Err(
            "the sandbox's Argo CD needs `spec.source.repoURL` and knows a single source only".to_owned()
        );
    }
    let path = url.strip_prefix("file://").unwrap_or(url);
    Repository::open_bare(path)
        .map_err(|error| format!("failed to open repository {url}: {}", error.message()))
}
