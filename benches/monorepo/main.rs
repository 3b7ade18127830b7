//! A revert in a large monorepo, beside what `git` itself takes for the same in the same run.
//!
//! `cargo bench --bench monorepo` prints; nothing fails by being slow. The repositories stay in `target/monorepo`, since
//! making the large one takes a while. What is measured for memory runs in a process of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    reason = "a benchmark prints, and may fail"
)]

mod generate;
#[allow(dead_code, reason = "nothing goes wrong here")]
#[path = "../../tests/support/git_http.rs"]
mod git_http;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use generate::{APP, Monorepo, Size, git};
use git_http::{GitServer, PASSWORD, USER};
use git2::{Oid, Repository, Signature};
use jiff::Timestamp;
use lastgood::act::git::footprint::follow;
use lastgood::act::git::never::Never;
use lastgood::act::git::plan::{Found, OnConflict, Request, Rollback, plan};
use lastgood::act::git::{Access, Auth, Git, Identity, Secret};
use lastgood::engine::action::{Delivery, RelateOrder, RevertOrder, RevertOutcome, RevertPart};
use lastgood::engine::facts::{AppKey, Rendering, Revision};
use lastgood::engine::policy::RevertRules;

/// A repository of a team, and one of a whole company.
const SIZES: [Size; 2] = [Size { files: 5_000, commits: 2_500 }, Size { files: 100_000, commits: 50_000 }];

/// Time for a step that nobody waits for.
const PLENTY: Duration = Duration::from_secs(600);

fn main() {
    Git::init().unwrap();
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [_, "child", "nothing"] => {}
        [_, "child", "plan", copy, good, bad, tip] => {
            planned(Path::new(copy), [good, bad, tip].map(|id| Oid::from_str(id).unwrap()));
        }
        [_, "child", "fetch", cache, url, good, bad] => fetch(Path::new(cache), url, good, bad),
        [_, "child", "revert", cache, url, good, bad] => revert(&daemon(Path::new(cache)), url, good, bad),
        _ => SIZES.into_iter().for_each(measure),
    }
    if args.get(1) == Some(&"child") {
        println!("{}", peak_kib());
    }
}

/// The most memory that this process has had at once.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Does one step in a process of its own; its peak of memory in MB, and the time that it took.
fn child(args: &[&str]) -> (f64, Duration) {
    let began = Instant::now();
    let output = Command::new(std::env::current_exe().unwrap()).arg("child").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let kib: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    (f64::from(kib) / 1024.0, began.elapsed())
}

fn median(runs: usize, mut run: impl FnMut() -> Duration) -> Duration {
    let mut took: Vec<_> = (0..runs).map(|_| run()).collect();
    took.sort_unstable();
    took[took.len() / 2]
}

fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    drop(std::hint::black_box(run()));
    began.elapsed()
}

fn line(what: &str, took: Duration) {
    println!("  {what:<58} {:>10.2} ms", took.as_secs_f64() * 1e3);
}

fn memory(what: &str, mb: f64) {
    println!("  {what:<58} {mb:>10.1} MB");
}

fn measure(size: Size) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/monorepo");
    let began = Instant::now();
    let mono = Monorepo::open(&dir, size);
    println!(
        "{} files, {} commits (opened in {:.1} s)",
        size.files,
        size.commits,
        began.elapsed().as_secs_f64()
    );
    let server = GitServer::start(&dir);
    let url = server.url(mono.bare.file_name().unwrap().to_str().unwrap());
    let cache = tempfile::tempdir_in(&dir).unwrap();
    let cache = cache.path();

    memory("memory of the program, doing nothing", child(&["nothing"]).0);
    let [good, bad] = [mono.good, mono.bad].map(|id| id.to_string());
    let (mb, took) = child(&["fetch", cache.to_str().unwrap(), &url, &good, &bad]);
    line("the first fetch, of everything", took);
    memory("  its memory", mb);
    let copy = std::fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();

    plans(&mono, &copy);
    whole(&mono, cache, &url, &dir);
    println!();
}

/// A plan from a copy that is there, and git's revert in a working tree.
fn plans(mono: &Monorepo, copy: &Path) {
    let work = mono.bare.with_extension("work");
    if !work.join(".git").exists() {
        drop(std::fs::remove_dir_all(&work));
        git(&mono.bare, &["worktree", "prune"]);
        git(
            &mono.bare,
            &["worktree", "add", "-q", "--detach", work.to_str().unwrap(), &mono.tip.to_string()],
        );
    }
    let gits = |bad: Oid| {
        median(3, || {
            git(&work, &["reset", "-q", "--hard", &mono.tip.to_string()]);
            timed(|| git(&work, &["revert", "--no-edit", &bad.to_string()]))
        })
    };
    let of_work = |path: &str| git(&work, &["rev-parse", &format!("HEAD:{path}")]);
    for (what, good, bad) in [
        ("a plan: last good 20 commits ago, tip 20 ahead", mono.good, mono.bad),
        ("a plan: last good half of the history ago", mono.old_bad, mono.bad),
        ("a plan: tip half of the history ahead", mono.old_good, mono.old_bad),
    ] {
        let commits = [good, bad, mono.tip];
        let took = median(9, || timed(|| planned(copy, commits)));
        line(what, took);
        let args = commits.map(|id| id.to_string());
        memory("  its memory", child(&["plan", copy.to_str().unwrap(), &args[0], &args[1], &args[2]]).0);
        let theirs = gits(bad);
        let tree = planned(copy, commits);
        assert_eq!(tree.to_string(), of_work(""), "both undo the same");
        line("  git revert in a working tree of the same repository", theirs);
        println!("  {:<58} {:>10.0} times", "  faster", theirs.as_secs_f64() / took.as_secs_f64());
    }
}

/// Plans as after a start: a repository that is opened for it, and the footprint found in it.
fn planned(copy: &Path, [good, bad, tip]: [Oid; 3]) -> Oid {
    let repo = Repository::open_bare(copy).unwrap();
    let app = AppKey::new("argocd", "app-042");
    let followed = |commit: Oid| {
        let tree = repo.find_commit(commit).unwrap().tree_id();
        follow(&repo, tree, &[Rendering::plain(APP)]).unwrap()
    };
    let mut found = followed(bad);
    let at_bad = found.footprint().unwrap();
    found.unite(followed(good));
    let request = Request {
        good,
        bad,
        tip,
        branch: "main",
        footprint: &found.footprint().unwrap(),
        at_bad: &at_bad,
        rollback: Some(Rollback { id: "bench", app: &app, quarantine: &[] }),
        on_conflict: OnConflict::Hold,
        never: &Never::default(),
    };
    match plan(&repo, &request) {
        Ok(Found::Plan(plan)) => plan.tree,
        other => panic!("no plan: {other:?}"),
    }
}

fn daemon(cache: &Path) -> Git {
    Git::new(cache).unwrap()
}

fn access(url: &str) -> Access {
    let auth = Auth::Basic { username: USER.into(), password: Secret::new(PASSWORD) };
    Access { auth, ..Access::new(url) }
}

fn fetch(cache: &Path, url: &str, good: &str, bad: &str) {
    let order = RelateOrder {
        hydrated: None,
        repo_url: url.into(),
        project: "default".into(),
        target_revision: "main".into(),
        renderings: vec![Rendering::plain(APP)],
        ancestor: Revision::new(good),
        descendant: Revision::new(bad),
    };
    let relation = daemon(cache).relate(&order, &access(url), Instant::now() + PLENTY).unwrap();
    assert!(relation.descends);
}

fn revert(git: &Git, url: &str, good: &str, bad: &str) {
    let order = RevertOrder {
        rollback: format!("argocd/app-042@{}", &bad[..12]),
        app: AppKey::new("argocd", "app-042"),
        cluster: "bench".into(),
        project: "default".into(),
        parts: vec![RevertPart {
            repo_url: url.into(),
            target_revision: "main".into(),
            sources: vec![0],
            renderings: vec![Rendering::plain(APP)],
            definition: None,
            unchanged: Vec::new(),
            hydrated: None,
            no_fix: None,
            others: vec![],
            bad: Revision::new(bad),
            good: Revision::new(good),
        }],
        evidence: vec!["web: 2 of 2 pods in ImagePullBackOff.".into()],
        quarantine: vec![],
        rules: RevertRules::default(),
        mode: Delivery::Push,
        only_look: false,
        record: None,
    };
    let identity = Identity { name: "lastgood".into(), email: "lastgood@example.com".into(), signer: None };
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let outcome = git.revert(&order, &[access(url)], &identity, now, Instant::now() + PLENTY);
    assert!(matches!(outcome, RevertOutcome::Pushed(_)), "{outcome:?}");
}

/// One new commit on the server's branch: fetched, undone and pushed; and the same with git, without deciding anything.
fn whole(mono: &Monorepo, cache: &Path, url: &str, dir: &Path) {
    let server = Repository::open_bare(&mono.bare).unwrap();
    let mut number = 0;
    let mut develop = || {
        number += 1;
        developed(&server, number).map(|id| id.to_string())
    };
    let git_daemon = daemon(cache);
    let ours = median(5, || {
        let [good, bad] = develop();
        timed(|| revert(&git_daemon, url, &good, &bad))
    });
    line("one new commit fetched, undone and pushed, over HTTP", ours);
    let [good, bad] = develop();
    memory("  its memory", child(&["revert", cache.to_str().unwrap(), url, &good, &bad]).0);
    let clone = tempfile::tempdir_in(dir).unwrap();
    let (path, bare) = (clone.path().to_str().unwrap(), mono.bare.to_str().unwrap());
    git(dir, &["clone", "-q", "--bare", "--reference", bare, bare, path]);
    let login = format!("http.extraHeader=Authorization: Basic {}", basic());
    let mut fetches = Vec::new();
    let pushes = median(5, || {
        let [_, bad] = develop();
        fetches.push(timed(|| {
            git(clone.path(), &["-c", &login, "fetch", "-q", url, "main:refs/heads/new", "--force"])
        }));
        let tree = git(clone.path(), &["rev-parse", &format!("{good}^{{tree}}")]);
        let commit = git(clone.path(), &["commit-tree", "-p", &bad, "-m", "Revert", &tree]);
        timed(|| git(clone.path(), &["-c", &login, "push", "-q", url, &format!("{commit}:refs/heads/main")]))
    });
    fetches.sort_unstable();
    line("  git fetch of one commit", fetches[fetches.len() / 2]);
    line("  git push of one commit", pushes);
}

fn basic() -> String {
    let request = reqwest::Client::new().get("http://x").basic_auth(USER, Some(PASSWORD)).build().unwrap();
    let header = request.headers().get("authorization").unwrap().to_str().unwrap();
    header.trim_start_matches("Basic ").to_owned()
}

/// Commits a change of the application to the server's branch; the commit before it, and itself.
fn developed(server: &Repository, number: u32) -> [Oid; 2] {
    let old = server.refname_to_id("refs/heads/main").unwrap();
    let parent = server.find_commit(old).unwrap();
    let blob = server.blob(format!("replicas: {number}\n# {old}\n").as_bytes()).unwrap();
    let mut update = git2::build::TreeUpdateBuilder::new();
    update.upsert(format!("{APP}/0.yaml"), blob, git2::FileMode::Blob);
    let tree = update.create_updated(server, &parent.tree().unwrap()).unwrap();
    let tree = server.find_tree(tree).unwrap();
    let time = git2::Time::new(parent.time().seconds() + 1, 0);
    let author = Signature::new("Ann", "ann@example.com", &time).unwrap();
    let new = server.commit(Some("refs/heads/main"), &author, &author, "bad", &tree, &[&parent]).unwrap();
    [old, new]
}
