//! Sync operations, step by step: started, applied wave by wave, recorded, finished; or failed and retried.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::argocd::{ArgoCd, Memory, edit};
use super::compare::{extra, parts};
use super::health::{Health, of};
use super::render::{Manifest, Rendered, render, resolve};
use crate::sandbox::apiserver::{ApiError, Part, Store};
use crate::sandbox::clock::{later, whole_seconds};
use crate::sandbox::json::{at, list, number, remove, set, text};

/// Argo CD's default for `spec.revisionHistoryLimit`.
const HISTORY_MAX: i64 = 10;

/// Retries wait at most so many times the first wait: 5 s doubled up to 3 minutes.
const RETRY_FACTOR_MAX: u32 = 36;

/// How far a running operation is.
#[derive(Debug)]
pub(super) struct Progress {
    step_at: Timestamp,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Announced; nothing done yet.
    Started,
    /// Waves up to this one are applied, their health is awaited.
    Applied { wanted: Rendered, wave: i64 },
    /// Everything is applied and recorded.
    Recorded,
    /// Failed; started again at the time of the next step.
    Waiting,
}

impl ArgoCd {
    /// Takes the next step of the operation that the Application asks for.
    pub(super) fn operate(
        &self,
        store: &Store,
        application: &Value,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(operation) = application.get("operation") else {
            memory.operation = None;
            return Ok(());
        };
        let Some(progress) = memory.operation.take() else {
            edit(store, application, |app| {
                let state =
                    json!({"operation": operation, "phase": "Running", "startedAt": whole_seconds(now)});
                set(app, &["status", "operationState"], state);
            })?;
            memory.operation = Some(self.next(Stage::Started, now));
            return Ok(());
        };
        if text(application, "/status/operationState/phase") == "Terminating" {
            return self.finish(store, application, memory, "Failed", "Operation terminated", now);
        }
        if now < progress.step_at {
            memory.operation = Some(progress);
            return Ok(());
        }
        match progress.stage {
            Stage::Started => self.begin(store, application, memory, now),
            Stage::Applied { wanted, wave } => self.next_wave(store, application, memory, wanted, wave, now),
            Stage::Recorded => {
                let message = "successfully synced (all tasks run)";
                self.finish(store, application, memory, "Succeeded", message, now)
            }
            Stage::Waiting => {
                edit(store, application, |app| remove(app, &["status", "operationState", "finishedAt"]))?;
                memory.operation = Some(self.next(Stage::Started, now));
                Ok(())
            }
        }
    }

    fn next(&self, stage: Stage, now: Timestamp) -> Progress {
        Progress { step_at: later(now, self.pace.sync_step), stage }
    }

    fn begin(
        &self,
        store: &Store,
        application: &Value,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let asked = text(application, "/operation/sync/revision");
        let revision = if asked.is_empty() { resolve(application) } else { Ok(asked.to_owned()) };
        match revision.and_then(|revision| render(application, &revision)) {
            Ok(wanted) => {
                edit(store, application, |app| {
                    let source = at(app, "/spec/source").cloned();
                    let result = json!({"revision": wanted.revision, "source": source, "resources": []});
                    set(app, &["status", "operationState", "syncResult"], result);
                })?;
                let first = wanted.manifests.iter().map(|manifest| manifest.wave).min().unwrap_or_default();
                self.apply_wave(store, application, memory, wanted, first, now)
            }
            Err(message) => {
                self.fail(store, application, memory, &format!("ComparisonError: {message}"), now)
            }
        }
    }

    fn apply_wave(
        &self,
        store: &Store,
        application: &Value,
        memory: &mut Memory,
        wanted: Rendered,
        wave: i64,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let mut results = Vec::new();
        let mut failed = false;
        for manifest in wanted.manifests.iter().filter(|manifest| manifest.wave == wave) {
            if !is_chosen(application, &manifest.kind, &manifest.namespace, &manifest.name) {
                continue;
            }
            let (status, message) = match apply(store, manifest) {
                Ok(message) => ("Synced", message),
                Err(message) => ("SyncFailed", message),
            };
            failed |= status == "SyncFailed";
            results.push(json!({"group": manifest.group, "version": manifest.version, "kind": manifest.kind,
                                "namespace": manifest.namespace, "name": manifest.name, "status": status,
                                "message": message, "hookPhase": "Running", "syncPhase": "Sync"}));
        }
        let last = wanted.manifests.iter().all(|manifest| manifest.wave <= wave);
        if last && !failed {
            results.extend(prune(store, application, &wanted));
        }
        edit(store, application, |app| {
            let mut all = list(app, "/status/operationState/syncResult/resources").to_vec();
            all.extend(results);
            set(app, &["status", "operationState", "syncResult", "resources"], json!(all));
        })?;
        if failed {
            let message = "one or more objects failed to apply, reason: the server could not find the requested resource";
            return self.fail(store, application, memory, message, now);
        }
        if last {
            edit(store, application, |app| record(app, &wanted.revision, now))?;
            memory.operation = Some(self.next(Stage::Recorded, now));
        } else {
            memory.operation = Some(self.next(Stage::Applied { wanted, wave }, now));
        }
        Ok(())
    }

    /// Applies the next wave once all before it are healthy; waits without limit while one is not, as Argo CD does.
    fn next_wave(
        &self,
        store: &Store,
        application: &Value,
        memory: &mut Memory,
        wanted: Rendered,
        wave: i64,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let applied = wanted.manifests.iter().filter(|manifest| manifest.wave <= wave);
        let unhealthy: Vec<(&Manifest, Health)> = applied
            .filter_map(|manifest| Some((manifest, of(store, manifest)?)))
            .filter(|(_, health)| *health != Health::Healthy)
            .collect();
        if unhealthy.iter().any(|(_, health)| *health == Health::Degraded) {
            let message = "one or more synchronization tasks completed unsuccessfully";
            return self.fail(store, application, memory, message, now);
        }
        if let Some(((first, _), others)) = unhealthy.split_first() {
            let mut message = format!("waiting for healthy state of {}", first.label());
            if !others.is_empty() {
                message = format!("{message} and {} more resources", others.len());
            }
            edit(store, application, |app| {
                set(app, &["status", "operationState", "message"], json!(message));
            })?;
            memory.operation = Some(self.next(Stage::Applied { wanted, wave }, now));
            return Ok(());
        }
        let later = wanted.manifests.iter().map(|manifest| manifest.wave).filter(|next| *next > wave).min();
        self.apply_wave(store, application, memory, wanted, later.unwrap_or(wave), now)
    }

    /// Ends an attempt: the operation is retried while its limit allows, which Argo CD still calls `Running`.
    fn fail(
        &self,
        store: &Store,
        application: &Value,
        memory: &mut Memory,
        message: &str,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let limit = number(application, "/operation/retry/limit").unwrap_or_default();
        let retries = number(application, "/status/operationState/retryCount").unwrap_or_default();
        if retries >= limit {
            return self.finish(store, application, memory, "Failed", message, now);
        }
        let factor = 2_u32.saturating_pow(u32::try_from(retries).unwrap_or(u32::MAX)).min(RETRY_FACTOR_MAX);
        let at = later(now, self.pace.retry_first * factor);
        let message = format!("{message}. Retrying attempt #{} at {}.", retries + 1, at.strftime("%-I:%M%p"));
        edit(store, application, |app| {
            set(app, &["status", "operationState", "message"], json!(message));
            set(app, &["status", "operationState", "finishedAt"], json!(whole_seconds(now)));
            set(app, &["status", "operationState", "retryCount"], json!(retries + 1));
        })?;
        memory.operation = Some(Progress { step_at: at, stage: Stage::Waiting });
        Ok(())
    }

    fn finish(
        &self,
        store: &Store,
        application: &Value,
        memory: &mut Memory,
        phase: &str,
        message: &str,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        edit(store, application, |app| {
            remove(app, &["operation"]);
            set(app, &["status", "operationState", "phase"], json!(phase));
            set(app, &["status", "operationState", "message"], json!(message));
            set(app, &["status", "operationState", "finishedAt"], json!(whole_seconds(now)));
        })?;
        memory.operation = None;
        memory.compare_at = Some(later(now, self.pace.compare_after_sync));
        Ok(())
    }
}

/// Whether a partial sync includes a resource; a whole one includes all.
fn is_chosen(application: &Value, kind: &str, namespace: &str, name: &str) -> bool {
    let chosen = list(application, "/operation/sync/resources");
    chosen.is_empty()
        || chosen.iter().any(|one| {
            text(one, "/kind") == kind && text(one, "/namespace") == namespace && text(one, "/name") == name
        })
}

fn apply(store: &Store, manifest: &Manifest) -> Result<String, String> {
    let (kind, name) = (manifest.kind.to_lowercase(), &manifest.name);
    let Some(resource) = manifest.resource else {
        return Err("the server could not find the requested resource".to_owned());
    };
    let full = if manifest.group.is_empty() { kind } else { format!("{kind}.{}", manifest.group) };
    if store.get(resource, &manifest.namespace, name).is_none() {
        let created = store.create(resource, &manifest.namespace, manifest.object.clone());
        return created.map(|_| format!("{full}/{name} created")).map_err(|error| error.message);
    }
    let change = |live: &mut Value| {
        for (part, wanted) in parts(&manifest.object) {
            set(live, &[part], wanted.clone());
        }
        for field in ["labels", "annotations"] {
            let wanted = at(&manifest.object, &format!("/metadata/{field}")).and_then(Value::as_object);
            for (name, value) in wanted.into_iter().flatten() {
                set(live, &["metadata", field, name], value.clone());
            }
        }
    };
    let changed = store.edit(resource, &manifest.namespace, name, Part::Main, change);
    changed.map(|_| format!("{full}/{name} configured")).map_err(|error| error.message)
}

fn prune(store: &Store, application: &Value, wanted: &Rendered) -> Vec<Value> {
    let allowed = at(application, "/operation/sync/prune") == Some(&json!(true));
    let mut results = Vec::new();
    for (resource, live) in extra(store, application, wanted) {
        let (namespace, name) = (text(&live, "/metadata/namespace"), text(&live, "/metadata/name"));
        if !is_chosen(application, resource.kind, namespace, name) {
            continue;
        }
        let (status, message) = if allowed {
            store.delete(resource, namespace, name).ok();
            ("Pruned", "pruned")
        } else {
            ("PruneSkipped", "ignored (requires pruning)")
        };
        results.push(json!({"group": resource.group, "version": resource.version, "kind": resource.kind,
                            "namespace": namespace, "name": name, "status": status, "message": message,
                            "syncPhase": "Sync"}));
    }
    results
}

/// Adds a complete sync to the history; Argo CD does so before it calls the operation `Succeeded`.
fn record(app: &mut Value, revision: &str, now: Timestamp) {
    if !list(app, "/operation/sync/resources").is_empty()
        || at(app, "/operation/sync/dryRun") == Some(&json!(true))
    {
        return;
    }
    let mut history = list(app, "/status/history").to_vec();
    let id = history.last().and_then(|last| number(last, "/id")).map_or(0, |id| id + 1);
    history.push(json!({
        "id": id,
        "revision": revision,
        "deployedAt": whole_seconds(now),
        "deployStartedAt": at(app, "/status/operationState/startedAt"),
        "source": at(app, "/spec/source"),
        "initiatedBy": at(app, "/operation/initiatedBy").cloned().unwrap_or_else(|| json!({})),
    }));
    let limit = number(app, "/spec/revisionHistoryLimit").unwrap_or(HISTORY_MAX);
    let surplus = history.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
    set(app, &["status", "history"], json!(history.split_off(surplus)));
}
