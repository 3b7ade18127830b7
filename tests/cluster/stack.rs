//! Everything that a scenario stands on, started once for all of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::argocd::ArgoCd;
use crate::cluster::Cluster;
use crate::git::GitServer;
use crate::kubernetes::{apply, text};
use crate::prometheus::Prometheus;
use crate::rundir::{Parts, create};
use crate::traffic;

/// What the daemon's installation brings to the API server; its workload runs here as a plain process instead.
const DEPLOYED_KINDS: [&str; 6] = [
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];

/// A cluster with Argo CD, Prometheus, a Git server, and what deploy/ installs.
pub(crate) struct Stack {
    /// The run's folder.
    pub(crate) dir: PathBuf,
    pub(crate) argocd: ArgoCd,
    pub(crate) cluster: Cluster,
    pub(crate) git: GitServer,
    pub(crate) prometheus: Prometheus,
}

impl Stack {
    /// Starts it all; call it on a thread that outlives the scenarios.
    pub(crate) async fn start() -> Result<Self> {
        let parts = Parts::from_env()?;
        let dir = create()?;
        let started = Self::start_in(&parts, dir.clone()).await;
        started.with_context(|| {
            format!("the cluster did not start; its logs are in {}", dir.join("logs").display())
        })
    }

    async fn start_in(parts: &Parts, dir: PathBuf) -> Result<Self> {
        let cluster = Cluster::start(parts, &dir).await?;
        let traffic = traffic::serve(&cluster.client).await?;
        let (argocd, prometheus, git) = tokio::try_join!(
            ArgoCd::start(parts, &dir, &cluster),
            Prometheus::start(&dir, traffic),
            GitServer::start(&dir)
        )?;
        install_daemon(&cluster).await?;
        Ok(Self { dir, argocd, cluster, git, prometheus })
    }

    /// Fails if any process has ended by itself: then nothing else that failed means anything.
    pub(crate) fn check_running(&self) -> Result<()> {
        self.cluster.check_running()?;
        self.argocd.check_running()?;
        self.prometheus.check_running()
    }
}

/// Applies the definitions and the permissions in deploy/, so that these are what the scenarios test.
async fn install_daemon(cluster: &Cluster) -> Result<()> {
    let mut files = Vec::new();
    collect_yaml(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"), &mut files)?;
    let mut objects = Vec::new();
    for file in files {
        let yaml = fs::read_to_string(&file)?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&yaml).with_context(|| format!("reading {}", file.display()))?;
        objects
            .extend(documents.into_iter().filter(|object| DEPLOYED_KINDS.contains(&text(object, "/kind"))));
    }
    for object in objects {
        apply(&cluster.client, &object).await?;
    }
    Ok(())
}

fn collect_yaml(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            collect_yaml(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    Ok(())
}
