//! Development tasks.
//!
//! `cargo xtask test --fast` runs every test that needs only cargo; `cargo xtask test` runs those and then the same
//! promises against a real cluster: it builds Kubernetes, Argo CD and their company from pinned Go modules into a cache
//! outside the checkout, and starts them as plain processes on loopback.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "telling a developer what happens is the job")]

mod needs;
mod parts;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "\
usage: cargo xtask test [--fast | --rendered | --gitea | --collector | --only FILTER]

  test                 every test: the fast ones, those with a real Kustomize, Helm, Gitea and OpenTelemetry Collector,
                       the real cluster's
  test --fast          only what needs nothing but cargo
  test --rendered      only what needs the real Kustomize and Helm and no cluster
  test --gitea         only what needs a real Gitea and no cluster
  test --collector     only what needs a real OpenTelemetry Collector and no cluster
  test --only FILTER   only the cluster scenarios whose name contains FILTER

The cluster's parts are built once, about half an hour on two cores, and kept in $LASTGOOD_CACHE (by default
$XDG_CACHE_HOME/lastgood or ~/.cache/lastgood).";

/// What the command line asks for.
enum Task {
    Help,
    Fast,
    Rendered,
    Gitea,
    Collector,
    Everything,
    Only(String),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let task = match args.as_slice() {
        ["test"] => Task::Everything,
        ["test", "--fast"] => Task::Fast,
        ["test", "--rendered"] => Task::Rendered,
        ["test", "--gitea"] => Task::Gitea,
        ["test", "--collector"] => Task::Collector,
        ["test", "--only", filter] => Task::Only((*filter).to_owned()),
        ["help" | "--help" | "-h", ..] | ["test", "--help" | "-h"] => Task::Help,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<()> {
    let root = checkout()?;
    match task {
        Task::Help => {
            println!("{USAGE}");
            Ok(())
        }
        Task::Fast => fast(&root),
        Task::Rendered => rendered(&root),
        Task::Gitea => gitea(&root),
        Task::Collector => collector(&root),
        Task::Everything => {
            // Said before anything runs, so that nobody waits for the fast tests to learn that a package is missing.
            needs::check(&root)?;
            fast(&root)?;
            rendered(&root)?;
            gitea(&root)?;
            collector(&root)?;
            cluster(&root, None)
        }
        Task::Only(filter) => {
            needs::check(&root)?;
            cluster(&root, Some(filter))
        }
    }
}

fn fast(root: &Path) -> Result<()> {
    cargo(root, &["test", "--workspace"], None)
}

fn rendered(root: &Path) -> Result<()> {
    let built = parts::build(root, &cache()?, |part| ["kustomize", "helm"].contains(&part))?;
    cargo(root, &["test", "--test", "rendered"], Some(&built))
}

fn gitea(root: &Path) -> Result<()> {
    let built = parts::build(root, &cache()?, |part| part == "gitea")?;
    cargo(root, &["test", "--test", "gitea"], Some(&built))
}

fn collector(root: &Path) -> Result<()> {
    let built = parts::build(root, &cache()?, |part| part == "otelcol")?;
    cargo(root, &["test", "--test", "collector"], Some(&built))
}

fn cluster(root: &Path, filter: Option<&str>) -> Result<()> {
    let built = parts::build(root, &cache()?, |_| true)?;
    let mut args = vec!["test", "--test", "cluster"];
    if let Some(filter) = filter {
        args.extend(["--", filter]);
    }
    cargo(root, &args, Some(&built))
}

/// Runs cargo; `built` tells the cluster tests where the parts are.
fn cargo(root: &Path, args: &[&str], built: Option<&str>) -> Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root).args(args);
    // `cargo xtask` describes this package in the environment. Build scripts that watch these variables (ring's) would
    // run again at each change between `cargo xtask test` and `cargo test`, and rebuild half of the dependencies.
    for (name, _) in std::env::vars_os() {
        let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    if let Some(built) = built {
        command.env("LASTGOOD_CLUSTER_PARTS", built);
    }
    let line = args.join(" ");
    let status = command.status().with_context(|| format!("starting `cargo {line}`"))?;
    if !status.success() {
        bail!("`cargo {line}` failed ({status})");
    }
    Ok(())
}

/// The repository's root: the folder above this package.
fn checkout() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(root.context("the xtask package has no folder above it")?.to_owned())
}

/// Where built parts are kept: outside the checkout, so that every checkout of a machine shares them.
fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("LASTGOOD_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("lastgood")))
        .or_else(|| Some(set("HOME")?.join(".cache/lastgood")))
        .context("no folder to keep the built parts in: set LASTGOOD_CACHE")
}
