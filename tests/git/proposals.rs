//! Reverts on a side branch, and how they are recognised once somebody merged them.

use super::*;
use lastgood::act::git::Aside;
use lastgood::engine::action::RevertedPart;

impl Story {
    fn propose(&self) -> (RevertOutcome, Vec<Aside>) {
        let identity =
            Identity { name: "lastgood".into(), email: "lastgood@example.org".into(), signer: None };
        let order = RevertOrder { mode: Delivery::PullRequest { complete: false }, ..self.order() };
        let access = [Access::new(&order.parts[0].repo_url)];
        let deadline = Instant::now() + Duration::from_secs(20);
        self.daemon.git.propose(&order, &access, &identity, NOW.parse().unwrap(), deadline)
    }

    #[track_caller]
    fn aside(&self) -> Aside {
        let (outcome, asides) = self.propose();
        let [aside] = asides.as_slice() else { panic!("not proposed: {outcome:?}") };
        let RevertOutcome::Proposed(proposed) = outcome else { panic!("not proposed: {outcome:?}") };
        assert_eq!(proposed.record.parts, std::slice::from_ref(&aside.part));
        aside.clone()
    }

    #[track_caller]
    fn merged(&self) -> RevertedPart {
        let (outcome, asides) = self.propose();
        assert_eq!(asides, []);
        already(outcome)
    }

    fn side(&self) -> String {
        format!("lastgood/argocd-shop-{}", &self.bad[..8])
    }

    fn git(&self, args: &[&str]) -> String {
        git_repo::git(&self.world.work, args)
    }

    /// Has the side branch at hand, and other work on the branch.
    fn before_the_merge(&self) -> Aside {
        let aside = self.aside();
        self.world.change("apps/other/a.yaml", "1\n");
        self.git(&["fetch", "-q", "origin"]);
        aside
    }
}

#[test]
fn a_proposal_is_beside_the_branch_and_made_once() {
    let story = Story::new();
    let aside = story.aside();
    let (commit, side) = (aside.part.revert.to_string(), story.side());
    assert_eq!((&aside.branch, aside.part.branch.as_str()), (&side, "main"));
    assert_eq!(story.world.tip(), story.bad, "the branch is as it was");
    story.git(&["fetch", "-q", "origin"]);
    assert_eq!(story.git(&["rev-parse", &format!("origin/{}", story.side())]), commit);
    assert_eq!(story.git(&["show", &format!("origin/{side}:apps/shop/a.yaml")]), TEN_LINES.trim_end());
    assert!(
        aside.message.ends_with("Lastgood-Rollback: argocd-shop-")
            || aside.message.contains("\nLastgood-Rollback: ")
    );
    // After a crash, from another daemon, or at the next look.
    assert_eq!(story.aside(), aside);
    // Work beside it changes nothing.
    story.world.change("apps/other/a.yaml", "1\n");
    assert_eq!(story.aside().part.revert, aside.part.revert);
}

#[test]
fn a_merge_is_recognised() {
    let story = Story::new();
    let aside = story.before_the_merge();
    story.git(&[
        "merge",
        "-q",
        "--no-ff",
        "-m",
        "Merge pull request #1",
        &format!("origin/{}", story.side()),
    ]);
    story.world.push();
    assert_eq!(story.merged().revert, aside.part.revert);
}

#[test]
fn a_squash_and_a_rebase_are_recognised() {
    for trailer in ["", "\n\nCo-authored-by: Ann <ann@example.org>", "\n\n---------\n\nReviewed-on: http://x"]
    {
        let story = Story::new();
        let aside = story.before_the_merge();
        story.git(&["merge", "-q", "--squash", &format!("origin/{}", story.side())]);
        let squash = story.world.commit(&format!("{}{trailer}", aside.message.trim_end()));
        assert_ne!(squash, aside.part.revert.as_str());
        assert_eq!(story.merged().revert.as_str(), squash, "{trailer}");
    }
    let story = Story::new();
    let aside = story.before_the_merge();
    story.git(&["cherry-pick", &format!("origin/{}", story.side())]);
    let rebased = story.world.push();
    assert_ne!(rebased, aside.part.revert.as_str());
    assert_eq!(story.merged().revert.as_str(), rebased);
}

#[test]
fn what_people_put_on_top_is_left_alone() {
    let story = Story::new();
    let aside = story.before_the_merge();
    story.git(&["checkout", "-q", "-b", "side", &format!("origin/{}", story.side())]);
    story.world.write("apps/shop/NOTES", "more\n");
    story.git(&["add", "-A"]);
    story.git(&["commit", "-q", "-m", "more"]);
    story.git(&["push", "-q", "origin", &format!("HEAD:refs/heads/{}", story.side())]);
    let again = story.aside();
    assert_eq!(again.part.revert, aside.part.revert);
}

#[test]
fn a_branch_of_somebody_elses_is_not_taken() {
    let story = Story::new();
    story.git(&["commit", "-q", "--allow-empty", "-m", "not ours"]);
    story.git(&["push", "-q", "origin", &format!("HEAD:refs/heads/{}", story.side())]);
    assert!(refused(story.propose().0).to_string().contains("delete it"));
}

#[test]
fn a_conflict_is_found_before_anything_is_pushed_and_after() {
    let story = Story::new();
    let _aside = story.aside();
    story.world.change("apps/shop/a.yaml", TEN_LINES.replace("3\n", "tres\n"));
    assert_eq!(story.propose().0, RevertOutcome::Conflict { files: vec!["apps/shop/a.yaml".into()] });
}
