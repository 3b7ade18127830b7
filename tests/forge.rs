//! What is sent to GitHub and GitLab, and what is made of their answers: exchanges in the shapes of their API
//! documentation, replayed by a server that checks each request. Gitea is tested for real, in `tests/gitea`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

#[path = "forge/replay.rs"]
mod replay;

#[path = "forge/github.rs"]
mod github;
#[path = "forge/gitlab.rs"]
mod gitlab;
#[path = "forge/hostile.rs"]
mod hostile;

use lastgood::act::forge::{Forge, ForgeError, Proposal, Tended};
use lastgood::act::git::{Access, Auth, Secret};
use lastgood::engine::forge::{ForgeKind, ForgeRules, MergeMethod, PullRequestState};

use replay::Replay;

/// What the token is, as GitHub and GitLab take it.
const TOKEN: &str = "t0ken";

/// The side branch's commit.
const COMMIT: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

fn proposal() -> Proposal {
    let message =
        "Revert \"shop: 2.0\"\n\nThis reverts commit 1.\n\nLastgood-Rollback: argocd-shop-0123abcd\n";
    let mut proposal = Proposal::new("main", "lastgood/argocd-shop-0123abcd", COMMIT, message);
    proposal.labels = vec!["rollback".into(), "urgent".into()];
    proposal.reviewers = vec!["ann".into()];
    proposal
}

fn auto_merged(method: MergeMethod) -> Proposal {
    Proposal { auto_merge: Some(method), labels: Vec::new(), reviewers: Vec::new(), ..proposal() }
}

/// The forge that a server plays.
fn forge(kind: ForgeKind, url: &str) -> Forge {
    let rules = ForgeRules { kind: Some(kind), url: Some(url.to_owned()), secret: None };
    let mut access = Access::new(&format!("{url}/acme/shop"));
    access.auth = Auth::Basic { username: "x-access-token".into(), password: Secret::new(TOKEN) };
    Forge::new(&format!("{url}/acme/shop.git"), &rules, &access).unwrap()
}

/// Replays exchanges, and waits for what the forge makes of them.
fn with<T>(kind: ForgeKind, exchanges: &str, work: impl AsyncFnOnce(&Forge) -> T) -> T {
    lastgood::act::git::Git::init().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Replay::start(exchanges, &format!("Bearer {TOKEN}")).await;
        let answer = work(&forge(kind, &server.url)).await;
        server.finish();
        answer
    })
}

fn tend(kind: ForgeKind, exchanges: &str, proposal: &Proposal, complete: bool) -> Result<Tended, ForgeError> {
    with(kind, exchanges, async |forge| forge.tend(proposal, complete).await)
}

fn state(tended: Result<Tended, ForgeError>) -> PullRequestState {
    tended.unwrap().pull_request.state
}
