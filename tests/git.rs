//! Reverts in real repositories: what is pushed, what is refused, and what is found to be done already.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "support/git_http.rs"]
mod git_http;
#[path = "support/git_repo.rs"]
mod git_repo;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/rng.rs"]
mod rng;
#[path = "support/tls.rs"]
mod tls;
#[path = "support/trees.rs"]
mod trees;

#[path = "git/branches.rs"]
mod branches;
#[path = "git/content.rs"]
mod content;
#[path = "git/definition.rs"]
mod definition;
#[path = "git/done_already.rs"]
mod done_already;
#[path = "git/footprints.rs"]
mod footprints;
#[path = "git/from_the_cluster.rs"]
mod from_the_cluster;
#[path = "git/github_app.rs"]
mod github_app;
#[path = "git/hostile.rs"]
mod hostile;
#[path = "git/hydrated.rs"]
mod hydrated;
#[path = "git/ledger.rs"]
mod ledger;
#[path = "git/multi_source.rs"]
mod multi_source;
#[path = "git/neighbours.rs"]
mod neighbours;
#[path = "git/offline.rs"]
mod offline;
#[path = "git/oracle.rs"]
mod oracle;
#[path = "git/over_http.rs"]
mod over_http;
#[path = "git/over_https.rs"]
mod over_https;
#[path = "git/over_ssh.rs"]
mod over_ssh;
#[path = "git/plans.rs"]
mod plans;
#[path = "git/proposals.rs"]
mod proposals;
#[path = "git/refusals.rs"]
mod refusals;
#[path = "git/signed.rs"]
mod signed;
#[path = "git/write_access.rs"]
mod write_access;

use std::time::{Duration, Instant};

use git_repo::World;
use lastgood::act::git::{Access, Git, Identity};
use lastgood::engine::action::{
    Delivery, Refusal, RelateOrder, Relation, RevertOrder, RevertOutcome, RevertPart, RevertRecord,
    RevertedPart,
};
use lastgood::engine::facts::{AppKey, Rendering, Revision};
use lastgood::engine::policy::{OnNewerChange, RevertRules};

const NOW: &str = "2026-11-23T12:00:00Z";

struct Daemon {
    git: Git,
    cache: tempfile::TempDir,
}

impl Daemon {
    fn new() -> Self {
        let cache = tempfile::tempdir().unwrap();
        Self { git: Git::new(cache.path().join("git")).unwrap(), cache }
    }

    fn copies(&self) -> Vec<std::path::PathBuf> {
        std::fs::read_dir(self.cache.path().join("git")).unwrap().map(|f| f.unwrap().path()).collect()
    }

    fn revert(&self, order: &RevertOrder) -> RevertOutcome {
        self.revert_with(order, &Access::new(&order.parts[0].repo_url), Duration::from_secs(20))
    }

    fn relate(&self, order: &RelateOrder) -> Result<Relation, lastgood::act::git::GitError> {
        let within = Duration::from_secs(20);
        self.git.relate(order, &Access::new(&order.repo_url), Instant::now() + within)
    }

    fn revert_with(&self, order: &RevertOrder, access: &Access, within: Duration) -> RevertOutcome {
        let identity =
            Identity { name: "lastgood".into(), email: "lastgood@example.org".into(), signer: None };
        self.git.revert(
            order,
            std::slice::from_ref(access),
            &identity,
            NOW.parse().unwrap(),
            Instant::now() + within,
        )
    }
}

fn order(url: &str, good: &str, bad: &str) -> RevertOrder {
    RevertOrder {
        rollback: format!("argocd-shop-{}", &bad[..8]),
        app: AppKey::new("argocd", "shop"),
        cluster: "prod".into(),
        project: "default".into(),
        parts: vec![RevertPart {
            repo_url: url.into(),
            target_revision: "main".into(),
            sources: vec![0],
            renderings: vec![Rendering::of_path("apps/shop")],
            definition: None,
            unchanged: Vec::new(),
            hydrated: None,
            no_fix: None,
            others: vec![],
            bad: Revision::new(bad),
            good: Revision::new(good),
        }],
        evidence: vec!["web: 2 of 2 pods in ImagePullBackOff.".into()],
        quarantine: vec![],
        rules: RevertRules { on_newer_change: OnNewerChange::Revert, ..RevertRules::default() },
        mode: Delivery::Push,
        only_look: false,
        record: None,
    }
}

fn say(text: &str) {
    eprintln!("{text}");
}

fn paths(paths: &[&str]) -> Vec<Rendering> {
    paths.iter().map(|path| Rendering::of_path(*path)).collect()
}

#[track_caller]
fn pushed(outcome: RevertOutcome) -> RevertedPart {
    match outcome {
        RevertOutcome::Pushed(record) => only(record),
        other => panic!("not pushed: {other:?}"),
    }
}

#[track_caller]
fn already(outcome: RevertOutcome) -> RevertedPart {
    match outcome {
        RevertOutcome::AlreadyReverted(record) => only(record),
        other => panic!("not already reverted: {other:?}"),
    }
}

#[track_caller]
fn only(record: RevertRecord) -> RevertedPart {
    let [part] = <[RevertedPart; 1]>::try_from(record.parts).unwrap();
    part
}

#[track_caller]
fn refused(outcome: RevertOutcome) -> Refusal {
    match outcome {
        RevertOutcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn failed(outcome: RevertOutcome) -> String {
    match outcome {
        RevertOutcome::Failed { error } => error,
        other => panic!("not failed: {other:?}"),
    }
}

/// A repository with two applications, a good and a bad commit of `apps/shop`.
struct Story {
    world: World,
    daemon: Daemon,
    good: String,
    bad: String,
}

const TEN_LINES: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";

impl Story {
    fn new() -> Self {
        let world = World::new();
        world.write("README.md", "read me\n");
        world.write("apps/other/a.yaml", TEN_LINES);
        world.write("apps/shop/b.yaml", "b\n");
        let good = world.change("apps/shop/a.yaml", TEN_LINES);
        let bad = world.change("apps/shop/a.yaml", TEN_LINES.replace("3\n", "three\n"));
        Self { world, daemon: Daemon::new(), good, bad }
    }

    fn order(&self) -> RevertOrder {
        order(&self.world.file_url(), &self.good, &self.bad)
    }

    fn revert(&self) -> RevertOutcome {
        self.daemon.revert(&self.order())
    }
}
