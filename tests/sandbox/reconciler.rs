//! Argo CD, the controllers and the kubelet.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Api, Client, Config};
use lastgood::sandbox::apiserver::REPLICA_SETS;
use lastgood::sandbox::{APP, Sandbox, shop_manifest};
use serde_json::json;

use crate::world::{World, applications};

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

/// Two Deployments, the second one a wave later.
fn in_two_waves(first: &str) -> Vec<(&'static str, String)> {
    let second = shop_manifest("v1")
        .replace("name: shop", "name: cart")
        .replace("app: shop", "app: cart")
        .replacen("metadata:", "metadata:\n  annotations:\n    argocd.argoproj.io/sync-wave: \"1\"", 1);
    vec![("apps/shop/deployment.yaml", shop_manifest(first)), ("apps/shop/cart.yaml", second)]
}

impl World {
    fn commit(&self, files: &[(&str, String)], message: &str) -> String {
        let files: Vec<_> = files.iter().map(|(path, content)| (*path, Some(content.as_str()))).collect();
        self.sandbox.developer().commit(&files, message, "Bob <bob@example.com>").unwrap()
    }
}

#[tokio::test]
async fn a_wave_that_is_not_healthy_keeps_the_sync_running_until_somebody_ends_it() {
    let world = World::new().await;
    world.seconds(4);
    let bad = world.commit(&in_two_waves("v2-crash"), "shop: with a cart\n");
    world.seconds(60);
    assert_eq!(world.app("/status/operationState/phase"), "Running");
    assert_eq!(
        world.app("/status/operationState/message"),
        "waiting for healthy state of apps/Deployment/shop"
    );
    assert_eq!((world.history().len(), world.app("/operation/sync/revision")), (1, bad));

    // A revert waits behind the operation.
    let revert = world.commit(&in_two_waves("v1"), "Revert\n");
    world.seconds(10);
    assert_eq!(world.app("/status/sync/revision"), revert);
    assert_eq!(world.app("/status/operationState/phase"), "Running");
    let end = json!({"status": {"operationState": {"phase": "Terminating"}}});
    applications(&world.client).patch(APP, &PatchParams::default(), &Patch::Merge(end)).await.unwrap();
    world.sandbox.tick();
    assert_eq!(world.app("/status/operationState/message"), "Operation terminated");
    assert_eq!(world.app("/status/operationState/phase"), "Failed");
    world.seconds(10);
    assert_eq!(
        (world.app("/status/operationState/phase"), world.history().last()),
        ("Succeeded".into(), Some(&revert))
    );
    assert_eq!(world.app("/status/health/status"), "Healthy");
}

#[tokio::test]
async fn a_sync_that_fails_is_retried_and_then_given_up() {
    let world = World::new().await;
    world.seconds(4);
    let unknown = "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: w\n".to_owned();
    let bad = world.commit(&[("apps/shop/widget.yaml", unknown)], "shop: a widget\n");
    world.seconds(3);
    // Waiting for the next attempt is also called Running.
    assert_eq!(world.app("/status/operationState/phase"), "Running");
    assert_ne!(world.app("/status/operationState/finishedAt"), "-");
    assert!(world.app("/status/operationState/message").contains("Retrying attempt #1 at"));
    assert_eq!(world.app("/status/operationState/retryCount"), "1");
    world.seconds(170);
    assert_eq!(
        (world.app("/status/operationState/phase"), world.app("/status/operationState/retryCount")),
        ("Failed".into(), "5".into())
    );
    assert!(world.app("/status/conditions").contains(&format!("Failed last sync attempt to [{bad}]")));
    assert_eq!((world.app("/status/sync/status"), world.history().len()), ("OutOfSync".into(), 1));

    // It was never applied, so undoing it makes Git equal to what is live: no operation, no history.
    let files = [("apps/shop/widget.yaml", None)];
    let revert = world.sandbox.developer().commit(&files, "Revert\n", "Bob <bob@example.com>").unwrap();
    world.seconds(3);
    assert_eq!(
        (world.app("/status/sync/status"), world.app("/status/sync/revision")),
        ("Synced".into(), revert)
    );
    assert_eq!((world.app("/status/operationState/phase"), world.history().len()), ("Failed".into(), 1));
}

#[tokio::test]
async fn manifests_that_cannot_be_read_make_the_sync_unknown() {
    let world = World::new().await;
    world.seconds(4);
    let before = world.app("/status/sync/revision");
    world.deploy_manifest("broken", "apiVersion: [\n");
    world.seconds(3);
    assert_eq!(
        (world.app("/status/sync/status"), world.app("/status/sync/revision")),
        ("Unknown".into(), before)
    );
    assert!(world.app("/status/conditions/0/type").contains("ComparisonError"));
    assert_eq!(world.pods(), ["v1 ready 0"; 3]);
}

#[tokio::test]
async fn what_somebody_changed_in_the_cluster_is_healed_without_history() {
    let world = World::new().await;
    world.seconds(4);
    let by_hand = json!({"spec": {"replicas": 1}});
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), APP);
    deployments.patch(APP, &PatchParams::default(), &Patch::Merge(by_hand)).await.unwrap();
    world.seconds(6);
    assert_eq!(deployments.get(APP).await.unwrap().spec.unwrap().replicas, Some(3));
    assert_eq!(world.app("/status/operationState/operation/sync/autoHealAttemptsCount"), "1");
    assert_eq!((world.history().len(), world.app("/status/sync/status")), (1, "Synced".into()));
}

#[tokio::test]
async fn what_left_git_is_pruned_with_its_pods() {
    let world = World::new().await;
    world.seconds(4);
    world.commit(&in_two_waves("v1"), "shop: with a cart\n");
    world.seconds(8);
    assert_eq!(world.pods().len(), 6);
    let files = [("apps/shop/cart.yaml", None)];
    world.sandbox.developer().commit(&files, "shop: no cart\n", "Bob <bob@example.com>").unwrap();
    world.seconds(6);
    assert_eq!((world.pods().len(), world.app("/status/sync/status")), (3, "Synced".into()));
}

#[tokio::test]
async fn it_runs_by_itself_and_stops_while_somebody_watches() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    let client = Client::try_from(Config::new(sandbox.api_url().parse().unwrap())).unwrap();
    let apps = applications(&client);
    let mut events = apps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    loop {
        let (WatchEvent::Added(app) | WatchEvent::Modified(app)) = events.try_next().await.unwrap().unwrap()
        else {
            panic!("neither new nor changed");
        };
        if app.data.pointer("/status/operationState/phase") == Some(&json!("Succeeded")) {
            break;
        }
    }
    let stopped = tokio::time::timeout(Duration::from_millis(500), sandbox.stop()).await;
    assert!(stopped.is_ok());
    assert!(events.try_next().await.unwrap().is_none());
}
