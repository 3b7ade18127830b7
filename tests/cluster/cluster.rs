//! The Kubernetes cluster: etcd, the API server, its controllers and scheduler, and KWOK in place of kubelets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use crate::kubernetes::{apply, text};
use crate::process::{Process, Program};
use crate::rundir::{Parts, free_ports};
use crate::wait::wait_until;

/// The account that the daemon's deployment runs under; the API server takes its token for exactly that.
const DAEMON_USER: &str = "system:serviceaccount:argocd:lastgood";
const DAEMON_GROUPS: &str = "system:serviceaccounts,system:serviceaccounts:argocd";
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A running cluster.
pub(crate) struct Cluster {
    /// An administrator's client.
    pub(crate) client: Client,
    /// An administrator's kubeconfig file.
    pub(crate) admin: PathBuf,
    /// The daemon's kubeconfig file: it may do only what deploy/ allows.
    pub(crate) daemon: PathBuf,
    processes: Vec<Process>,
}

impl Cluster {
    /// Starts the processes and waits until pods can run.
    pub(crate) async fn start(parts: &Parts, dir: &Path) -> Result<Self> {
        let home = dir.join("kubernetes");
        fs::create_dir_all(&home)?;
        let log = |name: &str| dir.join("logs").join(format!("{name}.log"));
        let [etcd, peer, api] = free_ports()?;
        let etcd_url = format!("http://127.0.0.1:{etcd}");

        let mut processes = vec![start_etcd(parts, &home, &log("etcd"), &etcd_url, peer)?];
        processes.push(start_apiserver(parts, &home, &log("apiserver"), &etcd_url, api)?);
        let admin = write_kubeconfig(&home, "admin", api)?;
        let daemon = write_kubeconfig(&home, "daemon", api)?;
        let client = wait_until("the API server", START_TIMEOUT, async || {
            processes.iter().try_for_each(Process::check_running)?;
            ready_client(&home, &admin).await
        })
        .await?;

        let kubeconfig = admin.to_string_lossy();
        for name in ["kube-controller-manager", "kube-scheduler"] {
            let program = Program::new(name, parts.program("kubernetes", name)?).args([
                "--kubeconfig",
                &kubeconfig,
                "--leader-elect=false",
                "--secure-port=0",
            ]);
            processes.push(program.start(&home, &log(name))?);
        }
        processes.push(start_kwok(parts, &home, &log("kwok"), &kubeconfig)?);
        let cluster = Self { client, admin, daemon, processes };
        cluster.add_node().await?;
        Ok(cluster)
    }

    /// Fails if one of the processes has ended.
    pub(crate) fn check_running(&self) -> Result<()> {
        self.processes.iter().try_for_each(Process::check_running)
    }

    async fn add_node(&self) -> Result<()> {
        let resources = json!({ "cpu": "1k", "memory": "1Ti", "pods": "1M" });
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "node-0", "annotations": { "kwok.x-k8s.io/node": "fake" } },
            "status": { "capacity": resources, "allocatable": resources },
        });
        apply(&self.client, &node).await?;
        wait_until("the node to be ready", START_TIMEOUT, async || {
            self.check_running()?;
            let uri = http::Request::get("/api/v1/nodes/node-0").body(Vec::new())?;
            let node: serde_json::Value = self.client.request(uri).await?;
            let conditions = node.pointer("/status/conditions").and_then(serde_json::Value::as_array);
            let ready =
                conditions.into_iter().flatten().find(|condition| text(condition, "/type") == "Ready");
            let ready = ready.map(|condition| text(condition, "/status"));
            ensure!(ready == Some("True"), "its Ready condition is {ready:?}");
            Ok(())
        })
        .await
    }
}

fn start_etcd(parts: &Parts, home: &Path, log: &Path, url: &str, peer: u16) -> Result<Process> {
    let peer = format!("http://127.0.0.1:{peer}");
    Program::new("etcd", parts.program("etcd", "etcd")?)
        .args(["--name", "etcd", "--data-dir", "etcd", "--unsafe-no-fsync", "--log-level", "warn"])
        .args(["--listen-client-urls", url, "--advertise-client-urls", url])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("etcd={peer}")])
        .start(home, log)
}

fn start_apiserver(parts: &Parts, home: &Path, log: &Path, etcd: &str, port: u16) -> Result<Process> {
    let key = home.join("service-accounts.key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"])
        .arg(&key)
        .status()
        .context("starting ssh-keygen")?;
    ensure!(made.success(), "ssh-keygen made no key for service accounts ({made})");
    let tokens = home.join("tokens.csv");
    let users = format!(
        "{},admin,admin,system:masters\n{},{DAEMON_USER},lastgood,\"{DAEMON_GROUPS}\"\n",
        token("admin"),
        token("daemon")
    );
    fs::write(&tokens, users)?;
    Program::new("kube-apiserver", parts.program("kubernetes", "kube-apiserver")?)
        .args(["--bind-address=127.0.0.1", "--authorization-mode=RBAC"])
        .args(["--service-cluster-ip-range=10.96.0.0/16", "--disable-admission-plugins=ServiceAccount"])
        .args(["--service-account-issuer=https://kubernetes.default.svc", "--cert-dir=certs"])
        .arg(format!("--service-account-key-file={}", key.display()))
        .arg(format!("--service-account-signing-key-file={}", key.display()))
        .arg(format!("--token-auth-file={}", tokens.display()))
        .arg(format!("--etcd-servers={etcd}"))
        .arg(format!("--secure-port={port}"))
        .start(home, log)
}

fn start_kwok(parts: &Parts, home: &Path, log: &Path, kubeconfig: &str) -> Result<Process> {
    let mut stages = include_str!("stages.yaml").to_owned();
    let samples = parts.folder("kwok")?.join("stages");
    for sample in fs::read_dir(&samples).with_context(|| format!("reading {}", samples.display()))? {
        stages += "\n---\n";
        stages += &fs::read_to_string(sample?.path())?;
    }
    fs::write(home.join("stages.yaml"), stages)?;
    Program::new("kwok", parts.program("kwok", "kwok")?)
        .args(["--kubeconfig", kubeconfig, "--config", "stages.yaml", "--manage-all-nodes=true"])
        // Without a lease the node counts as lost after 50 s.
        .arg("--node-lease-duration-seconds=40")
        .start(home, log)
}

fn token(user: &str) -> String {
    format!("{user}-token")
}

fn write_kubeconfig(home: &Path, user: &str, port: u16) -> Result<PathBuf> {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{ "name": "e2e", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            // Made by the API server itself on its first start; it ends with the authority's certificate.
            "certificate-authority": home.join("certs/apiserver.crt"),
        }}],
        "users": [{ "name": user, "user": { "token": token(user) } }],
        "contexts": [{ "name": "e2e", "context": { "cluster": "e2e", "user": user, "namespace": "argocd" } }],
    });
    let path = home.join(format!("{user}.kubeconfig"));
    fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
    Ok(path)
}

/// A client once the API server answers that it is ready.
async fn ready_client(home: &Path, kubeconfig: &Path) -> Result<Client> {
    ensure!(home.join("certs/apiserver.crt").is_file(), "it has no certificate yet");
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    client.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
    Ok(client)
}
