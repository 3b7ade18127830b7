//! The sandbox behaves like what it stands in for, seen through the same clients that lastgood uses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use lastgood::sandbox::apiserver::{APPLICATIONS, CONFIG_MAPS, Fault, PODS, Part, REPLICA_SETS};
use lastgood::sandbox::prometheus;
use lastgood::sandbox::{APP, ARGOCD_NAMESPACE, DEPLOYMENT_FILE, Options, Sandbox, shop_manifest};
use prometheus_http_query::Client as Prometheus;
use serde_json::{Value, json};
use tempfile::TempDir;

struct World {
    sandbox: Sandbox,
    client: Client,
    _dir: TempDir,
}

impl World {
    /// A sandbox that stands still, a little into a second, so that whole seconds show.
    async fn new() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let dir = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-11-03T10:00:00.250Z".parse().unwrap();
        let sandbox = Sandbox::start_with(dir.path(), Options::by_hand(start)).await.unwrap();
        let mut config = Config::new(sandbox.api_url().parse().unwrap());
        config.default_retry = false;
        config.read_timeout = Some(Duration::from_millis(300));
        Self { client: Client::try_from(config).unwrap(), sandbox, _dir: dir }
    }

    fn seconds(&self, seconds: u64) {
        self.sandbox.advance(Duration::from_secs(seconds));
    }

    fn deploy(&self, tag: &str) -> String {
        self.deploy_manifest(tag, &shop_manifest(tag))
    }

    fn deploy_manifest(&self, tag: &str, manifest: &str) -> String {
        let files = [(DEPLOYMENT_FILE, Some(manifest))];
        self.sandbox.developer().commit(&files, &format!("shop: {tag}\n"), "Bob <bob@example.com>").unwrap()
    }

    /// Lets Argo CD look at the branch now.
    fn refresh(&self) {
        let patch = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}});
        self.sandbox.store().patch(&APPLICATIONS, ARGOCD_NAMESPACE, APP, Part::Main, &patch).unwrap();
        self.sandbox.tick();
    }

    fn application(&self) -> Value {
        self.sandbox.store().get(&APPLICATIONS, ARGOCD_NAMESPACE, APP).unwrap()
    }

    fn app(&self, pointer: &str) -> String {
        self.application().pointer(pointer).map_or("-".to_owned(), |value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    fn history(&self) -> Vec<String> {
        let history = self.application().pointer("/status/history").cloned().unwrap_or(json!([]));
        history
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["revision"].as_str().unwrap().to_owned())
            .collect()
    }

    fn prometheus(&self) -> Prometheus {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Prometheus::from(http, self.sandbox.prometheus_url()).unwrap()
    }

    /// The one number that a query gives; none when it matches nothing.
    async fn measure(&self, query: &str) -> Option<f64> {
        let answer = self.prometheus().query(query).post().await.unwrap();
        if let Some(scalar) = answer.data().as_scalar() {
            return Some(scalar.value());
        }
        let samples = answer.data().as_vector().unwrap();
        assert!(samples.len() < 2, "{samples:?}");
        samples.first().map(|sample| sample.sample().value())
    }

    /// What people see of the pods: image tag, state, restarts; sorted.
    fn pods(&self) -> Vec<String> {
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

fn applications(client: &Client) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application"));
    Api::namespaced_with(client.clone(), ARGOCD_NAMESPACE, &kind)
}

fn config_map(name: &str, color: &str) -> ConfigMap {
    serde_json::from_value(
        json!({"metadata": {"name": name, "labels": {"color": color}}, "data": {"a": "1"}}),
    )
    .unwrap()
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("not an answer of the API server: {other}"),
    }
}

#[tokio::test]
async fn objects_are_created_changed_and_deleted_with_optimistic_locking() {
    let world = World::new().await;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    let made = maps.create(&PostParams::default(), &config_map("one", "red")).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    let again = maps.create(&PostParams::default(), &config_map("one", "red")).await.unwrap_err();
    assert_eq!(code(&again), 409);

    let patch = json!({"data": {"a": null, "b": "2"}});
    let patched = maps.patch("one", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    assert_eq!(patched.data.unwrap().into_iter().collect::<Vec<_>>(), [("b".to_owned(), "2".to_owned())]);
    let stale = maps.replace("one", &PostParams::default(), &made).await.unwrap_err();
    assert_eq!(code(&stale), 409);
    assert!(stale.to_string().contains("the object has been modified"), "{stale}");

    maps.create(&PostParams::default(), &config_map("two", "blue")).await.unwrap();
    let red = maps.list(&ListParams::default().labels("color=red")).await.unwrap();
    assert_eq!(red.items.len(), 1);
    let first = maps.list(&ListParams::default().limit(1)).await.unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (1, Some(1)));
    let token = first.metadata.continue_.unwrap();
    let second = maps.list(&ListParams::default().limit(1).continue_token(&token)).await.unwrap();
    assert_eq!(second.items[0].metadata.name.as_deref(), Some("two"));
    assert!(second.metadata.continue_.is_none());

    maps.delete("one", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("one").await.unwrap().is_none());
}

#[tokio::test]
async fn leases_and_custom_resources_are_replaced_only_with_a_version() {
    let world = World::new().await;
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), ARGOCD_NAMESPACE);
    let mut lease: Lease =
        serde_json::from_value(json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})).unwrap();
    leases.create(&PostParams::default(), &lease).await.unwrap();
    lease.spec.as_mut().unwrap().holder_identity = Some("b".to_owned());
    assert_eq!(code(&leases.replace("l", &PostParams::default(), &lease).await.unwrap_err()), 422);

    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("lastgood.dev", "v1alpha1", "LastGood"));
    let states: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), ARGOCD_NAMESPACE, &kind);
    let state = DynamicObject::new("shop", &kind).data(json!({"spec": {"a": 1}, "status": {"b": 1}}));
    let made = states.create(&PostParams::default(), &state).await.unwrap();
    assert_eq!((made.data.get("status"), made.metadata.generation), (None, Some(1)));
    let write = Patch::Merge(json!({"spec": {"a": 2}, "status": {"b": 2}}));
    let made = states.patch_status("shop", &PatchParams::default(), &write).await.unwrap();
    assert_eq!((&made.data["spec"]["a"], &made.data["status"]["b"]), (&json!(1), &json!(2)));
    assert_eq!(made.metadata.generation, Some(1));

    // Applications have no status subresource: status is a part like any other, and moves the generation.
    let apps = applications(&world.client);
    let before = apps.get(APP).await.unwrap().metadata.generation.unwrap();
    assert_eq!(code(&apps.patch_status(APP, &PatchParams::default(), &write).await.unwrap_err()), 404);
    let patch = Patch::Merge(json!({"status": {"operationState": {"phase": "Terminating"}}}));
    let after = apps.patch(APP, &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(after.metadata.generation, Some(before + 1));
}

#[tokio::test]
async fn kinds_without_a_crd_are_404() {
    let world = World::new().await;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
    let rollouts: Api<DynamicObject> = Api::all_with(world.client.clone(), &kind);
    assert_eq!(code(&rollouts.list(&ListParams::default()).await.unwrap_err()), 404);
}

#[tokio::test]
async fn watches_tell_every_change_from_a_version_on() {
    let world = World::new().await;
    let maps: Api<ConfigMap> = Api::all(world.client.clone());
    let version = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let store = world.sandbox.store();
    let red = json!({"metadata": {"name": "m", "labels": {"color": "red"}}});
    store.create(&CONFIG_MAPS, "default", red).unwrap();
    let params = WatchParams::default().labels("color=red").timeout(1);
    let mut events = maps.watch(&params, &version).await.unwrap().boxed();
    let recolor = |color| json!({"metadata": {"labels": {"color": color}}});
    let patch = |patch| store.patch(&CONFIG_MAPS, "default", "m", Part::Main, &patch).unwrap();
    patch(json!({"data": {"a": "b"}}));
    // An object that ceases to match is deleted for this watch, and added when it matches again.
    patch(recolor("blue"));
    patch(recolor("red"));
    store.delete(&CONFIG_MAPS, "default", "m").unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            WatchEvent::Bookmark(_) => "bookmark",
            WatchEvent::Error(error) => panic!("{error}"),
        });
    }
    assert_eq!(seen, ["added", "modified", "deleted", "added", "deleted"]);

    store.forget_changes();
    let mut events = maps.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    match events.try_next().await.unwrap() {
        Some(WatchEvent::Error(error)) => assert_eq!(error.code, 410),
        other => panic!("not told that the version is too old: {other:?}"),
    }
}

#[tokio::test]
async fn faults_come_and_go() {
    let world = World::new().await;
    let maps: Api<ConfigMap> = Api::all(world.client.clone());
    let mut events = maps.watch(&WatchParams::default(), "1").await.unwrap().boxed();
    world.sandbox.api.set_fault(Fault::DropWatches);
    assert!(events.try_next().await.unwrap().is_none());
    maps.list(&ListParams::default()).await.unwrap();
    world.sandbox.api.set_fault(Fault::Unavailable);
    assert_eq!(code(&maps.list(&ListParams::default()).await.unwrap_err()), 503);
    world.sandbox.api.set_fault(Fault::Hang);
    let waited = tokio::time::timeout(Duration::from_millis(50), maps.list(&ListParams::default())).await;
    assert!(waited.is_err());
    world.sandbox.api.set_fault(Fault::None);
    maps.list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn the_first_version_is_synced_and_becomes_healthy() {
    let world = World::new().await;
    world.sandbox.tick();
    let phase = || world.app("/status/operationState/phase");
    assert_eq!((phase(), world.app("/operation/initiatedBy/automated")), ("Running".into(), "true".into()));
    assert!(world.history().is_empty());
    world.seconds(1);
    assert_eq!(phase(), "Succeeded");
    world.seconds(3);
    assert_eq!(
        (world.app("/status/sync/status"), world.app("/status/health/status")),
        ("Synced".into(), "Healthy".into())
    );
    assert_eq!(world.history(), [world.app("/status/sync/revision")]);
    assert_eq!(world.app("/operation"), "-");
    assert_eq!(world.pods(), ["v1 ready 0"; 3]);
    // Whole seconds, as metav1.Time.
    assert_eq!(world.app("/status/operationState/startedAt"), "2026-11-03T10:00:00Z");

    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), APP);
    let deployment = deployments.get(APP).await.unwrap();
    let status = deployment.status.unwrap();
    assert_eq!(
        (status.available_replicas, status.observed_generation),
        (Some(3), deployment.metadata.generation)
    );
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), APP);
    assert_eq!(pods.list(&ListParams::default().labels("app=shop")).await.unwrap().items.len(), 3);
}

#[tokio::test]
async fn a_deploy_rolls_pod_by_pod() {
    let world = World::new().await;
    world.seconds(4);
    let v2 = world.deploy("v2");
    world.refresh();
    assert_eq!(
        (world.app("/status/sync/status"), world.app("/status/sync/revision")),
        ("OutOfSync".into(), v2)
    );
    world.sandbox.advance(Duration::from_millis(400));
    // Health is written later than the sync: for a moment it is still the one of the version before.
    assert_eq!(world.app("/status/operationState/phase"), "Succeeded");
    assert_eq!(world.app("/status/health/status"), "Healthy");
    world.sandbox.advance(Duration::from_millis(600));
    assert_eq!(world.app("/status/health/status"), "Progressing");
    world.seconds(1);
    let mixed = world.pods();
    assert!(
        mixed.iter().any(|pod| pod.starts_with("v1")) && mixed.iter().any(|pod| pod.starts_with("v2")),
        "{mixed:?}"
    );
    world.seconds(5);
    assert_eq!(world.pods(), ["v2 ready 0"; 3]);
    assert_eq!((world.app("/status/health/status"), world.history().len()), ("Healthy".into(), 2));
    let sets = world.sandbox.store().list(&REPLICA_SETS, Some(APP));
    let mut revisions: Vec<_> = sets
        .iter()
        .map(|set| {
            let revision = &set["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
            (revision.as_str().unwrap(), set["spec"]["replicas"].as_i64().unwrap())
        })
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [("1", 0), ("2", 3)]);
}

#[tokio::test]
async fn a_crash_tag_crash_loops_while_the_old_version_serves() {
    let world = World::new().await;
    world.seconds(4);
    world.deploy_manifest(
        "v2-crash",
        &shop_manifest("v2-crash").replace("  replicas: 3", "  replicas: 3\n  progressDeadlineSeconds: 100"),
    );
    world.seconds(4);
    assert_eq!(world.pods()[..3], ["v1 ready 0", "v1 ready 0", "v1 ready 0"]);
    assert!(world.pods()[3].starts_with("v2-crash CrashLoopBackOff"), "{:?}", world.pods());
    assert_eq!(
        (world.app("/status/health/status"), world.app("/status/operationState/phase")),
        ("Progressing".into(), "Succeeded".into())
    );
    world.seconds(60);
    let restarts: u32 = world.pods()[3].rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(restarts > 5, "{restarts}");
    // Argo CD calls it Degraded only when the Deployment's controller gives up.
    assert_eq!(world.app("/status/health/status"), "Progressing");
    world.seconds(40);
    assert_eq!(world.app("/status/health/status"), "Degraded");

    world.deploy("v1");
    world.seconds(6);
    assert_eq!(world.pods(), ["v1 ready 0"; 3]);
    assert_eq!(world.app("/status/health/status"), "Healthy");
}

#[tokio::test]
async fn a_missing_image_is_not_pulled() {
    let world = World::new().await;
    world.seconds(4);
    world.deploy("v2-missing");
    world.seconds(4);
    assert!(world.pods()[3].contains("ImagePull"), "{:?}", world.pods());
}

#[tokio::test]
async fn a_revision_that_changes_nothing_here_is_synced_without_an_operation() {
    let world = World::new().await;
    world.seconds(4);
    let before = world.application();
    let other = world
        .sandbox
        .developer()
        .commit(&[("apps/other/x.yaml", Some("a: b\n"))], "other: x\n", "Cy <cy@example.com>")
        .unwrap();
    // An annotation is faster than the next look at the branch, and is removed.
    let refresh = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}});
    applications(&world.client).patch(APP, &PatchParams::default(), &Patch::Merge(refresh)).await.unwrap();
    world.sandbox.tick();
    let after = world.application();
    assert_eq!(world.app("/status/sync/revision"), other);
    assert_eq!(world.app("/metadata/annotations/argocd.argoproj.io~1refresh"), "-");
    for same in ["/status/operationState", "/status/history", "/status/health", "/status/sync/status"] {
        assert_eq!(before.pointer(same), after.pointer(same), "{same}");
    }
}

const ERROR_RATIO: &str = r#"sum(rate(http_requests_total{app="shop",code=~"5.."}[5s])) / sum(rate(http_requests_total{app="shop"}[5s]))"#;

#[tokio::test]
async fn an_errors_tag_raises_the_error_ratio() {
    let world = World::new().await;
    assert_eq!(world.measure(ERROR_RATIO).await, None);
    world.seconds(10);
    let good = world.measure(ERROR_RATIO).await.unwrap();
    assert!(good < 0.01, "{good}");
    world.deploy("v2-errors");
    world.seconds(12);
    let bad = world.measure(ERROR_RATIO).await.unwrap();
    assert!((0.25..0.35).contains(&bad), "{bad}");
    // Nothing in the rollout shows it.
    assert_eq!(world.app("/status/health/status"), "Healthy");

    // What was true before can still be asked.
    let before = world.sandbox.clock().now().as_second() - 12;
    let answer = world.prometheus().query(ERROR_RATIO).at(before).get().await.unwrap();
    assert!(answer.data().as_vector().unwrap()[0].sample().value() < 0.01);
    world.deploy("v1");
    world.seconds(12);
    assert!(world.measure(ERROR_RATIO).await.unwrap() < 0.01);
}

#[tokio::test]
async fn promql_is_evaluated_as_prometheus_does() {
    let world = World::new().await;
    world.seconds(20);
    for (query, expected) in [
        ("1 + 2 * 3", Some(7.0)),
        ("2 > bool 1", Some(1.0)),
        ("vector(1) > 2", None),
        (r#"sum(rate(none[5s])) or vector(0)"#, Some(0.0)),
        (r#"count(http_requests_total{code!="200", pod!~"x.*"})"#, Some(3.0)),
        (r#"count(sum by (code) (http_requests_total))"#, Some(2.0)),
        (r#"count(sum without (pod, code) (http_requests_total))"#, Some(1.0)),
        (r#"count(http_requests_total unless http_requests_total{code="500"})"#, Some(3.0)),
        (
            r#"count(sum by (pod) (http_requests_total) > on (pod) sum by (pod) (http_requests_total{code="500"}))"#,
            Some(3.0),
        ),
        ("sum(http_requests_total offset 1h)", None),
    ] {
        assert_eq!(world.measure(query).await, expected, "{query}");
    }
    let rate = world.measure("sum(rate(http_requests_total[10s]))").await.unwrap();
    assert!((rate - 60.0).abs() < 2.0, "{rate}");
    assert!(world.measure("vector(0) / 0").await.unwrap().is_nan());

    for (query, expected) in [
        ("histogram_quantile(0.9, http_requests_total)", "histogram_quantile()"),
        ("topk(1, http_requests_total)", "topk()"),
        ("rate(http_requests_total[5s:1s])", "rate()"),
        (
            "http_requests_total + http_requests_total offset 1s * on(pod) group_left http_requests_total",
            "group_left",
        ),
    ] {
        let error = world.prometheus().query(query).post().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{query}: {error}");
    }
    assert!(world.prometheus().query("sum(").get().await.is_err());
}

#[tokio::test]
async fn prometheus_fails_when_asked_to() {
    let world = World::new().await;
    world.seconds(10);
    world.sandbox.prometheus.set_fault(prometheus::Fault::NoTargets);
    world.seconds(6);
    assert_eq!(world.measure("sum(http_requests_total)").await, None);
    world.sandbox.prometheus.set_fault(prometheus::Fault::Unavailable);
    assert!(world.prometheus().query("1").get().await.is_err());
    world.sandbox.prometheus.set_fault(prometheus::Fault::Slow(Duration::from_secs(60)));
    let waited = tokio::time::timeout(Duration::from_millis(50), world.prometheus().query("1").get()).await;
    assert!(waited.is_err());
}
