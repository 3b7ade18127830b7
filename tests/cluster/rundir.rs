//! Where one run keeps its files, the parts it starts, and its free ports.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The folder of this run; an older one goes when its process has gone.
pub(crate) fn create() -> Result<PathBuf> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster");
    fs::create_dir_all(&base)?;
    for entry in fs::read_dir(&base)? {
        let entry = entry?;
        if !Path::new("/proc").join(entry.file_name()).exists() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let dir = base.join(std::process::id().to_string());
    fs::create_dir_all(dir.join("logs")).with_context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

/// The built parts, as `cargo xtask test` names them.
pub(crate) struct Parts(BTreeMap<String, PathBuf>);

impl Parts {
    pub(crate) fn from_env() -> Result<Self> {
        let parts = std::env::var("LASTGOOD_CLUSTER_PARTS");
        let parts = parts.context("the cluster tests need their parts built: run `cargo xtask test`")?;
        let pair = |pair: &str| {
            let (name, folder) = pair.split_once('=')?;
            Some((name.to_owned(), PathBuf::from(folder)))
        };
        let parts: Option<BTreeMap<_, _>> = parts.split(':').map(pair).collect();
        Ok(Self(parts.context("LASTGOOD_CLUSTER_PARTS is not a list of name=folder")?))
    }

    pub(crate) fn folder(&self, part: &str) -> Result<&Path> {
        Ok(self.0.get(part).with_context(|| format!("LASTGOOD_CLUSTER_PARTS has no part {part}"))?)
    }

    pub(crate) fn program(&self, part: &str, program: &str) -> Result<PathBuf> {
        let path = self.folder(part)?.join("bin").join(program);
        if !path.is_file() {
            bail!("the part {part} has no program {}", path.display());
        }
        Ok(path)
    }

    /// PATH for a process that runs programs of these parts itself.
    pub(crate) fn path_with(&self, parts: &[&str]) -> Result<String> {
        let mut folders = Vec::new();
        for part in parts {
            folders.push(self.folder(part)?.join("bin"));
        }
        let system = std::env::var_os("PATH").unwrap_or_default();
        folders.extend(std::env::split_paths(&system));
        let joined = std::env::join_paths(folders)?;
        Ok(joined.to_string_lossy().into_owned())
    }
}

/// Free ports of the loopback interface, all different.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // Held together until each is known, so that none is given twice.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
