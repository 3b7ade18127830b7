//! GitLab.

use super::*;

fn tend_at_gitlab(exchanges: &str, proposal: &Proposal, complete: bool) -> Result<Tended, ForgeError> {
    tend(ForgeKind::GitLab, exchanges, proposal, complete)
}

#[test]
fn one_is_opened_with_labels_and_reviewers() {
    let opened =
        tend_at_gitlab(include_str!("../fixtures/forge/gitlab/open.json"), &proposal(), false).unwrap();
    assert_eq!(opened.pull_request.url, "https://gitlab.example.com/acme/shop/-/merge_requests/7");
    assert_eq!((opened.pull_request.number, opened.opened), (7, true));
    assert_eq!((opened.pull_request.state, opened.remarks), (PullRequestState::Open, vec![]));
}

#[test]
fn one_that_is_there_is_adopted_and_a_forks_is_not() {
    let asked = auto_merged(MergeMethod::Merge);
    let adopted = tend_at_gitlab(include_str!("../fixtures/forge/gitlab/adopt.json"), &asked, true).unwrap();
    assert_eq!((adopted.pull_request.number, adopted.opened, adopted.remarks), (7, false, vec![]));
}

#[test]
fn one_that_somebody_opened_meanwhile_is_adopted() {
    let mut proposal = proposal();
    (proposal.labels, proposal.reviewers) = (vec![], vec![]);
    let adopted =
        tend_at_gitlab(include_str!("../fixtures/forge/gitlab/raced.json"), &proposal, false).unwrap();
    assert_eq!((adopted.pull_request.number, adopted.opened), (7, false));
}

#[test]
fn a_merged_one_is_known_by_its_commit_and_one_that_was_closed_stays_closed() {
    let merged = tend_at_gitlab(include_str!("../fixtures/forge/gitlab/merged.json"), &proposal(), false);
    let commit = Some("9999999999999999999999999999999999999999".to_owned());
    assert_eq!(state(merged), PullRequestState::Merged { commit });
    let squashed = tend_at_gitlab(include_str!("../fixtures/forge/gitlab/squashed.json"), &proposal(), false);
    let commit = Some("7777777777777777777777777777777777777777".to_owned());
    assert_eq!(state(squashed), PullRequestState::Merged { commit });
    let closed = tend_at_gitlab(include_str!("../fixtures/forge/gitlab/closed.json"), &proposal(), false);
    assert_eq!(state(closed), PullRequestState::Closed);
}

#[test]
fn auto_merge_waits_for_a_pipeline_and_not_for_none() {
    let set = include_str!("../fixtures/forge/gitlab/auto_merge.json");
    assert_eq!(
        tend_at_gitlab(set, &auto_merged(MergeMethod::Squash), true).unwrap().remarks,
        Vec::<String>::new()
    );
    let none = include_str!("../fixtures/forge/gitlab/no_pipeline.json");
    assert_eq!(
        tend_at_gitlab(none, &auto_merged(MergeMethod::Merge), true).unwrap().remarks,
        Vec::<String>::new()
    );
}

#[test]
fn what_gitlab_declines_is_said_and_harms_nothing() {
    let asked = Proposal { auto_merge: Some(MergeMethod::Merge), ..proposal() };
    let opened =
        tend_at_gitlab(include_str!("../fixtures/forge/gitlab/declined.json"), &asked, false).unwrap();
    let [reviewers, auto_merge] = opened.remarks.as_slice() else { panic!("{:?}", opened.remarks) };
    assert!(reviewers.ends_with("declined: there is no user `ann`"), "{reviewers}");
    assert!(auto_merge.contains("405 Method Not Allowed"), "{auto_merge}");
}

#[test]
fn one_is_withdrawn_with_a_comment_and_its_branch() {
    let exchanges = include_str!("../fixtures/forge/gitlab/withdraw.json");
    let why = "It recovered by itself.";
    let withdrawn = with(ForgeKind::GitLab, exchanges, async |forge| forge.withdraw(&proposal(), why).await);
    assert_eq!(withdrawn.unwrap().unwrap().state, PullRequestState::Closed);
}
