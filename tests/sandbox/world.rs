//! A sandbox that is moved by hand, and short ways to look at it.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use lastgood::sandbox::apiserver::{APPLICATIONS, PODS, Part};
use lastgood::sandbox::{APP, ARGOCD_NAMESPACE, DEPLOYMENT_FILE, Options, Sandbox, shop_manifest};
use prometheus_http_query::Client as Prometheus;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) client: Client,
    _dir: TempDir,
}

impl World {
    /// A sandbox that stands still, a little into a second, so that whole seconds show.
    pub(crate) async fn new() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let dir = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-11-03T10:00:00.250Z".parse().unwrap();
        let sandbox = Sandbox::start_with(dir.path(), Options::by_hand(start)).await.unwrap();
        let mut config = Config::new(sandbox.api_url().parse().unwrap());
        config.default_retry = false;
        config.read_timeout = Some(Duration::from_millis(300));
        Self { client: Client::try_from(config).unwrap(), sandbox, _dir: dir }
    }

    pub(crate) fn seconds(&self, seconds: u64) {
        self.sandbox.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn deploy(&self, tag: &str) -> String {
        self.deploy_manifest(tag, &shop_manifest(tag))
    }

    pub(crate) fn deploy_manifest(&self, tag: &str, manifest: &str) -> String {
        let files = [(DEPLOYMENT_FILE, Some(manifest))];
        self.sandbox.developer().commit(&files, &format!("shop: {tag}\n"), "Bob <bob@example.com>").unwrap()
    }

    /// Lets Argo CD look at the branch now.
    pub(crate) fn refresh(&self) {
        let patch = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}});
        self.sandbox.store().patch(&APPLICATIONS, ARGOCD_NAMESPACE, APP, Part::Main, &patch).unwrap();
        self.sandbox.tick();
    }

    pub(crate) fn application(&self) -> Value {
        self.sandbox.store().get(&APPLICATIONS, ARGOCD_NAMESPACE, APP).unwrap()
    }

    pub(crate) fn app(&self, pointer: &str) -> String {
        self.application().pointer(pointer).map_or("-".to_owned(), |value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    pub(crate) fn history(&self) -> Vec<String> {
        let history = self.application().pointer("/status/history").cloned().unwrap_or(json!([]));
        history
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["revision"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn prometheus(&self) -> Prometheus {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Prometheus::from(http, self.sandbox.prometheus_url()).unwrap()
    }

    /// The one number that a query gives; none when it matches nothing.
    pub(crate) async fn measure(&self, query: &str) -> Option<f64> {
        let answer = self.prometheus().query(query).post().await.unwrap();
        if let Some(scalar) = answer.data().as_scalar() {
            return Some(scalar.value());
        }
        let samples = answer.data().as_vector().unwrap();
        assert!(samples.len() < 2, "{samples:?}");
        samples.first().map(|sample| sample.sample().value())
    }

    /// What people see of the pods: image tag, state, restarts; sorted.
    pub(crate) fn pods(&self) -> Vec<String> {
        let mut seen: Vec<String> = self
            .sandbox
            .store()
            .list(&PODS, Some(APP))
            .iter()
            .map(|pod| {
                let status = &pod["status"]["containerStatuses"][0];
                let tag = pod["spec"]["containers"][0]["image"].as_str().unwrap().rsplit_once(':').unwrap().1;
                let state = status["state"]["waiting"]["reason"]
                    .as_str()
                    .unwrap_or(if status["ready"] == json!(true) { "ready" } else { "unready" });
                format!("{tag} {state} {}", status["restartCount"])
            })
            .collect();
        seen.sort();
        seen
    }
}

pub(crate) fn applications(client: &Client) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application"));
    Api::namespaced_with(client.clone(), ARGOCD_NAMESPACE, &kind)
}
