//! Each way of tampering is found, and named.

use std::fs;
use std::path::Path;

use super::fixture::{audit, chain, folder, head, record, records, text, verify, write};

/// What somebody does to the folder of [`records`].
type Deed = fn(&Path);

/// How a finding begins, and what its sentence contains.
type Expected = (&'static str, &'static str);

/// The deed, and what is found.
const DEEDS: &[(&str, Deed, &[Expected])] = &[
    ("nothing", |_| {}, &[]),
    (
        "a byte is changed, and it is still JSON",
        |folder| edit(folder, "2026/01/31/b-degraded.json", "is 0.2", "is 0.3"),
        &[("chain-broken 2026/01/31/c-intended.json", "of record 2, and 2026/01/31/b-degraded.json has")],
    ),
    (
        "a byte is changed, and it is no JSON any more",
        |folder| edit(folder, "2026/01/31/b-degraded.json", "{", "("),
        &[
            ("unreadable 2026/01/31/b-degraded.json", "it is not a record of a ledger"),
            ("records-missing test", "record 2 is missing between 2026/01/31/a-healthy.json and"),
        ],
    ),
    (
        "a blank is added",
        |folder| edit(folder, "2026/01/31/b-degraded.json", "\":\"", "\": \""),
        &[
            ("not-canonical 2026/01/31/b-degraded.json", "somebody wrote it anew"),
            ("chain-broken 2026/01/31/c-intended.json", "of record 2"),
        ],
    ),
    (
        "a record is dropped",
        |folder| fs::remove_file(folder.join("2026/01/31/c-intended.json")).unwrap(),
        &[(
            "records-missing test",
            "record 3 is missing between 2026/01/31/b-degraded.json and 2026/02/01/d-pushed.json",
        )],
    ),
    (
        "the first records are dropped",
        |folder| fs::remove_dir_all(folder.join("2026/01")).unwrap(),
        &[("records-missing test", "it begins with record 4: records 1 to 3 are missing")],
    ),
    (
        "two records change places",
        |folder| {
            edit(folder, "2026/01/31/b-degraded.json", "\"sequence\":2", "\"sequence\":3");
            edit(folder, "2026/01/31/c-intended.json", "\"sequence\":3", "\"sequence\":2");
        },
        &[
            ("chain-broken 2026/01/31/c-intended.json", "of record 1"),
            ("chain-broken 2026/01/31/b-degraded.json", "of record 2"),
            ("chain-broken 2026/02/01/d-pushed.json", "of record 3"),
        ],
    ),
    (
        "a record is inserted, with the number of another",
        |folder| {
            let mut records = records();
            records[2] = record("x-healthy", 31, "Healthy", "bad1bad is healthy");
            drop(write(folder, &chain(&records)[2]));
        },
        &[(
            "sequence-twice 2026/01/31/x-healthy.json",
            "it is record 3, and so is 2026/01/31/c-intended.json",
        )],
    ),
    (
        "the newest records are dropped",
        |folder| fs::remove_file(folder.join("2026/02/01/f-recovered.json")).unwrap(),
        &[("truncated test", "it ends with record 5, and record 6 with sha256:")],
    ),
    (
        "a record is taken out and the chain is computed anew",
        |folder| {
            let mut fewer = records();
            fewer.remove(1);
            rewrite(folder, &fewer);
        },
        &[("truncated test", "it ends with record 5, and record 6")],
    ),
    (
        "a record is changed and the chain is computed anew",
        |folder| {
            let mut changed = records();
            changed[1].sentence = "it was Ann".into();
            rewrite(folder, &changed);
        },
        &[("rewritten test", "record 6 is another one than the one with sha256:")],
    ),
    (
        "a record is moved to another day",
        |folder| {
            fs::rename(folder.join("2026/01/31/b-degraded.json"), folder.join("2026/02/01/b-degraded.json"))
                .unwrap();
        },
        &[("wrong-path 2026/02/01/b-degraded.json", "lies at 2026/01/31/b-degraded.json")],
    ),
    (
        "the records of another cluster take their places",
        |folder| {
            let mut others = records();
            for record in &mut others {
                record.cluster = "other".into();
            }
            let link = &chain(&others)[5];
            drop(write(folder, link));
        },
        &[
            ("wrong-cluster 2026/02/01/f-recovered.json", "of cluster other"),
            ("chain-broken 2026/02/01/f-recovered.json", "of record 5"),
            ("rewritten test", "record 6"),
        ],
    ),
    (
        "the same decision is told a second time, two days later",
        |folder| {
            let mut more = records();
            more.push(record("d-pushed", 2 * 86_400, "RevertPushed", "pushed"));
            rewrite(folder, &more);
        },
        &[("id-twice 2026/02/02/d-pushed.json", "another file has the id d-pushed too")],
    ),
    (
        "a record is dated back",
        |folder| {
            let mut more = records();
            more.push(record("g-healthy", -3600, "Healthy", "all was well"));
            rewrite(folder, &more);
        },
        &[("time-reversed 2026/01/31/g-healthy.json", "it is of 2026-01-31T22:59:00Z")],
    ),
    (
        "a file of a newer version lies among them",
        |folder| edit(folder, "2026/02/01/f-recovered.json", "ledger/v1", "ledger/v2"),
        &[("newer-form 2026/02/01/f-recovered.json", "ledger/v2"), ("truncated test", "ends with record 5")],
    ),
];

fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let file = folder.join(file);
    let old = fs::read_to_string(&file).unwrap();
    let new = old.replacen(from, to, 1);
    assert_ne!(new, old, "{from}");
    fs::write(file, new).unwrap();
}

fn rewrite(folder: &Path, records: &[lastgood::record::ledger::Record]) {
    for year in fs::read_dir(folder).unwrap() {
        fs::remove_dir_all(year.unwrap().path()).unwrap();
    }
    for link in chain(records) {
        write(folder, &link);
    }
}

#[test]
fn each_deed_is_found_and_named() {
    let remembered = head(&records());
    for (what, deed, expected) in DEEDS {
        let folder = folder(&records());
        deed(folder.path());
        let (code, found) = verify(&["--ledger", text(folder.path()), "--remembered", &remembered]);
        let as_expected = |(found, (begins, contains)): (&String, &(&str, &str))| {
            found.starts_with(&format!("{begins}: ")) && found.contains(contains)
        };
        let all = found.len() == expected.len() && found.iter().zip(*expected).all(as_expected);
        assert!(all, "{what}: {found:#?}");
        assert_eq!(code, Some(i32::from(!expected.is_empty())), "{what}");
    }
}

#[test]
fn only_who_remembers_a_head_sees_what_was_cut_off() {
    let folder = folder(&records());
    fs::remove_file(folder.path().join("2026/02/01/f-recovered.json")).unwrap();
    assert_eq!(verify(&["--ledger", text(folder.path())]), (Some(0), Vec::new()));
    // The head of another cluster says nothing of this one.
    let other = head(&records()).replace("test", "other");
    assert_eq!(verify(&["--ledger", text(folder.path()), "--remembered", &other]), (Some(0), Vec::new()));
}

#[test]
fn a_head_is_remembered_from_one_time_to_the_next() {
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("heads");
    let verify = |folder: &Path| verify(&["--ledger", text(folder), "--remember", text(&file)]);
    let all = records();
    let folder = folder(&all[..4]);
    assert_eq!(verify(folder.path()), (Some(0), Vec::new()));
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", head(&all[..4])));
    // It grows, and that is well.
    rewrite(folder.path(), &all);
    assert_eq!(verify(folder.path()), (Some(0), Vec::new()));
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", head(&all)));
    // It does not shrink unseen, and what is wrong is not remembered.
    rewrite(folder.path(), &all[..4]);
    let (code, found) = verify(folder.path());
    assert!(code == Some(1) && found[0].starts_with("truncated"), "{found:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", head(&all)));
}

#[test]
fn old_years_may_have_been_put_away() {
    let folder = folder(&records());
    fs::remove_dir_all(folder.path().join("2026/01")).unwrap();
    let since = |time: &str| verify(&["--ledger", text(folder.path()), "--since", time]);
    assert_eq!(since("2026-02-01T00:01:00Z"), (Some(0), Vec::new()));
    let (code, found) = since("2026-02-01T00:00:00Z");
    assert!(code == Some(1) && found[0].starts_with("records-missing"), "{found:?}");
}

#[test]
fn what_cannot_be_verified_is_no_verdict() {
    let empty = tempfile::tempdir().unwrap();
    let missing = empty.path().join("missing");
    let heads = empty.path().join("heads");
    fs::write(&heads, "test 5 sha256:0\n").unwrap();
    let ledger = folder(&records());
    for (args, expected) in [
        (vec!["--ledger", text(empty.path())], "holds no ledger"),
        (vec!["--ledger", text(&missing)], "cannot read"),
        (vec!["--ledger", text(ledger.path()), "--remember", text(&heads)], "heads:1: `sha256:0` is not"),
    ] {
        let (code, out, err) = audit(&[&["verify"], args.as_slice()].concat());
        assert!(code == Some(2) && out.is_empty() && err.contains(expected), "{code:?} {out}{err}");
    }
}

#[test]
fn a_result_is_for_people_and_for_programs() {
    let folder = folder(&records());
    let ledger = ["--ledger", text(folder.path())];
    let (_, out, _) = audit(&[&["verify"], ledger.as_slice()].concat());
    let expected = format!(
        "DIR: 6 records of cluster test\nhead: {}\n0 reverts with their records\nnothing is wrong\n",
        head(&records())
    );
    assert_eq!(out.replace(text(folder.path()), "DIR"), expected);

    fs::remove_file(folder.path().join("2026/01/31/c-intended.json")).unwrap();
    let (_, out, _) = audit(&[&["verify"], ledger.as_slice()].concat());
    let begins = "records-missing: the ledger of test: record 3 is missing between 2026/01/31/b-degraded.json and \
                  2026/02/01/d-pushed.json\n  help: Restore them";
    assert!(out.starts_with(begins) && out.ends_with("1 finding\n"), "{out}");

    let (_, out, _) = audit(&[&["verify", "--output", "sarif"], ledger.as_slice()].concat());
    let log: serde_json::Value = serde_json::from_str(&out).unwrap();
    let run = &log["runs"][0];
    let result = &run["results"][0];
    assert_eq!(log["version"], "2.1.0");
    assert_eq!(result["ruleId"], "records-missing");
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], "records-missing");
}
