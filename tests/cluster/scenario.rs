//! What a scenario is given: a repository, applications, and daemons, all under its own name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use kube::api::DeleteParams;
use serde_json::json;

use crate::app::{App, AppSpec};
use crate::argocd::NAMESPACE;
use crate::daemon::{Daemon, Policy};
use crate::developer::Developer;
use crate::git::{Moment, Push, Then, WRITER};
use crate::kubernetes::{APPLICATION, apply, objects};
use crate::process::tail;
use crate::stack::Stack;

/// Marks what belongs to one scenario.
pub(crate) const LABEL: &str = "e2e.lastgood.dev/scenario";

/// One scenario's view of the stack.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) stack: Arc<Stack>,
    dir: PathBuf,
}

/// A repository, and a developer who works in it.
pub(crate) struct Repository {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Where it lies on the server.
    pub(crate) folder: PathBuf,
    pub(crate) developer: Developer,
    stack: Arc<Stack>,
}

impl Repository {
    /// What others than the developer did to `main`: the daemon's pushes.
    pub(crate) fn pushes(&self) -> Vec<Push> {
        let mut pushes = self.stack.git.pushes(&self.name);
        pushes.retain(|push| push.reference == "refs/heads/main");
        pushes
    }

    /// Acts once, on the daemon's next push to `main`.
    pub(crate) fn on_push(
        &self,
        moment: Moment,
        action: impl FnOnce() -> BoxFuture<'static, Result<Then>> + Send + 'static,
    ) {
        self.stack.git.on_push(&self.name, moment, action);
    }
}

impl Scenario {
    pub(crate) fn new(stack: Arc<Stack>, name: &str) -> Result<Self> {
        let dir = stack.dir.join("scenarios").join(name);
        fs::create_dir_all(&dir)?;
        Ok(Self { name: name.to_owned(), stack, dir })
    }

    /// Where its files are kept.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the scenario's repository; Argo CD and the daemon get the account that may push.
    pub(crate) async fn repository(&self) -> Result<Repository> {
        let folder = self.stack.git.create(&self.name).await?;
        let url = self.stack.git.url(&self.name);
        self.repository_at(&url, (WRITER.name, WRITER.password), &folder).await
    }

    /// Tells Argo CD of a repository, with an account for it; developers push to `developers`.
    pub(crate) async fn repository_at(
        &self,
        url: &str,
        account: (&str, &str),
        developers: &Path,
    ) -> Result<Repository> {
        let (name, folder) = (self.name.clone(), developers.to_owned());
        let developer = Developer::new(developers, self.dir.join("developer")).await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": format!("repository-{name}"), "namespace": NAMESPACE,
                "labels": { "argocd.argoproj.io/secret-type": "repository" },
            },
            "stringData": {
                "type": "git", "url": url, "username": account.0, "password": account.1,
            },
        });
        apply(&self.stack.cluster.client, &secret).await?;
        let (url, stack) = (url.to_owned(), Arc::clone(&self.stack));
        Ok(Repository { name, url, folder, developer, stack })
    }

    /// Makes an Application with automated sync, pruning and self-healing.
    pub(crate) async fn application(&self, repository: &Repository, spec: AppSpec) -> Result<App> {
        let client = &self.stack.cluster.client;
        let namespace = format!("e2e-{}", spec.name);
        let mut options = Vec::new();
        if spec.create_namespace {
            options.push("CreateNamespace=true");
        } else {
            let metadata = json!({ "name": namespace });
            apply(client, &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })).await?;
        }
        let application = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {
                "name": spec.name, "namespace": NAMESPACE, "labels": BTreeMap::from([(LABEL, &self.name)]),
            },
            "spec": {
                "project": spec.project,
                "source": {
                    "repoURL": repository.url, "path": spec.path, "targetRevision": spec.target_revision,
                },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": namespace },
                "syncPolicy": { "automated": { "prune": true, "selfHeal": true }, "syncOptions": options },
            },
        });
        apply(client, &application).await?;
        Ok(App { client: client.clone(), name: spec.name, namespace })
    }

    /// Starts a daemon that looks after the applications of these policies, and waits until it is ready.
    pub(crate) async fn daemon(&self, name: &str, policies: &[Policy]) -> Result<Arc<Daemon>> {
        let kubeconfig = &self.stack.cluster.daemon;
        Daemon::start(&self.dir, name, &self.name, kubeconfig, policies).await
    }

    /// Takes the scenario's applications away, so that later scenarios have the machine for themselves.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        let client = &self.stack.cluster.client;
        let applications = objects(client, NAMESPACE, &APPLICATION);
        let mine = kube::api::ListParams::default().labels(&format!("{LABEL}={}", self.name));
        for application in applications.list(&mine).await.context("listing the scenario's applications")? {
            let namespace = application.data.pointer("/spec/destination/namespace");
            let namespace = namespace.and_then(serde_json::Value::as_str).unwrap_or_default();
            let name = application.metadata.name.unwrap_or_default();
            // Without Argo CD's finalizer its resources stay; they go with their namespace.
            applications.delete(&name, &DeleteParams::default()).await?;
            let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
            namespaces.delete(namespace, &DeleteParams::background()).await?;
        }
        Ok(())
    }

    /// What helps to understand a failure: where the logs are, and the ends of the daemons' own.
    pub(crate) async fn evidence(&self) -> String {
        let mut evidence = String::new();
        if let Err(error) = self.stack.check_running() {
            evidence += &format!("{error:#}\n");
        }
        let client = &self.stack.cluster.client;
        let mine = kube::api::ListParams::default().labels(&format!("{LABEL}={}", self.name));
        if let Ok(applications) = objects(client, NAMESPACE, &APPLICATION).list(&mine).await {
            let file = self.dir.join("applications.json");
            let written = serde_json::to_vec_pretty(&applications.items).map(|json| fs::write(&file, json));
            if matches!(written, Ok(Ok(()))) {
                evidence += &format!("its applications are in {}\n", file.display());
            }
        }
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                evidence += &format!("the end of {}:\n{}\n", path.display(), tail(&path, 25));
            }
        }
        evidence + &format!("the cluster's logs are in {}", self.stack.dir.join("logs").display())
    }
}
