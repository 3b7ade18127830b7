//! Stories of pull requests.

use std::time::Instant;

use lastgood::act::forge::{ForgeError, Proposal};
use lastgood::act::git::{Auth, Secret};
use lastgood::engine::forge::{MergeMethod, PullRequestState};
use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{BOT, Shop, WAIT_MAX, gitea};

fn names(list: &Value, key: &str) -> Vec<String> {
    let mut names: Vec<_> =
        list.as_array().unwrap().iter().map(|one| one[key].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn one_is_opened_once_with_labels_and_reviewers() {
    let shop = Shop::new("once", json!({}));
    // One label of the repository, one of the organisation, one that nobody has made yet.
    shop.admin(
        Method::POST,
        &format!("{}/labels", shop.at()),
        json!({ "name": "rollback", "color": "#00ff00" }),
    );
    let mut proposal = shop.propose();
    proposal.labels = ["rollback", "urgent", "new"].map(str::to_owned).to_vec();
    proposal.reviewers = ["ann", "acme/sre"].map(str::to_owned).to_vec();

    let opened = shop.tend(&proposal, false);
    assert_eq!((opened.opened, opened.remarks.as_slice()), (true, &[][..]));
    assert_eq!(opened.pull_request.state, PullRequestState::Open);
    for complete in [false, true] {
        let adopted = shop.tend(&proposal, complete);
        assert_eq!((adopted.pull_request, adopted.opened), (opened.pull_request.clone(), false));
    }

    let all = shop.pull_requests();
    assert_eq!(all.len(), 1, "never two");
    assert_eq!(all[0]["html_url"], opened.pull_request.url);
    assert_eq!(
        (all[0]["title"].as_str(), all[0]["body"].as_str()),
        (Some(&*proposal.title), Some(&*proposal.body))
    );
    assert_eq!(names(&all[0]["labels"], "name"), ["new", "rollback", "urgent"]);
    assert_eq!(names(&all[0]["requested_reviewers"], "login"), ["ann"]);
    let one = shop.admin(Method::GET, &format!("{}/pulls/1", shop.at()), Value::Null);
    assert_eq!(names(&one["requested_reviewers_teams"], "name"), ["sre"]);
    assert_eq!(all[0]["user"]["login"], BOT);
}

#[test]
fn one_is_merged_by_a_person_and_its_branch_removed() {
    let shop = Shop::new("merged", json!({}));
    let proposal = shop.propose();
    let number = shop.tend(&proposal, false).pull_request.number;
    shop.merge(number, "merge");

    let PullRequestState::Merged { commit } = shop.tend(&proposal, true).pull_request.state else {
        panic!("not merged")
    };
    let tip = shop.admin(Method::GET, &format!("{}/branches/main", shop.at()), Value::Null);
    assert_eq!(commit.as_deref(), tip["commit"]["id"].as_str());
    let (runtime, _) = gitea();
    runtime.block_on(shop.forge_with(&shop.access()).clean(&proposal)).unwrap();
    let branches = shop.admin(Method::GET, &format!("{}/branches", shop.at()), Value::Null);
    assert_eq!(names(&branches, "name"), ["main"]);
    let still = shop.tend(&proposal, true).pull_request;
    assert!(matches!(still.state, PullRequestState::Merged { .. }), "{still:?}");
}

#[test]
fn gitea_merges_it_by_itself_once_the_check_passes() {
    let shop = Shop::new("auto", json!({ "enable_status_check": true, "status_check_contexts": ["ci"] }));
    let proposal = Proposal { auto_merge: Some(MergeMethod::Squash), ..shop.propose() };
    // Gitea looks for conflicts in the background first, and refuses until then.
    let start = Instant::now();
    while !shop.tend(&proposal, true).remarks.is_empty() {
        assert!(start.elapsed() < WAIT_MAX, "{:?}", shop.tend(&proposal, true));
    }
    let asked_again = shop.tend(&proposal, true);
    assert_eq!((asked_again.pull_request.state, asked_again.remarks), (PullRequestState::Open, vec![]));

    let status = json!({ "context": "ci", "state": "success" });
    shop.admin(Method::POST, &format!("{}/statuses/{}", shop.at(), proposal.commit), status);
    let start = Instant::now();
    let commit = loop {
        match shop.tend(&proposal, true).pull_request.state {
            PullRequestState::Merged { commit } => break commit.unwrap(),
            state => assert!(start.elapsed() < WAIT_MAX, "still {state:?}"),
        }
    };
    // A squash is a commit of Gitea's, and yet says whose rollback it is.
    assert_ne!(commit, proposal.commit);
    let squashed = shop.admin(Method::GET, &format!("{}/git/commits/{commit}", shop.at()), Value::Null);
    let message = squashed["commit"]["message"].as_str().unwrap();
    assert_eq!(message.trim_end(), format!("{}\n\n{}", proposal.title, proposal.body));
}

#[test]
fn one_that_a_person_closed_stays_closed() {
    let shop = Shop::new("closed", json!({}));
    let proposal = shop.propose();
    let number = shop.tend(&proposal, false).pull_request.number;
    shop.admin(Method::PATCH, &format!("{}/pulls/{number}", shop.at()), json!({ "state": "closed" }));
    let looked = shop.tend(&proposal, false);
    assert_eq!((looked.pull_request.number, looked.pull_request.state), (number, PullRequestState::Closed));
    assert_eq!(shop.pull_requests().len(), 1, "never two");
}

#[test]
fn one_is_withdrawn_with_a_comment_and_its_branch_unless_somebody_changed_it() {
    let shop = Shop::new("withdrawn", json!({}));
    let (runtime, _) = gitea();
    let proposal = shop.propose();
    let number = shop.tend(&proposal, false).pull_request.number;
    let changed = Proposal { commit: "0".repeat(40), ..proposal.clone() };
    let branches =
        || names(&shop.admin(Method::GET, &format!("{}/branches", shop.at()), Value::Null), "name");

    let forge = shop.forge_with(&shop.access());
    let withdrawn = runtime.block_on(forge.withdraw(&changed, "It recovered by itself.")).unwrap().unwrap();
    assert_eq!(withdrawn.state, PullRequestState::Closed);
    assert_eq!(branches(), [proposal.branch.as_str(), "main"]);
    for _ in 0..2 {
        runtime.block_on(forge.withdraw(&proposal, "It recovered by itself.")).unwrap();
    }
    assert_eq!(branches(), ["main"]);
    let comments = shop.admin(Method::GET, &format!("{}/issues/{number}/comments", shop.at()), Value::Null);
    assert_eq!(names(&comments, "body"), ["It recovered by itself."]);
}

#[test]
fn a_branch_with_slashes_can_be_the_base() {
    let shop = Shop::new("slashes", json!({}));
    shop.push("release/1.0");
    let proposal = Proposal { base: "release/1.0".into(), ..shop.propose() };
    assert!(shop.tend(&proposal, false).opened);
    assert!(!shop.tend(&proposal, false).opened);
    assert_eq!(shop.pull_requests().len(), 1, "never two");
}

#[test]
fn a_token_is_enough_and_a_wrong_one_is_not_shown() {
    let shop = Shop::new("tokens", json!({}));
    let (runtime, gitea) = gitea();
    let proposal = shop.propose();
    let mut access = shop.access();
    access.auth = Auth::Bearer(Secret::new(gitea.token(BOT).unwrap()));
    assert!(runtime.block_on(shop.forge_with(&access).tend(&proposal, false)).unwrap().opened);
    access.auth = Auth::Bearer(Secret::new("0123456789abcdef0123456789abcdef01234567"));
    let error = runtime.block_on(shop.forge_with(&access).tend(&proposal, false)).unwrap_err();
    assert!(matches!(error, ForgeError::NotAuthorised { .. }), "{error}");
    assert!(!error.to_string().contains("0123456789abcdef"), "{error}");
}
