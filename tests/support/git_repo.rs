//! Real bare repositories, made and looked at with the `git` program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A bare repository with a clone to work in.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) bare: PathBuf,
    pub(crate) work: PathBuf,
}

impl World {
    /// An empty repository with the branch `main`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (bare, work) = (dir.path().join("repo.git"), dir.path().join("work"));
        git(dir.path(), &["init", "-q", "--template=", "--bare", "-b", "main", bare.to_str().unwrap()]);
        git(dir.path(), &["clone", "-q", "--template=", bare.to_str().unwrap(), work.to_str().unwrap()]);
        git(&work, &["checkout", "-q", "-B", "main"]);
        Self { dir, bare, work }
    }

    /// Writes a file in the working tree.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Commits everything and pushes `main`; gives the commit's id.
    pub(crate) fn commit(&self, message: &str) -> String {
        git(&self.work, &["add", "-A"]);
        git(&self.work, &["commit", "-q", "--allow-empty", "-m", message]);
        self.push()
    }

    /// Writes one file, commits and pushes.
    pub(crate) fn change(&self, path: &str, content: impl AsRef<[u8]>) -> String {
        self.write(path, content);
        self.commit(&format!("change {path}"))
    }

    /// Pushes whatever is checked out to `main`.
    pub(crate) fn push(&self) -> String {
        git(&self.work, &["push", "-q", "--force", "origin", "HEAD:refs/heads/main"]);
        self.head()
    }

    /// The id that the clone is at.
    pub(crate) fn head(&self) -> String {
        git(&self.work, &["rev-parse", "HEAD"])
    }

    /// The id of `main` on the server.
    pub(crate) fn tip(&self) -> String {
        git(&self.bare, &["rev-parse", "refs/heads/main"])
    }

    /// Brings the clone to the server's `main`.
    pub(crate) fn pull(&self) {
        git(&self.work, &["fetch", "-q"]);
        git(&self.work, &["reset", "-q", "--hard", "origin/main"]);
    }

    /// A file on the server's `main`; none when it is not there.
    pub(crate) fn show(&self, path: &str) -> Option<Vec<u8>> {
        let output = run(&self.bare, &["show", &format!("main:{path}")]);
        output.status.success().then_some(output.stdout)
    }

    /// The same as text.
    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.show(path).unwrap_or_else(|| panic!("no {path}"))).unwrap()
    }

    /// The address for the transport on the same disk.
    pub(crate) fn file_url(&self) -> String {
        format!("file://{}", self.bare.display())
    }
}

/// Runs git, which must succeed; gives its output without the last line break.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args);
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Runs git with nobody's configuration and fixed dates.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new("git")
        .current_dir(dir)
        .args([
            "-c",
            "protocol.file.allow=always",
            "-c",
            "core.autocrlf=false",
            "-c",
            "commit.gpgSign=false",
            "-c",
            "core.fsync=none",
            "-c",
            "gc.auto=0",
        ])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Ann")
        .env("GIT_AUTHOR_EMAIL", "ann@example.org")
        .env("GIT_COMMITTER_NAME", "Ann")
        .env("GIT_COMMITTER_EMAIL", "ann@example.org")
        .env("GIT_EDITOR", "true")
        .env("GIT_TEST_FSYNC", "0")
        .output()
        .unwrap()
}
