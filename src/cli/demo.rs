//! `lastgood demo`: the main job on the embedded sandbox, with no cluster.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Parser as _, ValueEnum};
use tokio::sync::{mpsc, oneshot, watch};

use super::Cli;
use crate::cluster::Clients;
use crate::engine::entry::{Entry, Kind, LastGoodFrom};
use crate::policy::PolicySet;
use crate::record::state::files::FileStore;
use crate::run::{self, Config, Keeping};
use crate::sandbox::Sandbox;
use crate::sandbox::demo::{Beat, Format, Story, Timeline, Told, git_log, play};
use crate::serve::Ready;

/// The branch that the sandbox's application follows.
const BRANCH: &str = "main";

/// Arguments of `lastgood demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Keeps the repository, the policy and the daemon's state in this folder, which must be empty or new.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The form of the timeline.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The form of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people, with the Git log at the end.
    Text,
    /// One JSON object a line.
    Json,
}

impl Demo {
    /// Plays the story; fails unless both bad deploys were reverted and recovered.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let temporary = match &self.keep {
            Some(_) => None,
            None => Some(
                tempfile::tempdir()
                    .context("cannot make a temporary folder; set TMPDIR to one that can be written")?,
            ),
        };
        let dir = match (&self.keep, &temporary) {
            (Some(keep), _) => empty(keep)?,
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => PathBuf::new(),
        };
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        runtime.block_on(self.play(&dir, &mut Lines(out)))?;
        if self.keep.is_some() && self.output == Output::Text {
            writeln!(out, "\nThe repository, the policy and the state are in {}.", dir.display())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn play(&self, dir: &Path, out: &mut Lines<'_>) -> anyhow::Result<()> {
        let sandbox = Sandbox::start(dir).await.context("cannot start the sandbox")?;
        let format = if self.output == Output::Json { Format::JsonLines } else { Format::Text };
        let mut timeline = Timeline::new(io::stdout(), format, sandbox.clock().now());
        let (tap, entries) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let config = config(dir, &sandbox, tap)?;
        let daemon = tokio::spawn(run::run(config, async move {
            stopped.await.ok();
        }));
        let mut told = listen(entries);
        let played = play(&sandbox, Story::default(), &mut told, &mut timeline).await;
        // It may have ended by itself; then its error is told below.
        stop.send(()).ok();
        let ended = daemon.await.context("the daemon was broken off")?;
        let repository = sandbox.repository().to_owned();
        sandbox.stop().await;
        if self.output == Output::Text {
            writeln!(out, "\n$ git log {BRANCH}\n")?;
            git_log(&repository, BRANCH, out).context("cannot read the sandbox's repository")?;
            ledger(&repository, out)?;
        }
        ended?;
        played?;
        Ok(())
    }
}

/// Shows the ledger, by the command that reads it.
fn ledger(repository: &Path, out: &mut Lines<'_>) -> anyhow::Result<()> {
    for command in ["list", "verify"] {
        writeln!(out, "\n$ lastgood audit {command} --repo {}\n", repository.display())?;
        let args = ["lastgood", "audit", command, "--repo"].map(OsString::from);
        let cli = Cli::try_parse_from(args.into_iter().chain([repository.into()]))?;
        let code = cli.run(&mut *out)?;
        anyhow::ensure!(code == ExitCode::SUCCESS, "the ledger does not stand");
    }
    Ok(())
}

/// Takes an empty or a new folder: nothing of somebody's is written over.
fn empty(dir: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut found = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    anyhow::ensure!(found.next().is_none(), "{} is not empty; name a new folder", dir.display());
    dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))
}

/// The daemon as it runs in a cluster, but for the addresses and a policy of seconds instead of minutes.
fn config(dir: &Path, sandbox: &Sandbox, tap: mpsc::UnboundedSender<Entry>) -> anyhow::Result<Config> {
    let policies = dir.join("policies");
    std::fs::create_dir_all(&policies).context("cannot make the policies' folder")?;
    std::fs::write(policies.join("shop.yaml"), policy(sandbox.prometheus_url()))
        .context("cannot write the policy")?;
    let set = PolicySet::load(&policies).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    // The demo's policies do not change; the sender lives as long as the daemon listens.
    let (sender, policies) = watch::channel(Arc::new(set));
    tokio::spawn(async move { sender.closed().await });
    let url = sandbox.api_url().parse().context("the sandbox's URL is not one")?;
    Ok(Config {
        clients: Clients::new(&kube::Config::new(url))?,
        namespaces: vec!["argocd".to_owned()],
        argocd_namespace: "argocd".to_owned(),
        cluster: "sandbox".to_owned(),
        policies,
        policy_folder: None,
        store: Arc::new(FileStore::open(dir.join("state")).context("cannot keep states")?),
        ledger: Keeping::OfRepositories,
        sinks: Vec::new(),
        by: super::recorder(),
        cache: dir.join("cache"),
        ready: Ready::default(),
        tap: Some(tap),
    })
}

fn policy(prometheus_url: &str) -> String {
    format!(
        r#"apiVersion: lastgood.dev/v1alpha1
application: {{ name: shop, namespace: argocd }}
analysis: {{ duration: 5s, interval: 500ms }}
prometheus: {{ url: "{prometheus_url}" }}
slos:
  - name: error-rate
    query: >-
      sum(rate(http_requests_total{{app="{{{{ application }}}}",code=~"5.."}}[2s]))
      / sum(rate(http_requests_total{{app="{{{{ application }}}}"}}[2s]))
    max: 0.05
    failures: 3
    of: 5
rollout: {{ crashLoopGrace: 1s, imagePullGrace: 1s }}
rollback: {{ mode: push, recoveryTimeout: 20s }}
"#
    )
}

/// Turns the daemon's journal into lines of the story.
fn listen(mut entries: mpsc::UnboundedReceiver<Entry>) -> mpsc::Receiver<Told> {
    let (told, lines) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(entry) = entries.recv().await {
            let beat = match &entry.kind {
                Kind::LastGood { from: LastGoodFrom::Analysis | LastGoodFrom::FirstSight, .. } => {
                    Beat::BecameGood
                }
                Kind::Recovered { .. } => Beat::Recovered,
                _ => Beat::Other,
            };
            let line = Told { at: entry.at, beat, sentence: entry.kind.to_string() };
            if told.send(line).await.is_err() {
                return;
            }
        }
    });
    lines
}

/// A writer behind a reference, as the Git log wants one.
struct Lines<'a>(&'a mut dyn Write);

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
