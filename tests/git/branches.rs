//! What is refused, and how two revisions are related.

use lastgood::act::git::{Access, Auth, Secret};
use lastgood::engine::action::{Refusal, RelateOrder};
use lastgood::engine::facts::Revision;

use super::git_http::{GitServer, PASSWORD, USER};
use super::git_repo::{World, git};
use super::{Daemon, Story, failed, order, pushed, refused};

#[test]
fn head_follows_the_default_branch() {
    let story = Story::new();
    git(&story.world.bare, &["branch", "old", &story.good]);
    for target in ["HEAD", "", "refs/heads/main"] {
        let mut order = story.order();
        order.parts[0].target_revision = target.into();
        if target != "refs/heads/main" {
            order.mode = super::Delivery::DryRun;
        }
        let outcome = story.daemon.revert(&order);
        assert!(format!("{outcome:?}").contains("branch: \"main\""), "{outcome:?}");
    }
}

#[test]
fn a_tag_a_commit_and_a_missing_branch_are_no_branches() {
    let story = Story::new();
    git(&story.world.bare, &["tag", "v1", &story.bad]);
    for target in ["v1", story.bad.as_str(), "nowhere", "1.*", "-x", "a b"] {
        let mut order = story.order();
        order.parts[0].target_revision = target.into();
        let refusal = refused(story.daemon.revert(&order));
        assert!(matches!(refusal, Refusal::NotABranch { .. }), "{target}: {refusal:?}");
    }
}

#[test]
fn a_rewritten_branch_is_refused() {
    let story = Story::new();
    git(&story.world.work, &["reset", "-q", "--hard", &story.good]);
    let tip = story.world.change("apps/shop/a.yaml", "rewritten");
    assert!(matches!(refused(story.revert()), Refusal::BadNotOnBranch { .. }));
    // Also when the copy still has the commit from before.
    let story = Story::new();
    let mut order = story.order();
    order.mode = super::Delivery::DryRun;
    story.daemon.revert(&order);
    git(&story.world.work, &["reset", "-q", "--hard", &story.good]);
    let rewound = story.world.push();
    assert!(matches!(refused(story.revert()), Refusal::BadNotOnBranch { .. }));
    assert_eq!((story.world.tip(), tip.len()), (rewound, 40));
}

#[test]
fn good_must_come_before_bad() {
    let story = Story::new();
    let (good, bad) = (&story.good, &story.bad);
    let swapped = order(&story.world.file_url(), bad, good);
    assert!(matches!(refused(story.daemon.revert(&swapped)), Refusal::GoodNotAncestor { .. }));
    let unknown = order(&story.world.file_url(), &"1".repeat(40), bad);
    assert!(matches!(refused(story.daemon.revert(&unknown)), Refusal::GoodNotAncestor { .. }));
    let chart = order(&story.world.file_url(), "1.2.3-and-more", bad);
    assert!(matches!(refused(story.daemon.revert(&chart)), Refusal::Unsupported { .. }));
}

#[test]
fn nothing_in_the_footprint_is_nothing_to_revert() {
    let story = Story::new();
    let bad = story.world.change("README.md", "x");
    let refusal = refused(story.daemon.revert(&order(&story.world.file_url(), &story.bad, &bad)));
    assert!(matches!(refusal, Refusal::NothingToRevert { .. }), "{refusal:?}");
}

#[test]
fn an_application_that_did_not_exist_is_not_deleted() {
    let world = World::new();
    let good = world.change("README.md", "x");
    let bad = world.change("apps/shop/a.yaml", "x");
    let refusal = refused(Daemon::new().revert(&order(&world.file_url(), &good, &bad)));
    assert!(refusal.to_string().contains("would delete all of them"), "{refusal}");
}

#[test]
fn a_history_that_is_cut_off_is_refused() {
    let story = Story::new();
    let shallow = story.world.dir.path().join("shallow.git");
    let from = story.world.file_url();
    git(story.world.dir.path(), &["clone", "-q", "--bare", "--depth=1", &from, shallow.to_str().unwrap()]);
    let order = order(&format!("file://{}", shallow.display()), &story.good, &story.bad);
    assert_eq!(refused(story.daemon.revert(&order)), Refusal::Shallow { at: Revision::new(&story.bad) });

    let server = GitServer::start(story.world.dir.path());
    let url = server.url("shallow.git");
    let order = super::order(&url, &story.good, &story.bad);
    let auth = Auth::Basic { username: USER.into(), password: Secret::new(PASSWORD) };
    let access = Access { auth, ..Access::new(&url) };
    // libgit2 does not even read what a shallow server says of itself.
    let error = failed(story.daemon.revert_with(&order, &access, std::time::Duration::from_secs(20)));
    assert!(error.contains("invalid packet line"), "{error}");
}

#[test]
fn a_damaged_or_shallow_copy_is_replaced() {
    let story = Story::new();
    let mut order = story.order();
    order.mode = super::Delivery::DryRun;
    story.daemon.revert(&order);
    let copies = story.daemon.copies();
    let [copy] = copies.as_slice() else { panic!("{copies:?}") };
    std::fs::write(copy.join("shallow"), format!("{}\n", story.bad)).unwrap();
    let outcome = story.daemon.revert(&order);
    assert!(format!("{outcome:?}").starts_with("Planned"), "{outcome:?}");
    assert!(!copy.join("shallow").exists());
    for pack in std::fs::read_dir(copy.join("objects/pack")).unwrap() {
        let path = pack.unwrap().path();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, "rubbish").unwrap();
    }
    pushed(story.revert());
}

#[test]
fn a_copy_of_too_many_packs_is_replaced() {
    let story = Story::new();
    let mut order = story.order();
    order.mode = super::Delivery::DryRun;
    story.daemon.revert(&order);
    let packs = story.daemon.copies()[0].join("objects/pack");
    for i in 0..=200 {
        std::fs::write(packs.join(format!("pack-{i}.pack")), "").unwrap();
    }
    story.daemon.revert(&order);
    assert!(std::fs::read_dir(&packs).unwrap().count() < 10);
}

#[test]
fn a_repository_that_is_not_there_is_a_failure_without_a_password() {
    let daemon = Daemon::new();
    let id = "1".repeat(40);
    let error = failed(daemon.revert(&order("file:///no/such/repo.git", &id, &id)));
    assert!(error.contains("/no/such/repo.git"), "{error}");
    let error = failed(daemon.revert(&order("http://ann:secret@127.0.0.1:1/a.git", &id, &id)));
    assert!(!error.contains("secret") && error.contains("refused"), "{error}");
    let refusal = refused(daemon.revert(&order("oci://host/a", &id, &id)));
    assert!(matches!(refusal, Refusal::Unsupported { .. }));
}

#[test]
fn relations_are_told() {
    let story = Story::new();
    let after = story.world.change("README.md", "x");
    let revert = pushed(story.revert()).revert;
    let relate = |ancestor: &str, descendant: &str| {
        story.daemon.relate(&RelateOrder {
            repo_url: story.world.file_url(),
            project: "default".into(),
            target_revision: "main".into(),
            renderings: vec![super::Rendering::of_path("apps/shop")],
            hydrated: None,
            ancestor: Revision::new(ancestor),
            descendant: Revision::new(descendant),
        })
    };
    let relation = relate(&story.bad, &after).unwrap();
    assert_eq!((relation.descends, relation.same_content), (true, true));
    let relation = relate(&story.good, revert.as_str()).unwrap();
    assert_eq!((relation.descends, relation.same_content), (true, true));
    let relation = relate(&after, &story.good).unwrap();
    assert_eq!((relation.descends, relation.same_content), (false, false));
    assert_eq!(
        relation.content,
        git(&story.world.bare, &["rev-parse", &format!("{}:apps/shop", story.good)])
    );
    let error = relate(&story.bad, &"1".repeat(40)).unwrap_err().to_string();
    assert!(error.contains("not in the history"), "{error}");
}
