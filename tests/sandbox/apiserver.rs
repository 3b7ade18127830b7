//! The API server, as the kube client sees it.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt as _, watcher};
use lastgood::sandbox::apiserver::{CONFIG_MAPS, Fault, PODS, Part};
use lastgood::sandbox::{APP, ARGOCD_NAMESPACE};
use serde_json::json;

use crate::world::{World, applications};

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
async fn the_watcher_of_the_kube_runtime_follows_pods() {
    let world = World::new().await;
    world.seconds(3);
    let pods: Api<Pod> = Api::all(world.client.clone());
    let config = watcher::Config::default().page_size(2).timeout(60);
    let mut events = watcher(pods, config).default_backoff().boxed();
    let mut listed = 0;
    loop {
        match events.try_next().await.unwrap().unwrap() {
            watcher::Event::InitApply(_) => listed += 1,
            watcher::Event::InitDone => break,
            watcher::Event::Init | watcher::Event::Apply(_) | watcher::Event::Delete(_) => {}
        }
    }
    assert_eq!(listed, 3);
    let name =
        world.sandbox.store().list(&PODS, Some(APP))[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.sandbox.store().delete(&PODS, APP, &name).unwrap();
    // Marked first, gone later; another one takes its place.
    let ending = match events.try_next().await.unwrap() {
        Some(watcher::Event::Apply(pod)) => pod.metadata.deletion_timestamp.is_some(),
        other => panic!("not a change: {other:?}"),
    };
    assert!(ending);
    world.seconds(1);
    let mut gone = false;
    while !gone {
        gone = matches!(events.try_next().await.unwrap(), Some(watcher::Event::Delete(pod)) if pod.metadata.name.as_ref() == Some(&name));
    }
}

#[tokio::test]
async fn metadata_alone_can_be_listed() {
    let world = World::new().await;
    world.seconds(3);
    let pods: Api<Pod> = Api::all(world.client.clone());
    let list = pods.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), 3);
    assert!(list.items[0].metadata.labels.as_ref().unwrap().contains_key("pod-template-hash"));
}
