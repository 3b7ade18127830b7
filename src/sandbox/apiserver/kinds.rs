//! The kinds of object that the API server knows.

use std::fmt;

use serde_json::{Value, json};

/// One kind of object and how the API server treats it.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The name in URLs.
    pub plural: &'static str,
    /// Whether it lives in namespaces.
    pub namespaced: bool,
    /// Whether `status` is written through its own subresource.
    pub status: bool,
    /// What moves `metadata.generation`.
    pub(crate) generation: Generation,
    /// Whether a replacement must name the `resourceVersion` that it replaces.
    pub(crate) conditional: bool,
    /// Whether a deletion first asks the kubelet to end what runs.
    pub(crate) graceful: bool,
}

/// What moves `metadata.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Nothing: the kind has none.
    None,
    /// A change of `spec`.
    Spec,
    /// A change of `spec` or of an annotation.
    SpecOrAnnotations,
    /// A change of anything but `metadata`, and but `status` where that is a subresource (custom resources).
    Anything,
}

const fn built_in(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    generation: Generation,
) -> Resource {
    Resource {
        group,
        version: "v1",
        kind,
        plural,
        namespaced: true,
        status: false,
        generation,
        conditional: false,
        graceful: false,
    }
}

const fn workload(group: &'static str, kind: &'static str, plural: &'static str) -> Resource {
    Resource { status: true, ..built_in(group, kind, plural, Generation::Spec) }
}

const fn custom(group: &'static str, kind: &'static str, plural: &'static str, status: bool) -> Resource {
    let base = built_in(group, kind, plural, Generation::Anything);
    // The API server refuses an update of a custom resource without `resourceVersion`.
    Resource { version: "v1alpha1", status, conditional: true, ..base }
}

/// Argo CD's Applications: no status subresource, as in Argo CD's CRD.
pub static APPLICATIONS: Resource = custom("argoproj.io", "Application", "applications", false);
/// Argo CD's projects.
pub static APP_PROJECTS: Resource = custom("argoproj.io", "AppProject", "appprojects", false);
/// lastgood's own state.
pub static LAST_GOODS: Resource = custom("lastgood.dev", "LastGood", "lastgoods", true);
/// `apps/v1` Deployments.
pub static DEPLOYMENTS: Resource =
    Resource { generation: Generation::SpecOrAnnotations, ..workload("apps", "Deployment", "deployments") };
/// `apps/v1` `ReplicaSets`.
pub static REPLICA_SETS: Resource = workload("apps", "ReplicaSet", "replicasets");
/// `apps/v1` `StatefulSets`.
pub static STATEFUL_SETS: Resource = workload("apps", "StatefulSet", "statefulsets");
/// `apps/v1` `DaemonSets`.
pub static DAEMON_SETS: Resource = workload("apps", "DaemonSet", "daemonsets");
/// `batch/v1` Jobs.
pub static JOBS: Resource = workload("batch", "Job", "jobs");
/// Pods.
pub static PODS: Resource =
    Resource { status: true, graceful: true, ..built_in("", "Pod", "pods", Generation::None) };
/// Secrets.
pub static SECRETS: Resource = built_in("", "Secret", "secrets", Generation::None);
/// `ConfigMaps`.
pub static CONFIG_MAPS: Resource = built_in("", "ConfigMap", "configmaps", Generation::None);
/// Services: stored, but nothing is behind them.
pub static SERVICES: Resource =
    Resource { status: true, ..built_in("", "Service", "services", Generation::None) };
/// Namespaces.
pub static NAMESPACES: Resource =
    Resource { namespaced: false, status: true, ..built_in("", "Namespace", "namespaces", Generation::None) };
/// Events.
pub static EVENTS: Resource = built_in("events.k8s.io", "Event", "events", Generation::None);
/// Leases.
pub static LEASES: Resource =
    Resource { conditional: true, ..built_in("coordination.k8s.io", "Lease", "leases", Generation::None) };

/// Every kind there is; Rollouts are missing on purpose, as in a cluster without Argo Rollouts.
pub static ALL: [&Resource; 15] = [
    &APPLICATIONS,
    &APP_PROJECTS,
    &LAST_GOODS,
    &DEPLOYMENTS,
    &REPLICA_SETS,
    &STATEFUL_SETS,
    &DAEMON_SETS,
    &JOBS,
    &PODS,
    &SECRETS,
    &CONFIG_MAPS,
    &SERVICES,
    &NAMESPACES,
    &EVENTS,
    &LEASES,
];

impl Resource {
    /// `group/version`, or only the version for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The kind with this group, version and plural name.
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|r| r.group == group && r.version == version && r.plural == plural)
    }

    /// The kind that a manifest's `apiVersion` and `kind` name.
    pub(crate) fn of_manifest(manifest: &Value) -> Option<&'static Self> {
        let (api_version, kind) = (manifest.get("apiVersion")?.as_str()?, manifest.get("kind")?.as_str()?);
        ALL.into_iter().find(|r| r.kind == kind && r.api_version() == api_version)
    }

    /// An `APIResourceList` of one group and version; none when nothing is in it.
    pub(crate) fn discovery(group: &str, version: &str) -> Option<Value> {
        let verbs = json!(["create", "delete", "get", "list", "patch", "update", "watch"]);
        let resources: Vec<Value> = ALL
            .into_iter()
            .filter(|r| r.group == group && r.version == version)
            .map(|r| {
                json!({"name": r.plural, "singularName": r.kind.to_lowercase(), "namespaced": r.namespaced,
                       "kind": r.kind, "verbs": verbs})
            })
            .collect();
        let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        (!resources.is_empty()).then(|| {
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
                   "resources": resources})
        })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}
