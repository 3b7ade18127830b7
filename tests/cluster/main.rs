//! The daemon's promises against a real cluster: Kubernetes, Argo CD, Prometheus and Git over HTTP, all as plain
//! processes on loopback. Only the kubelet is simulated: pods have no containers, and fail as their image's tag says.
//!
//! Run it with `cargo xtask test`, which builds the parts first; `cargo xtask test --only FILTER` runs some scenarios.
//! One cluster serves them all; each scenario has its own namespace, repository and daemon.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test program tells what it found")]
#![allow(clippy::exit, reason = "an interrupt ends the program")]

mod app;
mod argocd;
mod cluster;
mod daemon;
mod developer;
mod e2e_parent;
mod e2e_pull_request;
mod e2e_races;
mod e2e_rollback;
mod e2e_signed;
mod e2e_stack;
mod git;
#[allow(dead_code, reason = "the tests of Gitea alone use the rest")]
#[path = "../support/gitea.rs"]
mod gitea;
mod kubernetes;
mod manifests;
mod process;
mod prometheus;
mod rundir;
mod scenario;
mod stack;
mod story;
mod traffic;
mod wait;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::scenario::Scenario;
use crate::stack::Stack;

/// More at once would make a small machine, not the daemon, decide the timings.
const THREADS: usize = 3;

/// What scenarios need once they run; empty while they are only listed.
type Ground = Arc<OnceLock<(Runtime, Arc<Stack>)>>;

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads = args.test_threads.or(Some(THREADS));
    let ground = Ground::default();
    let trials = vec![
        trial(&ground, "stack", e2e_stack::stack),
        trial(&ground, "stack-helm", e2e_stack::helm),
        trial(&ground, "good-deploy", e2e_rollback::good_deploy),
        trial(&ground, "missing-image", e2e_rollback::missing_image),
        trial(&ground, "crash-loop", e2e_rollback::crash_loop),
        trial(&ground, "slo-breach", e2e_rollback::slo_breach),
        trial(&ground, "failing-hook", e2e_rollback::failing_hook),
        trial(&ground, "helm-guestbook", e2e_rollback::helm_guestbook),
        trial(&ground, "app-of-apps", e2e_parent::app_of_apps),
        trial(&ground, "prometheus-down", e2e_rollback::prometheus_down),
        trial(&ground, "signed", e2e_signed::signed),
        trial(&ground, "two-applications", e2e_races::two_applications),
        trial(&ground, "push-in-between", e2e_races::push_in_between),
        trial(&ground, "killed-before-push", e2e_races::killed_before_push),
        trial(&ground, "killed-after-push", e2e_races::killed_after_push),
        trial(&ground, "two-daemons", e2e_races::two_daemons),
        trial(&ground, "pull-request", e2e_pull_request::pull_request),
    ];
    if args.list {
        return libtest_mimic::run(&args, trials).exit_code();
    }
    if trials.iter().all(|trial| args.is_filtered_out(trial)) {
        eprintln!("no scenario's name contains `{}`; --list names them", args.filter.unwrap_or_default());
        return ExitCode::FAILURE;
    }
    // Everything is started from this thread, which outlives the scenarios: the processes end with it.
    if let Err(error) = start(&ground) {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let conclusion = libtest_mimic::run(&args, trials);
    if let Some((runtime, stack)) = Arc::into_inner(ground).and_then(OnceLock::into_inner) {
        let dir = stack.dir.clone();
        drop(stack);
        drop(runtime);
        if !conclusion.has_failed()
            && let Err(error) = std::fs::remove_dir_all(&dir)
        {
            eprintln!("cannot remove {}: {error}", dir.display());
        }
    }
    conclusion.exit_code()
}

fn start(ground: &Ground) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Both the tests' HTTP client and the daemon's leave the choice of a TLS provider to the program.
    rustls::crypto::ring::default_provider().install_default().ok();
    runtime.spawn(end_on_signal());
    let start = Instant::now();
    let stack = runtime.block_on(Stack::start())?;
    println!("the cluster runs after {:.1} s, in {}", start.elapsed().as_secs_f32(), stack.dir.display());
    ground.set((runtime, Arc::new(stack))).ok();
    Ok(())
}

/// Leaves at once; the kernel takes the processes along.
async fn end_on_signal() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    std::process::exit(130)
}

/// A scenario as a test.
fn trial<F>(ground: &Ground, name: &'static str, run: F) -> Trial
where
    F: AsyncFnOnce(&Scenario) -> Result<()> + Send + 'static,
{
    let ground = Arc::clone(ground);
    Trial::test(name, move || {
        let (runtime, stack) = ground.get().ok_or("the cluster does not run")?;
        let outcome: Result<()> = runtime.block_on(async {
            let scenario = Scenario::new(Arc::clone(stack), name)?;
            let start = Instant::now();
            let outcome = run(&scenario).await;
            let outcome = match outcome {
                Ok(()) => Ok(()),
                Err(error) => {
                    let evidence = scenario.evidence().await;
                    Err(error.context(format!("after {} s", start.elapsed().as_secs())).context(evidence))
                }
            };
            let cleaned = scenario.clean_up().await.context("cleaning up");
            outcome.and(cleaned)
        });
        outcome.map_err(|error| {
            // The evidence is long, and was put in first: the reason goes last, where one looks.
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            Failed::from(causes.join("\n"))
        })
    })
}
