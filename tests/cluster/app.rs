//! An Argo CD Application, as its status tells.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::argocd::NAMESPACE;
use crate::kubernetes::{APPLICATION, get, objects, text};
use crate::wait::wait_until;

/// How long Argo CD may take for anything on a busy machine.
pub(crate) const SYNC_TIMEOUT: Duration = Duration::from_secs(90);

/// The same, where it may have to give up a failing sync first: five more tries by default, in about 155 s.
const RETRIES_TIMEOUT: Duration = Duration::from_secs(240);

/// What an Application is made from.
pub(crate) struct AppSpec {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) target_revision: &'static str,
    pub(crate) project: &'static str,
    /// Leaves it to Argo CD to make the namespace.
    pub(crate) create_namespace: bool,
}

impl AppSpec {
    pub(crate) fn new(name: &str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            target_revision: "main",
            project: "default",
            create_namespace: false,
        }
    }
}

/// An Application in the cluster.
pub(crate) struct App {
    pub(crate) client: Client,
    pub(crate) name: String,
    /// Where its resources are.
    pub(crate) namespace: String,
}

impl App {
    /// The whole object.
    pub(crate) async fn object(&self) -> Result<Value> {
        get(&self.client, NAMESPACE, &APPLICATION, &self.name).await
    }

    /// Has Argo CD look at the branch now, as a forge's webhook does after a push.
    pub(crate) async fn notify(&self) -> Result<()> {
        let refresh = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "normal" } } });
        let api = objects(&self.client, NAMESPACE, &APPLICATION);
        api.patch(&self.name, &PatchParams::default(), &Patch::Merge(refresh))
            .await
            .with_context(|| format!("asking for a refresh of {}", self.name))?;
        Ok(())
    }

    /// Waits until Argo CD has begun to bring a revision to the cluster.
    pub(crate) async fn wait_live(&self, revision: &str) -> Result<()> {
        wait_until(&format!("{} to go live at {revision}", self.name), SYNC_TIMEOUT, async || {
            let object = self.object().await?;
            let begun = text(&object, "/status/operationState/operation/sync/revision");
            let compared = text(&object, "/status/sync/revision");
            let synced = text(&object, "/status/sync/status") == "Synced";
            ensure!(
                begun == revision || (synced && compared == revision),
                "the last operation is for `{begun}`, the last comparison with `{compared}`"
            );
            Ok(())
        })
        .await
    }

    /// Waits until a revision is live, healthy, and known to be: the health isn't that of the revision before.
    pub(crate) async fn wait_healthy(&self, revision: &str) -> Result<()> {
        wait_until(&format!("{} to be healthy at {revision}", self.name), RETRIES_TIMEOUT, async || {
            let object = self.object().await?;
            let at = |pointer| text(&object, pointer);
            let (status, compared) = (at("/status/sync/status"), at("/status/sync/revision"));
            ensure!(status == "Synced" && compared == revision, "it is {status} at `{compared}`");
            let health = at("/status/health/status");
            ensure!(health == "Healthy", "its health is {health}");
            ensure!(object.pointer("/operation").is_none(), "another operation is asked for");
            // Both loops of Argo CD write whole seconds in UTC, so their order as text is that in time.
            let (finished, reconciled) =
                (at("/status/operationState/finishedAt"), at("/status/reconciledAt"));
            ensure!(
                reconciled >= finished,
                "its health of {reconciled} is older than the sync of {finished}"
            );
            Ok(())
        })
        .await
    }

    /// Why its containers wait, each reason once.
    pub(crate) async fn waiting_reasons(&self) -> Result<Vec<String>> {
        let pods =
            Api::<Pod>::namespaced(self.client.clone(), &self.namespace).list(&ListParams::default()).await?;
        let statuses = pods.into_iter().filter_map(|pod| pod.status?.container_statuses).flatten();
        let mut reasons: Vec<String> =
            statuses.filter_map(|container| container.state?.waiting?.reason).collect();
        reasons.sort();
        reasons.dedup();
        Ok(reasons)
    }

    /// The most restarts that one of its containers has had.
    pub(crate) async fn restarts(&self) -> Result<i32> {
        let pods =
            Api::<Pod>::namespaced(self.client.clone(), &self.namespace).list(&ListParams::default()).await?;
        let statuses = pods.into_iter().filter_map(|pod| pod.status?.container_statuses).flatten();
        Ok(statuses.map(|container| container.restart_count).max().unwrap_or_default())
    }

    /// The identity of a ConfigMap; another one after it was pruned and came back.
    pub(crate) async fn config_map_uid(&self, name: &str) -> Result<String> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        let map = api.get(name).await.with_context(|| format!("reading the ConfigMap {name}"))?;
        map.uid().context("an object of the API server has an identity")
    }

    /// The revisions that Argo CD has brought to the cluster, oldest first.
    pub(crate) async fn history(&self) -> Result<Vec<String>> {
        let object = self.object().await?;
        let history = object.pointer("/status/history").and_then(Value::as_array);
        Ok(history.into_iter().flatten().map(|entry| text(entry, "/revision").to_owned()).collect())
    }
}
