//! The Application as Argo CD writes it, pruned and tolerant, and its translation into facts.

use jiff::Timestamp;
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::super::object::{Lenient, LenientList, metadata, resource};
use super::digest::source_digest;
use super::origin;
use super::source::{self, Asked};
use crate::engine::facts::{
    AppKey, ApplicationFacts, Dry, HealthStatus, HistoryEntry, Operation, OperationPhase, Origin, Revision,
    Revisions, Source, SourceKind, SyncStatus, WorkloadKind, WorkloadRef,
};

/// Entries of the history that are kept, the newest ones. Argo CD keeps ten unless told otherwise.
const HISTORY_MAX: usize = 20;

/// Characters of Argo CD's message that are kept: it may list thousands of resources.
const MESSAGE_CHARS_MAX: usize = 1000;

/// The annotation by which a person ends a hold.
const RESUME: &str = "lastgood.dev/resume";

/// The annotation and the label by which Argo CD marks the resources of an Application.
const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
const INSTANCE: &str = "app.kubernetes.io/instance";

/// The annotation that names paths which manifests are generated from.
const GENERATE_PATHS: &str = "argocd.argoproj.io/manifest-generate-paths";

/// An Argo CD Application, only what is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Application {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Lenient<Spec>,
    #[serde(default)]
    operation: Lenient<IgnoredAny>,
    #[serde(default)]
    status: Lenient<Status>,
}

resource!(Application, "argoproj.io", "v1alpha1", "Application", "applications");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    project: Lenient<String>,
    source: Lenient<Value>,
    sources: LenientList<Value>,
    source_hydrator: Lenient<Hydrator>,
    destination: Lenient<Destination>,
    sync_policy: Lenient<SyncPolicy>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hydrator {
    dry_source: Lenient<Value>,
    sync_source: Lenient<SyncSource>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SyncSource {
    #[serde(rename = "repoURL")]
    repo_url: Lenient<String>,
    target_branch: Lenient<String>,
    path: Lenient<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Destination {
    server: Lenient<String>,
    name: Lenient<String>,
    namespace: Lenient<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SyncPolicy {
    automated: Lenient<Automated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Automated {
    enabled: Lenient<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    sync: Lenient<Sync>,
    health: Lenient<Health>,
    history: LenientList<History>,
    operation_state: Lenient<OperationState>,
    resources: LenientList<Resource>,
    reconciled_at: Lenient<Timestamp>,
    source_type: Lenient<String>,
    source_types: LenientList<String>,
    controller_namespace: Lenient<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Sync {
    status: Lenient<String>,
    revision: Lenient<String>,
    revisions: LenientList<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Health {
    status: Lenient<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct History {
    id: Lenient<i64>,
    revision: Lenient<String>,
    revisions: LenientList<String>,
    deploy_started_at: Lenient<Timestamp>,
    deployed_at: Lenient<Timestamp>,
    initiated_by: Lenient<Initiator>,
    source: Lenient<Value>,
    sources: LenientList<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OperationState {
    operation: Lenient<OperationSpec>,
    phase: Lenient<OperationPhase>,
    message: Lenient<String>,
    sync_result: Lenient<SyncResult>,
    started_at: Lenient<Timestamp>,
    finished_at: Lenient<Timestamp>,
    retry_count: Lenient<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SyncResult {
    revision: Lenient<String>,
    revisions: LenientList<String>,
    source: Lenient<Value>,
    sources: LenientList<Value>,
    resources: LenientList<ResourceResult>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceResult {
    status: Lenient<String>,
    hook_phase: Lenient<String>,
}

impl ResourceResult {
    fn failed(&self) -> bool {
        self.status.text() == "SyncFailed" || matches!(self.hook_phase.text(), "Failed" | "Error")
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OperationSpec {
    sync: Lenient<RevisionPart>,
    initiated_by: Lenient<Initiator>,
}

/// What was asked to be synced.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RevisionPart {
    revision: Lenient<String>,
    revisions: LenientList<String>,
    dry_run: Lenient<bool>,
    /// Only these; none means all.
    resources: LenientList<Value>,
    /// Local ones instead of Git's.
    manifests: LenientList<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Initiator {
    username: Lenient<String>,
    automated: Lenient<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    group: Lenient<String>,
    kind: Lenient<String>,
    namespace: Lenient<String>,
    name: Lenient<String>,
    hook: Lenient<bool>,
}

impl Resource {
    fn child(&self) -> Option<Origin> {
        let name = Some(self.name.text()).filter(|name| !name.is_empty())?;
        origin::child(self.group.text(), self.kind.text(), self.namespace.text(), name)
    }
}

impl Application {
    /// Its namespace and name; an API server never leaves them out.
    pub(super) fn key(&self) -> Option<AppKey> {
        Some(AppKey::new(self.metadata.namespace.as_deref()?, self.metadata.name.as_deref()?))
    }

    /// Who wrote it; `own` is Argo CD's own namespace.
    fn parent(&self, app: &AppKey, own: &str) -> Option<Origin> {
        let owners = self.metadata.owner_references.as_deref().unwrap_or_default();
        let tracking_id = self.metadata.annotations.as_ref().and_then(|all| all.get(TRACKING_ID));
        let label = self.metadata.labels.as_ref().and_then(|labels| labels.get(INSTANCE));
        origin::parent(app, owners, tracking_id.map(String::as_str), label.map(String::as_str), own)
    }

    /// Translates; none only for an object without a name.
    pub(super) fn facts(&self) -> Option<ApplicationFacts> {
        let app = self.key()?;
        let (spec, status) =
            (self.spec.0.clone().unwrap_or_default(), self.status.0.clone().unwrap_or_default());
        let sync = status.sync.0.unwrap_or_default();
        let destination = spec.destination.0.clone().unwrap_or_default();
        let annotation = |name: &str| self.metadata.annotations.as_ref()?.get(name).cloned();
        let (sources, spec_digest, hydrated) = spec.sources();
        let types = match status.source_types.get() {
            Some(types) if !types.is_empty() => types.iter().map(Lenient::text).collect(),
            _ => vec![status.source_type.text()],
        };
        let own = Some(status.controller_namespace.text()).filter(|own| !own.is_empty());
        let own = own.unwrap_or(&app.namespace);
        let instance =
            if own == app.namespace { app.name.clone() } else { format!("{}_{}", app.namespace, app.name) };
        let generate_paths = annotation(GENERATE_PATHS).unwrap_or_default();
        let asked = Asked {
            instance: &instance,
            project: spec.project.text(),
            namespace: destination.namespace.text(),
            types: &types,
            generate_paths: &generate_paths,
        };
        // The annotation is about what people write, and Argo CD has seen the tool of what it syncs.
        let synced = if hydrated { Asked { generate_paths: "", ..asked } } else { asked };
        let sources = source::sources(&sources, &synced);
        let dry = spec.source_hydrator.get().and_then(|hydrator| hydrator.dry_source.get());
        let dry = dry.and_then(|dry| {
            let source = source::sources(std::slice::from_ref(dry), &Asked { types: &[], ..asked }).pop()?;
            Some(Dry { source, digest: source_digest(Some(dry), &[]) })
        });
        let parent = self.parent(&app, own);
        let mut history: Vec<HistoryEntry> = status.history.elements().filter_map(History::entry).collect();
        history.drain(..history.len().saturating_sub(HISTORY_MAX));
        Some(ApplicationFacts {
            app,
            uid: self.metadata.uid.clone().unwrap_or_default(),
            project: spec
                .project
                .0
                .clone()
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "default".into()),
            labels: self.metadata.labels.clone().unwrap_or_default(),
            operation: status.operation_state.get().and_then(|state| state.operation(&sources)),
            sources,
            spec_digest,
            hydrated,
            in_cluster: destination.in_cluster(),
            auto_sync: spec.auto_sync(),
            operation_requested: self.operation.get().is_some(),
            sync: sync_status(sync.status.text()),
            compared: revisions(&sync.revisions, &sync.revision),
            health: health_status(status.health.get().map_or("", |health| health.status.text())),
            reconciled_at: status.reconciled_at.0,
            history,
            dry,
            parent,
            children: status.resources.elements().filter_map(Resource::child).collect(),
            workloads: workloads(&status.resources, destination.namespace.text()),
            destination_cluster: destination.cluster().to_owned(),
            destination_namespace: destination.namespace.0.unwrap_or_default(),
            resume: annotation(RESUME),
        })
    }
}

impl Spec {
    /// The sources, their digest, and whether a hydrator writes them; in Argo CD's own order of precedence.
    fn sources(&self) -> (Vec<Value>, String, bool) {
        if let Some(hydrator) = self.source_hydrator.get() {
            let synced = hydrator.synced();
            let digest = source_digest(Some(&synced), &[]);
            return (vec![synced], digest, true);
        }
        let several: Vec<Value> = self.sources.elements().cloned().collect();
        let digest = source_digest(self.source.get(), &several);
        let sources =
            if several.is_empty() { self.source.get().cloned().into_iter().collect() } else { several };
        (sources, digest, false)
    }

    fn auto_sync(&self) -> bool {
        let automated = self.sync_policy.get().and_then(|policy| policy.automated.get());
        automated.is_some_and(|automated| automated.enabled.0 != Some(false))
    }
}

impl Hydrator {
    /// The source that Argo CD derives from a hydrator, in the form in which the history shows it.
    fn synced(&self) -> Value {
        let sync = self.sync_source.0.clone().unwrap_or_default();
        let dry = self.dry_source.get().and_then(|dry| dry.get("repoURL")).and_then(Value::as_str);
        let repo_url =
            sync.repo_url.0.filter(|url| !url.is_empty()).unwrap_or(dry.unwrap_or_default().to_owned());
        serde_json::json!({
            "repoURL": repo_url,
            "path": sync.path.text(),
            "targetRevision": sync.target_branch.text(),
        })
    }
}

impl Destination {
    fn in_cluster(&self) -> bool {
        self.server.text().trim_end_matches('/') == "https://kubernetes.default.svc"
            || self.name.text() == "in-cluster"
    }

    fn cluster(&self) -> &str {
        Some(self.name.text()).filter(|name| !name.is_empty()).unwrap_or(self.server.text())
    }
}

impl Initiator {
    /// The user's name, or `automated`; none where neither is said.
    fn name(&self) -> Option<String> {
        if self.automated.0 == Some(true) {
            return Some("automated".to_owned());
        }
        self.username.0.clone().filter(|name| !name.is_empty())
    }
}

impl History {
    fn entry(&self) -> Option<HistoryEntry> {
        let sources: Vec<Value> = self.sources.elements().cloned().collect();
        Some(HistoryEntry {
            id: self.id.0.unwrap_or_default(),
            revisions: revisions(&self.revisions, &self.revision)?,
            started_at: self.deploy_started_at.0,
            deployed_at: self.deployed_at.0?,
            initiated_by: self.initiated_by.0.as_ref().and_then(Initiator::name),
            spec_digest: source_digest(self.source.get(), &sources),
        })
    }
}

impl OperationState {
    fn operation(&self, sources: &[Source]) -> Option<Operation> {
        let requested = self.operation.0.clone().unwrap_or_default();
        let sync = requested.sync.0.unwrap_or_default();
        let by = requested.initiated_by.0.unwrap_or_default();
        let result = self.sync_result.0.clone().unwrap_or_default();
        let attempted = revisions(&result.revisions, &result.revision);
        let applied: Vec<Value> = result.sources.elements().cloned().collect();
        Some(Operation {
            phase: self.phase.0?,
            revisions: attempted.or_else(|| sync.named().filter(|revisions| resolved(revisions, sources))),
            started_at: self.started_at.0?,
            finished_at: self.finished_at.0,
            retry_count: self.retry_count.0.unwrap_or_default(),
            dry_run: sync.dry_run.0 == Some(true),
            // Argo CD itself names resources when it heals, and may bring a new revision that way.
            partial: by.automated.0 != Some(true)
                && (sync.resources.elements().next().is_some() || sync.manifests.elements().next().is_some()),
            resource_failed: result.resources.elements().any(ResourceResult::failed),
            spec_digest: source_digest(result.source.get(), &applied),
            message: self.message.text().chars().take(MESSAGE_CHARS_MAX).collect(),
            initiated_by: by.name().unwrap_or_default(),
        })
    }
}

impl RevisionPart {
    fn named(&self) -> Option<Revisions> {
        revisions(&self.revisions, &self.revision)
    }
}

/// Whether these are what was asked for *and* what it came to. A person may ask for `main`, which says nothing yet.
fn resolved(revisions: &Revisions, sources: &[Source]) -> bool {
    let is_chart = |at: usize| sources.get(at).is_some_and(|s| matches!(s.kind, SourceKind::Chart { .. }));
    revisions.iter().enumerate().all(|(at, revision)| revision.is_commit() || is_chart(at))
}

/// The list, where there is one; an unreadable element makes it no list, since the order is that of the sources.
fn revisions(several: &LenientList<String>, one: &Lenient<String>) -> Option<Revisions> {
    match several.get() {
        Some(list) if !list.is_empty() => {
            Revisions::new(list.iter().map(|revision| Revision::new(revision.text())).collect())
        }
        _ => Revisions::new(vec![Revision::new(one.text())]),
    }
}

fn workloads(resources: &LenientList<Resource>, default_namespace: &str) -> Vec<WorkloadRef> {
    let mut workloads: Vec<WorkloadRef> = resources
        .elements()
        // A hook has its own life: whether it failed is told by the operation.
        .filter(|resource| resource.hook.0 != Some(true))
        .filter_map(|resource| {
            let kind = match (resource.group.text(), resource.kind.text()) {
                ("apps", "Deployment") => WorkloadKind::Deployment,
                ("apps", "StatefulSet") => WorkloadKind::StatefulSet,
                ("apps", "DaemonSet") => WorkloadKind::DaemonSet,
                ("batch", "Job") => WorkloadKind::Job,
                ("argoproj.io", "Rollout") => WorkloadKind::Rollout,
                _ => return None,
            };
            let namespace =
                Some(resource.namespace.text()).filter(|text| !text.is_empty()).unwrap_or(default_namespace);
            let name = resource.name.get()?.clone();
            Some(WorkloadRef { kind, namespace: namespace.to_owned(), name })
        })
        .collect();
    workloads.sort();
    workloads.dedup();
    workloads
}

fn sync_status(text: &str) -> SyncStatus {
    match text {
        "Synced" => SyncStatus::Synced,
        "OutOfSync" => SyncStatus::OutOfSync,
        _ => SyncStatus::Unknown,
    }
}

fn health_status(text: &str) -> HealthStatus {
    match text {
        "Healthy" => HealthStatus::Healthy,
        "Suspended" => HealthStatus::Suspended,
        "Progressing" => HealthStatus::Progressing,
        "Missing" => HealthStatus::Missing,
        "Degraded" => HealthStatus::Degraded,
        _ => HealthStatus::Unknown,
    }
}
