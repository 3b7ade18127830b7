//! Git against the cluster.

use std::sync::Arc;

use serde_json::{Value, json};

use super::render::{Manifest, Rendered, TRACKING_ID};
use crate::sandbox::apiserver::{ALL, Resource, Store};
use crate::sandbox::json::{annotation, at, text};

/// The result of a comparison.
pub(super) struct Comparison {
    /// `status.resources`; without health, as Argo CD since 3.0.
    pub(super) resources: Vec<Value>,
    /// The resources that differ, in the form of `operation.sync.resources`.
    pub(super) differing: Vec<Value>,
}

impl Comparison {
    pub(super) fn synced(&self) -> bool {
        self.differing.is_empty()
    }

    pub(super) fn status(&self) -> &'static str {
        if self.synced() { "Synced" } else { "OutOfSync" }
    }
}

/// Compares what is live with what Git wants.
pub(super) fn compare(store: &Store, application: &Value, wanted: &Rendered) -> Comparison {
    let mut resources = Vec::new();
    let mut differing = Vec::new();
    for manifest in &wanted.manifests {
        let live = manifest.resource.and_then(|r| store.get(r, &manifest.namespace, &manifest.name));
        let synced = live.is_some_and(|live| is_live(manifest, &live));
        if !synced {
            differing.push(json!({"group": manifest.group, "kind": manifest.kind,
                                  "namespace": manifest.namespace, "name": manifest.name}));
        }
        let mut entry = json!({"group": manifest.group, "version": manifest.version, "kind": manifest.kind,
                               "namespace": manifest.namespace, "name": manifest.name,
                               "status": if synced { "Synced" } else { "OutOfSync" }});
        if manifest.wave != 0 {
            crate::sandbox::json::set(&mut entry, &["syncWave"], json!(manifest.wave));
        }
        resources.push(entry);
    }
    for (resource, live) in extra(store, application, wanted) {
        let (namespace, name) = (text(&live, "/metadata/namespace"), text(&live, "/metadata/name"));
        differing.push(json!({"group": resource.group, "kind": resource.kind, "namespace": namespace,
                              "name": name}));
        resources.push(json!({"group": resource.group, "version": resource.version, "kind": resource.kind,
                              "namespace": namespace, "name": name, "status": "OutOfSync",
                              "requiresPruning": true}));
    }
    Comparison { resources, differing }
}

/// Live resources of the Application that Git no longer has.
pub(super) fn extra(
    store: &Store,
    application: &Value,
    wanted: &Rendered,
) -> Vec<(&'static Resource, Arc<Value>)> {
    let prefix = format!("{}:", text(application, "/metadata/name"));
    let mut found = Vec::new();
    for resource in ALL {
        for live in store.objects(resource) {
            let Some(id) = annotation(&live, TRACKING_ID).filter(|id| id.starts_with(&prefix)) else {
                continue;
            };
            // A controller may copy annotations to what it owns; only the resource itself carries its own id.
            let (namespace, name) = (text(&live, "/metadata/namespace"), text(&live, "/metadata/name"));
            let own = format!("{prefix}{}/{}:{namespace}/{name}", resource.group, resource.kind);
            let in_git = wanted.manifests.iter().any(|manifest| {
                manifest.resource == Some(resource)
                    && manifest.namespace == namespace
                    && manifest.name == name
            });
            if id == own && !in_git {
                found.push((resource, live));
            }
        }
    }
    found
}

/// Whether everything that the manifest says is so in the cluster; nothing else may be in the parts that it says.
fn is_live(manifest: &Manifest, live: &Value) -> bool {
    parts(&manifest.object).all(|(part, wanted)| live.get(part) == Some(wanted))
        && ["labels", "annotations"].iter().all(|field| {
            let wanted = at(&manifest.object, &format!("/metadata/{field}")).and_then(Value::as_object);
            wanted.into_iter().flatten().all(|(name, value)| {
                at(live, &format!("/metadata/{field}")).and_then(|live| live.get(name)) == Some(value)
            })
        })
}

/// The parts of a manifest that are compared and applied whole: `spec`, `data` …
pub(super) fn parts(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fixed = ["apiVersion", "kind", "metadata", "status"];
    object.as_object().into_iter().flatten().filter(move |(part, _)| !fixed.contains(&part.as_str()))
}
