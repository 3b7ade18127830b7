//! `lastgood sink`: how far the sinks have got, and sending again.

mod list;
mod replay;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::run::State;
use crate::cluster::Clients;
use crate::record::state::StateStore;
use crate::record::state::files::FileStore;
use crate::sinks::keep::Keeper;
use crate::sinks::{self, Sink};

/// Arguments of `lastgood sink`.
#[derive(Args, Debug)]
pub struct SinkCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads a file of sinks; says what is wrong and where.
    Check(Check),
    /// Lists the sinks: how far behind each is, what failed last, what was set aside.
    List(list::List),
    /// Has records sent again.
    Replay(replay::Replay),
}

/// Where the file of sinks is.
#[derive(Args, Debug)]
struct Check {
    /// The file of sinks.
    #[arg(long, value_name = "FILE")]
    sinks: PathBuf,
}

/// Where the daemon keeps how far it got.
#[derive(Args, Debug)]
struct At {
    /// The file of sinks that the daemon has.
    #[arg(long, value_name = "FILE")]
    sinks: PathBuf,
    /// Where states are kept, as the daemon was told.
    #[arg(long, value_name = "kube|DIR", default_value = "kube")]
    state: State,
    /// The daemon's `--argocd-namespace`.
    #[arg(long, value_name = "NAME", default_value = "argocd")]
    argocd_namespace: String,
}

impl SinkCommand {
    /// Carries the command out.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Check(check) => {
                let count = load(&check.sinks)?.len();
                writeln!(out, "{count} sink{} valid", if count == 1 { " is" } else { "s are" })?;
                Ok(ExitCode::SUCCESS)
            }
            Command::List(list) => list.run(out),
            Command::Replay(replay) => replay.run(out),
        }
    }
}

/// Reads the file of sinks.
pub(super) fn load(path: &std::path::Path) -> anyhow::Result<Vec<Sink>> {
    sinks::load(path).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}

impl At {
    /// The sinks of the file, and where their progress is kept.
    async fn open(&self) -> anyhow::Result<Vec<(Sink, Keeper)>> {
        let store: Arc<dyn StateStore> = match &self.state {
            // Without asking for a cluster.
            State::Folder(dir) => {
                let opened = FileStore::open(dir);
                Arc::new(opened.with_context(|| format!("cannot read states in {}", dir.display()))?)
            }
            State::Kube => self.state.open(&Clients::infer().await?)?,
        };
        let with_keeper = |sink: Sink| {
            let keeper = Keeper::new(Arc::clone(&store), &self.argocd_namespace, &sink.name);
            (sink, keeper)
        };
        Ok(load(&self.sinks)?.into_iter().map(with_keeper).collect())
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("cannot start the runtime")
}
