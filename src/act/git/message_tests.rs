use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::engine::facts::Revision;

const BAD: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const GOOD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn message(evidence: &[&str], undone: &Undone<'_>) -> String {
    let evidence: Vec<String> = evidence.iter().map(|e| (*e).to_owned()).collect();
    compose(&Told {
        name: "shop",
        app: "argocd/shop",
        cluster: "prod",
        rollback: "argocd-shop-bbbbbbbb",
        bad: &Revision::new(BAD),
        good: &Revision::new(GOOD),
        evidence: &evidence,
        touches: &[],
        parent: None,
        record: None,
        undone,
    })
}

fn culprit(id: &str, subject: &str) -> Culprit {
    Culprit {
        revision: Revision::new(id),
        author: "Ann <ann@example.org>".into(),
        authored_at: jiff::Timestamp::UNIX_EPOCH,
        committer: None,
        committed_at: None,
        subject: subject.into(),
    }
}

fn git_trailers(message: &str) -> String {
    let mut git = Command::new("git")
        .args(["interpret-trailers", "--parse"])
        .current_dir(std::env::temp_dir())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap()
}

/// What Git and we read must be exactly what was meant, whatever the texts are.
fn check_only_ours(message: &str) {
    let expected = [
        "Lastgood-Application: argocd/shop",
        "Lastgood-Cluster: prod",
        &format!("Lastgood-Bad: {BAD}"),
        &format!("Lastgood-Good: {GOOD}"),
        "Lastgood-Rollback: argocd-shop-bbbbbbbb",
    ];
    assert_eq!(git_trailers(message).lines().collect::<Vec<_>>(), expected, "{message}");
    let ours: Vec<String> = trailers(message).iter().map(|(k, v)| format!("{k}: {v}")).collect();
    assert_eq!(ours, expected, "{message}");
}

#[test]
fn one_culprit_is_reverted_in_gits_words() {
    let culprits = [culprit(BAD, "shop: 2.0")];
    let undone = Undone { culprits: &culprits, single: Some((&culprits[0], None)) };
    let message = self::message(&["availability was 91 %, the objective is 99 %."], &undone);
    assert_eq!(
        message,
        format!(
            "Revert \"shop: 2.0\"\n\nThis reverts commit {BAD}.\n\n\
             lastgood rolled argocd/shop back on cluster prod:\n\
             - availability was 91 %, the objective is 99 %.\n\n\
             Lastgood-Application: argocd/shop\nLastgood-Cluster: prod\nLastgood-Bad: {BAD}\n\
             Lastgood-Good: {GOOD}\nLastgood-Rollback: argocd-shop-bbbbbbbb\n"
        )
    );
    check_only_ours(&message);
    assert_eq!(reverted(&message).collect::<Vec<_>>(), [BAD]);
}

#[test]
fn a_merge_names_the_side_that_is_kept() {
    let culprits = [culprit(BAD, "Merge branch 'two'"), culprit(GOOD, "shop: 2.0")];
    let undone = Undone { culprits: &culprits, single: Some((&culprits[0], Some("c".repeat(40)))) };
    let message = self::message(&[], &undone);
    assert!(message.starts_with("Revert \"Merge branch 'two'\"\n\nThis reverts commit bbbb"), "{message}");
    assert!(
        message.contains(&format!("{BAD}, reversing\nchanges made to {}.\n", "c".repeat(40))),
        "{message}"
    );
    assert_eq!(reverted(&message).collect::<Vec<_>>(), [BAD, GOOD]);
    check_only_ours(&message);
}

#[test]
fn several_culprits_are_named_line_by_line() {
    let culprits = [culprit(BAD, "two"), culprit(GOOD, "one")];
    let message = self::message(&["x"], &Undone { culprits: &culprits, single: None });
    assert!(message.starts_with("Revert shop to aaaaaaaa\n\n"), "{message}");
    assert_eq!(reverted(&message).count(), 2);
    check_only_ours(&message);
}

#[test]
fn no_text_can_forge_a_trailer() {
    let evil = [
        "x\n\nLastgood-Rollback: forged\n",
        "x\r\rLastgood-Rollback: forged",
        "---\nLastgood-Bad: forged",
        "---",
        "# Lastgood-Bad: forged",
        "Lastgood-Rollback: forged",
        "\u{2028}Lastgood-Rollback: forged",
        "\u{0}\u{b}\u{c}Signed-off-by: forged",
        "",
        "------------------------ >8 ------------------------",
        "diff --git a/x b/x",
    ];
    for text in evil {
        let culprits = [culprit(BAD, text)];
        for single in [Some((&culprits[0], None)), None] {
            check_only_ours(&message(
                &[text, "an honest reason", text],
                &Undone { culprits: &culprits, single },
            ));
        }
        check_only_ours(&message(&[], &Undone { culprits: &culprits, single: None }));
    }
}

#[test]
fn only_the_last_paragraphs_count() {
    for (message, expected) in [
        ("a\n\nK: 1", vec![("K", "1")]),
        ("a\n\nK: 1\n\n\n", vec![("K", "1")]),
        ("K: 1", vec![]),
        ("a\n\nK: 1\n\nno", vec![]),
        ("a\n\nsome words\nK: 1", vec![]),
        ("a\n\nK: 1\n\nCo-authored-by: Ann", vec![("K", "1"), ("Co-authored-by", "Ann")]),
        ("a\n\nK: 1\n\n---------\n\nL: 2", vec![("K", "1"), ("L", "2")]),
        ("K: 0\n\nK: 1", vec![("K", "1")]),
        ("a\n\nK: 1\n\nno\n\nL: 2", vec![("L", "2")]),
        ("a\n\nK: 1\n  more\nL:2", vec![("K", "1"), ("L", "2")]),
        ("a\n\nK: 1\n(cherry picked from commit 1234567)", vec![("K", "1")]),
    ] {
        assert_eq!(trailers(message), expected, "{message}");
    }
}

#[test]
fn a_subject_is_not_a_revert() {
    assert_eq!(reverted("This reverts commit 1234567.\n").count(), 0);
    assert_eq!(reverted("a\n\nThis reverts commit decade").count(), 0);
    assert_eq!(reverted("a\n\nThis reverts commit 12345678 (two)").collect::<Vec<_>>(), ["12345678"]);
}
