//! The ledger on a branch, over a real server: what is there afterwards, whoever else writes and whatever goes wrong.

use std::sync::Arc;
use std::time::Duration;

use lastgood::act::git::ledger::{GitLedger, Reach};
use lastgood::act::git::{Access, Auth, Identity, KeyText, Secret, Signer};
use lastgood::record::ledger::{Digest, Head, Ledger as _, LedgerError, Link, Record, SEALED, Seal};
use proptest::prelude::*;
use serde_json::json;

use super::git_http::{GitServer, PASSWORD, USER};
use super::git_repo::{World, git, run};
use super::rng::Rng;

const BRANCH: &str = "lastgood/ledger/prod/2026";
const OLD_BRANCH: &str = "lastgood/ledger/prod/2025";

/// A record of a moment.
fn at(id: &str, at: &str) -> Record {
    let record = json!({
        "id": id, "at": at, "reason": "HoldBegan", "sentence": format!("{id} is on hold"), "warning": true,
        "cluster": "prod", "by": { "version": "1" }, "detail": null,
    });
    serde_json::from_value(record).unwrap()
}

fn record(id: &str) -> Record {
    at(id, "2026-05-01T12:00:00Z")
}

fn old(id: &str) -> Record {
    at(id, "2025-12-31T23:59:59Z")
}

fn records(ids: &[&str]) -> Vec<Record> {
    ids.iter().map(|id| record(id)).collect()
}

/// A repository with a branch `main`, and a server before it.
struct Remote {
    world: World,
    server: GitServer,
    main: String,
}

/// A writer with a copy of its own.
struct Writer {
    ledger: GitLedger,
    copy: tempfile::TempDir,
}

impl Writer {
    fn new(access: Access, signer: Option<Signer>, within: Duration) -> Self {
        Self::with_copy(tempfile::tempdir().unwrap(), access, signer, within)
    }

    /// With nothing but what is in its copy.
    fn restarted(self, access: Access) -> Self {
        Self::with_copy(self.copy, access, None, Duration::from_secs(20))
    }

    fn with_copy(copy: tempfile::TempDir, access: Access, signer: Option<Signer>, within: Duration) -> Self {
        let url = access.url.clone();
        let reach: Box<Reach> = Box::new(move || {
            let (name, email) = ("lastgood".to_owned(), "lastgood@example.org".to_owned());
            Ok((access.clone(), Identity { name, email, signer: signer.clone().map(Ok) }))
        });
        let ledger = GitLedger::new(copy.path(), &url, "prod", within, reach).unwrap();
        Self { ledger, copy }
    }

    fn local(world: &World) -> Self {
        Self::new(Access::new(&world.file_url()), None, Duration::from_secs(60))
    }

    #[track_caller]
    fn append(&self, records: &[Record]) -> Head {
        self.ledger.append(records).unwrap().unwrap()
    }

    #[track_caller]
    fn broken(&self, records: &[Record]) -> String {
        match self.ledger.append(records) {
            Err(error @ LedgerError::Broken { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn unreachable(&self, records: &[Record]) -> String {
        match self.ledger.append(records) {
            Err(error @ LedgerError::Unreachable { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The ids in the order of the chain, which must hold from its first link on.
    #[track_caller]
    fn ids(&self) -> Vec<String> {
        ids(&self.ledger.after(0, usize::MAX).unwrap())
    }
}

#[track_caller]
fn ids(links: &[Link]) -> Vec<String> {
    let mut head = None;
    let mut ids = Vec::new();
    for link in links {
        let record = link.record().unwrap();
        assert_eq!(*link, Link::after(head.as_ref(), &record).unwrap());
        head = Some(link.head().unwrap());
        ids.push(record.id);
    }
    ids
}

impl Remote {
    fn new() -> Self {
        let world = World::new();
        let main = world.change("README.md", "read me\n");
        let server = GitServer::start(world.dir.path());
        Self { world, server, main }
    }

    fn access(&self, password: &str) -> Access {
        let auth = Auth::Basic { username: USER.into(), password: Secret::new(password) };
        Access { auth, ..Access::new(&self.server.url("repo.git")) }
    }

    fn writer(&self) -> Writer {
        Writer::new(self.access(PASSWORD), None, Duration::from_secs(20))
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.world.bare, args)
    }

    fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.world.bare.join("hooks").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The requests since this was asked for the last time, without what a push or fetch needs beside the first word.
    fn requests(&self) -> Vec<String> {
        let log = std::mem::take(&mut *self.server.faults.log.lock().unwrap());
        log.iter().map(|line| line.split('/').next_back().unwrap().to_owned()).collect()
    }

    /// Commits a change of the newest tree of the ledger by hand, under a message, and sets the branch to it.
    fn forge(&self, path: &str, content: Option<&str>, message: &str) {
        let index = self.world.dir.path().join("index");
        let script = match content {
            Some(content) => {
                let file = self.world.dir.path().join("content");
                std::fs::write(&file, content).unwrap();
                let blob = self.git(&["hash-object", "-w", file.to_str().unwrap()]);
                format!("git update-index --add --cacheinfo 100644,{blob},{path}")
            }
            None => format!("git update-index --force-remove {path}"),
        };
        let script = format!(
            "export GIT_DIR=. GIT_WORK_TREE=. GIT_INDEX_FILE={}; git read-tree {BRANCH}; {script}; \
             git update-ref refs/heads/{BRANCH} $(git -c user.name=E -c user.email=e@e commit-tree -p {BRANCH} \
             -m '{message}' $(git write-tree))",
            index.display()
        );
        let done =
            std::process::Command::new("sh").arg("-ec").arg(script).current_dir(&self.world.bare).status();
        assert!(done.unwrap().success());
    }
}

#[test]
fn records_are_files_of_an_orphan_branch() {
    let remote = Remote::new();
    let writer = remote.writer();
    assert_eq!(writer.ledger.append(&[]).unwrap(), None);
    assert_eq!(writer.ledger.after(0, 9).unwrap(), []);
    let first = writer.append(&records(&["a", "b"]));
    let second = writer.append(&records(&["b", "c"]));
    assert_eq!((first.sequence, second.sequence), (2, 3));
    assert_eq!(writer.ids(), ["a", "b", "c"]);
    let file = run(&remote.world.bare, &["show", &format!("{BRANCH}:2026/05/01/c.json")]).stdout;
    assert_eq!(Digest::of(&file), second.hash);
    let link = Link::read(&file).unwrap();
    assert_eq!((link.sequence, &link.previous), (3, &Some(first.hash)));
    assert_eq!(link.record().unwrap(), record("c"));

    assert_eq!(remote.git(&["rev-list", "--count", BRANCH]), "2");
    assert_eq!(remote.git(&["ls-tree", "-r", "--name-only", BRANCH]).lines().count(), 3);
    let message = remote.git(&["log", "-1", "--format=%B", BRANCH]);
    let hash = second.hash;
    assert_eq!(
        message,
        format!("Record 1 entry: HoldBegan\n\n- c is on hold\n\n[skip ci]\n\nLastgood-Ledger: 3-3 {hash}")
    );
    let trailers = remote.git(&["log", "-1", "--format=%(trailers:key=Lastgood-Ledger,valueonly)", BRANCH]);
    assert_eq!(trailers, format!("3-3 {hash}"));
    assert_eq!(remote.git(&["log", "-1", "--format=%an %ae", BRANCH]), "lastgood lastgood@example.org");
    assert_eq!(remote.world.tip(), remote.main);
    assert!(run(&remote.world.bare, &["fsck", "--strict"]).status.success());
}

#[test]
fn an_append_is_one_push_and_reading_on_asks_only_for_what_is_not_there() {
    let remote = Remote::new();
    let (writer, reader) = (remote.writer(), remote.writer());
    writer.append(&records(&["a", "b", "c"]));
    remote.requests();
    writer.append(&records(&["d"]));
    let push = ["refs?service=git-receive-pack 200", "git-receive-pack 200"];
    assert_eq!(remote.requests(), push);
    // Told again, it is known to be there.
    writer.append(&records(&["d"]));
    assert_eq!(remote.requests(), [""; 0]);

    let sequences = |after, most| -> Vec<u64> {
        reader.ledger.after(after, most).unwrap().iter().map(|link| link.sequence).collect()
    };
    assert_eq!(sequences(2, 1), [3]);
    assert_ne!(remote.requests(), [""; 0]);
    assert_eq!((sequences(0, 2), sequences(3, 1)), (vec![1, 2], vec![4]));
    assert_eq!(remote.requests(), [""; 0]);
    writer.append(&records(&["e"]));
    assert_eq!(sequences(3, 9), [4, 5]);
    assert_eq!((sequences(5, 9), sequences(9, 9)), (vec![], vec![]));
}

#[test]
fn a_lost_answer_is_no_loss_and_no_repetition() {
    let remote = Remote::new();
    let writer = remote.writer();
    for batch in [&["a"][..], &["b", "c"]] {
        *remote.server.faults.lose_answers.lock().unwrap() = true;
        let error = writer.unreachable(&records(batch));
        assert!(error.starts_with("the ledger on lastgood/ledger/prod/* of http://127.0.0.1:"), "{error}");
        *remote.server.faults.lose_answers.lock().unwrap() = false;
        writer.append(&records(batch));
    }
    assert_eq!(remote.writer().ids(), ["a", "b", "c"]);
    assert_eq!(remote.git(&["rev-list", "--count", BRANCH]), "2");
}

#[test]
fn who_comes_second_goes_on_from_the_first() {
    let remote = Remote::new();
    let writer = remote.writer();
    writer.append(&records(&["a"]));
    for (fault, theirs, ours) in
        [(&remote.server.faults.before_refs, "b", "c"), (&remote.server.faults.before_push, "d", "e")]
    {
        let other = Writer::local(&remote.world);
        *fault.lock().unwrap() = Some(Box::new(move || drop(other.append(&records(&[theirs, "shared"])))));
        writer.append(&records(&[ours, "shared"]));
    }
    assert_eq!(remote.writer().ids(), ["a", "b", "shared", "c", "d", "e"]);
}

#[test]
fn many_writers_make_one_chain() {
    let remote = Arc::new(Remote::new());
    let threads: Vec<_> = (0..3)
        .map(|writer| {
            let remote = Arc::clone(&remote);
            std::thread::spawn(move || {
                let own = Writer::new(remote.access(PASSWORD), None, Duration::from_secs(100));
                for n in 0..5 {
                    own.append(&records(&[&format!("w{writer}-{n}"), &format!("shared-{n}")]));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let ids = remote.writer().ids();
    assert_eq!(ids.len(), 20, "{ids:?}");
    for writer in 0..3 {
        let own: Vec<_> = ids.iter().filter(|id| id.starts_with(&format!("w{writer}-"))).cloned().collect();
        assert_eq!(own, (0..5).map(|n| format!("w{writer}-{n}")).collect::<Vec<_>>());
    }
    assert!(run(&remote.world.bare, &["fsck", "--strict"]).status.success());
}

#[test]
fn a_new_year_seals_the_old_one() {
    let remote = Remote::new();
    let (writer, late) = (remote.writer(), remote.writer());
    writer.append(&[old("a"), old("b")]);
    late.append(&[old("b"), old("c")]);
    let head = writer.append(&records(&["d"]));
    assert_eq!(head.sequence, 5);
    // One that knows only the old branch, and tells an old record again with one that waited.
    late.append(&[old("a"), old("waited")]);
    let links = remote.writer().ledger.after(0, usize::MAX).unwrap();
    assert_eq!(ids(&links), ["a", "b", "c", "ledger-sealed-3", "d", "waited"]);

    let seal = links[3].record().unwrap();
    assert_eq!(seal.reason, SEALED);
    let end = remote.git(&["rev-parse", OLD_BRANCH]);
    let hash = links[2].head().unwrap().hash;
    let expected = Seal { branch: OLD_BRANCH.into(), commit: end, sequence: 3, hash: hash.clone() };
    assert_eq!(Seal::of(&seal), Some(expected));
    let message = remote.git(&["log", "-1", "--format=%B", OLD_BRANCH]);
    assert!(
        message.ends_with(&format!("Lastgood-Ledger-End: 3 {hash}\nLastgood-Ledger-Next: {BRANCH}")),
        "{message}"
    );
    // The branches have nothing in common.
    assert_eq!(remote.git(&["rev-list", "--max-parents=0", BRANCH]).lines().count(), 1);
    assert!(!run(&remote.world.bare, &["merge-base", BRANCH, OLD_BRANCH]).status.success());
    // Reading crosses over, from anywhere.
    let reader = remote.writer();
    for after in (0..=6).rev() {
        for most in [1, 2, 9] {
            let read = reader.ledger.after(after, most).unwrap();
            let numbers: Vec<_> = read.iter().map(|link| link.sequence).collect();
            let expected: Vec<_> = (after + 1..=6).take(most).collect();
            assert_eq!(numbers, expected, "after {after}");
        }
    }
    // What was put away is gone, and the rest is there.
    remote.git(&["update-ref", "-d", &format!("refs/heads/{OLD_BRANCH}")]);
    let rest = remote.writer().ledger.after(0, 9).unwrap();
    assert_eq!(rest.iter().map(|link| link.sequence).collect::<Vec<_>>(), [4, 5, 6]);
}

#[test]
fn a_crash_between_two_years_is_made_good() {
    let remote = Remote::new();
    let writer = remote.writer();
    writer.append(&[old("a")]);
    remote.hook("update", &format!("test \"$1\" != refs/heads/{BRANCH}"));
    writer.unreachable(&records(&["b"]));
    assert!(remote.git(&["log", "-1", "--format=%s", OLD_BRANCH]).starts_with("End the branch"));
    // Nothing may follow the end, not even what is of the old year.
    remote.hook("update", "true");
    remote.writer().append(&[old("c")]);
    writer.append(&records(&["b"]));
    assert_eq!(remote.writer().ids(), ["a", "ledger-sealed-1", "c", "b"]);
    // And several years later.
    let far = at("far", "2031-01-01T00:00:00Z");
    writer.append(std::slice::from_ref(&far));
    assert_eq!(remote.writer().ids().last().unwrap(), "far");
    assert_eq!(writer.append(&[far, record("b")]).sequence, 6);
}

#[test]
fn nothing_is_added_to_a_branch_that_is_no_ledger() {
    let remote = Remote::new();
    remote.git(&["update-ref", &format!("refs/heads/{BRANCH}"), "main"]);
    let error = remote.writer().broken(&records(&["a"]));
    assert!(error.contains(&format!("is broken at {BRANCH}: its newest commit {}", remote.main)), "{error}");
    assert!(error.contains("was not made by lastgood"), "{error}");
    assert_eq!(remote.git(&["rev-parse", BRANCH]), remote.main);

    let path = "2026/05/01/b.json";
    let forged = |path: &str, content: Option<&str>, message: &dyn Fn(String) -> String| {
        let remote = Remote::new();
        remote.writer().append(&records(&["a", "b"]));
        let before = remote.git(&["log", "-1", "--format=%B", BRANCH]);
        remote.forge(path, content, &message(before));
        let tip = remote.git(&["rev-parse", BRANCH]);
        let error = remote.writer().broken(&records(&["c"]));
        assert_eq!(remote.git(&["rev-parse", BRANCH]), tip);
        error
    };
    let same = |message: String| message;
    let error = forged("README.md", Some("hello"), &|_| "Say hello".into());
    assert!(error.contains("was not made by lastgood"), "{error}");
    let error = forged("README.md", Some("hello"), &same);
    assert!(error.contains("is broken at README.md: it is not a record of a ledger"), "{error}");
    let error = forged(path, Some("{}"), &same);
    assert!(error.contains(&format!("is broken at {path}: it was changed after it was written")), "{error}");
    let error = forged(path, None, &same);
    assert!(error.contains(&format!("is broken at {path}: it was there before, and is gone")), "{error}");
    // A record of its own, in the right form, with a trailer that tells of another.
    let link = Link::after(None, &record("x")).unwrap();
    let text = String::from_utf8(link.bytes().unwrap()).unwrap();
    let error = forged("2026/05/01/x.json", Some(&text), &same);
    assert!(error.contains("does not add what its trailer `Lastgood-Ledger` says"), "{error}");
    // And with its own trailer, but in no chain with what is before it.
    let Head { sequence, hash } = link.head().unwrap();
    let own = move |_| format!("x\n\nLastgood-Ledger: {sequence}-{sequence} {hash}");
    let error = forged("2026/05/01/x.json", Some(&text), &own);
    assert!(error.contains("does not go on where the one before ends"), "{error}");
}

#[test]
fn history_that_was_rewritten_is_noticed_and_not_gone_on_from() {
    for restarted in [false, true] {
        let remote = Remote::new();
        let writer = remote.writer();
        writer.append(&records(&["a"]));
        let first = remote.git(&["rev-parse", BRANCH]);
        writer.append(&records(&["b"]));
        let second = remote.git(&["rev-parse", BRANCH]);
        let writer = if restarted { writer.restarted(remote.access(PASSWORD)) } else { writer };
        // A chain that is whole by itself.
        remote.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &first]);
        Writer::local(&remote.world).append(&records(&["x"]));
        let error = writer.broken(&records(&["c"]));
        assert!(error.contains("its history was rewritten") && error.contains(&second), "{error}");
        remote.git(&["update-ref", "-d", &format!("refs/heads/{BRANCH}")]);
        let error = writer.broken(&records(&["c"]));
        assert!(error.contains("it was there, and is not any more"), "{error}");
        // Put back, all goes on.
        remote.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &second]);
        writer.append(&records(&["c"]));
        assert_eq!(writer.ids(), ["a", "b", "c"]);
    }
}

#[test]
fn commits_are_signed_if_there_is_a_key() {
    let remote = Remote::new();
    let keys = tempfile::tempdir().unwrap();
    let path = keys.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    let key = Secret::new(std::fs::read_to_string(&path).unwrap());
    let text = KeyText { origin: "the Secret `signing`".into(), key, passphrase: None };
    let signer = Signer::read(&text, jiff::Timestamp::now()).unwrap();
    let writer = Writer::new(remote.access(PASSWORD), Some(signer), Duration::from_secs(20));
    writer.append(&[old("a")]);
    writer.append(&records(&["b"]));
    let allowed = keys.path().join("allowed");
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    std::fs::write(&allowed, format!("lastgood@example.org namespaces=\"git\" {public}")).unwrap();
    let setting = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    for commit in [BRANCH, OLD_BRANCH, &format!("{OLD_BRANCH}^")] {
        let verified =
            run(&remote.world.bare, &["-c", "gpg.format=ssh", "-c", &setting, "verify-commit", commit]);
        assert!(verified.status.success(), "{commit}: {}", String::from_utf8_lossy(&verified.stderr));
    }
    assert_eq!(writer.ids().len(), 3);
}

#[test]
fn a_refusal_says_what_to_do() {
    let remote = Remote::new();
    let writer = remote.writer();
    remote.hook("pre-receive", "echo 'GH006: Protected branch update failed' >&2; exit 1");
    let error = writer.unreachable(&records(&["a"]));
    for part in [
        &format!("the server refuses the push to `{BRANCH}`"),
        "GH006: Protected branch update failed",
        "let lastgood's account push to branches `lastgood/ledger/**`, or keep the ledger in a repository of its own",
    ] {
        assert!(error.contains(part), "{error}");
    }
    remote.hook("pre-receive", "echo 'commits must be signed' >&2; exit 1");
    let error = writer.unreachable(&records(&["a"]));
    assert!(error.contains("sign with a key that the server knows"), "{error}");
    remote.hook("pre-receive", "true");
    remote.git(&["config", "http.receivepack", "false"]);
    let error = writer.unreachable(&records(&["a"]));
    assert!(error.contains("not authorised") && error.contains("whether they may push"), "{error}");
    let wrong = Writer::new(remote.access("inc0rrect"), None, Duration::from_secs(20));
    let error = wrong.unreachable(&records(&["a"]));
    assert!(error.contains("wrong name or password; check its credentials"), "{error}");
    assert!(!error.contains("inc0rrect"), "{error}");
    remote.git(&["config", "--unset", "http.receivepack"]);
    assert_eq!(writer.append(&records(&["a"])).sequence, 1);
}

#[test]
fn others_who_are_always_faster_and_dead_servers_are_left_when_the_time_is_up() {
    let remote = Remote::new();
    let other = Writer::local(&remote.world);
    for n in 0..40 {
        other.append(&records(&[&format!("other-{n}")]));
    }
    let branch = format!("refs/heads/{BRANCH}");
    remote.git(&["update-ref", "refs/heads/kept", BRANCH]);
    let first = remote.git(&["rev-list", "--max-parents=0", BRANCH]);
    remote.git(&["update-ref", &branch, &first]);
    let writer = Writer::new(remote.access(PASSWORD), None, Duration::from_secs(3));
    writer.append(&records(&["other-0"]));
    // Each push finds that one of the others' is there since it looked.
    remote.hook(
        "pre-receive",
        &format!(
            "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n\
             git update-ref {branch} $(git rev-list --reverse {branch}..kept | head -1)"
        ),
    );
    let error = writer.unreachable(&records(&["late"]));
    assert!(error.contains("others were faster at each of") || error.contains("the time was up"), "{error}");
    assert!(remote.git(&["rev-list", "--count", BRANCH]).parse::<u32>().unwrap() >= 2);
    *remote.server.faults.hang.lock().unwrap() = true;
    let error = writer.unreachable(&records(&["late"]));
    assert!(error.contains("the time was up"), "{error}");
}

/// What one of two writers appends: numbers of records, of which some are of the new year.
fn turns() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    prop::collection::vec((0..2_usize, prop::collection::vec(0..24_u8, 0..4)), 0..10)
}

fn numbered(number: u8) -> Record {
    // Those of the new year are rare at first.
    if number < 20 { old(&format!("r{number}")) } else { record(&format!("r{number}")) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_turns_of_two_writers_give_one_chain_with_every_record_once(turns in turns()) {
        let world = World::new();
        let writers = [Writer::local(&world), Writer::local(&world)];
        let mut told = Vec::new();
        for (writer, numbers) in &turns {
            let batch: Vec<_> = numbers.iter().map(|number| numbered(*number)).collect();
            writers[*writer].ledger.append(&batch).unwrap();
            told.extend(batch.into_iter().map(|record| record.id));
        }
        // Each once, in the order in which it was told first.
        let mut expected: Vec<String> = Vec::new();
        for id in told {
            if !expected.contains(&id) {
                expected.push(id);
            }
        }
        for reader in [&writers[0], &writers[1], &Writer::local(&world)] {
            let found: Vec<_> = reader.ids().into_iter().filter(|id| !id.starts_with("ledger-sealed")).collect();
            prop_assert_eq!(&found, &expected);
        }
    }
}

/// At the same time, and not only in turns.
#[test]
fn two_writers_at_once_over_a_new_year_give_one_chain() {
    for seed in 0..4 {
        let world = Arc::new(World::new());
        let threads: Vec<_> = (0..2_u64)
            .map(|writer| {
                let world = Arc::clone(&world);
                std::thread::spawn(move || {
                    let own = Writer::local(&world);
                    let mut rng = Rng::new(seed * 2 + writer);
                    for turn in 0..8 {
                        let shared =
                            if turn < 4 { old(&format!("s{turn}")) } else { record(&format!("s{turn}")) };
                        let own_id = format!("w{writer}-{turn}");
                        let own_record = if rng.below(8) < turn { record(&own_id) } else { old(&own_id) };
                        own.append(&[own_record, shared]);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let ids = Writer::local(&world).ids();
        let sealed = ids.iter().filter(|id| id.starts_with("ledger-sealed")).count();
        assert_eq!((ids.len(), sealed), (25, 1), "seed {seed}: {ids:?}");
    }
}
