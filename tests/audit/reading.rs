//! Listing and showing records.

use std::fs;

use super::fixture::{audit, folder, records, text};

fn ids(args: &[&str]) -> String {
    let folder = folder(&records());
    let (code, out, err) = audit(&[&["list", "--ledger", text(folder.path())], args].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let id = |line: &str| line.split(' ').nth(1).unwrap().split('-').next().unwrap().to_owned();
    out.lines().map(id).collect()
}

#[test]
fn a_list_has_what_was_asked_for() {
    for (args, expected) in [
        (vec![], "abcdef"),
        (vec!["--from", "2026-01-31T23:59:31Z"], "cdef"),
        (vec!["--to", "2026-01-31T23:59:31Z"], "ab"),
        (vec!["--from", "2026-02-01T00:00:00Z", "--to", "2026-02-02T00:00:00Z"], "def"),
        (vec!["--from", "2026-02-02T00:00:00Z"], ""),
        (vec!["--to", "2026-02-01T00:00:00Z"], "abc"),
        (vec!["--application", "shop"], "abcdef"),
        (vec!["--application", "argocd/shop", "--reason", "Degraded", "--reason", "Recovered"], "bf"),
        (vec!["--application", "other/shop"], ""),
        (vec!["--rollback", "none"], ""),
    ] {
        assert_eq!(ids(&args), expected, "{args:?}");
    }
}

#[test]
fn a_list_is_for_people_and_for_programs() {
    let mut all = records();
    all[1].sentence = "two\nlines \u{1b}[31m".into();
    let folder = folder(&all[..2]);
    fs::write(folder.path().join("2026/01/31/stray.json"), "{}").unwrap();
    let (code, out, err) = audit(&["list", "--ledger", text(folder.path())]);
    assert_eq!(code, Some(0));
    assert_eq!(
        out,
        "2026-01-31T23:59:00.000Z a-healthy Healthy argocd/shop 1111111 is healthy after 5 min\n\
         2026-01-31T23:59:30.000Z b-degraded Degraded argocd/shop two lines  [31m\n"
    );
    assert!(err.starts_with("warning: 2026/01/31/stray.json: no record of a ledger"), "{err}");
    let (_, out, _) = audit(&["list", "--ledger", text(folder.path()), "--output", "json"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[1]["sequence"], &lines[1]["id"]), (&2.into(), &"b-degraded".into()));
    assert_eq!(lines[1]["sentence"], "two\nlines \u{1b}[31m");
}

#[test]
fn a_record_is_shown_with_its_evidence() {
    let folder = folder(&records());
    let show = |args: &[&str]| audit(&[&["show", "--ledger", text(folder.path())], args].concat());
    let (code, out, err) = show(&["f-rec"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for line in [
        "2026-02-01T00:05:40Z Recovered: recovered with 2222222",
        "record         f-recovered (number 6 of cluster test)",
        "application    argocd/shop (uid 8b5c)",
        "destination    in-cluster, namespace shop",
        "by             lastgood 0.1.0, pod argocd/lastgood-0",
        "evidence:\n  signals:\n    -\n      limit: 0.05\n      name: error-rate\n      values:\n        - 0.01\n        - 0.2",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    let (_, out, _) = show(&["f-recovered", "--output", "json"]);
    assert_eq!(
        out.trim_end(),
        fs::read_to_string(folder.path().join("2026/02/01/f-recovered.json")).unwrap()
    );
    let (code, _, err) = show(&[""]);
    assert!(code == Some(1) && err.contains("6 records begin with ``: a-healthy, b-degraded"), "{err}");
    let (code, _, err) = show(&["z"]);
    assert!(code == Some(1) && err.contains("no record with the id `z`"), "{err}");
}
