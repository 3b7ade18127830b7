//! Reverts on a side branch, and how they are recognised once somebody merged them.

use super::*;
use lastgood::act::git::{Aside, Proposed};

const SIDE: &str = "lastgood/argocd-shop-1";

impl Story {
    fn propose(&self, order: &RevertOrder) -> Proposed {
        let identity =
            Identity { name: "lastgood".into(), email: "lastgood@example.org".into(), signer: None };
        let access = [Access::new(&order.parts[0].repo_url)];
        let deadline = Instant::now() + Duration::from_secs(20);
        self.daemon.git.propose(order, &access, &identity, NOW.parse().unwrap(), deadline, SIDE)
    }

    #[track_caller]
    fn aside(&self) -> Aside {
        match self.propose(&self.order()) {
            Proposed::Aside(aside) => aside,
            Proposed::Outcome(outcome) => panic!("not proposed: {outcome:?}"),
        }
    }

    #[track_caller]
    fn merged(&self) -> lastgood::engine::action::RevertedPart {
        match self.propose(&self.order()) {
            Proposed::Outcome(outcome) => already(outcome),
            Proposed::Aside(aside) => panic!("not seen to be merged: {aside:?}"),
        }
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
    let commit = aside.record.parts[0].revert.to_string();
    assert_eq!((aside.branch.as_str(), aside.head.as_str()), (SIDE, commit.as_str()));
    assert_eq!(story.world.tip(), story.bad, "the branch is as it was");
    story.git(&["fetch", "-q", "origin"]);
    assert_eq!(story.git(&["rev-parse", &format!("origin/{SIDE}")]), commit);
    assert_eq!(story.git(&["show", &format!("origin/{SIDE}:apps/shop/a.yaml")]), TEN_LINES.trim_end());
    assert!(
        aside.message.ends_with("Lastgood-Rollback: argocd-shop-")
            || aside.message.contains("\nLastgood-Rollback: ")
    );
    // After a crash, from another daemon, or at the next look.
    assert_eq!(story.aside(), aside);
    // Work beside it changes nothing.
    story.world.change("apps/other/a.yaml", "1\n");
    assert_eq!(story.aside().record.parts[0].revert, aside.record.parts[0].revert);
}

#[test]
fn a_merge_is_recognised() {
    let story = Story::new();
    let aside = story.before_the_merge();
    story.git(&["merge", "-q", "--no-ff", "-m", "Merge pull request #1", &format!("origin/{SIDE}")]);
    story.world.push();
    assert_eq!(story.merged().revert, aside.record.parts[0].revert);
}

#[test]
fn a_squash_and_a_rebase_are_recognised() {
    for trailer in ["", "\n\nCo-authored-by: Ann <ann@example.org>", "\n\n---------\n\nReviewed-on: http://x"]
    {
        let story = Story::new();
        let aside = story.before_the_merge();
        story.git(&["merge", "-q", "--squash", &format!("origin/{SIDE}")]);
        let squash = story.world.commit(&format!("{}{trailer}", aside.message.trim_end()));
        assert_ne!(squash, aside.head);
        assert_eq!(story.merged().revert.as_str(), squash, "{trailer}");
    }
    let story = Story::new();
    let aside = story.before_the_merge();
    story.git(&["cherry-pick", &format!("origin/{SIDE}")]);
    let rebased = story.world.push();
    assert_ne!(rebased, aside.head);
    assert_eq!(story.merged().revert.as_str(), rebased);
}

#[test]
fn what_people_put_on_top_is_left_alone() {
    let story = Story::new();
    let aside = story.before_the_merge();
    story.git(&["checkout", "-q", "-b", "side", &format!("origin/{SIDE}")]);
    story.world.write("apps/shop/NOTES", "more\n");
    story.git(&["add", "-A"]);
    story.git(&["commit", "-q", "-m", "more"]);
    story.git(&["push", "-q", "origin", &format!("HEAD:refs/heads/{SIDE}")]);
    let again = story.aside();
    assert_eq!(again.record.parts[0].revert, aside.record.parts[0].revert);
    assert_eq!(again.head, story.world.head());
}

#[test]
fn a_branch_of_somebody_elses_is_not_taken() {
    let story = Story::new();
    story.git(&["commit", "-q", "--allow-empty", "-m", "not ours"]);
    story.git(&["push", "-q", "origin", &format!("HEAD:refs/heads/{SIDE}")]);
    let Proposed::Outcome(outcome) = story.propose(&story.order()) else { panic!("taken") };
    assert!(refused(outcome).to_string().contains("delete it"));
}

#[test]
fn a_conflict_is_found_before_anything_is_pushed_and_after() {
    let story = Story::new();
    let _aside = story.aside();
    story.world.change("apps/shop/a.yaml", TEN_LINES.replace("3\n", "tres\n"));
    let Proposed::Outcome(outcome) = story.propose(&story.order()) else { panic!("proposed") };
    assert_eq!(outcome, RevertOutcome::Conflict { files: vec!["apps/shop/a.yaml".into()] });
}
