//! Two requests to Argo CD, both written on the Application: compare with Git now, and end a stuck sync.

use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::engine::facts::AppKey;

/// Times that ending a sync is tried while others change the Application: its status changes a few times a second at
/// most, and whoever asked will ask again.
const ATTEMPTS_MAX: u32 = 5;

/// Why Argo CD was not asked.
#[derive(Debug, thiserror::Error)]
pub enum ArgoError {
    /// The API server refused or did not answer.
    #[error("cannot {what} application {app}: {source}")]
    Request {
        /// What was to be done.
        what: &'static str,
        /// To which application.
        app: AppKey,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// The Application changed between each reading and writing.
    #[error("cannot end the sync of application {app}: it changed {ATTEMPTS_MAX} times meanwhile; try again")]
    KeepsChanging {
        /// Which application.
        app: AppKey,
    },
}

/// What became of the wish to end a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminated {
    /// Argo CD is told to end it.
    Asked,
    /// The operation that was meant is over, or another one runs: nothing was done.
    NotRunning,
}

/// Asks Argo CD to compare the application with Git now.
pub async fn refresh(client: &Client, app: &AppKey) -> Result<(), ArgoError> {
    let patch = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "normal" } } });
    applications(client, app)
        .patch(&app.name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(drop)
        .map_err(|source| ArgoError::Request { what: "refresh", app: app.clone(), source: Box::new(source) })
}

/// Ends the application's sync operation if it still runs and is the one that started at `started_at`.
pub async fn terminate(
    client: &Client,
    app: &AppKey,
    started_at: Timestamp,
) -> Result<Terminated, ArgoError> {
    let failed =
        |source| ArgoError::Request { what: "end the sync of", app: app.clone(), source: Box::new(source) };
    let applications = applications(client, app);
    for _ in 0..ATTEMPTS_MAX {
        let Some(seen) = applications.get_opt(&app.name).await.map_err(failed)? else {
            return Ok(Terminated::NotRunning);
        };
        if !runs_since(&seen.data, started_at) {
            return Ok(Terminated::NotRunning);
        }
        // The resource version makes this a compare-and-swap: an operation that ended meanwhile is not touched.
        let patch = json!({
            "metadata": { "resourceVersion": seen.resource_version() },
            "status": { "operationState": { "phase": "Terminating" } },
        });
        match applications.patch(&app.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(Terminated::Asked),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Terminated::NotRunning),
            Err(error) => return Err(failed(error)),
        }
    }
    Err(ArgoError::KeepsChanging { app: app.clone() })
}

fn runs_since(application: &Value, started_at: Timestamp) -> bool {
    let operation = application.pointer("/status/operationState");
    let field = |name| operation.and_then(|o| o.get(name)).and_then(Value::as_str);
    let started = field("startedAt").and_then(|text| text.parse::<Timestamp>().ok());
    field("phase") == Some("Running") && started == Some(started_at)
}

// Untyped on purpose: only two fields are read, and none is ever written back.
fn applications(client: &Client, app: &AppKey) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application"),
        "applications",
    );
    Api::namespaced_with(client.clone(), &app.namespace, &kind)
}
