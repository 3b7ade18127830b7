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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::Method;

    use super::*;
    use crate::cluster::fake::{self, Answer};

    const STARTED: &str = "2026-11-20T10:00:01Z";

    /// Ends the sync that began at `STARTED`, with an API server that has these phases and start times in turn, each with
    /// the answer to a patch. Gives the outcome and the patches.
    async fn terminate_with(turns: &[(&str, &str, u16)]) -> (Result<Terminated, ArgoError>, Vec<Value>) {
        let patches = Arc::new(Mutex::new(Vec::new()));
        let seen = patches.clone();
        let turns: Vec<(String, String, u16)> =
            turns.iter().map(|(phase, started, code)| ((*phase).into(), (*started).into(), *code)).collect();
        let client = fake::client(move |asked| {
            assert_eq!(asked.path, "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/shop");
            let mut patches = seen.lock().unwrap();
            let turn = patches.len().min(turns.len() - 1);
            let (phase, started, code) = &turns[turn];
            let application = json!({
                "metadata": { "name": "shop", "namespace": "argocd", "resourceVersion": format!("v{turn}") },
                "status": { "operationState": { "phase": phase, "startedAt": started } },
            });
            if asked.method == Method::PATCH {
                patches.push(asked.body);
            }
            match code {
                200 => Answer::Json(200, application),
                409 if asked.method == Method::GET => Answer::Json(200, application),
                409 => fake::refusal(409, "Conflict"),
                404 => fake::refusal(404, "NotFound"),
                code => fake::refusal(*code, "InternalError"),
            }
        });
        let outcome = terminate(&client, &AppKey::new("argocd", "shop"), STARTED.parse().unwrap()).await;
        let patches = patches.lock().unwrap().clone();
        (outcome, patches)
    }

    #[tokio::test]
    async fn only_the_operation_that_is_meant_is_ended() {
        let (outcome, patches) = terminate_with(&[("Running", STARTED, 200)]).await;
        assert_eq!(outcome.unwrap(), Terminated::Asked);
        let expected = json!({
            "metadata": { "resourceVersion": "v0" },
            "status": { "operationState": { "phase": "Terminating" } },
        });
        assert_eq!(patches, [expected]);

        for turn in
            [("Succeeded", STARTED, 200), ("Running", "2026-11-20T10:00:02Z", 200), ("", STARTED, 404)]
        {
            let (outcome, patches) = terminate_with(&[turn]).await;
            assert_eq!((outcome.unwrap(), patches.len()), (Terminated::NotRunning, 0), "{turn:?}");
        }
    }

    #[tokio::test]
    async fn a_conflict_looks_again() {
        let (outcome, patches) =
            terminate_with(&[("Running", STARTED, 409), ("Running", STARTED, 200)]).await;
        assert_eq!((outcome.unwrap(), patches.len()), (Terminated::Asked, 2));
        assert_eq!(patches[1]["metadata"]["resourceVersion"], "v1");
        let (outcome, patches) = terminate_with(&[("Running", STARTED, 409), ("Failed", STARTED, 200)]).await;
        assert_eq!((outcome.unwrap(), patches.len()), (Terminated::NotRunning, 1));
        let (outcome, patches) = terminate_with(&[("Running", STARTED, 409)]).await;
        assert!(matches!(outcome, Err(ArgoError::KeepsChanging { .. })), "{outcome:?}");
        assert_eq!(u32::try_from(patches.len()), Ok(ATTEMPTS_MAX));
        let (outcome, _) = terminate_with(&[("Running", STARTED, 500)]).await;
        assert!(outcome.unwrap_err().to_string().contains("argocd/shop"));
    }

    #[tokio::test]
    async fn a_refresh_sets_the_annotation() {
        let client = fake::client(|asked| {
            assert_eq!(asked.method, Method::PATCH);
            assert_eq!(
                asked.body,
                json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "normal" } } })
            );
            Answer::Json(200, json!({ "metadata": { "name": "shop" } }))
        });
        refresh(&client, &AppKey::new("argocd", "shop")).await.unwrap();
    }
}
