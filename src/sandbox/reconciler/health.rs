//! Argo CD's opinion of resources.

use serde_json::Value;

use super::render::Manifest;
use crate::sandbox::apiserver::{DEPLOYMENTS, Store};
use crate::sandbox::json::{at, list, number, text};

/// Argo CD's health, best first; the worst resource decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    Healthy,
    Suspended,
    Progressing,
    Degraded,
}

impl Health {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
        }
    }
}

/// The health of the live objects of these manifests; what is missing or has no health does not count.
pub(super) fn of_all<'a>(store: &Store, manifests: impl IntoIterator<Item = &'a Manifest>) -> Health {
    manifests.into_iter().filter_map(|manifest| of(store, manifest)).max().unwrap_or(Health::Healthy)
}

/// The health of one resource, where its kind has one.
pub(super) fn of(store: &Store, manifest: &Manifest) -> Option<Health> {
    let resource = manifest.resource.filter(|resource| **resource == DEPLOYMENTS)?;
    store.get(resource, &manifest.namespace, &manifest.name).map(|live| deployment(&live))
}

/// Argo CD's rule for Deployments.
fn deployment(live: &Value) -> Health {
    let count = |pointer: &str| number(live, pointer).unwrap_or_default();
    if at(live, "/spec/paused") == Some(&Value::Bool(true)) {
        return Health::Suspended;
    }
    if count("/metadata/generation") > count("/status/observedGeneration") {
        return Health::Progressing;
    }
    let gave_up = list(live, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "Progressing" && text(condition, "/reason") == "ProgressDeadlineExceeded"
    });
    let (updated, desired) = (count("/status/updatedReplicas"), number(live, "/spec/replicas").unwrap_or(1));
    if gave_up {
        Health::Degraded
    } else if updated < desired
        || count("/status/replicas") > updated
        || count("/status/availableReplicas") < updated
    {
        Health::Progressing
    } else {
        Health::Healthy
    }
}
