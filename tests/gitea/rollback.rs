//! A rollback where nobody may push to the branch: from the refused push to the merged pull request, with the real Git.

use std::time::{Duration, Instant};

use lastgood::act::forge::Proposal;
use lastgood::act::git::{Access, Aside, Auth, Git, Identity, Secret};
use lastgood::engine::action::{Delivery, Refusal, RevertOrder, RevertOutcome, RevertPart};
use lastgood::engine::facts::{AppKey, Rendering, Revision};
use lastgood::engine::forge::PullRequestState;
use lastgood::engine::policy::RevertRules;
use reqwest::Method;
use serde_json::json;

use crate::shop::{Shop, gitea};

/// What lastgood does with Git, with a copy of its own.
struct Daemon {
    git: Git,
    order: RevertOrder,
    access: Access,
    _copies: tempfile::TempDir,
}

impl Daemon {
    fn new(shop: &Shop, access: Access) -> Self {
        let copies = tempfile::tempdir().unwrap();
        let (good, bad) = (shop.git(&["rev-parse", "main~1"]), shop.git(&["rev-parse", "main"]));
        let part = RevertPart {
            repo_url: access.url.clone(),
            target_revision: "HEAD".into(),
            sources: vec![0],
            renderings: vec![Rendering::of_path("apps/shop")],
            definition: None,
            unchanged: Vec::new(),
            hydrated: None,
            no_fix: None,
            others: vec![],
            bad: Revision::new(&bad),
            good: Revision::new(&good),
        };
        let order = RevertOrder {
            rollback: format!("argocd/{}@{}", shop.name, &bad[..12]),
            app: AppKey::new("argocd", shop.name),
            cluster: "prod".into(),
            project: "default".into(),
            parts: vec![part],
            evidence: vec!["web: 2 of 2 pods in ImagePullBackOff.".into()],
            quarantine: vec![],
            record: None,
            rules: RevertRules::default(),
            mode: Delivery::Push,
            only_look: false,
        };
        Self { git: Git::new(copies.path()).unwrap(), order, access, _copies: copies }
    }

    fn carry_out(&self, mode: Delivery) -> (RevertOutcome, Vec<Aside>) {
        let identity =
            Identity { name: "lastgood".into(), email: "lastgood@example.org".into(), signer: None };
        let (order, now) = (RevertOrder { mode, ..self.order.clone() }, jiff::Timestamp::now());
        let accesses = std::slice::from_ref(&self.access);
        self.git.propose(&order, accesses, &identity, now, Instant::now() + Duration::from_secs(60))
    }

    fn propose(&self) -> Proposal {
        let (outcome, asides) = self.carry_out(Delivery::PullRequest { complete: false });
        let [aside] = asides.as_slice() else { panic!("not proposed: {outcome:?}") };
        Proposal::new(&aside.part.branch, &aside.branch, aside.part.revert.as_str(), &aside.message)
    }

    #[track_caller]
    fn already(&self) -> String {
        match self.carry_out(Delivery::PullRequest { complete: true }).0 {
            RevertOutcome::AlreadyReverted(record) => record.parts[0].revert.to_string(),
            other => panic!("not seen to be merged: {other:?}"),
        }
    }
}

fn rolled_back_by(shop: &Shop, daemon: &Daemon, how: &str) {
    let (refused, _) = daemon.carry_out(Delivery::Push);
    let RevertOutcome::Refused(Refusal::Protected { branch, message }) = refused else {
        panic!("not refused as protected: {refused:?}");
    };
    assert_eq!(branch, "main");
    assert!(message.contains("protected branch"), "{message}");

    let proposal = daemon.propose();
    assert_eq!(proposal.base, "main");
    let opened = shop.tend(&proposal, false);
    assert_eq!((opened.opened, opened.pull_request.state), (true, PullRequestState::Open));
    // After a crash: the same branch, the same pull request.
    assert_eq!(daemon.propose(), proposal);
    assert!(!shop.tend(&daemon.propose(), false).opened);

    let number = opened.pull_request.number;
    shop.merge(number, how);
    let commit = daemon.already();
    assert_eq!(commit == proposal.commit, how == "merge", "{how}");
    assert_eq!(shop.pull_requests().len(), 1, "never two");
    let (runtime, _) = gitea();
    let ended =
        runtime.block_on(shop.forge_with(&shop.access()).withdraw(&proposal, "It is there.")).unwrap();
    assert!(matches!(ended.unwrap().state, PullRequestState::Merged { .. }));
}

#[test]
fn a_protected_branch_is_rolled_back_by_a_merge() {
    let shop = Shop::new("rollback-merge", json!({}));
    rolled_back_by(&shop, &Daemon::new(&shop, shop.access()), "merge");
}

/// Gitea's own squash says neither what it reverts nor whose rollback it is: the content tells.
#[test]
fn a_protected_branch_is_rolled_back_by_a_squash() {
    let shop = Shop::new("rollback-squash", json!({}));
    rolled_back_by(&shop, &Daemon::new(&shop, shop.access()), "squash");
}

#[test]
fn a_protected_branch_is_rolled_back_by_a_rebase() {
    let shop = Shop::new("rollback-rebase", json!({}));
    let daemon = Daemon::new(&shop, shop.access());
    // Without other work in between a rebase is a fast-forward.
    let proposal = daemon.propose();
    assert!(shop.tend(&proposal, false).opened);
    let other =
        json!({ "content": "YQ==", "message": "other work", "branch": "main", "new_branch": "other" });
    shop.admin(Method::POST, &format!("{}/contents/apps/other", shop.at()), other);
    let other = json!({ "title": "Other work", "head": "other", "base": "main" });
    let other = shop.admin(Method::POST, &format!("{}/pulls", shop.at()), other);
    shop.merge(other["number"].as_u64().unwrap(), "squash");
    shop.merge(shop.tend(&proposal, true).pull_request.number, "rebase");
    assert_ne!(daemon.already(), proposal.commit);
}

/// Git over SSH with a key, the forge over HTTP with a token.
#[test]
fn a_protected_branch_is_rolled_back_over_ssh() {
    let shop = Shop::new("rollback-ssh", json!({}));
    let (_, gitea) = gitea();
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("id");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    shop.call_as_bot(Method::POST, "/user/keys", json!({ "title": shop.name, "key": public }));

    let url = format!("ssh://git@127.0.0.1:{}/acme/{}.git", gitea.ssh_port, shop.name);
    let mut access = Access::new(&url);
    access.auth = Auth::SshKey { key: Secret::new(std::fs::read_to_string(&key).unwrap()) };
    access.insecure = true;
    rolled_back_by(&shop, &Daemon::new(&shop, access), "merge");
}
