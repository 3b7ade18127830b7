//! The daemon's real program, under the account and the permissions that its installation has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::argocd::NAMESPACE;
use crate::process::{Process, Program};
use crate::rundir::free_ports;
use crate::wait::wait_until;

const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A policy: for which application, and where its Prometheus is.
pub(crate) struct Policy {
    pub(crate) application: String,
    pub(crate) prometheus: String,
    /// The Secret with the key that signs its commits.
    pub(crate) signing: Option<String>,
    /// The kind of forge that it opens pull requests at.
    pub(crate) forge: Option<&'static str>,
}

impl Policy {
    fn to_yaml(&self) -> String {
        let Self { application, prometheus, signing, forge } = self;
        let signing = signing.as_ref().map(|secret| format!("  signing: {{ secret: {secret} }}\n"));
        let forge = forge.map(|kind| format!("  forge: {{ kind: {kind} }}\n"));
        let git: String = signing.into_iter().chain(forge).collect();
        format!(
            "\
apiVersion: lastgood.dev/v1alpha1
application: {{ name: {application}, namespace: {NAMESPACE} }}
analysis: {{ duration: 20s, interval: 2s }}
prometheus: {{ url: \"{prometheus}\" }}
preset: {{ kind: http, metrics: plain, window: 10s, maxErrors: 0.05 }}
rollout: {{ imagePullGrace: 3s, crashLoopGrace: 3s }}
rollback: {{ mode: push, pullRequest: {{ labels: [rollback] }} }}
git:
{git}"
        )
    }
}

/// A daemon that runs, or ran until it was killed.
pub(crate) struct Daemon {
    name: String,
    /// The cluster's name that it writes into its commits.
    pub(crate) cluster: String,
    home: PathBuf,
    log: PathBuf,
    kubeconfig: PathBuf,
    policies: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Daemon {
    pub(crate) async fn start(
        dir: &Path,
        name: &str,
        cluster: &str,
        kubeconfig: &Path,
        policies: &[Policy],
    ) -> Result<Arc<Self>> {
        let home = dir.join(name);
        let daemon = Self {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            log: dir.join(format!("{name}.log")),
            kubeconfig: kubeconfig.to_owned(),
            policies: home.join("policies"),
            home,
            process: Mutex::default(),
        };
        fs::create_dir_all(&daemon.policies)?;
        for policy in policies {
            fs::write(daemon.policies.join(format!("{}.yaml", policy.application)), policy.to_yaml())?;
        }
        daemon.start_again().await?;
        Ok(Arc::new(daemon))
    }

    /// Starts it, with the cache and the state that it left, and waits until it is ready.
    pub(crate) async fn start_again(&self) -> Result<()> {
        let [port] = free_ports()?;
        let listen = format!("127.0.0.1:{port}");
        // A program that was built otherwise, such as the one that is shipped, keeps the same promises.
        let program =
            std::env::var_os("LASTGOOD_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_lastgood").into());
        let process = Program::new(&self.name, program)
            .args(["run", "--policies", &self.policies.to_string_lossy(), "--namespace", NAMESPACE])
            .args(["--cluster", &self.cluster, "--state", "kube"])
            .args(["--cache", &self.home.join("cache").to_string_lossy()])
            .args(["--listen", &listen, "--log", "json"])
            .env("KUBECONFIG", self.kubeconfig.to_string_lossy())
            .env("LASTGOOD_LOG", "info")
            .start(&self.home, &self.log)?;
        *self.process.lock().expect("nobody panics with this lock") = Some(process);
        let http = reqwest::Client::builder().no_proxy().build()?;
        wait_until(&format!("{} to be ready", self.name), READY_TIMEOUT, async || {
            self.check_running()?;
            let answer = http.get(format!("http://{listen}/readyz")).send().await?;
            ensure!(answer.status().is_success(), "/readyz answers {}", answer.status());
            Ok(())
        })
        .await
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&self) -> Result<()> {
        let process = self.process.lock().expect("nobody panics with this lock").take();
        process.with_context(|| format!("{} does not run", self.name))?.kill()
    }

    /// Its log's lines so far, as JSON; others are left out.
    pub(crate) fn log(&self) -> Vec<Value> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The memory that it takes now, in KiB.
    pub(crate) fn memory_kib(&self) -> Result<u64> {
        let process = self.process.lock().expect("nobody panics with this lock");
        process.as_ref().with_context(|| format!("{} does not run", self.name))?.memory_kib()
    }

    fn check_running(&self) -> Result<()> {
        let process = self.process.lock().expect("nobody panics with this lock");
        process.as_ref().with_context(|| format!("{} does not run", self.name))?.check_running()
    }
}
