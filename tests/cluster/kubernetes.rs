//! Small helpers over the Kubernetes client: objects as JSON, applied server-side.

use anyhow::{Context as _, Result};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiResource, Scope, oneshot::pinned_kind};
use serde_json::Value;

const MANAGER: &str = "lastgood-e2e";

/// Applies one object, whatever its kind.
pub(crate) async fn apply(client: &Client, object: &Value) -> Result<()> {
    let object: DynamicObject =
        serde_json::from_value(object.clone()).context("this is no Kubernetes object")?;
    let name = object.metadata.name.clone().context("an object to apply needs a name")?;
    let types = object.types.as_ref().context("an object to apply needs apiVersion and kind")?;
    let kind = types.kind.clone();
    let what = || format!("applying {kind} {name}");
    let gvk = GroupVersionKind::try_from(types)?;
    let (resource, capabilities) = pinned_kind(client, &gvk).await.with_context(what)?;
    let api: Api<DynamicObject> = match (&capabilities.scope, &object.metadata.namespace) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
    };
    api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object))
        .await
        .with_context(what)?;
    Ok(())
}

/// Applies a kind's definition as its file has it, without reading its half a megabyte of YAML here.
pub(crate) async fn apply_crd_file(client: &Client, name: &str, yaml: Vec<u8>) -> Result<()> {
    let uri = format!(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}?fieldManager={MANAGER}&force=true"
    );
    let request =
        http::Request::patch(uri).header("Content-Type", "application/apply-patch+yaml").body(yaml)?;
    client.request::<Value>(request).await.with_context(|| format!("applying the definition of {name}"))?;
    Ok(())
}

/// Objects of a kind that has no Rust type here.
pub(crate) fn objects(client: &Client, namespace: &str, kind: &Kind) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.name);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// One object as plain JSON.
pub(crate) async fn get(client: &Client, namespace: &str, kind: &Kind, name: &str) -> Result<Value> {
    let object = objects(client, namespace, kind).get(name).await;
    let object = object.with_context(|| format!("reading {} {namespace}/{name}", kind.name))?;
    Ok(serde_json::to_value(object)?)
}

/// The text at a JSON pointer, or nothing: a status that isn't written yet.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A custom kind.
pub(crate) struct Kind {
    group: &'static str,
    version: &'static str,
    name: &'static str,
    plural: &'static str,
}

/// Argo CD's Application.
pub(crate) const APPLICATION: Kind =
    Kind { group: "argoproj.io", version: "v1alpha1", name: "Application", plural: "applications" };

/// The daemon's own state.
pub(crate) const LAST_GOOD: Kind =
    Kind { group: "lastgood.dev", version: "v1alpha1", name: "LastGood", plural: "lastgoods" };
