//! How the commands that need no cluster reach a repository.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::act::git::{Access, Auth, Secret};

/// What a repository's URL does not hold.
#[derive(Args, Debug)]
pub(super) struct Reach {
    /// The file with a private key for SSH.
    #[arg(long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
    /// The file with host keys for SSH; by default `~/.ssh/known_hosts`.
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
    /// The file with the certificate authorities for HTTPS, in PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Reach {
    /// How to reach the repository: what its URL holds, the options, and the environment for a password.
    pub(super) fn access(&self, repo: &str) -> anyhow::Result<Access> {
        let mut access = Access::new(repo);
        access.ca_pem = self.ca.as_deref().map(read).transpose()?;
        access.known_hosts = match &self.known_hosts {
            Some(path) => Some(read(path)?),
            None => std::env::home_dir().and_then(|home| read(&home.join(".ssh/known_hosts")).ok()),
        };
        if let Some(path) = &self.ssh_key {
            access.auth = Auth::SshKey { key: Secret::new(read(path)?) };
        } else if let Ok(password) = std::env::var("LASTGOOD_GIT_PASSWORD") {
            let username = std::env::var("LASTGOOD_GIT_USERNAME").unwrap_or_else(|_| "x-access-token".into());
            access.auth = Auth::Basic { username, password: Secret::new(password) };
        }
        Ok(access)
    }
}

pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
