//! A ledger on a branch beside the reverts that it names, and each way of tampering with either.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use lastgood::act::git::ledger::{GitLedger, Reach};
use lastgood::act::git::{Access, Identity};
use lastgood::record::ledger::{Head, Ledger as _, Link, Record};
use serde_json::json;

use super::fixture::{chain, record, text, verify};
use super::git_http::{GitServer, PASSWORD, USER};
use super::git_repo::{World, git, run};

const BRANCH: &str = "lastgood/ledger/test/2026";

/// A repository with an application, a bad commit, its revert, and the ledger that tells of it.
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) records: Vec<Record>,
    pub(crate) bad: String,
    pub(crate) revert: String,
    /// The settings by which `git commit` signs.
    signing: Vec<String>,
    /// The time of commits.
    time: String,
    /// A working tree of the ledger's branch.
    ledger: PathBuf,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self::signed(&[])
    }

    /// The same with commits that are signed.
    pub(crate) fn signed(signing: &[String]) -> Self {
        Self::signed_at(signing, "2026-02-01T00:00:00Z")
    }

    /// The same with commits of this time.
    fn signed_at(signing: &[String], time: &str) -> Self {
        let world = World::new();
        world.change("shop/values.yaml", "replicas: 3\n");
        let bad = world.change("shop/values.yaml", "replicas: 0\n");
        let ledger = world.dir.path().join("ledger");
        git(world.dir.path(), &["init", "-q", "--template=", "-b", BRANCH, text(&ledger)]);
        let (records, signing, time) = (Vec::new(), signing.to_vec(), time.to_owned());
        let mut story = Self { world, records, bad, revert: String::new(), signing, time, ledger };
        let mut intent = story.record("c-intended", 31, "RevertIntended");
        intent.rollback = Some("shop@1".into());
        let hash = intent.hash().unwrap().to_string();
        story.revert = story.push_revert("shop@1", &hash);
        let mut pushed = story.record("d-pushed", 40, "RevertPushed");
        pushed.rollback = Some("shop@1".into());
        pushed.detail = story.detail();
        let healthy = record("a-healthy", 0, "Healthy", "all is well");
        let records = [healthy, record("b-degraded", 30, "Degraded", "it is not"), intent, pushed];
        story.append(&records[..1]);
        story.append(&records[1..]);
        story
    }

    /// Another one with the same past: made much faster.
    fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let from = format!("{}/.", text(self.world.dir.path()));
        assert!(Command::new("cp").args(["-a", &from, text(dir.path())]).status().unwrap().success());
        let path = |name: &str| dir.path().join(name);
        let (bare, work, ledger) = (path("repo.git"), path("work"), path("ledger"));
        let (records, bad, revert) = (self.records.clone(), self.bad.clone(), self.revert.clone());
        let (signing, time) = (self.signing.clone(), self.time.clone());
        Self { world: World { dir, bare, work }, records, bad, revert, signing, time, ledger }
    }

    fn record(&self, id: &str, seconds: i64, reason: &str) -> Record {
        record(id, seconds, reason, &format!("{reason} because of {}", self.bad))
    }

    /// What the record of the push tells.
    pub(crate) fn detail(&self) -> serde_json::Value {
        let seconds = git(&self.world.work, &["log", "-1", "--format=%at", &self.bad]);
        let part = json!({
            "repoUrl": "https://git.example.org/shop.git",
            "branch": "main",
            "sources": [0],
            "bad": self.bad,
            "revert": self.revert,
            "culprits": [{
                "revision": self.bad,
                "author": "Ann <ann@example.org>",
                "authoredAt": Timestamp::from_second(seconds.parse().unwrap()).unwrap(),
                "subject": "change shop/values.yaml",
            }],
            "files": ["shop/values.yaml"],
            "quarantine": "",
            "notes": [],
            "attempts": 1,
        });
        json!({ "record": { "parts": [part], "touches": [] }, "already": false })
    }

    fn commit(&self, folder: &std::path::Path, message: &str, date: &str) -> String {
        let output = Command::new("git")
            .current_dir(folder)
            .args(self.signing.iter().flat_map(|setting| ["-c", setting]))
            .args(["commit", "-q", "--allow-empty", "-m", message])
            .args((!self.signing.is_empty()).then_some("-S"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "lastgood")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "lastgood@example.org")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_DATE"), date)))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        git(folder, &["rev-parse", "HEAD"])
    }

    /// Reverts on `main`, as the daemon does.
    pub(crate) fn push_revert(&self, rollback: &str, hash: &str) -> String {
        self.world.write("shop/values.yaml", format!("replicas: 3\n# {rollback}\n"));
        git(&self.world.work, &["add", "-A"]);
        let message = format!(
            "Revert \"change shop/values.yaml\"\n\nThis reverts commit {bad}.\n\nLastgood-Application: argocd/shop\n\
             Lastgood-Cluster: test\nLastgood-Bad: {bad}\nLastgood-Rollback: {rollback}\nLastgood-Record: {hash}",
            bad = self.bad
        );
        let id = self.commit(&self.world.work, &message, &self.time);
        self.push();
        id
    }

    /// Pushes what is checked out to `main`.
    fn push(&self) {
        git(&self.world.work, &["push", "-q", "--force", "../repo.git", "HEAD:refs/heads/main"]);
    }

    /// Pushes the ledger to its branch.
    fn push_ledger(&self, from: &str, branch: &str) {
        git(&self.ledger, &["push", "-q", "--force", "../repo.git", &format!("{from}:refs/heads/{branch}")]);
    }

    /// Adds records by one commit, and pushes it.
    pub(crate) fn append(&mut self, new: &[Record]) {
        let first = self.records.len();
        self.records.extend(new.iter().cloned());
        let links = chain(&self.records);
        self.add(&links[first..]);
    }

    /// Adds links by one commit, and pushes it.
    pub(crate) fn add(&self, links: &[Link]) {
        for link in links {
            super::fixture::write(&self.ledger, link);
        }
        let head = links.last().unwrap().head().unwrap();
        self.commit_ledger(&message(links[0].sequence, &head));
    }

    fn commit_ledger(&self, message: &str) {
        git(&self.ledger, &["add", "-A"]);
        self.commit(&self.ledger, message, &self.time);
        self.push_ledger("HEAD", BRANCH);
    }

    /// Begins the branch of the ledger anew, with these records.
    pub(crate) fn rewrite(&mut self, records: &[Record]) {
        git(&self.ledger, &["update-ref", "-d", "HEAD"]);
        git(&self.ledger, &["rm", "-q", "-r", "-f", "."]);
        self.records = Vec::new();
        self.append(records);
    }

    pub(crate) fn verify(&self, args: &[&str]) -> (Option<i32>, Vec<String>) {
        verify(&[&["--repo", text(&self.world.bare)], args].concat())
    }
}

fn message(first: u64, head: &Head) -> String {
    format!(
        "{} records\n\nLastgood-Ledger: {first}-{} {}",
        head.sequence - first + 1,
        head.sequence,
        head.hash
    )
}

/// What somebody does.
type Deed = fn(&mut Story);

/// The code of a finding, and what its sentence contains.
type Expected = (&'static str, &'static str);

/// The deed, and what is found.
const DEEDS: &[(&str, Deed, &[Expected])] = &[
    ("nothing", |_| {}, &[]),
    (
        "a record is changed in place",
        |story| {
            let file = story.ledger.join("2026/01/31/b-degraded.json");
            let old = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, old.replace("it is not", "it was Ann")).unwrap();
            story.commit_ledger("tidy up");
        },
        &[
            ("chain-broken", "2026/01/31/b-degraded.json has"),
            ("file-changed", "it changes 2026/01/31/b-degraded.json"),
        ],
    ),
    (
        "a record is removed",
        |story| {
            std::fs::remove_file(story.ledger.join("2026/01/31/b-degraded.json")).unwrap();
            story.commit_ledger("tidy up");
        },
        &[
            ("records-missing", "record 2 is missing"),
            ("wrong-trailer", "says `2-4 sha256:"),
            ("file-removed", "it removes 2026/01/31/b-degraded.json"),
        ],
    ),
    (
        "a file is added that is no record",
        |story| {
            std::fs::write(story.ledger.join("notes.txt"), "hello").unwrap();
            story.commit_ledger("notes");
        },
        &[("stray-file", "it adds notes.txt")],
    ),
    (
        "a record is added by hand, without saying so",
        |story| {
            let mut records = story.records.clone();
            records.push(record("e-live", 50, "RevertLive", "it is live"));
            super::fixture::write(&story.ledger, &chain(&records)[4]);
            story.commit_ledger("one more");
        },
        &[("wrong-trailer", "it says nothing, and adds 5-5 sha256:")],
    ),
    (
        "a record of the future is added",
        |story| story.append(&[record("e-live", 3600, "RevertLive", "it is live")]),
        &[("written-before", "it is of 2026-02-01T00:59:00Z")],
    ),
    (
        "the newest commit is cut off",
        |story| {
            git(&story.ledger, &["reset", "-q", "--hard", "HEAD~1"]);
            story.push_ledger("HEAD", BRANCH);
        },
        &[
            ("revert-unrecorded", "the rollback shop@1"),
            ("record-unknown", "no record of cluster test has this hash"),
        ],
    ),
    (
        "the branch is written anew with another reason for the rollback",
        |story| {
            let mut records = story.records.clone();
            records[2].sentence = "reverting since Ann broke it".into();
            story.rewrite(&records);
        },
        &[("record-unknown", "no record of cluster test has this hash")],
    ),
    (
        "the branch is written anew without the rollback",
        |story| story.rewrite(&story.records.clone()[..2]),
        &[("record-unknown", "no record of cluster test"), ("revert-unrecorded", "the rollback shop@1")],
    ),
    (
        "the ledger says that somebody else was the culprit",
        |story| {
            let mut records = story.records.clone();
            records[3].detail["record"]["parts"][0]["culprits"][0]["author"] = "Bob <bob@example.org>".into();
            story.rewrite(&records);
        },
        &[("commit-differs", "its author is Ann <ann@example.org> and not Bob <bob@example.org>")],
    ),
    (
        "the ledger says that other files were changed",
        |story| {
            let mut records = story.records.clone();
            records[3].detail["record"]["parts"][0]["files"] =
                json!(["shop/values.yaml", "shop/secret.yaml"]);
            story.rewrite(&records);
        },
        &[("commit-differs", "it does not change shop/secret.yaml")],
    ),
    (
        "a revert is invented in the ledger",
        |story| {
            let mut records = story.records.clone();
            records[3].detail["record"]["parts"][0]["revert"] = "1".repeat(40).into();
            story.rewrite(&records);
        },
        &[("commit-missing", "was pushed to `main`"), ("revert-unrecorded", "the rollback shop@1")],
    ),
    (
        "the revert is removed from its branch",
        |story| {
            git(&story.world.work, &["reset", "-q", "--hard", "HEAD~1"]);
            story.push();
        },
        &[("commit-off-branch", "says that it is on `main`")],
    ),
    (
        "a commit pretends to be a rollback of the daemon",
        |story| {
            story.push_revert("shop@2", &format!("sha256:{}", "0".repeat(64)));
        },
        &[("record-unknown", "no record of cluster test has this hash"), ("revert-unrecorded", "shop@2")],
    ),
    (
        "a commit pretends to be a rollback, with the hash of another one",
        |story| {
            let hash = story.records[2].hash().unwrap().to_string();
            story.push_revert("shop@2", &hash);
        },
        &[
            ("record-unknown", "which is of the rollback shop@1 and not of shop@2"),
            ("revert-unrecorded", "shop@2"),
        ],
    ),
    (
        "a commit pretends to be the same rollback once more",
        |story| {
            let hash = story.records[2].hash().unwrap().to_string();
            story.push_revert("shop@1", &hash);
        },
        &[("revert-unrecorded", "the rollback shop@1 of cluster test")],
    ),
    (
        "a second history is merged in",
        |story| {
            let tree = git(&story.ledger, &["rev-parse", "HEAD^{tree}"]);
            let other = git(&story.ledger, &["commit-tree", "-m", "other", &tree]);
            let both = git(&story.ledger, &["commit-tree", "-m", "both", "-p", "HEAD", "-p", &other, &tree]);
            story.push_ledger(&both, BRANCH);
        },
        &[
            ("not-linear", "no commit before it"),
            ("wrong-trailer", "says nothing"),
            ("not-linear", "it merges 2"),
        ],
    ),
];

#[test]
fn each_deed_is_found_and_named() {
    let untouched = Story::new();
    for (what, deed, expected) in DEEDS {
        let mut story = untouched.copy();
        deed(&mut story);
        let (code, mut found) = story.verify(&[]);
        for (code, contains) in *expected {
            let at = found.iter().position(|f| f.starts_with(&format!("{code} ")) && f.contains(contains));
            let at = at.unwrap_or_else(|| panic!("{what}: no {code} with `{contains}`: {found:#?}"));
            found.remove(at);
        }
        assert!(found.is_empty(), "{what}: {found:#?}");
        assert_eq!(code, Some(i32::from(!expected.is_empty())), "{what}");
    }
}

#[test]
fn a_ledger_that_is_gone_is_missed_by_who_remembers_it() {
    let story = Story::new();
    let head = super::fixture::head(&story.records);
    assert_eq!(story.verify(&["--remembered", &head]), (Some(0), Vec::new()));
    let other = head.replace("test", "other");
    let (code, found) = story.verify(&["--remembered", &other]);
    assert!(code == Some(1) && found[0].starts_with("truncated other: it ends with record 0"), "{found:?}");
}

#[test]
fn commits_of_repositories_that_were_not_given_are_not_said_to_be_good() {
    let story = Story::new();
    let folder = super::fixture::folder(&story.records);
    let ledger = ["--ledger", text(folder.path())];
    let (code, out, _) = super::fixture::audit(&[&["verify"], ledger.as_slice()].concat());
    assert_eq!(code, Some(2), "{out}");
    assert!(
        out.contains("not checked: 2 commits in https://git.example.org/shop.git, which was not given"),
        "{out}"
    );
    assert_eq!(verify(&[ledger.as_slice(), &["--chain-only"]].concat()), (Some(0), Vec::new()));
    let with = [ledger.as_slice(), &["--reverts-in", text(&story.world.work)]].concat();
    assert_eq!(verify(&with), (Some(0), Vec::new()));
}

#[test]
fn a_clone_is_as_good_as_the_repository() {
    let story = Story::new();
    let clone = story.world.dir.path().join("clone");
    git(story.world.dir.path(), &["clone", "-q", text(&story.world.bare), text(&clone)]);
    assert_eq!(verify(&["--repo", text(&clone)]), (Some(0), Vec::new()));
    let (code, out, _) = super::fixture::audit(&["list", "--repo", text(&clone)]);
    assert_eq!((code, out.lines().count()), (Some(0), 4), "{out}");
}

#[test]
fn a_year_goes_on_from_the_one_before() {
    let story = Story::new();
    let mut records = story.records.clone();
    records.push(record("e-live", 50, "RevertLive", "it is live"));
    let link = &chain(&records)[4];
    git(&story.ledger, &["checkout", "-q", "--orphan", "lastgood/ledger/test/2027"]);
    git(&story.ledger, &["rm", "-q", "-r", "-f", "."]);
    super::fixture::write(&story.ledger, link);
    git(&story.ledger, &["add", "-A"]);
    story.commit(&story.ledger, &message(5, &link.head().unwrap()), "2026-02-01T00:00:00Z");
    story.push_ledger("HEAD", "lastgood/ledger/test/2027");
    assert_eq!(story.verify(&[]), (Some(0), Vec::new()));
    git(&story.world.bare, &["branch", "-q", "-D", BRANCH]);
    let (code, found) = story.verify(&[]);
    assert!(code == Some(1) && found[0].contains("it begins with record 5"), "{found:?}");
}

#[test]
fn reverts_that_the_ledger_cannot_know_are_counted() {
    let story = Story::new();
    let commit = |trailers: &str, date| {
        let message = format!("Revert \"x\"\n\nThis reverts commit {}.\n\n{trailers}", story.bad);
        story.commit(&story.world.work, &message, date);
        story.push();
    };
    let (before, after) = ("2026-01-30T00:00:00Z", "2026-02-01T00:00:00Z");
    commit("Lastgood-Cluster: test\nLastgood-Rollback: shop@0", before);
    commit("Lastgood-Cluster: other\nLastgood-Rollback: shop@1", after);
    commit("Lastgood-Rollback: by-ann", after);
    let repo = ["verify", "--repo", text(&story.world.bare)];
    let (code, out, _) = super::fixture::audit(&repo);
    let expected =
        "1 revert with its record, 1 from before the ledger, 1 of clusters whose ledger was not read";
    assert!(code == Some(0) && out.contains(expected), "{out}");
    commit("Lastgood-Cluster: test\nLastgood-Rollback: shop@3", after);
    let (code, found) = story.verify(&[]);
    assert!(code == Some(1) && found.len() == 2, "{found:?}");
    assert!(
        found[0].starts_with("no-record-trailer") && found[1].starts_with("revert-unrecorded"),
        "{found:?}"
    );
    assert_eq!(story.verify(&["--since", "2026-02-01T00:00:01Z"]), (Some(0), Vec::new()));
}

#[test]
fn a_url_is_as_good_as_a_folder() {
    let mut story = Story::new();
    // The server needs the TLS provider too.
    lastgood::act::git::Git::init().unwrap();
    let server = GitServer::start(story.world.dir.path());
    let verify = |password: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_lastgood"));
        program.args(["audit", "verify", "--repo", &server.url("repo.git")]).env_clear();
        program.env("LASTGOOD_GIT_USERNAME", USER).env("LASTGOOD_GIT_PASSWORD", password);
        let output = program.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!text.contains(PASSWORD), "{text}");
        (output.status.code(), text)
    };
    let (code, text) = verify(PASSWORD);
    assert!(code == Some(0) && text.contains("1 revert with its record\nnothing is wrong"), "{text}");
    let (code, text) = verify("wrong");
    assert!(code == Some(2) && text.contains("error: cannot verify: not authorised at"), "{text}");
    story.rewrite(&story.records.clone()[..2]);
    let (code, text) = verify(PASSWORD);
    assert!(code == Some(1) && text.contains("record-unknown: commit "), "{text}");
}

#[test]
fn a_commit_by_another_openpgp_key_is_found() {
    let home = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir()
        .unwrap();
    let gpg = |args: &[&str]| {
        Command::new("gpg").env("GNUPGHOME", home.path()).args(["--batch", "--yes"]).args(args).output()
    };
    if gpg(&["--version"]).is_err() {
        eprintln!("skipped: no gpg");
        return;
    }
    let make = |user: &str| {
        let made =
            gpg(&["--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never"]).unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let keyring = home.path().join(format!("{user}.asc"));
        std::fs::write(&keyring, gpg(&["--armor", "--export", user]).unwrap().stdout).unwrap();
        keyring
    };
    let program = home.path().join("gpg.sh");
    std::fs::write(&program, format!("#!/bin/sh\nGNUPGHOME={} exec gpg \"$@\"\n", text(home.path())))
        .unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let settings =
        |user: &str| [format!("gpg.program={}", text(&program)), format!("user.signingkey={user}")].to_vec();
    let (one, _other) = (make("one@example.org"), make("other@example.org"));
    let now = Timestamp::now().to_string();

    let mut story = Story::signed_at(&settings("one@example.org"), &now);
    let verify = |story: &Story| story.verify(&["--keyring", text(&one)]);
    assert_eq!(verify(&story), (Some(0), Vec::new()));
    story.signing = settings("other@example.org");
    story.append(&[record("e-live", 50, "RevertLive", "it is live")]);
    let (code, found) = verify(&story);
    assert!(code == Some(1) && found.len() == 1, "{found:?}");
    assert!(
        found[0].starts_with("wrong-signature") && found[0].ends_with("which is not trusted"),
        "{found:?}"
    );
    // A key cannot have signed what is older than it.
    let old = Story::signed(&settings("one@example.org"));
    let (_, found) = verify(&old);
    assert!(found.len() == 3 && found[0].ends_with("was made after this commit"), "{found:?}");
    drop(gpg(&["--version"]).and_then(|_| {
        Command::new("gpgconf").env("GNUPGHOME", home.path()).args(["--kill", "all"]).output()
    }));
}

#[test]
fn what_the_daemon_writes_is_good_and_nothing_may_follow_the_end_of_a_year() {
    let world = World::new();
    world.change("shop/values.yaml", "replicas: 3\n");
    let copy = tempfile::tempdir().unwrap();
    let access = Access::new(&world.file_url());
    let reach: Box<Reach> = Box::new(move || {
        let (name, email) = ("lastgood".to_owned(), "lastgood@example.org".to_owned());
        Ok((access.clone(), Identity { name, email, signer: None }))
    });
    // A cluster's name that no branch can have.
    let cluster = "arn:aws:eks:eu:1:cluster/a";
    let timeout = Duration::from_secs(60);
    let ledger = GitLedger::new(copy.path(), &world.file_url(), cluster, timeout, reach).unwrap();
    let of = |id: &str, days: i64| {
        let record = record(id, -days * 86_400, "Healthy", "all is well");
        Record { cluster: cluster.into(), ..record }
    };
    ledger.append(&[of("a", 60), of("b", 59)]).unwrap();
    ledger.append(&[of("c", 58)]).unwrap();
    let repo = ["--repo", text(&world.bare)];
    assert_eq!(verify(&repo), (Some(0), Vec::new()));
    ledger.append(&[of("d", 2), of("e", 1)]).unwrap();
    let (code, out, _) = super::fixture::audit(&[&["verify"], repo.as_slice()].concat());
    assert!(code == Some(0) && out.contains("6 records of cluster arn:aws:eks:eu:1:cluster/a\n"), "{out}");

    let old = "lastgood/ledger/arn%3Aaws%3Aeks%3Aeu%3A1%3Acluster%2Fa/2025";
    let tree = git(&world.bare, &["rev-parse", &format!("{old}^{{tree}}")]);
    let more = git(&world.bare, &["commit-tree", "-m", "one more", "-p", old, &tree]);
    git(&world.bare, &["update-ref", &format!("refs/heads/{old}"), &more]);
    let (code, found) = verify(&repo);
    assert!(code == Some(1) && found.len() == 1, "{found:?}");
    assert!(
        found[0].contains("not-linear") && found[0].ends_with("the commit that ended the branch"),
        "{found:?}"
    );
}

/// A key of `ssh-keygen`, and the settings by which git signs with it.
fn ssh_key(folder: &std::path::Path, name: &str, kind: &[&str]) -> (String, Vec<String>) {
    let file = folder.join(name);
    let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-f", text(&file), "-t"]).args(kind).status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
    let settings = ["gpg.format=ssh".to_owned(), format!("user.signingkey={}", text(&file))];
    (format!("lastgood@example.org namespaces=\"git\" {public}"), settings.to_vec())
}

#[test]
fn a_commit_by_another_key_is_found() {
    let keys = tempfile::tempdir().unwrap();
    for (name, kind) in
        [("ed25519", &["ed25519"][..]), ("rsa", &["rsa", "-b", "2048"]), ("ecdsa", &["ecdsa"])]
    {
        let (signer, settings) = ssh_key(keys.path(), name, kind);
        let allowed = keys.path().join("allowed");
        std::fs::write(&allowed, signer).unwrap();
        let mut story = Story::signed(&settings);
        let verify = |story: &Story| story.verify(&["--allowed-signers", text(&allowed)]);
        assert_eq!(verify(&story), (Some(0), Vec::new()), "{name}");

        story.signing = ssh_key(keys.path(), &format!("{name}-other"), kind).1;
        story.append(&[record("e-live", 50, "RevertLive", "it is live")]);
        let (code, found) = verify(&story);
        assert!(code == Some(1) && found.len() == 1, "{name}: {found:?}");
        assert!(
            found[0].starts_with("wrong-signature") && found[0].ends_with("which is not trusted"),
            "{found:?}"
        );

        story.signing = Vec::new();
        story.append(&[record("f-recovered", 55, "Recovered", "it is well")]);
        let (_, found) = verify(&story);
        assert!(found.len() == 2 && found[1].starts_with("unsigned"), "{name}: {found:?}");
    }
}

#[test]
fn a_commit_that_was_changed_after_it_was_signed_is_found() {
    let keys = tempfile::tempdir().unwrap();
    let (signer, settings) = ssh_key(keys.path(), "key", &["ed25519"]);
    let allowed = keys.path().join("allowed");
    std::fs::write(&allowed, signer).unwrap();
    let story = Story::signed(&settings);
    let commit = String::from_utf8(run(&story.world.bare, &["cat-file", "commit", BRANCH]).stdout).unwrap();
    let file = keys.path().join("commit");
    std::fs::write(&file, commit.replace("3 records", "4 records")).unwrap();
    let id = git(&story.world.bare, &["hash-object", "-t", "commit", "-w", text(&file)]);
    git(&story.world.bare, &["update-ref", &format!("refs/heads/{BRANCH}"), &id]);
    let (code, found) = story.verify(&["--allowed-signers", text(&allowed)]);
    assert!(code == Some(1) && found.len() == 1, "{found:?}");
    assert!(
        found[0].starts_with("wrong-signature") && found[0].ends_with("is not one of this commit"),
        "{found:?}"
    );
}
