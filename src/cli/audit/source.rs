//! Where the ledger's files come from.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, bail};
use clap::Args;

/// Files that a thread takes at a time.
const PORTION: usize = 64;

/// The year, month and day of a record's folder.
const DEPTH: usize = 3;

/// Which ledger is read.
#[derive(Args, Debug)]
pub(super) struct Where {
    /// The folder with the ledger.
    #[arg(long, value_name = "DIR")]
    ledger: PathBuf,
}

impl Where {
    /// Finds the ledger's files.
    pub(super) fn open(&self) -> anyhow::Result<Source> {
        let mut paths = Vec::new();
        let folder = &self.ledger;
        collect(folder, "", DEPTH, &mut paths)
            .with_context(|| format!("cannot read {}", folder.display()))?;
        if paths.is_empty() {
            bail!("{} holds no ledger: there is no file YEAR/MONTH/DAY/ID.json in it", folder.display());
        }
        paths.sort();
        Ok(Source { folder: folder.clone(), paths })
    }
}

/// The files of a ledger.
pub(super) struct Source {
    folder: PathBuf,
    /// From its root, in order.
    paths: Vec<String>,
}

impl Source {
    /// What it is, for people.
    pub(super) fn place(&self) -> String {
        self.folder.display().to_string()
    }

    /// Reads the files of these paths with all processors; `work` gets each path and its bytes, and what it gives comes in the
    /// paths' order.
    pub(super) fn each<T: Send>(
        &self,
        wanted: impl Fn(&str) -> bool,
        work: impl Fn(&str, &[u8]) -> T + Sync,
    ) -> anyhow::Result<Vec<T>> {
        let paths: Vec<&String> = self.paths.iter().filter(|path| wanted(path)).collect();
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(paths.len())));
        let read_some = || -> anyhow::Result<()> {
            loop {
                let from = next.fetch_add(PORTION, Ordering::Relaxed);
                let Some(portion) = paths.get(from..).filter(|rest| !rest.is_empty()) else { return Ok(()) };
                let mut read = Vec::with_capacity(PORTION);
                for (i, path) in portion.iter().take(PORTION).enumerate() {
                    read.push((from + i, work(path, &self.read(path)?)));
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

    fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let file = self.folder.join(path);
        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    }
}

/// The files `YEAR/MONTH/DAY/*.json` below a folder; what lies elsewhere is not the ledger's.
fn collect(folder: &Path, from_root: &str, depth: usize, paths: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if from_root.is_empty() { name.clone() } else { format!("{from_root}/{name}") };
        if depth == 0 {
            if Path::new(&name).extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        } else if name.bytes().all(|b| b.is_ascii_digit()) && entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, depth - 1, paths)?;
        }
    }
    Ok(())
}
