//! What a real Gitea refuses, over HTTP and SSH, and what it lets be known before.

use std::process::Command;
use std::time::{Duration, Instant};

use lastgood::act::git::{Access, Auth, Git, Identity, Secret, WriteAccess};
use lastgood::engine::action::{Delivery, Refusal, RevertOrder, RevertOutcome, RevertPart};
use lastgood::engine::facts::{AppKey, Rendering, Revision};
use lastgood::engine::policy::{OnNewerChange, RevertRules};
use reqwest::Method;
use serde_json::{Value, json};

use crate::gitea::PASSWORD;
use crate::shop::{BOT, OWNER, Shop, gitea};

/// A colleague who may only read.
const READER: &str = "bob";

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn daemon() -> (Git, tempfile::TempDir) {
    let cache = tempfile::tempdir().unwrap();
    (Git::new(cache.path().join("git")).unwrap(), cache)
}

fn revert(shop: &Shop, access: &Access) -> RevertOutcome {
    let [good, bad] = ["main~1", "main"].map(|revision| Revision::new(shop.git(&["rev-parse", revision])));
    let order = RevertOrder {
        rollback: format!("argocd-{}-1", shop.name),
        app: AppKey::new("argocd", shop.name),
        cluster: "test".into(),
        project: "default".into(),
        parts: vec![RevertPart {
            repo_url: access.url.clone(),
            target_revision: "main".into(),
            sources: vec![0],
            renderings: vec![Rendering::of_path("apps/shop")],
            definition: None,
            unchanged: Vec::new(),
            hydrated: None,
            no_fix: None,
            others: vec![],
            bad,
            good,
        }],
        evidence: vec!["It is sick.".into()],
        quarantine: vec![],
        record: None,
        rules: RevertRules { on_newer_change: OnNewerChange::Revert, ..RevertRules::default() },
        mode: Delivery::Push,
        only_look: false,
    };
    let identity = Identity { name: "lastgood".into(), email: "lastgood@example.org".into(), signer: None };
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    daemon().0.revert(&order, std::slice::from_ref(access), &identity, now, deadline())
}

#[track_caller]
fn refused(outcome: RevertOutcome) -> Refusal {
    match outcome {
        RevertOutcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn check(access: &Access, target: &str) -> WriteAccess {
    daemon().0.check_write(access, target, deadline())
}

/// Protected, but open to a push by those who may write.
fn open(more: &Value) -> Value {
    let mut rules = json!({ "enable_push": true });
    rules.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rules
}

fn as_person(shop: &Shop, person: &str) -> Access {
    let auth = Auth::Basic { username: person.into(), password: Secret::new(PASSWORD) };
    Access { auth, ..shop.access() }
}

#[test]
fn each_refusal_is_told_from_the_others() {
    let shop = Shop::new("protected", json!({}));
    let refusal = refused(revert(&shop, &shop.access()));
    assert!(matches!(&refusal, Refusal::Protected { branch, .. } if branch == "main"), "{refusal:?}");
    assert!(refusal.to_string().contains("Not allowed to push to protected branch main"), "{refusal}");

    let shop = Shop::new("signed", open(&json!({ "require_signed_commits": true })));
    // This Gitea takes its own finding for a fault of its own, and says so; that it is no refusal is then right.
    match revert(&shop, &shop.access()) {
        RevertOutcome::Refused(Refusal::SignatureRequired { .. }) => {}
        RevertOutcome::Failed { error } => assert!(error.contains("Internal Server Error"), "{error}"),
        other => panic!("{other:?}"),
    }

    let shop = Shop::new("files", open(&json!({ "protected_file_patterns": "apps/**" })));
    let refusal = refused(revert(&shop, &shop.access()));
    assert!(matches!(refusal, Refusal::Protected { .. }), "{refusal:?}");

    let shop = Shop::new("readers", open(&json!({})));
    let refusal = refused(revert(&shop, &as_person(&shop, READER)));
    assert!(matches!(refusal, Refusal::NotAuthorised { .. }), "{refusal:?}");

    let before = shop.admin(Method::GET, &format!("{}/branches/main", shop.at()), Value::Null);
    let RevertOutcome::Pushed(record) = revert(&shop, &shop.access()) else { panic!("not pushed") };
    let after = shop.admin(Method::GET, &format!("{}/branches/main", shop.at()), Value::Null);
    assert_eq!(after["commit"]["id"], record.parts[0].revert.as_str());
    assert_ne!(after["commit"]["id"], before["commit"]["id"]);
}

#[test]
fn the_right_to_push_is_known_before() {
    let shop = Shop::new("rights", json!({}));
    assert_eq!(
        check(&shop.access(), "main"),
        WriteAccess::Allowed,
        "what protects the branch is not known before"
    );
    assert!(matches!(check(&shop.access(), "nowhere"), WriteAccess::Refused(Refusal::NotABranch { .. })));
    // Whoever may read may open a session: Gitea takes pushes to `refs/for/` from everybody.
    assert_eq!(check(&as_person(&shop, READER), "main"), WriteAccess::Allowed);
    for access in [as_person(&shop, "nobody"), Access::new(&shop.access().url)] {
        let known = check(&access, "main");
        assert!(matches!(known, WriteAccess::Refused(Refusal::NotAuthorised { .. })), "{known:?}");
    }
    shop.admin(Method::PATCH, &shop.at(), json!({ "archived": true }));
    let WriteAccess::Refused(archived) = check(&shop.access(), "main") else { panic!("not refused") };
    assert!(archived.to_string().contains("archived"), "{archived}");
}

/// A key for SSH: the private one, and the public one.
fn key(kind: &str) -> (Secret, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-C", "lastgood", "-t", kind, "-f"]).arg(&path);
    assert!(keygen.status().unwrap().success());
    let text = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    (Secret::new(text(&path)), text(&path.with_extension("pub")))
}

#[test]
fn over_ssh_it_is_the_same() {
    let (runtime, gitea) = gitea();
    let shop = Shop::new("over-ssh", open(&json!({})));
    let port = gitea.ssh_port.to_string();
    let scan = Command::new("ssh-keyscan").args(["-p", &port, "127.0.0.1"]).output().unwrap();
    let known_hosts = Some(String::from_utf8(scan.stdout).unwrap());
    let url = format!("ssh://git@127.0.0.1:{port}/{OWNER}/{}.git", shop.name);
    let access = |key: &Secret| Access {
        auth: Auth::SshKey { key: key.clone() },
        known_hosts: known_hosts.clone(),
        ..Access::new(&url)
    };
    let (stranger, _) = key("ed25519");
    let (reader, public) = key("ed25519");
    let read_only = json!({ "title": "reader", "key": public, "read_only": true });
    shop.admin(Method::POST, &format!("{}/keys", shop.at()), read_only);
    for wrong in [&stranger, &reader] {
        let known = check(&access(wrong), "main");
        assert!(matches!(known, WriteAccess::Refused(Refusal::NotAuthorised { .. })), "{known:?}");
        let refusal = refused(revert(&shop, &access(wrong)));
        assert!(matches!(refusal, Refusal::NotAuthorised { .. }), "{refusal:?}");
    }
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let (bot, public) = key(kind);
        let body = json!({ "title": kind, "key": public });
        runtime.block_on(gitea.call(BOT, Method::POST, "/user/keys", body)).unwrap();
        assert_eq!(check(&access(&bot), "main"), WriteAccess::Allowed, "{kind}");
        let outcome = revert(&shop, &access(&bot));
        let done = matches!(outcome, RevertOutcome::Pushed(_) | RevertOutcome::AlreadyReverted(_));
        assert!(done, "{kind}: {outcome:?}");
    }
}
