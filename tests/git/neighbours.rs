//! Newer changes that may be the fix, and other applications that are rendered from the same files.

use lastgood::engine::action::{Other, RevertOrder, RevertOutcome, Standing, Touched};
use lastgood::engine::facts::{AppKey, Rendering, Revision};
use lastgood::engine::policy::{OnNewerChange, SharedFiles};

use super::git_repo::git;
use super::{Story, TEN_LINES, already, paths, pushed};

fn waiting(story: &Story) -> RevertOrder {
    let mut order = story.order();
    order.rules.on_newer_change = OnNewerChange::Wait;
    order
}

#[track_caller]
fn newer(outcome: RevertOutcome) -> String {
    match outcome {
        RevertOutcome::Newer { revision, .. } => revision.as_str().to_owned(),
        other => panic!("no newer change: {other:?}"),
    }
}

#[track_caller]
fn shared(outcome: RevertOutcome) -> Vec<Touched> {
    match outcome {
        RevertOutcome::Shared { with } => with,
        other => panic!("not shared: {other:?}"),
    }
}

#[test]
fn a_newer_change_of_the_same_files_may_be_the_fix() {
    let story = Story::new();
    let order = waiting(&story);
    let fix = story.world.change("apps/shop/b.yaml", "a fix\n");
    story.world.change("README.md", "elsewhere");
    assert_eq!(newer(story.daemon.revert(&order)), fix);
    // Also where it changed the same lines.
    let conflict = story.world.change("apps/shop/a.yaml", TEN_LINES.replace("3\n", "drei\n"));
    assert_eq!(newer(story.daemon.revert(&order)), conflict);
}

#[test]
fn the_fix_may_be_a_file_that_was_not_there_before() {
    let story = Story::new();
    let mut order = waiting(&story);
    order.parts[0].renderings = vec![Rendering::plain("apps/shop")];
    story.world.change("apps/shop/README.md", "no manifest");
    let fix = story.world.change("apps/shop/config.yaml", "a fix\n");
    assert_eq!(newer(story.daemon.revert(&order)), fix);
    order.rules.on_newer_change = OnNewerChange::Revert;
    pushed(story.daemon.revert(&order));
    assert_eq!(story.world.text("apps/shop/config.yaml"), "a fix\n");
}

#[test]
fn a_newer_change_that_is_no_fix_stays_under_the_revert() {
    let story = Story::new();
    let mut order = waiting(&story);
    let newer = story.world.change("apps/shop/b.yaml", "no fix\n");
    order.parts[0].no_fix = Some(Revision::new(&newer));
    pushed(story.daemon.revert(&order));
    assert_eq!(story.world.text("apps/shop/b.yaml"), "no fix\n");
}

#[test]
fn changes_elsewhere_and_changes_that_cancel_each_other_are_not_awaited() {
    let story = Story::new();
    story.world.change("apps/other/a.yaml", "elsewhere");
    let there = story.world.change("apps/shop/b.yaml", "there");
    git(&story.world.work, &["revert", "--no-edit", &there]);
    story.world.push();
    pushed(story.daemon.revert(&waiting(&story)));
}

#[test]
fn our_own_revert_is_no_newer_change() {
    let story = Story::new();
    let order = waiting(&story);
    let revert = pushed(story.daemon.revert(&order)).revert;
    assert_eq!(already(story.daemon.revert(&order)).revert, revert);
}

/// A base that `shop` and `blog` are rendered from, changed by the bad commit.
fn with_blog(standing: Standing) -> (Story, RevertOrder) {
    let mut story = Story::new();
    story.world.write("base/x.yaml", "1\n");
    story.good = story.world.commit("base");
    story.bad = story.world.change("base/x.yaml", "2\n");
    let mut order = story.order();
    order.parts[0].renderings = paths(&["apps/shop", "base"]);
    let other = |name: &str, folders: &[&str]| Other {
        app: AppKey::new("argocd", name),
        renderings: paths(folders),
        revision: Some(Revision::new(&story.bad)),
        defined: None,
        standing,
    };
    order.parts[0].others = vec![other("blog", &["apps/blog", "base"]), other("cart", &["apps/cart"])];
    (story, order)
}

#[test]
fn only_applications_whose_files_the_revert_changes_are_touched() {
    let (story, order) = with_blog(Standing::Well);
    let with = shared(story.daemon.revert(&order));
    assert_eq!(with, [Touched { app: AppKey::new("argocd", "blog"), standing: Standing::Well }]);
    assert_eq!(story.world.tip(), story.bad);
    // The same base, but the change is in the application's own folder.
    let (good, bad) = (story.bad.clone(), story.world.change("apps/shop/b.yaml", "broken"));
    let mut own = order;
    (own.parts[0].good, own.parts[0].bad) = (Revision::new(&good), Revision::new(&bad));
    pushed(story.daemon.revert(&own));
}

#[test]
fn where_all_touched_are_sick_the_revert_names_them() {
    let (story, order) = with_blog(Standing::Sick);
    let outcome = story.daemon.revert(&order);
    let RevertOutcome::Pushed(record) = outcome else { panic!("not pushed: {outcome:?}") };
    assert_eq!(record.touches.len(), 1);
    let message = git(&story.world.bare, &["log", "-1", "--format=%(trailers:key=Lastgood-Touches)", "main"]);
    assert_eq!(message, "Lastgood-Touches: argocd/blog");
    // The second of the two finds it done.
    let mut blog = order;
    (blog.app, blog.rollback) = (AppKey::new("argocd", "blog"), "argocd/blog@x".into());
    blog.parts[0].renderings = paths(&["apps/blog", "base"]);
    let revert = record.parts[0].revert.clone();
    assert_eq!(already(story.daemon.revert(&blog)).revert, revert);
}

#[test]
fn a_policy_may_allow_it() {
    let (story, mut order) = with_blog(Standing::Well);
    order.rules.shared_files = SharedFiles::Revert;
    pushed(story.daemon.revert(&order));
}

#[test]
fn what_has_not_reached_the_other_application_has_not_been_judged_there() {
    let (story, mut order) = with_blog(Standing::Well);
    order.parts[0].others[0].revision = Some(Revision::new(&story.good));
    let with = shared(story.daemon.revert(&order));
    assert_eq!(with[0].standing, Standing::Undecided);
}
