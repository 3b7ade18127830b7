//! `lastgood run`: the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

use super::recorder;
use crate::cluster::Clients;
use crate::policy::{self, PolicySet};
use crate::record::ledger::FolderLedger;
use crate::record::state::StateStore;
use crate::record::state::files::FileStore;
use crate::record::state::kube::KubeStore;
use crate::run::{self, Config, Keeping};
use crate::serve::{self, Ready};

/// Arguments of `lastgood run`.
#[derive(Args, Debug)]
pub struct Run {
    /// The folder with the policy files.
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// A namespace whose Applications are watched; may be given several times.
    #[arg(long = "namespace", value_name = "NAME", default_value = "argocd")]
    namespaces: Vec<String>,
    /// The namespace of Argo CD's repository Secrets, and of the policies' own Secrets.
    #[arg(long, value_name = "NAME", default_value = "argocd")]
    argocd_namespace: String,
    /// The name of this cluster, for commits.
    #[arg(long, value_name = "NAME", default_value = "default")]
    cluster: String,
    /// Where states are kept: `kube` for LastGood objects, or a folder.
    #[arg(long, value_name = "kube|DIR", default_value = "kube")]
    state: State,
    /// Where records go: on a branch of the repository of each application's first Git source, of the repository at a URL,
    /// into a folder, or nowhere.
    #[arg(long, value_name = "repository|URL|DIR|none", default_value = "repository")]
    ledger: LedgerAt,
    /// The file that says where what the ledger holds is sent.
    #[arg(long, value_name = "FILE")]
    sinks: Option<PathBuf>,
    /// The folder for copies of Git repositories; may be lost at any time.
    #[arg(long, value_name = "DIR", default_value = "/tmp/lastgood")]
    cache: PathBuf,
    /// The address for /livez and /readyz.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The form of log lines.
    #[arg(long, value_enum, default_value_t = Log::Text)]
    log: Log,
}

/// Where states are kept.
#[derive(Clone, Debug)]
pub(super) enum State {
    Kube,
    Folder(PathBuf),
}

impl FromStr for State {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "kube" { Self::Kube } else { Self::Folder(text.into()) })
    }
}

impl State {
    /// Opens the store.
    pub(super) fn open(&self, clients: &Clients) -> anyhow::Result<Arc<dyn StateStore>> {
        Ok(match self {
            Self::Kube => Arc::new(KubeStore::new(clients.request.clone())),
            Self::Folder(dir) => {
                let opened = FileStore::open(dir);
                Arc::new(opened.with_context(|| format!("cannot keep states in {}", dir.display()))?)
            }
        })
    }
}

/// Where records go.
#[derive(Clone, Debug)]
pub(super) enum LedgerAt {
    Repositories,
    Nowhere,
    Folder(PathBuf),
    Url(String),
}

impl FromStr for LedgerAt {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `host:path` is how SSH writes it.
        let is_url = text.contains("://") || text.split_once(':').is_some_and(|(host, _)| host.contains('@'));
        Ok(match text {
            "repository" => Self::Repositories,
            "none" => Self::Nowhere,
            url if is_url => Self::Url(url.to_owned()),
            folder => Self::Folder(folder.into()),
        })
    }
}

impl LedgerAt {
    /// Opens the ledger.
    pub(super) fn open(&self) -> anyhow::Result<Keeping> {
        Ok(match self {
            Self::Repositories => Keeping::OfRepositories,
            Self::Nowhere => Keeping::Nowhere,
            Self::Url(url) => Keeping::At(url.clone()),
            Self::Folder(dir) => Keeping::In(Arc::new(FolderLedger::open(dir)?)),
        })
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Log {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Run {
    /// Runs the daemon until it is told to stop.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        log(self.log);
        tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(self.serve())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn serve(self) -> anyhow::Result<()> {
        let policies = PolicySet::load(&self.policies).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        info!(policies = policies.len(), digest = policies.digest(), "Policies loaded.");
        let sinks = self.sinks.as_deref().map_or(Ok(Vec::new()), super::sink::load)?;
        if !sinks.is_empty() && matches!(self.ledger, LedgerAt::Nowhere) {
            bail!("sinks are sent what the ledger holds: say by --ledger where it is");
        }
        let clients = Clients::infer().await?;
        let store = self.state.open(&clients)?;
        let listener = TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("cannot listen on {}; choose another --listen", self.listen))?;
        let (policies_tx, policies) = watch::channel(Arc::new(policies));
        tokio::spawn(policy::watch(self.policies.clone(), policy::reload::PERIOD, policies_tx));
        let ready = Ready::default();
        tokio::spawn(serve::serve(listener, ready.clone(), std::future::pending()));
        let config = Config {
            clients,
            namespaces: self.namespaces,
            argocd_namespace: self.argocd_namespace,
            cluster: self.cluster,
            policies,
            policy_folder: Some(self.policies),
            store,
            ledger: self.ledger.open()?,
            sinks,
            by: recorder(),
            cache: self.cache,
            ready,
            tap: None,
        };
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        run::run(config, async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            info!("Told to stop.");
        })
        .await
    }
}

/// Writes log lines to standard error; `LASTGOOD_LOG` chooses what, `info` by default.
fn log(form: Log) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LASTGOOD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match form {
        Log::Text => lines.init(),
        Log::Json => lines.json().init(),
    }
}
