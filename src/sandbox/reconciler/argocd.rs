//! Argo CD's application controller: comparing, health, auto-sync.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Pace;
use super::compare::{Comparison, compare};
use super::health::{Health, of_all};
use super::render::{Rendered, render, resolve};
use super::sync::Progress;
use crate::sandbox::apiserver::{APPLICATIONS, ApiError, Part, Store};
use crate::sandbox::clock::{between, later, whole_seconds};
use crate::sandbox::json::{annotation, at, list, number, remove, set, text};

const REFRESH: &str = "argocd.argoproj.io/refresh";

/// Retries of an automated sync, Argo CD's default.
const AUTO_SYNC_RETRIES: i64 = 5;

/// The application controller.
#[derive(Debug)]
pub(super) struct ArgoCd {
    pub(super) pace: Pace,
    memory: BTreeMap<String, Memory>,
}

/// What the controller keeps of one Application between two looks.
#[derive(Debug)]
pub(super) struct Memory {
    poll_at: Timestamp,
    resync_at: Timestamp,
    /// A comparison that was asked for, after an operation.
    pub(super) compare_at: Option<Timestamp>,
    /// What was compared last, and the source that it was rendered from.
    compared: Option<(Value, Rendered)>,
    /// A result that differs from the written one, and since when.
    unwritten: Option<(Health, &'static str, Timestamp)>,
    /// The store's version at the last look at the cluster that found nothing new.
    settled: Option<u64>,
    pub(super) operation: Option<Progress>,
}

impl ArgoCd {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, memory: BTreeMap::new() }
    }

    pub(super) fn tick(&mut self, store: &Store, now: Timestamp) {
        let applications = store.objects(&APPLICATIONS);
        self.memory.retain(|uid, _| applications.iter().any(|app| text(app, "/metadata/uid") == uid));
        for application in applications {
            let uid = text(&application, "/metadata/uid").to_owned();
            let mut memory = self.memory.remove(&uid).unwrap_or(Memory {
                poll_at: now,
                resync_at: now,
                compare_at: None,
                compared: None,
                unwritten: None,
                settled: None,
                operation: None,
            });
            // Fails only when somebody deleted or changed the Application in between; the next look sees that.
            self.look(store, &application, &mut memory, now).ok();
            self.memory.insert(uid, memory);
        }
    }

    fn look(
        &self,
        store: &Store,
        application: &Value,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let source = at(application, "/spec/source").cloned().unwrap_or_default();
        let mut due = annotation(application, REFRESH).is_some()
            || now >= memory.resync_at
            || memory.compare_at.is_some_and(|at| now >= at);
        if now >= memory.poll_at {
            memory.poll_at = later(now, self.pace.poll);
            let newest = resolve(application).ok();
            let known = memory.compared.as_ref();
            due |= known.is_none_or(|(of, last)| *of != source || newest.as_ref() != Some(&last.revision));
        }
        if due {
            memory.resync_at = later(now, self.pace.resync);
            memory.compare_at = None;
            memory.unwritten = None;
            memory.settled = None;
            Self::compare_with_git(store, application, memory, source, now)?;
        } else {
            self.look_at_live(store, application, memory, now)?;
        }
        let (namespace, name) =
            (text(application, "/metadata/namespace"), text(application, "/metadata/name"));
        let Some(current) = store.get(&APPLICATIONS, namespace, name) else { return Ok(()) };
        self.operate(store, &current, memory, now)
    }

    /// Compares with the newest revision (Argo CD's `CompareWithLatest`): the only look that moves `reconciledAt`.
    fn compare_with_git(
        store: &Store,
        application: &Value,
        memory: &mut Memory,
        source: Value,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let rendered = resolve(application).and_then(|revision| render(application, &revision));
        let rendered = match rendered {
            Ok(rendered) => rendered,
            Err(message) => {
                // The real one hides this for three minutes unless a refresh was asked for.
                memory.compared = None;
                edit(store, application, |app| {
                    set(app, &["status", "sync", "status"], json!("Unknown"));
                    set(app, &["status", "reconciledAt"], json!(whole_seconds(now)));
                    set(app, &["status", "conditions"], conditions("ComparisonError", &message, now));
                    remove(app, &["metadata", "annotations", REFRESH]);
                })?;
                return Ok(());
            }
        };
        let comparison = compare(store, application, &rendered);
        let condition = auto_sync(store, application, &rendered, &comparison)?;
        let health = of_all(store, &rendered.manifests);
        edit(store, application, |app| {
            write_health(app, health, now);
            write_comparison(app, &comparison);
            set(app, &["status", "sync", "revision"], json!(rendered.revision));
            let destination = at(app, "/spec/destination").cloned();
            let to = json!({"source": source, "destination": destination});
            set(app, &["status", "sync", "comparedTo"], to);
            set(app, &["status", "reconciledAt"], json!(whole_seconds(now)));
            set(app, &["status", "sourceType"], json!("Directory"));
            set(app, &["status", "resourceHealthSource"], json!("appTree"));
            set(app, &["status", "controllerNamespace"], json!(text(application, "/metadata/namespace")));
            set(app, &["status", "summary", "images"], images(&rendered));
            match condition {
                Some(message) => set(app, &["status", "conditions"], conditions("SyncError", &message, now)),
                None => remove(app, &["status", "conditions"]),
            }
            remove(app, &["metadata", "annotations", REFRESH]);
        })?;
        memory.compared = Some((source, rendered));
        Ok(())
    }

    /// Looks at the cluster after a change in it (`CompareWithRecent`): writes health and sync status, a moment late.
    fn look_at_live(
        &self,
        store: &Store,
        application: &Value,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some((_, rendered)) = &memory.compared else { return Ok(()) };
        let version = store.version();
        if memory.settled == Some(version) {
            return Ok(());
        }
        let comparison = compare(store, application, rendered);
        let seen = (of_all(store, &rendered.manifests), comparison.status());
        let written = (text(application, "/status/health/status"), text(application, "/status/sync/status"));
        if (seen.0.name(), seen.1) == written {
            memory.unwritten = None;
            memory.settled = Some(version);
            return Ok(());
        }
        let since = match memory.unwritten {
            Some((health, sync, since)) if (health, sync) == seen => since,
            Some(_) | None => now,
        };
        memory.unwritten = Some((seen.0, seen.1, since));
        if between(since, now) < self.pace.health_lag {
            return Ok(());
        }
        memory.unwritten = None;
        let condition = auto_sync(store, application, rendered, &comparison)?;
        edit(store, application, |app| {
            write_health(app, seen.0, now);
            write_comparison(app, &comparison);
            if let Some(message) = condition {
                set(app, &["status", "conditions"], conditions("SyncError", &message, now));
            }
        })?;
        Ok(())
    }
}

/// Requests a sync if one is due; gives back the text of the condition `SyncError` if a sync failed before.
fn auto_sync(
    store: &Store,
    application: &Value,
    wanted: &Rendered,
    comparison: &Comparison,
) -> Result<Option<String>, ApiError> {
    let automated = at(application, "/spec/syncPolicy/automated").filter(|automated| !automated.is_null());
    let Some(automated) = automated else { return Ok(None) };
    let yes = |field: &str| automated.get(field).and_then(Value::as_bool);
    if yes("enabled") == Some(false) || comparison.synced() || application.get("operation").is_some() {
        return Ok(None);
    }
    let prune = yes("prune").unwrap_or(false);
    if !prune && comparison.resources.iter().all(only_needs_pruning) {
        return Ok(None);
    }
    let mut sync = json!({"revision": wanted.revision, "prune": prune});
    if let Some(options) = at(application, "/spec/syncPolicy/syncOptions") {
        set(&mut sync, &["syncOptions"], options.clone());
    }
    // One attempt for each revision and source; after that only self-healing, of what differs.
    let last = |pointer: &str| at(application, &format!("/status/operationState/syncResult/{pointer}"));
    let attempted = last("revision") == Some(&json!(wanted.revision))
        && last("source") == at(application, "/spec/source");
    if attempted {
        if text(application, "/status/operationState/phase") != "Succeeded" {
            let message = text(application, "/status/operationState/message");
            let retries = number(application, "/status/operationState/retryCount").unwrap_or_default();
            let revision = &wanted.revision;
            return Ok(Some(format!(
                "Failed last sync attempt to [{revision}]: {message} (retried {retries} times)."
            )));
        }
        if !yes("selfHeal").unwrap_or(false) {
            return Ok(None);
        }
        let before = "/status/operationState/operation/sync/autoHealAttemptsCount";
        let attempts = number(application, before).unwrap_or_default() + 1;
        set(&mut sync, &["autoHealAttemptsCount"], json!(attempts));
        set(&mut sync, &["resources"], json!(comparison.differing));
    }
    let retry = at(application, "/spec/syncPolicy/retry").cloned();
    let retry = retry.unwrap_or_else(|| json!({"limit": AUTO_SYNC_RETRIES}));
    let operation = json!({"sync": sync, "initiatedBy": {"automated": true}, "retry": retry});
    edit(store, application, |app| set(app, &["operation"], operation))?;
    Ok(None)
}

fn only_needs_pruning(resource: &Value) -> bool {
    text(resource, "/status") == "Synced" || resource.get("requiresPruning").is_some()
}

fn write_comparison(app: &mut Value, comparison: &Comparison) {
    set(app, &["status", "sync", "status"], json!(comparison.status()));
    set(app, &["status", "resources"], json!(comparison.resources));
}

fn write_health(app: &mut Value, health: Health, now: Timestamp) {
    if text(app, "/status/health/status") != health.name() {
        let health = json!({"status": health.name(), "lastTransitionTime": whole_seconds(now)});
        set(app, &["status", "health"], health);
    }
}

fn conditions(kind: &str, message: &str, now: Timestamp) -> Value {
    json!([{"type": kind, "message": message, "lastTransitionTime": whole_seconds(now)}])
}

fn images(rendered: &Rendered) -> Value {
    let mut images: Vec<&str> = rendered
        .manifests
        .iter()
        .flat_map(|manifest| list(&manifest.object, "/spec/template/spec/containers"))
        .map(|container| text(container, "/image"))
        .collect();
    images.sort_unstable();
    images.dedup();
    json!(images)
}

/// Changes an Application; Argo CD patches, so what others changed meanwhile stays.
pub(super) fn edit(
    store: &Store,
    application: &Value,
    change: impl FnOnce(&mut Value),
) -> Result<Value, ApiError> {
    let (namespace, name) = (text(application, "/metadata/namespace"), text(application, "/metadata/name"));
    store.edit(&APPLICATIONS, namespace, name, Part::Main, change)
}
