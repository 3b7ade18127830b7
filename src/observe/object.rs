//! Decoding of Kubernetes objects down to what is needed, in a way that no odd field can stop.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tracing::debug;

/// A part of an object that counts as absent when it is null or of a form that is not understood.
///
/// An object that cannot be decoded fails its whole page of a list, and the watch with it: one
/// Application with `history: null` would blind lastgood to all of them.
#[derive(Clone, Debug)]
pub(super) struct Lenient<T>(pub(super) Option<T>);

// By hand: a derive would ask `T: Default`.
impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Lenient<T> {
    /// Borrows the part, if it is there.
    pub(super) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl Lenient<String> {
    /// The text, empty when it is absent.
    pub(super) fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl<T> Lenient<Vec<Lenient<T>>> {
    /// The understood elements of a list.
    pub(super) fn elements(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten().filter_map(Lenient::get)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.is_null() {
            return Ok(Self(None));
        }
        let part = T::deserialize(value).inspect_err(|error| {
            debug!(part = std::any::type_name::<T>(), %error, "Part of an object is not understood: it counts as absent.");
        });
        Ok(Self(part.ok()))
    }
}

/// A list whose elements are each decoded on their own.
pub(super) type LenientList<T> = Lenient<Vec<Lenient<T>>>;

/// Annotations that are read; all others (`kubectl`'s copy of the whole object) only cost memory.
const ANNOTATIONS: [&str; 5] = [
    "argocd.argoproj.io/manifest-generate-paths",
    "argocd.argoproj.io/tracking-id",
    "lastgood.dev/resume",
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
];

/// Decodes an object's metadata down to what is needed.
pub(super) fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let meta = Meta::deserialize(deserializer)?;
    let mut annotations = meta.annotations.0;
    if let Some(annotations) = &mut annotations {
        annotations.retain(|key, _| ANNOTATIONS.contains(&key.as_str()));
    }
    Ok(ObjectMeta {
        name: meta.name.0,
        namespace: meta.namespace.0,
        uid: meta.uid.0,
        resource_version: meta.resource_version.0,
        generation: meta.generation.0,
        creation_timestamp: meta.creation_timestamp.0,
        deletion_timestamp: meta.deletion_timestamp.0,
        labels: meta.labels.0,
        annotations,
        owner_references: meta.owner_references.0,
        ..ObjectMeta::default()
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Meta {
    name: Lenient<String>,
    namespace: Lenient<String>,
    uid: Lenient<String>,
    resource_version: Lenient<String>,
    generation: Lenient<i64>,
    creation_timestamp: Lenient<Time>,
    deletion_timestamp: Lenient<Time>,
    labels: Lenient<BTreeMap<String, String>>,
    annotations: Lenient<BTreeMap<String, String>>,
    owner_references: Lenient<Vec<OwnerReference>>,
}

/// Tells kube where objects of a type are found. The type needs a field `metadata`.
macro_rules! resource {
    ($type:ty, $group:literal, $version:literal, $kind:literal, $plural:literal) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(super) use resource;
