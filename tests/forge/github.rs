//! GitHub.

use super::*;

fn with_github<T>(exchanges: &str, work: impl AsyncFnOnce(&Forge) -> T) -> T {
    with(ForgeKind::GitHub, exchanges, work)
}

fn tend_at_github(exchanges: &str, proposal: &Proposal, complete: bool) -> Result<Tended, ForgeError> {
    tend(ForgeKind::GitHub, exchanges, proposal, complete)
}

#[test]
fn one_is_opened_with_labels_and_reviewers() {
    let opened =
        tend_at_github(include_str!("../fixtures/forge/github/open.json"), &proposal(), false).unwrap();
    assert_eq!(opened.pull_request.url, "https://github.com/acme/shop/pull/1347");
    assert_eq!((opened.pull_request.number, opened.opened), (1347, true));
    assert_eq!((opened.pull_request.state, opened.remarks), (PullRequestState::Open, vec![]));
}

#[test]
fn one_that_is_there_is_adopted() {
    let adopted = tend_at_github(
        include_str!("../fixtures/forge/github/adopt.json"),
        &auto_merged(MergeMethod::Squash),
        true,
    );
    let adopted = adopted.unwrap();
    assert_eq!((adopted.pull_request.number, adopted.opened, adopted.remarks), (1347, false, vec![]));
}

#[test]
fn one_that_somebody_opened_meanwhile_is_adopted() {
    let mut proposal = proposal();
    (proposal.labels, proposal.reviewers) = (vec![], vec![]);
    let adopted =
        tend_at_github(include_str!("../fixtures/forge/github/raced.json"), &proposal, false).unwrap();
    assert_eq!((adopted.pull_request.number, adopted.opened), (1347, false));
}

#[test]
fn a_merged_one_is_known_by_its_commit_and_one_that_was_closed_stays_closed() {
    let merged = tend_at_github(include_str!("../fixtures/forge/github/merged.json"), &proposal(), false);
    let commit = Some("e5bd3914e2e596debea16f433f57875b5b90bcd6".to_owned());
    assert_eq!(state(merged), PullRequestState::Merged { commit });
    let closed = tend_at_github(include_str!("../fixtures/forge/github/closed.json"), &proposal(), false);
    assert_eq!(state(closed), PullRequestState::Closed);
}

#[test]
fn auto_merge_is_asked_for_and_what_is_clean_is_merged() {
    let set = include_str!("../fixtures/forge/github/auto_merge.json");
    assert_eq!(
        tend_at_github(set, &auto_merged(MergeMethod::Squash), true).unwrap().remarks,
        Vec::<String>::new()
    );
    let clean = include_str!("../fixtures/forge/github/clean.json");
    assert_eq!(
        tend_at_github(clean, &auto_merged(MergeMethod::Rebase), true).unwrap().remarks,
        Vec::<String>::new()
    );
}

#[test]
fn what_github_declines_is_said_and_harms_nothing() {
    let asked = Proposal { auto_merge: Some(MergeMethod::Merge), ..proposal() };
    let opened =
        tend_at_github(include_str!("../fixtures/forge/github/declined.json"), &asked, false).unwrap();
    let [labels, reviewers, auto_merge] = opened.remarks.as_slice() else { panic!("{:?}", opened.remarks) };
    assert!(labels.contains("not all labels are set: not authorised at http://127.0.0.1:"), "{labels}");
    assert!(reviewers.contains("Reviews may only be requested from collaborators"), "{reviewers}");
    assert!(auto_merge.ends_with("Auto merge is not allowed for this repository"), "{auto_merge}");
}

#[test]
fn one_is_withdrawn_with_a_comment_and_its_branch() {
    let exchanges = include_str!("../fixtures/forge/github/withdraw.json");
    let withdrawn =
        with_github(exchanges, async |forge| forge.withdraw(&proposal(), "It recovered by itself.").await);
    assert_eq!(withdrawn.unwrap().unwrap().state, PullRequestState::Closed);
}

#[test]
fn a_branch_that_somebody_else_has_changed_stays() {
    let exchanges = include_str!("../fixtures/forge/github/closed.json");
    let changed = Proposal { commit: "0000000000000000000000000000000000000000".into(), ..proposal() };
    with_github(exchanges, async |forge| forge.withdraw(&changed, "It recovered by itself.").await).unwrap();
}
