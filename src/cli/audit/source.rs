//! Where the ledger's files come from: a folder, or the branches of a repository.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use git2::Oid;

use super::super::access::Reach;
use crate::act::git::inspect::Inspected;
use crate::act::git::{Git, redact};
use crate::audit::history::is_record;

/// Files that a thread takes at a time.
const PORTION: usize = 64;

/// The year, month and day of a record's folder.
const DEPTH: usize = 3;

/// Which ledger is read.
#[derive(Args, Debug)]
pub(super) struct Where {
    /// The folder with the ledger.
    #[arg(long, value_name = "DIR", required_unless_present = "repo", conflicts_with = "repo")]
    ledger: Option<PathBuf>,
    /// The repository with the ledger: a folder on this machine, which is read in place, or a URL, of which a copy is
    /// fetched.
    #[arg(long, value_name = "PATH|URL")]
    pub(super) repo: Option<String>,
    /// How the names of the ledger's branches begin; they go on with `/CLUSTER/YEAR`.
    #[arg(long, value_name = "NAME", default_value = "lastgood/ledger")]
    ledger_branch: String,
    /// The cluster whose ledger is meant; by default all that the repository has, or the one of the folder's first record.
    #[arg(long, value_name = "NAME")]
    pub(super) cluster: Option<String>,
    #[command(flatten)]
    pub(super) reach: Reach,
    /// How long fetching may take in all.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Where {
    /// Finds the ledger's files.
    pub(super) fn open(&self) -> anyhow::Result<Source> {
        match (&self.ledger, &self.repo) {
            (Some(folder), _) => open_folder(folder),
            (None, Some(repo)) => self.open_branches(repo),
            (None, None) => bail!("give --ledger or --repo"),
        }
    }

    /// A repository with these branches, at a URL or on this disk.
    pub(super) fn repository(
        &self,
        url: &str,
        prefix: Option<&str>,
        branches: &BTreeSet<String>,
    ) -> anyhow::Result<Fetched> {
        let copy = tempfile::tempdir().context("cannot make a temporary folder")?;
        let access = self.reach.access(url)?;
        let (dir, default) =
            Git::new(copy.path())?.inspect(&access, prefix, branches, Instant::now() + self.timeout)?;
        Ok(Fetched { dir, default, _copy: copy })
    }

    fn open_branches(&self, url: &str) -> anyhow::Result<Source> {
        let prefix = self.ledger_branch.trim_matches('/');
        let fetched = self.repository(url, Some(prefix), &BTreeSet::new())?;
        let repo = Inspected::open(&fetched.dir)?;
        let mut branches = Vec::new();
        let (mut files, mut known) = (Vec::new(), HashSet::new());
        for (name, tip) in repo.branches(prefix)? {
            let below = name.strip_prefix(prefix).unwrap_or_default().trim_start_matches('/');
            let Some((cluster, _)) = below.rsplit_once('/') else { continue };
            let cluster = decoded(cluster);
            if self.cluster.as_ref().is_some_and(|wanted| *wanted != cluster) {
                continue;
            }
            for (path, blob) in repo.files(tip)? {
                // A branch may go on from the one of the year before.
                if is_record(&path) && known.insert((cluster.clone(), path.clone(), blob)) {
                    files.push(File { path, blob, branch: branches.len() });
                }
            }
            branches.push(Branch { cluster, tip });
        }
        if branches.is_empty() {
            let of =
                self.cluster.as_ref().map(|cluster| format!(" for cluster {cluster}")).unwrap_or_default();
            bail!("{} holds no ledger{of}: it has no branch {prefix}/CLUSTER/YEAR", redact(url));
        }
        let dir = fetched.dir.clone();
        Ok(Source { place: redact(url), dir, files, branches, _fetched: Some(fetched) })
    }
}

/// The name of a cluster from the one of its branch, which is written as a URL would where Git does not take it.
fn decoded(name: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), name);
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.extend(byte);
        rest = after.get(2..).filter(|_| byte.is_some()).unwrap_or(after);
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A repository on this disk.
pub(super) struct Fetched {
    pub(super) dir: PathBuf,
    /// The branch that its `HEAD` names.
    pub(super) default: Option<String>,
    _copy: tempfile::TempDir,
}

/// A branch of a ledger.
pub(super) struct Branch {
    pub(super) cluster: String,
    pub(super) tip: Oid,
}

/// A file of a ledger.
pub(super) struct File {
    /// From its root.
    pub(super) path: String,
    /// What is in it, in a repository.
    blob: Oid,
    /// Which of the branches it is from.
    pub(super) branch: usize,
}

/// The files of a ledger.
pub(super) struct Source {
    place: String,
    pub(super) dir: PathBuf,
    files: Vec<File>,
    /// Empty for a folder.
    pub(super) branches: Vec<Branch>,
    _fetched: Option<Fetched>,
}

impl Source {
    /// What it is, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Reads the files of these paths with all processors; `work` gets each file and its bytes, and what it gives comes in
    /// the files' order.
    pub(super) fn each<T: Send>(
        &self,
        wanted: impl Fn(&str) -> bool,
        work: impl Fn(&File, &[u8]) -> T + Sync,
    ) -> anyhow::Result<Vec<T>> {
        let files: Vec<&File> = self.files.iter().filter(|file| wanted(&file.path)).collect();
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(files.len())));
        let read_some = || -> anyhow::Result<()> {
            // A repository serves one thread.
            let repo = (!self.branches.is_empty()).then(|| Inspected::open(&self.dir)).transpose()?;
            loop {
                let from = next.fetch_add(PORTION, Ordering::Relaxed);
                let Some(portion) = files.get(from..).filter(|rest| !rest.is_empty()) else { return Ok(()) };
                let mut read = Vec::with_capacity(PORTION);
                for (i, file) in portion.iter().take(PORTION).enumerate() {
                    let bytes = match &repo {
                        Some(repo) => repo.file(file.blob)?,
                        None => read_file(&self.dir.join(&file.path))?,
                    };
                    read.push((from + i, work(file, &bytes)));
                }
                done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut read);
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(read_some)).collect();
            let joined = running.into_iter().map(|one| match one.join() {
                Ok(read) => read,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<anyhow::Result<Vec<()>>>()
        })?;
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(i, _)| *i);
        Ok(done.into_iter().map(|(_, value)| value).collect())
    }
}

fn open_folder(folder: &Path) -> anyhow::Result<Source> {
    let mut paths = Vec::new();
    collect(folder, "", DEPTH, &mut paths).with_context(|| format!("cannot read {}", folder.display()))?;
    if paths.is_empty() {
        bail!("{} holds no ledger: there is no file YEAR/MONTH/DAY/ID.json in it", folder.display());
    }
    paths.sort();
    let file = |path| File { path, blob: Oid::ZERO_SHA1, branch: 0 };
    Ok(Source {
        place: folder.display().to_string(),
        dir: folder.to_owned(),
        files: paths.into_iter().map(file).collect(),
        branches: Vec::new(),
        _fetched: None,
    })
}

fn read_file(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The files `YEAR/MONTH/DAY/*.json` below a folder; what lies elsewhere is not the ledger's.
fn collect(folder: &Path, from_root: &str, depth: usize, paths: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if from_root.is_empty() { name.clone() } else { format!("{from_root}/{name}") };
        if depth == 0 {
            if is_record(&path) {
                paths.push(path);
            }
        } else if name.bytes().all(|b| b.is_ascii_digit()) && entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, depth - 1, paths)?;
        }
    }
    Ok(())
}
