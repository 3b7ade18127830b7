//! Reverts in real repositories: what is pushed, what is refused, and what is found to be done already.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "support/git_repo.rs"]
mod git_repo;

use std::time::{Duration, Instant};

use git_repo::{World, git};
use lastgood::act::git::{Access, Git, Identity};
use lastgood::engine::action::{RelateOrder, RevertOrder, RevertOutcome, RevertRecord};
use lastgood::engine::facts::{AppKey, Revision};

const NOW: &str = "2026-11-23T12:00:00Z";

struct Daemon {
    git: Git,
    _cache: tempfile::TempDir,
}

impl Daemon {
    fn new() -> Self {
        let cache = tempfile::tempdir().unwrap();
        Self { git: Git::new(cache.path().join("git")).unwrap(), _cache: cache }
    }

    fn revert(&self, order: &RevertOrder) -> RevertOutcome {
        self.revert_with(order, &Access::new(&order.repo_url), Duration::from_secs(20))
    }

    fn revert_with(&self, order: &RevertOrder, access: &Access, within: Duration) -> RevertOutcome {
        let identity = Identity { name: "lastgood".into(), email: "lastgood@example.org".into() };
        self.git.revert(order, access, &identity, NOW.parse().unwrap(), Instant::now() + within)
    }
}

fn order(url: &str, good: &str, bad: &str) -> RevertOrder {
    RevertOrder {
        rollback: format!("argocd-shop-{}", &bad[..8]),
        app: AppKey::new("argocd", "shop"),
        cluster: "prod".into(),
        repo_url: url.into(),
        project: "default".into(),
        target_revision: "main".into(),
        footprint: vec!["apps/shop".into()],
        bad: Revision::new(bad),
        good: Revision::new(good),
        evidence: vec!["web: 2 of 2 pods in ImagePullBackOff.".into()],
        quarantine: vec![],
        dry_run: false,
    }
}

#[track_caller]
fn pushed(outcome: RevertOutcome) -> RevertRecord {
    match outcome {
        RevertOutcome::Pushed(record) => record,
        other => panic!("not pushed: {other:?}"),
    }
}

#[test]
fn the_bad_change_is_undone_and_everything_else_stays() {
    let world = World::new();
    world.write("apps/other/a.yaml", "1");
    let good = world.change("apps/shop/a.yaml", "image: 1\n");
    let bad = world.change("apps/shop/a.yaml", "image: 2\n");
    world.change("apps/other/a.yaml", "2");
    let started = Instant::now();
    let record = pushed(Daemon::new().revert(&order(&world.file_url(), &good, &bad)));
    eprintln!("plan and push: {:?}", started.elapsed());
    assert_eq!(record.revert.as_str(), world.tip());
    assert_eq!(record.files, ["apps/shop/a.yaml"]);
    assert_eq!(
        (world.text("apps/shop/a.yaml").as_str(), world.text("apps/other/a.yaml").as_str()),
        ("image: 1\n", "2")
    );
}
