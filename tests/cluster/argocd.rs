//! Argo CD: its definitions and settings, its controller, repo-server and API server, and calls of its CLI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::cluster::Cluster;
use crate::kubernetes::{apply, apply_crd_file};
use crate::process::{Process, Program};
use crate::rundir::{Parts, free_ports};
use crate::wait::wait_until;

/// Argo CD's namespace, and the daemon's.
pub(crate) const NAMESPACE: &str = "argocd";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const DEFINITIONS: [(&str, &str); 3] = [
    ("applications.argoproj.io", "application-crd.yaml"),
    ("applicationsets.argoproj.io", "applicationset-crd.yaml"),
    ("appprojects.argoproj.io", "appproject-crd.yaml"),
];

/// A running Argo CD.
pub(crate) struct ArgoCd {
    cli: PathBuf,
    home: PathBuf,
    server: String,
    /// Where it looks for public keys; each file is called by its key's ID.
    pub(crate) public_keys: PathBuf,
    /// Its own keyring; in a short path, since gpg's agent listens there.
    pub(crate) keyring: tempfile::TempDir,
    processes: Vec<Process>,
}

impl Drop for ArgoCd {
    fn drop(&mut self) {
        // Started by gpg itself, so that it does not end with the repo-server.
        let mut gpgconf = std::process::Command::new("gpgconf");
        drop(gpgconf.args(["--kill", "all"]).env("GNUPGHOME", self.keyring.path()).output());
    }
}

impl ArgoCd {
    pub(crate) async fn start(parts: &Parts, dir: &Path, cluster: &Cluster) -> Result<Self> {
        let home = dir.join("argocd");
        let tmp = home.join("tmp");
        let public_keys = home.join("public-keys");
        for folder in [&tmp, &public_keys] {
            fs::create_dir_all(folder)?;
        }
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let keyring = tempfile::Builder::new().prefix("argocd-").permissions(private).tempdir()?;
        install(parts, cluster).await?;

        let log = |name: &str| dir.join("logs").join(format!("{name}.log"));
        let [redis, repo, repo_metrics, controller_metrics, server, server_metrics] =
            free_ports()?.map(|port| port.to_string());
        let redis_address = format!("127.0.0.1:{redis}");
        let repo_address = format!("127.0.0.1:{repo}");
        let kubeconfig = cluster.admin.to_string_lossy();
        let program = |name: &str| Ok::<_, anyhow::Error>(Program::new(name, parts.program("argocd", name)?));

        let mut processes = vec![
            Program::new("redis-server", "redis-server")
                .args(["--bind", "127.0.0.1", "--port", &redis, "--save", "", "--appendonly", "no"])
                .start(&home, &log("redis"))?,
        ];
        processes.push(
            program("argocd-repo-server")?
                .args(["--address", "127.0.0.1", "--port", &repo, "--disable-tls", "--client-ca-path="])
                .args(["--metrics-address", "127.0.0.1", "--metrics-port", &repo_metrics])
                .args(["--redis", &redis_address])
                .env("TMPDIR", tmp.to_string_lossy())
                .env("PATH", parts.path_with(&["argocd", "helm", "kustomize"])?)
                .env("ARGOCD_GNUPGHOME", keyring.path().to_string_lossy())
                .env("ARGOCD_GPG_DATA_PATH", public_keys.to_string_lossy())
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .start(&home, &log("argocd-repo-server"))?,
        );
        processes.push(
            program("argocd-application-controller")?
                .args(["--kubeconfig", &kubeconfig, "--namespace", NAMESPACE, "--redis", &redis_address])
                .args(["--repo-server", &repo_address, "--repo-server-plaintext"])
                .args(["--metrics-port", &controller_metrics])
                .args(["--app-resync", "10", "--app-resync-jitter", "0"])
                // Together they let https://kubernetes.default.svc mean the cluster of the kubeconfig.
                .env("ARGOCD_FAKE_IN_CLUSTER", "true")
                .env("KUBECONFIG", kubeconfig.clone())
                .start(&home, &log("argocd-application-controller"))?,
        );
        processes.push(
            program("argocd-server")?
                .args(["--kubeconfig", &kubeconfig, "--namespace", NAMESPACE, "--redis", &redis_address])
                .args(["--repo-server", &repo_address, "--repo-server-plaintext"])
                .args(["--address", "127.0.0.1", "--port", &server, "--insecure", "--disable-auth"])
                .args(["--metrics-address", "127.0.0.1", "--metrics-port", &server_metrics])
                .env("ARGOCD_FAKE_IN_CLUSTER", "true")
                .env("KUBECONFIG", kubeconfig)
                .start(&home, &log("argocd-server"))?,
        );

        let argocd = Self {
            cli: parts.program("argocd", "argocd")?,
            server: format!("127.0.0.1:{server}"),
            home,
            public_keys,
            keyring,
            processes,
        };
        wait_until("Argo CD", START_TIMEOUT, async || {
            argocd.check_running()?;
            argocd.cli(&["app", "list", "-o", "name"]).await.map(drop)
        })
        .await?;
        Ok(argocd)
    }

    /// Fails if one of the processes has ended.
    pub(crate) fn check_running(&self) -> Result<()> {
        self.processes.iter().try_for_each(Process::check_running)
    }

    /// Runs the `argocd` program and returns what it printed; fails unless it succeeds.
    pub(crate) async fn cli(&self, args: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = self.cli_output(args).await?;
        let stderr = String::from_utf8_lossy(&stderr);
        let stdout = String::from_utf8_lossy(&stdout);
        ensure!(
            status.success(),
            "`argocd {}` failed ({status}): {} {stdout}",
            args.join(" "),
            stderr.trim()
        );
        Ok(stdout.into_owned())
    }

    /// What the `argocd` program says differs between Git and the cluster; empty if nothing does.
    pub(crate) async fn diff(&self, application: &str) -> Result<String> {
        let output = self.cli_output(&["app", "diff", application]).await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        // 1 says that there are differences, 2 that it failed.
        let compared = matches!(output.status.code(), Some(0 | 1));
        ensure!(compared, "`argocd app diff {application}` failed ({}): {}", output.status, stderr.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn cli_output(&self, args: &[&str]) -> Result<Output> {
        tokio::process::Command::new(&self.cli)
            .args(["--server", &self.server, "--plaintext", "--auth-token", "none"])
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("starting {}", self.cli.display()))
    }
}

/// What `kubectl apply -f install.yaml` would bring, without the workloads.
async fn install(parts: &Parts, cluster: &Cluster) -> Result<()> {
    let client = &cluster.client;
    let folder = parts.folder("argocd")?.join("crds");
    for (name, file) in DEFINITIONS {
        let yaml = fs::read(folder.join(file)).with_context(|| format!("reading {file}"))?;
        apply_crd_file(client, name, yaml).await?;
    }
    apply(client, &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }))
        .await?;
    let metadata = |name: &str| {
        let labels = json!({ "app.kubernetes.io/part-of": "argocd" });
        json!({ "name": name, "namespace": NAMESPACE, "labels": labels })
    };
    for name in ["argocd-cm", "argocd-rbac-cm", "argocd-ssh-known-hosts-cm", "argocd-tls-certs-cm"] {
        apply(client, &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name) }))
            .await?;
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata("argocd-secret"),
        "stringData": { "server.secretkey": "only for tests" },
    });
    apply(client, &secret).await?;
    let project = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
        "metadata": { "name": "default", "namespace": NAMESPACE },
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        },
    });
    // Its definition was applied a moment ago; the API server serves the kind a moment later.
    wait_until("the API server to know AppProjects", START_TIMEOUT, async || apply(client, &project).await)
        .await
}
