//! What somebody who looks at the cluster sees change, in sentences.

use serde_json::Value;

use crate::sandbox::apiserver::{APPLICATIONS, PODS, Store};
use crate::sandbox::json::{list, text};
use crate::sandbox::{APP, ARGOCD_NAMESPACE};

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Scene {
    sync: String,
    health: String,
    pods: String,
}

impl Scene {
    /// What is new since the last look.
    pub(super) fn look(&mut self, store: &Store) -> Vec<String> {
        let mut news = Vec::new();
        if let Some(app) = store.get(&APPLICATIONS, ARGOCD_NAMESPACE, APP) {
            news.extend(changed(&mut self.sync, sync(&app)));
            let health = text(&app, "/status/health/status");
            if !health.is_empty() {
                news.extend(changed(&mut self.health, format!("Argo CD calls {APP} {health}")));
            }
        }
        let pods = pods(&store.list(&PODS, Some(APP)));
        // A rollout passes through many mixtures; only its ends are worth a line.
        if let Some(pods) = pods {
            news.extend(changed(&mut self.pods, pods));
        }
        news
    }
}

fn changed(known: &mut String, now: String) -> Option<String> {
    if now.is_empty() || *known == now {
        return None;
    }
    known.clone_from(&now);
    Some(now)
}

fn sync(app: &Value) -> String {
    let revision = text(app, "/status/operationState/syncResult/revision");
    let short = revision.get(..8).unwrap_or(revision);
    match text(app, "/status/operationState/phase") {
        "Succeeded" => format!("Argo CD synced {APP} to {short}"),
        "Failed" | "Error" => format!("Argo CD failed to sync {APP} to {short}"),
        _ => String::new(),
    }
}

fn pods(pods: &[Value]) -> Option<String> {
    let mut tags: Vec<&str> = Vec::new();
    for pod in pods {
        let container = list(pod, "/spec/containers").first()?;
        let tag = text(container, "/image").rsplit_once(':').map_or("", |(_, tag)| tag);
        let status = list(pod, "/status/containerStatuses").first()?;
        let waits = text(status, "/state/waiting/reason");
        if waits.ends_with("BackOff") {
            return Some(format!("a pod of {tag} is in {waits}, the version before still serves"));
        }
        if status.get("ready") != Some(&Value::Bool(true)) {
            return None;
        }
        tags.push(tag);
    }
    let first = tags.first()?;
    tags.iter().all(|tag| tag == first).then(|| format!("all {} pods run {first}", tags.len()))
}
