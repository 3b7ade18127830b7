//! The command line: one file for each command.

mod access;
pub mod audit;
pub mod check;
pub mod demo;
pub mod replay;
pub mod revert;
pub mod rollback;
pub mod run;
mod sarif;
pub mod schema;
pub mod sink;
pub mod suggest;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::engine::policy::Prometheus;
use crate::record::ledger::Recorder;

/// Rolls GitOps applications back through Git when a change makes them sick.
#[derive(Debug, Parser)]
#[command(name = "lastgood", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows the ledger, and finds out whether it is what it was when it was written.
    Audit(audit::Audit),
    /// Checks policy files without a cluster; says what is wrong and where.
    Check(check::Check),
    /// Shows the main job on an embedded sandbox, with no cluster.
    Demo(demo::Demo),
    /// Says whether a change would have been rolled back, by the history in Prometheus.
    Replay(replay::Replay),
    /// Plans a revert from a repository alone, and pushes it if asked; needs no cluster.
    Revert(revert::Revert),
    /// Rolls a live application back as the daemon would; without `--yes` it only plans.
    Rollback(rollback::Rollback),
    /// Runs the daemon.
    Run(run::Run),
    /// Prints the JSON Schema of policy files, or of another kind of file, for editors.
    Schema(schema::Schema),
    /// Says how far the sinks have got, and sends again.
    Sink(sink::SinkCommand),
    /// Proposes limits for a policy under which recent weeks would have been quiet.
    Suggest(suggest::Suggest),
}

impl Cli {
    /// Carries the command out.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Audit(audit) => audit.run(out),
            Command::Check(check) => check.run(out),
            Command::Demo(demo) => demo.run(out),
            Command::Replay(replay) => replay.run(out),
            Command::Revert(revert) => revert.run(out),
            Command::Rollback(rollback) => rollback.run(out),
            Command::Run(run) => run.run(),
            Command::Schema(schema) => schema.run(out),
            Command::Sink(sink) => sink.run(out),
            Command::Suggest(suggest) => suggest.run(out),
        }
    }
}

/// This program, as records name it; the Pod and its account come by the downward API.
fn recorder() -> Recorder {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let named = |name: String| match var("LASTGOOD_POD_NAMESPACE") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name,
    };
    Recorder {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pod: var("LASTGOOD_POD_NAME").map(named),
        service_account: var("LASTGOOD_SERVICE_ACCOUNT").map(named),
    }
}

/// Reads `name=value`, as `--set` takes it.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// The Prometheus to ask instead of a policy's own; credentials are for their own server only.
fn elsewhere(own: Prometheus, url: &str) -> Prometheus {
    let url = url.trim_end_matches('/').to_owned();
    let credentials = own.credentials.filter(|_| url == own.url);
    Prometheus { url, credentials, ..own }
}

/// So many of something, in words that fit the number.
fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
