//! A change in several repositories at once: undone in each, or in none.

use std::time::{Duration, Instant};

use lastgood::act::git::{Access, Identity};
use lastgood::engine::action::{Refusal, RevertOrder, RevertOutcome};

use super::git_http::PASSWORD;
use super::git_repo::git;
use super::over_http::Remote;
use super::{Daemon, NOW, Story, TEN_LINES, order};

/// An application whose folder and whose values lie in two repositories, and changed together.
struct Two {
    shop: Story,
    values: Remote,
    order: RevertOrder,
}

impl Two {
    fn new() -> Self {
        let (shop, values) = (Story::new(), Remote::new());
        let mut order = shop.order();
        let mut part = values.order().parts.remove(0);
        part.sources = vec![1];
        order.parts.push(part);
        Self { shop, values, order }
    }

    fn revert(&self) -> RevertOutcome {
        let accesses = [Access::new(&self.order.parts[0].repo_url), self.values.access(PASSWORD)];
        let identity =
            Identity { name: "lastgood".into(), email: "lastgood@example.org".into(), signer: None };
        let deadline = Instant::now() + Duration::from_secs(20);
        self.shop.daemon.git.revert(&self.order, &accesses, &identity, NOW.parse().unwrap(), deadline)
    }

    fn tips(&self) -> [String; 2] {
        [self.shop.world.tip(), self.values.story.world.tip()]
    }
}

#[test]
fn both_repositories_get_one_commit_of_the_same_rollback() {
    let two = Two::new();
    let outcome = two.revert();
    let RevertOutcome::Pushed(record) = &outcome else { panic!("not pushed: {outcome:?}") };
    assert_eq!(record.reverts().map(|r| r.as_str().to_owned()).collect::<Vec<_>>(), two.tips());
    assert_eq!(record.parts.iter().map(|part| part.sources.clone()).collect::<Vec<_>>(), [[0], [1]]);
    for bare in [&two.shop.world.bare, &two.values.story.world.bare] {
        let message = git(bare, &["log", "-1", "--format=%B", "main"]);
        assert!(message.contains(&format!("Lastgood-Rollback: {}", two.order.rollback)), "{message}");
    }
    assert_eq!(two.values.story.world.text("apps/shop/a.yaml"), TEN_LINES);
    let again = two.revert();
    assert!(matches!(&again, RevertOutcome::AlreadyReverted(r) if r.parts.len() == 2), "{again:?}");
}

#[test]
fn where_one_cannot_be_planned_none_is_pushed() {
    let mut two = Two::new();
    two.order.parts[1].target_revision = "v1.0".into();
    let before = two.tips();
    let outcome = two.revert();
    assert!(matches!(&outcome, RevertOutcome::Refused(Refusal::NotABranch { .. })), "{outcome:?}");
    assert_eq!(two.tips(), before);
}

#[test]
fn a_repository_in_which_nothing_changed_is_left_alone() {
    let mut two = Two::new();
    two.order.parts[1].renderings = super::paths(&["apps/other"]);
    let [_, tip] = two.tips();
    let outcome = two.revert();
    let RevertOutcome::Pushed(record) = &outcome else { panic!("not pushed: {outcome:?}") };
    assert_eq!((record.parts.len(), two.tips()[1].clone()), (1, tip));
}

#[test]
fn after_a_crash_between_two_pushes_the_second_follows() {
    let mut two = Two::new();
    let second = two.order.parts.remove(1);
    let first = two.revert();
    let RevertOutcome::Pushed(first) = first else { panic!("not pushed: {first:?}") };
    two.order.parts.push(second);
    let outcome = two.revert();
    let RevertOutcome::Pushed(record) = &outcome else { panic!("not pushed: {outcome:?}") };
    assert_eq!(record.parts[0].revert, first.parts[0].revert);
    assert_eq!(record.reverts().map(|r| r.as_str().to_owned()).collect::<Vec<_>>(), two.tips());
}

#[test]
fn where_the_second_is_declined_it_is_said_which_has_it() {
    let two = Two::new();
    two.values.hook("pre-receive", "echo 'not today' >&2; exit 1");
    for _ in 0..2 {
        let outcome = two.revert();
        let RevertOutcome::Partly { done, missing, reason } = &outcome else { panic!("{outcome:?}") };
        assert_eq!(done.iter().map(|part| part.revert.as_str()).collect::<Vec<_>>(), [two.shop.world.tip()]);
        assert_eq!(missing, &[two.order.parts[1].repo_url.clone()]);
        assert!(reason.contains("not today"), "{reason}");
    }
    two.values.hook("pre-receive", "exit 0");
    assert!(matches!(two.revert(), RevertOutcome::Pushed(_)));
}

#[test]
fn a_repository_that_is_away_holds_the_other_up() {
    let two = Two::new();
    let [before, _] = two.tips();
    std::fs::rename(&two.values.story.world.bare, two.values.story.world.dir.path().join("away")).unwrap();
    let outcome = two.revert();
    assert!(matches!(&outcome, RevertOutcome::Failed { .. }), "{outcome:?}");
    assert_eq!(two.shop.world.tip(), before);
}

#[test]
fn several_sources_of_one_repository_are_one_commit() {
    let story = Story::new();
    story.world.write("values/shop.yaml", "1\n");
    let good = story.world.commit("values");
    story.world.write("values/shop.yaml", "2\n");
    let bad = story.world.change("apps/shop/b.yaml", "broken\n");
    let mut order = order(&story.world.file_url(), &good, &bad);
    order.parts[0].sources = vec![0, 1];
    order.parts[0].renderings = super::paths(&["apps/shop", "values/shop.yaml"]);
    let record = super::pushed(Daemon::new().revert(&order));
    assert_eq!(record.files, ["apps/shop/b.yaml", "values/shop.yaml"]);
}
