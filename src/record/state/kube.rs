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
    doc = "What lastgood knows about the Argo CD Application of the same name. Written by the daemon only.",
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
            let version = Version::new(object.resource_version()?);
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
                let mut object = empty(app, uid);
                object.metadata.resource_version = Some(version.as_str().to_owned());
                object
            }
        };
        let Document { summary, state } = document.clone();
        object.status = Some(LastGoodStatus { summary, state });
        match self.api(app).replace_status(&app.name, &PostParams::default(), &object).await {
            Ok(saved) => saved
                .resource_version()
                .map(Version::new)
                .ok_or_else(|| other(app, &"the API server's answer has no resource version")),
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
            owner_references: Some(vec![OwnerReference {
                api_version: "argoproj.io/v1alpha1".into(),
                kind: "Application".into(),
                name: app.name.clone(),
                uid: uid.to_owned(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: LastGoodSpec { application: app.name.clone() },
        status: None,
    }
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
