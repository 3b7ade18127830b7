//! What is recognised as done: by us, by another cluster, by a person; and what came back.

use lastgood::engine::action::Refusal;

use super::git_repo::git;
use super::{Story, TEN_LINES, already, order, pushed, refused};

#[test]
fn our_own_revert_is_found_by_its_trailer_also_below_later_commits() {
    let story = Story::new();
    let record = pushed(story.revert());
    assert_eq!(already(story.revert()).revert, record.revert);
    story.world.pull();
    story.world.change("apps/shop/a.yaml", "a fix on top");
    let again = already(story.revert());
    assert_eq!(
        (again.revert, again.files, again.quarantine),
        (record.revert, record.files, record.quarantine)
    );
    assert_eq!(git(&story.world.bare, &["rev-list", "--count", "main"]), "4");
}

#[test]
fn another_clusters_revert_counts_even_with_another_last_good() {
    let story = Story::new();
    let newer = story.world.change("apps/shop/b.yaml", "newer\n");
    let bad = story.world.change("apps/shop/a.yaml", "broken");
    let mut theirs = order(&story.world.file_url(), &story.good, &bad);
    theirs.cluster = "eu".into();
    theirs.rollback = "eu-1".into();
    let revert = pushed(story.daemon.revert(&theirs)).revert;
    let ours = order(&story.world.file_url(), &newer, &bad);
    assert_eq!(already(story.daemon.revert(&ours)).revert, revert);
}

#[test]
fn another_applications_revert_counts_only_if_nothing_is_left() {
    let story = Story::new();
    story.world.write("base/x.yaml", "1\n");
    let good = story.world.commit("base");
    story.world.write("base/x.yaml", "2\n");
    let bad = story.world.change("apps/shop/a.yaml", "broken");
    let mut other = order(&story.world.file_url(), &good, &bad);
    other.app.name = "other".into();
    other.rollback = "other-1".into();
    other.parts[0].renderings = super::paths(&["base", "apps/other"]);
    let revert = pushed(story.daemon.revert(&other)).revert;
    let mut shop = order(&story.world.file_url(), &good, &bad);
    shop.parts[0].renderings = super::paths(&["base"]);
    assert_eq!(already(story.daemon.revert(&shop)).revert, revert);
    shop.parts[0].renderings = super::paths(&["base", "apps/shop"]);
    assert_eq!(pushed(story.daemon.revert(&shop)).files, ["apps/shop/a.yaml"]);
}

#[test]
fn a_persons_revert_counts_also_with_a_fix_on_top() {
    let story = Story::new();
    git(&story.world.work, &["revert", "--no-edit", &story.bad]);
    let revert = story.world.push();
    assert_eq!(already(story.revert()).revert.as_str(), revert);
    story.world.change("apps/shop/a.yaml", "a fix on top");
    assert_eq!(already(story.revert()).revert.as_str(), revert);
}

#[test]
fn the_good_content_counts_whoever_brought_it_back() {
    let story = Story::new();
    let fix = story.world.change("apps/shop/a.yaml", TEN_LINES);
    story.world.change("README.md", "x");
    let record = already(story.revert());
    assert_eq!((record.revert.as_str(), record.files.len()), (fix.as_str(), 1));
}

#[test]
fn a_persons_revert_of_the_other_application_does_not_count() {
    let story = Story::new();
    story.world.write("apps/other/a.yaml", "broken");
    let bad = story.world.change("apps/shop/a.yaml", "broken");
    git(&story.world.work, &["checkout", "-q", &story.bad, "--", "apps/other"]);
    story.world.commit(&format!("Revert other\n\nThis reverts commit {bad}."));
    pushed(story.daemon.revert(&order(&story.world.file_url(), &story.good, &bad)));
    assert_eq!(story.world.text("apps/shop/a.yaml"), TEN_LINES);
}

#[test]
fn a_revert_that_somebody_reverted_is_content_that_returned() {
    let story = Story::new();
    let record = pushed(story.revert());
    story.world.pull();
    git(&story.world.work, &["revert", "--no-edit", record.revert.as_str()]);
    let returned = story.world.push();
    assert!(matches!(refused(story.revert()), Refusal::ContentReturned { .. }));
    // The returned commit as the bad one: the engine hands in what was rolled back before.
    let mut again = order(&story.world.file_url(), record.revert.as_str(), &returned);
    again.quarantine = vec![record.quarantine];
    assert!(matches!(refused(story.daemon.revert(&again)), Refusal::ContentReturned { .. }));
    assert_eq!(story.world.tip(), returned);
}

#[test]
fn a_rollback_is_never_rolled_back() {
    let story = Story::new();
    let revert = pushed(story.revert()).revert;
    let url = story.world.file_url();
    let mut order_ = order(&url, &story.bad, revert.as_str());
    assert!(matches!(refused(story.daemon.revert(&order_)), Refusal::BadIsARollback { .. }));
    story.world.pull();
    let after = story.world.change("README.md", "x");
    order_ = order(&url, &story.bad, &after);
    assert!(matches!(refused(story.daemon.revert(&order_)), Refusal::BadIsARollback { .. }));
    // Merged by a pull request.
    git(&story.world.work, &["checkout", "-q", "-b", "side", &story.bad]);
    story.world.write("README.md", "side");
    git(&story.world.work, &["commit", "-qam", "side"]);
    git(&story.world.work, &["merge", "-q", "-X", "ours", "-m", "Merge the revert", &after]);
    let merged = story.world.push();
    order_ = order(&url, &story.bad, &merged);
    assert!(matches!(refused(story.daemon.revert(&order_)), Refusal::BadIsARollback { .. }));
}

#[test]
fn a_new_mistake_after_a_rollback_is_undone_alone() {
    let story = Story::new();
    pushed(story.revert());
    story.world.pull();
    let bad = story.world.change("apps/shop/b.yaml", "broken");
    let record = pushed(story.daemon.revert(&order(&story.world.file_url(), &story.good, &bad)));
    assert_eq!(record.culprits.iter().map(|c| c.revision.as_str()).collect::<Vec<_>>(), [&bad]);
    assert_eq!(record.files, ["apps/shop/b.yaml"]);
}
