//! What developers do: commit files and push them, with the `git` program and nothing of this machine's settings.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// Runs `git` in a folder and returns what it printed, without the last line's end.
pub(crate) async fn git(folder: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Dana Developer")
        .env("GIT_AUTHOR_EMAIL", "dana@example.com")
        .env("GIT_COMMITTER_NAME", "Dana Developer")
        .env("GIT_COMMITTER_EMAIL", "dana@example.com")
        .kill_on_drop(true)
        .output()
        .await
        .context("starting git")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = args.join(" ");
    ensure!(
        output.status.success(),
        "`git {line}` in {} failed ({}): {stderr}",
        folder.display(),
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// A commit of the branch `main`.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) sha: String,
    pub(crate) message: String,
}

impl Commit {
    /// The value of a trailer.
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.message.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Whether the daemon made it.
    pub(crate) fn is_rollback(&self) -> bool {
        self.trailer("Lastgood-Rollback").is_some()
    }
}

/// A developer's clone. It pushes straight to the repository's folder, so the server's account of pushes is all others'.
pub(crate) struct Developer {
    pub(crate) clone: PathBuf,
}

impl Developer {
    pub(crate) async fn new(repository: &Path, clone: PathBuf) -> Result<Self> {
        let parent = clone.parent().context("a clone needs a folder")?;
        fs::create_dir_all(parent)?;
        git(parent, &["clone", "--quiet", &repository.to_string_lossy(), &clone.to_string_lossy()]).await?;
        Ok(Self { clone })
    }

    /// Writes these files on the branch's tip (or removes those without content), commits and pushes; returns the commit.
    pub(crate) async fn commit(&self, message: &str, files: &[(&str, Option<&str>)]) -> Result<String> {
        self.catch_up().await?;
        for (path, content) in files {
            let file = self.clone.join(path);
            match content {
                Some(content) => {
                    fs::create_dir_all(file.parent().context("a file needs a folder")?)?;
                    fs::write(&file, content)?;
                }
                None => fs::remove_file(&file).with_context(|| format!("removing {path}"))?,
            }
        }
        git(&self.clone, &["add", "--all"]).await?;
        git(&self.clone, &["commit", "--quiet", "-m", message]).await?;
        self.push().await
    }

    /// Undoes a commit the way a person does; returns the revert.
    pub(crate) async fn revert(&self, sha: &str) -> Result<String> {
        self.catch_up().await?;
        git(&self.clone, &["revert", "--no-edit", sha]).await?;
        self.push().await
    }

    /// Every commit of the branch, newest first.
    pub(crate) async fn log(&self) -> Result<Vec<Commit>> {
        git(&self.clone, &["fetch", "--quiet", "origin"]).await?;
        let log = git(&self.clone, &["log", "--topo-order", "--format=%H%n%B%x00", "origin/main"]).await?;
        let commit = |entry: &str| {
            let (sha, message) = entry.trim_start().split_once('\n')?;
            Some(Commit { sha: sha.to_owned(), message: message.trim_end().to_owned() })
        };
        Ok(log.split('\0').filter_map(commit).collect())
    }

    /// The commits that the daemon made, newest first.
    pub(crate) async fn rollbacks(&self) -> Result<Vec<Commit>> {
        Ok(self.log().await?.into_iter().filter(Commit::is_rollback).collect())
    }

    /// The paths that a commit changed.
    pub(crate) async fn changed(&self, sha: &str) -> Result<Vec<String>> {
        let paths = git(&self.clone, &["diff-tree", "--no-commit-id", "--name-only", "-r", sha]).await?;
        Ok(paths.lines().map(str::to_owned).collect())
    }

    /// A file at the branch's tip.
    pub(crate) async fn read(&self, path: &str) -> Result<String> {
        git(&self.clone, &["fetch", "--quiet", "origin"]).await?;
        git(&self.clone, &["show", &format!("origin/main:{path}")]).await
    }

    async fn catch_up(&self) -> Result<()> {
        git(&self.clone, &["fetch", "--quiet", "origin"]).await?;
        let born = git(&self.clone, &["rev-parse", "--quiet", "--verify", "origin/main"]).await.is_ok();
        if born {
            git(&self.clone, &["reset", "--quiet", "--hard", "origin/main"]).await?;
        }
        Ok(())
    }

    async fn push(&self) -> Result<String> {
        git(&self.clone, &["push", "--quiet", "origin", "HEAD:refs/heads/main"]).await?;
        git(&self.clone, &["rev-parse", "HEAD"]).await
    }
}
