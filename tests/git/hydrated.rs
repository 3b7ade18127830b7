//! A branch that a hydrator writes: the change is undone where people made it.

use lastgood::engine::action::{Hydrated, Refusal, RelateOrder, RevertOrder};
use lastgood::engine::facts::Revision;

use super::git_repo::git;
use super::{Story, TEN_LINES, pushed, refused};

const BRANCH: &str = "environments/prod";

/// What the hydrator does: the branch holds manifests and says which commit they were rendered from.
fn hydrate(story: &Story, from: &str, manifests: &str) -> String {
    let work = &story.world.work;
    let start = git(work, &["ls-remote", "origin", BRANCH]);
    match start.split_whitespace().next() {
        Some(tip) => {
            git(work, &["fetch", "-q", "origin", BRANCH]);
            git(work, &["checkout", "-q", "--detach", tip]);
        }
        None => {
            git(work, &["checkout", "-q", "--orphan", "hydrated"]);
            git(work, &["rm", "-rqf", "."]);
        }
    }
    story.world.write("shop/manifest.yaml", manifests);
    story.world.write("shop/hydrator.metadata", format!("{{\"drySha\": \"{from}\"}}"));
    git(work, &["add", "."]);
    git(work, &["commit", "-qm", "hydrated"]);
    git(work, &["push", "-q", "origin", &format!("HEAD:refs/heads/{BRANCH}")]);
    let commit = git(work, &["rev-parse", "HEAD"]);
    git(work, &["checkout", "-q", "main"]);
    commit
}

fn order(story: &Story, good: &str, bad: &str) -> RevertOrder {
    let mut order = super::order(&story.world.file_url(), good, bad);
    let path = "shop".into();
    order.parts[0].hydrated = Some(Hydrated { target_revision: BRANCH.into(), path });
    order
}

#[test]
fn the_change_is_undone_on_the_branch_that_people_write() {
    let story = Story::new();
    let good = hydrate(&story, &story.good, "good");
    let bad = hydrate(&story, &story.bad, "bad");
    let order = order(&story, &good, &bad);
    let record = pushed(story.daemon.revert(&order));
    assert_eq!((record.branch.as_str(), record.bad.as_str()), ("main", bad.as_str()));
    assert_eq!(
        (story.world.tip(), story.world.text("apps/shop/a.yaml")),
        (record.revert.to_string(), TEN_LINES.into())
    );
    let message = git(&story.world.bare, &["log", "-1", "--format=%B", "main"]);
    assert!(message.contains(&format!("Lastgood-Bad: {}", story.bad)), "{message}");
    // What the hydrator makes of it is the revert.
    let live = hydrate(&story, record.revert.as_str(), "good");
    let part = &order.parts[0];
    let relate = |descendant: &str| RelateOrder {
        repo_url: part.repo_url.clone(),
        project: "default".into(),
        target_revision: "main".into(),
        renderings: part.renderings.clone(),
        hydrated: part.hydrated.clone(),
        ancestor: record.revert.clone(),
        descendant: Revision::new(descendant),
    };
    let relation = story.daemon.relate(&relate(&live)).unwrap();
    assert!(
        relation.descends && relation.same_content && relation.descendant.as_str() == live,
        "{relation:?}"
    );
    let relation = story.daemon.relate(&relate(&bad)).unwrap();
    assert!(!relation.descends && relation.content == record.quarantine, "{relation:?}");
}

#[test]
fn a_hydrated_commit_that_does_not_say_where_it_comes_from_is_refused() {
    let story = Story::new();
    let good = hydrate(&story, &story.good, "good");
    let bad = hydrate(&story, "nowhere", "bad");
    let refusal = refused(story.daemon.revert(&order(&story, &good, &bad)));
    assert!(matches!(&refusal, Refusal::Unsupported { reason } if reason.contains(&bad)), "{refusal:?}");
}
