//! Makes a monorepo with the history of years, in seconds, and keeps it for the next run.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use git2::Oid;

/// Files of one application, and applications of one team.
const FILES_OF_APP: u32 = 10;
const APPS_OF_TEAM: u32 = 100;

/// The folder of the application that is reverted; nothing else in it is ever changed but by the commits in [`Monorepo`].
pub(crate) const APP: &str = "teams/team-000/app-042";

/// How large.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) files: u32,
    pub(crate) commits: u32,
}

/// A bare repository as a forge would have it: one pack, a commit graph, packed references.
pub(crate) struct Monorepo {
    pub(crate) bare: PathBuf,
    /// The branch's tip.
    pub(crate) tip: Oid,
    /// A commit that changed [`APP`] shortly before the tip.
    pub(crate) bad: Oid,
    /// A few commits before it.
    pub(crate) good: Oid,
    /// The change of [`APP`] before that one: half of the history ago.
    pub(crate) old_bad: Oid,
    /// A few commits before that.
    pub(crate) old_good: Oid,
}

/// Commits between good and bad, and between bad and the tip.
const NEAR: u32 = 20;

impl Monorepo {
    /// The repository under `dir`; made if no earlier run left it there.
    pub(crate) fn open(dir: &Path, size: Size) -> Self {
        let bare = dir.join(format!("files-{}-commits-{}.git", size.files, size.commits));
        let marks = bare.join("bench-marks");
        if !marks.exists() {
            drop(fs::remove_dir_all(&bare));
            fs::create_dir_all(dir).unwrap();
            make(&bare, size);
        }
        let marks = fs::read_to_string(&marks).unwrap();
        let commit = |number: u32| {
            let line = marks.lines().find_map(|line| line.strip_prefix(&format!(":{number} ")));
            Oid::from_str(line.unwrap()).unwrap()
        };
        let (bad, old_bad) = (size.commits - NEAR, size.commits / 2);
        let monorepo = Self {
            bare,
            tip: commit(size.commits),
            bad: commit(bad),
            good: commit(bad - NEAR),
            old_bad: commit(old_bad),
            old_good: commit(old_bad - NEAR),
        };
        // Whatever an earlier run pushed.
        git(&monorepo.bare, &["update-ref", "refs/heads/main", &monorepo.tip.to_string()]);
        monorepo
    }
}

fn make(bare: &Path, size: Size) {
    let path = bare.to_str().unwrap();
    git(Path::new("/"), &["init", "-q", "--bare", "-b", "main", path]);
    git(bare, &["config", "http.receivepack", "true"]);
    let marks = format!("--export-marks={path}/marks");
    let mut import = Command::new("git")
        .args(["-C", path, "fast-import", "--quiet", "--depth=50", &marks])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufWriter::new(import.stdin.take().unwrap());
    for number in 1..=size.commits {
        out.write_all(commit(number, size).as_bytes()).unwrap();
    }
    out.flush().unwrap();
    drop(out);
    assert!(import.wait().unwrap().success());
    git(bare, &["repack", "-a", "-d", "-q"]);
    git(bare, &["pack-refs", "--all"]);
    git(bare, &["commit-graph", "write", "--reachable", "--no-progress"]);
    fs::rename(bare.join("marks"), bare.join("bench-marks")).unwrap();
}

/// One commit for `git fast-import`: the first brings all files, each other one changes one file.
fn commit(number: u32, size: Size) -> String {
    let message = format!("change {number}\n");
    let time = 1_600_000_000 + u64::from(number) * 600;
    let mut text = format!(
        "commit refs/heads/main\nmark :{number}\ncommitter Ann <ann@example.com> {time} +0000\ndata {}\n{message}",
        message.len()
    );
    let mut put = |app: &str, file: u32, version: u32| {
        let name = app.rsplit('/').next().unwrap_or(app);
        let content = manifest(name, file, version);
        write!(text, "M 100644 inline {app}/{file}.yaml\ndata {}\n{content}\n", content.len()).unwrap();
    };
    let apps = size.files / FILES_OF_APP;
    let folder = |app: u32| format!("teams/team-{:03}/app-{:03}", app / APPS_OF_TEAM, app % APPS_OF_TEAM);
    if number == 1 {
        for app in 0..apps {
            for file in 0..FILES_OF_APP {
                put(&folder(app), file, 0);
            }
        }
    } else if number == size.commits - NEAR || number == size.commits / 2 {
        put(APP, u32::from(number == size.commits / 2), number);
    } else {
        // Scattered, and never the one that is reverted.
        let app = folder(number.wrapping_mul(2_654_435_761) % apps);
        let app = if app == APP { folder(0) } else { app };
        put(&app, number % FILES_OF_APP, number);
    }
    text
}

fn manifest(app: &str, file: u32, version: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {app}-{file}\n  labels:\n    app: {app}\nspec:\n  \
         replicas: 3\n  selector:\n    matchLabels:\n      app: {app}\n  template:\n    metadata:\n      labels:\n        \
         app: {app}\n    spec:\n      containers:\n        - name: web\n          image: registry.example.com/{app}:v{version}\n          \
         ports:\n            - containerPort: 8080\n"
    )
}

/// Runs git with nobody's configuration; it must succeed.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "core.fsync=none", "-c", "gc.auto=0", "-c", "maintenance.auto=false"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Ann")
        .env("GIT_AUTHOR_EMAIL", "ann@example.com")
        .env("GIT_COMMITTER_NAME", "Ann")
        .env("GIT_COMMITTER_EMAIL", "ann@example.com")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
