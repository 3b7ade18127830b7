//! What the revert's commit holds.

use lastgood::engine::action::{Refusal, RevertOutcome};

use super::git_repo::{World, git, run};
use super::{Daemon, Story, TEN_LINES, order, pushed, refused};

#[test]
fn the_bad_change_is_undone_and_everything_else_stays() {
    let story = Story::new();
    story.world.change("apps/other/a.yaml", "later");
    let before = story.world.tip();
    let record = pushed(story.revert());
    let world = &story.world;
    assert_eq!(record.revert.as_str(), world.tip());
    assert_eq!(git(&world.bare, &["rev-parse", "main^"]), before);
    assert_eq!((record.files.as_slice(), record.attempts), (["apps/shop/a.yaml".to_owned()].as_slice(), 1));
    assert_eq!(world.text("apps/shop/a.yaml"), TEN_LINES);
    assert_eq!(world.text("apps/other/a.yaml"), "later");
    assert_eq!(git(&world.bare, &["diff", "--name-only", "main^", "main"]), "apps/shop/a.yaml");
    assert_eq!(git(&world.bare, &["diff", "--name-only", &story.good, "main"]), "apps/other/a.yaml");
}

#[test]
fn the_commit_reads_as_gits_own_and_git_reads_its_trailers() {
    let story = Story::new();
    let record = pushed(story.revert());
    let log = |format: &str| git(&story.world.bare, &["log", "-1", &format!("--format={format}"), "main"]);
    assert_eq!(log("%s"), "Revert \"change apps/shop/a.yaml\"");
    assert!(log("%b").starts_with(&format!("This reverts commit {}.\n", story.bad)), "{}", log("%b"));
    assert_eq!(log("%(trailers:key=Lastgood-Rollback,valueonly)").trim(), story.order().rollback);
    assert_eq!(log("%(trailers:key=Lastgood-Application,valueonly)").trim(), "argocd/shop");
    assert_eq!(log("%an <%ae> %at"), "lastgood <lastgood@example.org> 1795435200");
    assert_eq!(log("%at"), log("%ct"));
    let culprit = &record.culprits[0];
    assert_eq!(
        (culprit.revision.as_str(), culprit.author.as_str()),
        (story.bad.as_str(), "Ann <ann@example.org>")
    );
    assert_eq!(
        record.quarantine,
        git(&story.world.bare, &["rev-parse", &format!("{}:apps/shop", story.bad)])
    );
    assert!(run(&story.world.bare, &["fsck", "--strict"]).status.success());
}

#[test]
fn later_lines_in_the_same_file_stay() {
    let story = Story::new();
    let both = TEN_LINES.replace("3\n", "three\n").replace("9\n", "nine\n");
    story.world.change("apps/shop/a.yaml", both);
    pushed(story.revert());
    assert_eq!(story.world.text("apps/shop/a.yaml"), TEN_LINES.replace("9\n", "nine\n"));
}

#[test]
fn the_same_lines_changed_again_are_a_conflict_that_names_the_files() {
    let story = Story::new();
    story.world.write("apps/shop/b.yaml", "new\n");
    let tip = story.world.change("apps/shop/a.yaml", TEN_LINES.replace("3\n", "drei\n"));
    assert_eq!(story.revert(), RevertOutcome::Conflict { files: vec!["apps/shop/a.yaml".into()] });
    assert_eq!(story.world.tip(), tip);
}

#[test]
fn a_file_that_bad_added_and_somebody_changed_is_a_conflict() {
    let story = Story::new();
    let bad = story.world.change("apps/shop/new.yaml", "1\n");
    story.world.change("apps/shop/new.yaml", "2\n");
    let order = order(&story.world.file_url(), &story.bad, &bad);
    assert_eq!(
        story.daemon.revert(&order),
        RevertOutcome::Conflict { files: vec!["apps/shop/new.yaml".into()] }
    );
}

#[test]
fn added_removed_and_renamed_files_are_put_back() {
    let story = Story::new();
    git(&story.world.work, &["rm", "-q", "apps/shop/b.yaml"]);
    git(&story.world.work, &["mv", "apps/shop/a.yaml", "apps/shop/c.yaml"]);
    let bad = story.world.change("apps/shop/deep/er/new.yaml", "x");
    let record = pushed(story.daemon.revert(&order(&story.world.file_url(), &story.good, &bad)));
    assert_eq!(record.files.len(), 4, "{:?}", record.files);
    assert_eq!(git(&story.world.bare, &["diff", "--name-only", &story.good, "main"]), "");
    let subject = git(&story.world.bare, &["log", "-1", "--format=%s", "main"]);
    assert_eq!(subject, format!("Revert shop to {}", &story.good[..8]));
    assert_eq!(record.culprits.iter().map(|c| c.revision.as_str()).collect::<Vec<_>>(), [&bad, &story.bad]);
}

#[test]
fn modes_links_and_submodules_are_put_back() {
    let world = World::new();
    let shop = world.work.join("apps/shop");
    world.write("apps/shop/run.sh", "#!/bin/sh\n");
    std::os::unix::fs::symlink("run.sh", shop.join("link")).unwrap();
    let module = "1234567890123456789012345678901234567890";
    let set_module = |id: &str| {
        git(&world.work, &["update-index", "--add", "--cacheinfo", &format!("160000,{id},apps/shop/module")]);
    };
    git(&world.work, &["add", "-A"]);
    set_module(module);
    git(&world.work, &["commit", "-qm", "good"]);
    let good = world.push();
    git(&world.work, &["update-index", "--chmod=+x", "apps/shop/run.sh"]);
    set_module(&module.replace('1', "2"));
    std::fs::remove_file(shop.join("link")).unwrap();
    std::os::unix::fs::symlink("elsewhere", shop.join("link")).unwrap();
    git(&world.work, &["add", "apps/shop/link"]);
    git(&world.work, &["commit", "-qm", "bad"]);
    let bad = world.push();
    let record = pushed(Daemon::new().revert(&order(&world.file_url(), &good, &bad)));
    assert_eq!(record.files.len(), 3, "{:?}", record.files);
    assert_eq!(
        git(&world.bare, &["rev-parse", "main^{tree}"]),
        git(&world.bare, &["rev-parse", &format!("{good}^{{tree}}")])
    );
}

#[test]
fn a_mode_and_a_line_changed_by_two_people_are_merged() {
    let story = Story::new();
    git(&story.world.work, &["update-index", "--chmod=+x", "apps/shop/a.yaml"]);
    git(&story.world.work, &["commit", "-qm", "executable"]);
    story.world.push();
    pushed(story.revert());
    let entry = git(&story.world.bare, &["ls-tree", "main", "apps/shop/a.yaml"]);
    assert!(entry.starts_with("100755 blob"), "{entry}");
    assert_eq!(story.world.text("apps/shop/a.yaml"), TEN_LINES);
}

#[test]
fn line_ends_and_binary_files_are_kept_byte_for_byte() {
    let world = World::new();
    let binary = [0_u8, 159, 146, 150, 0, b'\n', 13];
    world.write("apps/shop/logo.png", binary);
    let good = world.change("apps/shop/dos.yaml", TEN_LINES.replace('\n', "\r\n"));
    world.write("apps/shop/logo.png", [0_u8, 1]);
    let bad = world.change("apps/shop/dos.yaml", TEN_LINES.replace("3\n", "three\n").replace('\n', "\r\n"));
    world.change(
        "apps/shop/dos.yaml",
        TEN_LINES.replace("3\n", "three\n").replace("9\n", "9!\n").replace('\n', "\r\n"),
    );
    pushed(Daemon::new().revert(&order(&world.file_url(), &good, &bad)));
    assert_eq!(world.show("apps/shop/logo.png").unwrap(), binary);
    assert_eq!(world.text("apps/shop/dos.yaml"), TEN_LINES.replace("9\n", "9!\n").replace('\n', "\r\n"));
}

#[test]
fn a_binary_file_changed_on_both_sides_is_a_conflict() {
    let world = World::new();
    let good = world.change("apps/shop/x", b"\0one\n\n\n\n\n1");
    let bad = world.change("apps/shop/x", b"\0two\n\n\n\n\n1");
    world.change("apps/shop/x", b"\0two\n\n\n\n\n2");
    let outcome = Daemon::new().revert(&order(&world.file_url(), &good, &bad));
    assert_eq!(outcome, RevertOutcome::Conflict { files: vec!["apps/shop/x".into()] });
}

#[test]
fn names_that_are_not_utf_8_are_handled() {
    use std::os::unix::ffi::OsStrExt as _;
    let story = Story::new();
    let name = std::ffi::OsStr::from_bytes(b"apps/shop/caf\xe9.yaml");
    std::fs::write(story.world.work.join(name), "1").unwrap();
    let bad = story.world.commit("Latin-1");
    let record = pushed(story.daemon.revert(&order(&story.world.file_url(), &story.bad, &bad)));
    assert_eq!(record.files, ["\"apps/shop/caf\\351.yaml\""]);
    assert_eq!(git(&story.world.bare, &["diff", "--name-only", &story.bad, "main"]), "");
}

#[test]
fn two_applications_in_one_repository_are_reverted_one_by_one() {
    let story = Story::new();
    story.world.write("apps/other/a.yaml", "bad");
    let bad = story.world.change("apps/shop/a.yaml", "bad");
    let shop = order(&story.world.file_url(), &story.good, &bad);
    let mut other = shop.clone();
    other.app.name = "other".into();
    other.rollback = "argocd-other".into();
    other.parts[0].renderings = super::paths(&["apps/other"]);
    pushed(story.daemon.revert(&shop));
    assert_eq!(story.world.text("apps/other/a.yaml"), "bad");
    let record = pushed(story.daemon.revert(&other));
    assert_eq!(record.files, ["apps/other/a.yaml"]);
    assert_eq!(git(&story.world.bare, &["diff", "--name-only", &story.good, "main"]), "");
}

#[test]
fn an_application_at_the_root_and_one_of_several_folders() {
    let story = Story::new();
    let mut root = story.order();
    root.parts[0].renderings = super::paths(&["."]);
    let record = pushed(story.daemon.revert(&root));
    let bad_tree = git(&story.world.bare, &["rev-parse", &format!("{}^{{tree}}", story.bad)]);
    assert_eq!((record.quarantine, record.files.len()), (bad_tree, 1));

    let story = Story::new();
    story.world.write("base/x.yaml", "new");
    let bad = story.world.change("README.md", "changed\n");
    let mut several = order(&story.world.file_url(), &story.good, &bad);
    several.parts[0].renderings = super::paths(&["apps/shop", "base", "no/such/folder"]);
    let record = pushed(story.daemon.revert(&several));
    assert_eq!(record.files, ["apps/shop/a.yaml", "base/x.yaml"]);
    assert_eq!(record.quarantine.len(), 40);
    assert_eq!(story.world.text("README.md"), "changed\n");
}

#[test]
fn a_merge_is_undone_as_one_with_what_it_brought() {
    let story = Story::new();
    let work = &story.world.work;
    git(work, &["checkout", "-q", "-b", "feature", &story.good]);
    story.world.write("apps/shop/b.yaml", "feature\n");
    git(work, &["commit", "-qam", "feature"]);
    let feature = story.world.head();
    git(work, &["checkout", "-q", "main"]);
    git(work, &["merge", "-q", "--no-ff", "-m", "Merge feature", "feature"]);
    let merge = story.world.push();
    let record = pushed(story.daemon.revert(&order(&story.world.file_url(), &story.bad, &merge)));
    assert_eq!(record.culprits.iter().map(|c| c.revision.as_str()).collect::<Vec<_>>(), [&merge, &feature]);
    assert_eq!(git(&story.world.bare, &["diff", "--name-only", &story.bad, "main"]), "");
    let body = git(&story.world.bare, &["log", "-1", "--format=%B", "main"]);
    assert!(body.starts_with("Revert \"Merge feature\"\n"), "{body}");
    assert!(body.contains(&format!("{merge}, reversing\nchanges made to {}.", story.bad)), "{body}");
}

#[test]
fn a_dry_run_plans_and_changes_nothing() {
    let story = Story::new();
    let mut order = story.order();
    order.mode = super::Delivery::DryRun;
    let outcome = story.daemon.revert(&order);
    let RevertOutcome::Planned(record) = outcome else { panic!("not planned: {outcome:?}") };
    let record = super::only(record);
    assert_eq!((record.revert.as_str(), record.files.len()), (story.bad.as_str(), 1));
    assert_eq!(story.world.tip(), story.bad);
}

#[test]
fn an_application_that_is_rendered_from_no_file_reverts_none() {
    use lastgood::engine::facts::{Directory, Rendering};
    let story = Story::new();
    let directory = Directory { include: "*.none".into(), ..Directory::default() };
    let mut order = story.order();
    order.parts[0].renderings =
        vec![Rendering { directory: Some(directory), ..Rendering::plain("apps/shop") }];
    let before = story.world.tip();
    assert!(matches!(refused(story.daemon.revert(&order)), Refusal::NothingToRevert { .. }));
    assert_eq!(story.world.tip(), before);
}
