//! State in the Kubernetes API: one `LastGood` object for each Application, beside it and owned by it.

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, CustomResource, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Document, LoadError, SaveError, StateStore, Stored, Summary, Version};
use crate::engine::facts::AppKey;

/// What is asked for: nothing; the object only tells what lastgood knows about an Application.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "lastgood.dev",
    version = "v1alpha1",
    kind = "LastGood",
    namespaced,
    status = "LastGoodStatus",
    doc = "What lastgood knows about the Argo CD Application of the same name, or how far a sink has got. Written by the daemon only.",
    printcolumn = r#"{"name":"Application","type":"string","jsonPath":".spec.application"}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".status.summary.revision"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.summary.phase"}"#,
    printcolumn = r#"{"name":"Last good","type":"string","jsonPath":".status.summary.lastGood"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.summary.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct LastGoodSpec {
    /// The Application's name.
    pub application: String,
}

/// What lastgood knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LastGoodStatus {
    /// For people.
    pub summary: Summary,
    /// For the daemon; its form may change with each release.
    #[schemars(schema_with = "anything")]
    pub state: serde_json::Value,
}

fn anything(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "description": "For the daemon; its form may change with each release.",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// Keeps states in the Kubernetes API.
pub struct KubeStore {
    client: Client,
}

impl KubeStore {
    /// Takes a client that answers or fails within seconds.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn api(&self, app: &AppKey) -> Api<LastGood> {
        Api::namespaced(self.client.clone(), &app.namespace)
    }

    /// Makes the object without a status, or finds one that was made and never filled: then a daemon ended in between.
    async fn create(&self, app: &AppKey, uid: &str) -> Result<LastGood, SaveError> {
        let created = self.api(app).create(&PostParams::default(), &empty(app, uid)).await;
        match created {
            Ok(object) => return Ok(object),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(other(app, &error)),
        }
        let found = self.api(app).get(&app.name).await.map_err(|error| other(app, &error))?;
        if owner(&found) != uid {
            return Err(other(
                app,
                &"it still belongs to an earlier Application of that name; try again later",
            ));
        }
        if found.status.is_some() { Err(conflict(app)) } else { Ok(found) }
    }
}

#[async_trait]
impl StateStore for KubeStore {
    async fn load(&self, app: &AppKey) -> Result<Option<Stored>, LoadError> {
        let found = self.api(app).get_opt(&app.name).await.map_err(|error| LoadError {
            app: app.clone(),
            place: place(app),
            why: error.to_string(),
        })?;
        Ok(found.and_then(|object| {
            let version = version(&object)?;
            let uid = owner(&object).to_owned();
            let LastGoodStatus { summary, state } = object.status?;
            Some(Stored { version, uid, document: Document { summary, state } })
        }))
    }

    async fn save(
        &self,
        app: &AppKey,
        uid: &str,
        document: &Document,
        expect: Option<&Version>,
    ) -> Result<Version, SaveError> {
        let mut object = match expect {
            None => self.create(app, uid).await?,
            Some(version) => {
                let (owner, resource_version) = version.as_str().split_once('@').unwrap_or_default();
                if owner != uid {
                    return Err(conflict(app));
                }
                let mut object = empty(app, uid);
                object.metadata.resource_version = Some(resource_version.to_owned());
                object
            }
        };
        let Document { summary, state } = document.clone();
        object.status = Some(LastGoodStatus { summary, state });
        match self.api(app).replace_status(&app.name, &PostParams::default(), &object).await {
            Ok(saved) => {
                version(&saved).ok_or_else(|| other(app, &"the API server's answer has no resource version"))
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                Err(conflict(app))
            }
            Err(error) => Err(other(app, &error)),
        }
    }
}

fn empty(app: &AppKey, uid: &str) -> LastGood {
    LastGood {
        metadata: ObjectMeta {
            name: Some(app.name.clone()),
            namespace: Some(app.namespace.clone()),
            // What is kept for no Application goes with none.
            owner_references: (!uid.is_empty()).then(|| {
                vec![OwnerReference {
                    api_version: "argoproj.io/v1alpha1".into(),
                    kind: "Application".into(),
                    name: app.name.clone(),
                    uid: uid.to_owned(),
                    ..OwnerReference::default()
                }]
            }),
            ..ObjectMeta::default()
        },
        spec: LastGoodSpec { application: app.name.clone() },
        status: None,
    }
}

/// The owner's uid too: an object that is about to be collected with an earlier Application must not be filled.
fn version(object: &LastGood) -> Option<Version> {
    Some(Version::new(format!("{}@{}", owner(object), object.resource_version()?)))
}

fn owner(object: &LastGood) -> &str {
    object.owner_references().first().map_or("", |owner| owner.uid.as_str())
}

fn place(app: &AppKey) -> String {
    format!("lastgoods.lastgood.dev {app}")
}

fn conflict(app: &AppKey) -> SaveError {
    SaveError::Conflict { app: app.clone(), place: place(app) }
}

fn other(app: &AppKey, why: &dyn std::fmt::Display) -> SaveError {
    SaveError::Other { app: app.clone(), place: place(app), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::fake::{self, Answer};

    const COLLECTION: &str = "/apis/lastgood.dev/v1alpha1/namespaces/argocd/lastgoods";

    /// A store on an API server that keeps one object, as the real one does: creating drops the status, and a status is
    /// replaced only by who names the version.
    fn store(mut object: Option<Value>) -> KubeStore {
        KubeStore::new(fake::client(move |mut asked| {
            let version = object
                .as_ref()
                .map_or(0, |o| o["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap());
            match (asked.method, asked.path.strip_prefix(COLLECTION).unwrap()) {
                (Method::POST, "") if object.is_some() => return fake::refusal(409, "AlreadyExists"),
                (Method::POST, "") => {
                    asked.body.as_object_mut().unwrap().remove("status");
                    object = Some(asked.body);
                }
                (Method::GET, "/shop") if object.is_none() => return fake::refusal(404, "NotFound"),
                (Method::GET, "/shop") => return Answer::Json(200, object.clone().unwrap()),
                (Method::PUT, "/shop/status") => {
                    let Some(kept) = &mut object else { return fake::refusal(404, "NotFound") };
                    if asked.body["metadata"]["resourceVersion"] != kept["metadata"]["resourceVersion"] {
                        return fake::refusal(409, "Conflict");
                    }
                    kept["status"] = asked.body["status"].take();
                }
                other => panic!("{other:?}"),
            }
            let object = object.as_mut().unwrap();
            object["metadata"]["resourceVersion"] = json!((version + 1_u32).to_string());
            Answer::Json(200, object.clone())
        }))
    }

    fn document(n: u32) -> Document {
        let summary = Summary { phase: "Watching".into(), last_good: format!("r{n}"), ..Summary::default() };
        Document { summary, state: json!({ "n": n }) }
    }

    fn app() -> AppKey {
        AppKey::new("argocd", "shop")
    }

    #[tokio::test]
    async fn a_save_replaces_only_what_it_expects() {
        let store = store(None);
        assert_eq!(store.load(&app()).await.unwrap(), None);
        let first = store.save(&app(), "u1", &document(1), None).await.unwrap();
        let read = store.load(&app()).await.unwrap().unwrap();
        assert_eq!(read, Stored { version: first.clone(), uid: "u1".into(), document: document(1) });

        let again = store.save(&app(), "u1", &document(2), None).await;
        assert!(matches!(again, Err(SaveError::Conflict { .. })), "{again:?}");
        let second = store.save(&app(), "u1", &document(2), Some(&first)).await.unwrap();
        let stale = store.save(&app(), "u1", &document(3), Some(&first)).await;
        assert!(matches!(stale, Err(SaveError::Conflict { .. })), "{stale:?}");
        let read = store.load(&app()).await.unwrap().unwrap();
        assert_eq!((read.version, read.document), (second, document(2)));
    }

    #[tokio::test]
    async fn an_object_that_was_made_and_never_filled_is_filled() {
        let mut made = serde_json::to_value(empty(&app(), "u1")).unwrap();
        made["metadata"]["resourceVersion"] = json!("5");
        let store = store(Some(made));
        assert_eq!(store.load(&app()).await.unwrap(), None);
        store.save(&app(), "u1", &document(1), None).await.unwrap();
        assert_eq!(store.load(&app()).await.unwrap().unwrap().document, document(1));
    }

    #[tokio::test]
    async fn the_object_of_an_earlier_application_is_left_to_the_garbage_collector() {
        let mut old = serde_json::to_value(empty(&app(), "u0")).unwrap();
        old["metadata"]["resourceVersion"] = json!("5");
        old["status"] = json!({ "summary": {}, "state": {} });
        let store = store(Some(old));
        let stale = store.load(&app()).await.unwrap().unwrap();
        assert_eq!(stale.uid, "u0");
        let saved = store.save(&app(), "u1", &document(1), Some(&stale.version)).await;
        assert!(matches!(saved, Err(SaveError::Conflict { .. })), "{saved:?}");
        let saved = store.save(&app(), "u1", &document(1), None).await;
        assert!(matches!(&saved, Err(SaveError::Other { why, .. }) if why.contains("earlier")), "{saved:?}");
    }

    #[tokio::test]
    async fn a_state_that_cannot_be_read_is_not_an_empty_one() {
        let store = KubeStore::new(fake::client(|_| fake::refusal(403, "Forbidden")));
        let error = store.load(&app()).await.unwrap_err().to_string();
        assert!(error.contains("argocd/shop") && error.contains("Forbidden"), "{error}");
        let saved = store.save(&app(), "u1", &document(1), None).await;
        assert!(matches!(saved, Err(SaveError::Other { .. })), "{saved:?}");
    }
}
