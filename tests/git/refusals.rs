//! A server that refuses a push: what it says is told apart, so that each reason has its own way on.

use lastgood::engine::action::{Refusal, RevertOutcome};

use super::over_http::Remote;
use super::{failed, refused};

/// Lets a real server refuse with these words.
fn told(remote: &Remote, words: &str) -> RevertOutcome {
    remote.hook("pre-receive", &format!("cat >&2 <<'END'\n{words}\nEND\nexit 1"));
    let outcome = remote.revert();
    assert_eq!(remote.story.world.tip(), remote.story.bad, "nothing may be changed by a refused push");
    outcome
}

#[test]
fn a_protected_branch_is_told_from_every_other_refusal() {
    let remote = Remote::new();
    for words in [
        "error: GH006: Protected branch update failed for refs/heads/main.",
        "error: GH013: Repository rule violations found for refs/heads/main.\n\n- Changes must be made through a pull request.",
        "GitLab: You are not allowed to push code to protected branches on this project.",
        "Gitea: Not allowed to push to protected branch main",
        "Forgejo: Not allowed to push to protected branch main",
        "Branch refs/heads/main can only be modified through pull requests.",
        "TF402455: Pushes to this branch are not permitted; you must use a pull request to update this branch.",
    ] {
        let refusal = refused(told(&remote, words));
        let Refusal::Protected { branch, message } = &refusal else { panic!("{refusal:?}") };
        assert_eq!(branch, "main");
        assert!(message.starts_with("pre-receive hook declined: "), "{message}");
        assert!(message.ends_with(words.lines().last().unwrap()), "{message}");
    }
}

#[test]
fn a_missing_signature_is_told() {
    let remote = Remote::new();
    for words in [
        "error: GH013: Repository rule violations found for refs/heads/main.\n\n- Commits must have verified signatures.",
        "GitLab: Commit must be signed with a GPG key",
        "Gitea: branch main is protected from unverified commit 0123456789",
    ] {
        let refusal = refused(told(&remote, words));
        assert!(matches!(refusal, Refusal::SignatureRequired { .. }), "{refusal:?}");
    }
}

#[test]
fn a_hook_is_told_in_its_own_words() {
    for hook in ["update", "pre-receive"] {
        let remote = Remote::new();
        remote.hook(hook, "echo 'We freeze until Monday.' >&2; exit 1");
        let refusal = refused(remote.revert());
        let Refusal::HookDeclined { branch, message } = &refusal else { panic!("{refusal:?}") };
        assert_eq!(branch, "main");
        assert!(message.contains("hook declined: We freeze until Monday."), "{message}");
    }
}

#[test]
fn a_missing_right_is_told() {
    let refusal = refused(told(&Remote::new(), "Gitea: User permission denied for writing."));
    let Refusal::NotAuthorised { repo_url, message } = &refusal else { panic!("{refusal:?}") };
    assert!(repo_url.ends_with("/repo.git") && message.contains("denied for writing"), "{refusal}");
}

#[test]
fn a_servers_own_trouble_is_no_refusal() {
    let error = failed(told(&Remote::new(), "GitLab: Internal API unreachable"));
    assert!(error.contains("no answer from") && error.contains("Internal API unreachable"), "{error}");
}

#[test]
fn words_that_are_not_utf_8_do_no_harm() {
    let remote = Remote::new();
    remote.hook("update", "printf 'gesch\\374tzt' >&2; exit 1");
    assert!(matches!(refused(remote.revert()), Refusal::HookDeclined { .. }));
}
