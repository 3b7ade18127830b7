//! A ledger in a folder of this machine, for those who may not push a branch.
//!
//! The files are the ledger. Beside them lie `.lock`, which writers hold; `.pending`, what a batch adds, from before its
//! first file until after its last, so that a crash leaves either nothing or a batch that the next writer finishes; and
//! `.index`, where each sequence number lies, which is only believed while it agrees with the files.

mod index;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::chain::{NewFile, chain, missing};
use super::{Head, Ledger, LedgerError, Link, Record};
use index::Index;

const LOCK: &str = ".lock";
const PENDING: &str = ".pending";
const INDEX: &str = ".index";
/// Begins the name of a file that is not complete yet.
const UNFINISHED: &str = ".new-";

/// Keeps a ledger in a folder; several may, in one process or in many.
#[derive(Debug)]
pub struct FolderLedger {
    root: PathBuf,
    index: Mutex<Index>,
    /// Ends the process at this step, as a crash would.
    #[cfg(test)]
    crash: tests::Crash,
}

/// A batch on its way.
#[derive(Serialize, Deserialize)]
struct Pending {
    files: Vec<PendingFile>,
}

#[derive(Serialize, Deserialize)]
struct PendingFile {
    path: String,
    /// What is in it, which is JSON.
    text: String,
    sequence: u64,
}

impl FolderLedger {
    /// Keeps a ledger in `root`, which is made if it is not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let root = root.into();
        let made = fs::create_dir_all(&root);
        let ledger = Self {
            root,
            index: Mutex::default(),
            #[cfg(test)]
            crash: tests::Crash::default(),
        };
        made.map_err(|e| ledger.unreachable("the folder cannot be made", &e))?;
        Ok(ledger)
    }

    fn unreachable(&self, what: &str, why: &impl Display) -> LedgerError {
        LedgerError::Unreachable { place: self.place(), why: format!("{what}: {why}") }
    }

    fn broken(&self, path: &str, why: impl Into<String>) -> LedgerError {
        LedgerError::Broken { place: self.place(), path: path.to_owned(), why: why.into() }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other writers out until it is dropped; the system drops it for a process that dies.
    fn lock(&self) -> io::Result<File> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(self.root.join(LOCK))?;
        lock.lock()?;
        Ok(lock)
    }

    /// Waits until no writer is at work; where there never was one, or who reads may not lock, there is none to wait for.
    fn lock_to_read(&self) -> Option<File> {
        let lock = File::open(self.root.join(LOCK)).ok()?;
        lock.lock_shared().ok()?;
        Some(lock)
    }

    /// Writes a file so that it is there as a whole or not at all.
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        let mut file = unfinished(&self.root)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        self.step()?;
        file.persist(self.root.join(path)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Adds the files of a batch that are not there yet, and then their lines to the index.
    fn carry_out(&self, pending: &Pending, index: &mut Index) -> Result<(), LedgerError> {
        let mut folders = BTreeSet::new();
        for file in &pending.files {
            let failed = |e: io::Error| self.unreachable(&format!("`{}` cannot be written", file.path), &e);
            match fs::read(self.root.join(&file.path)) {
                Ok(there) if there == file.text.as_bytes() => continue,
                Ok(_) => return Err(self.broken(&file.path, "it holds something else than was written")),
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
                Err(_) => {}
            }
            let parents = Path::new(&file.path).ancestors().skip(1);
            folders.extend(parents.map(|parent| self.root.join(parent)));
            if let Some(parent) = self.root.join(&file.path).parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            self.put(&file.path, file.text.as_bytes()).map_err(failed)?;
        }
        // Without this a new name may be lost with the power.
        for folder in folders {
            let synced = File::open(&folder).and_then(|folder| folder.sync_all());
            synced.map_err(|e| self.unreachable(&format!("{} cannot be synced", folder.display()), &e))?;
        }
        let lines = pending.files.iter().map(|file| index::Line {
            head: Head::of(file.sequence, file.text.as_bytes()),
            path: file.path.clone(),
        });
        let added = self.step().and_then(|()| index.add(&self.root.join(INDEX), lines));
        added.map_err(|e| self.unreachable("the index cannot be written", &e))?;
        let removed = self.step().and_then(|()| fs::remove_file(self.root.join(PENDING)));
        removed.map_err(|e| self.unreachable(&format!("`{PENDING}` cannot be removed"), &e))
    }

    /// Finishes what a crash left half done.
    fn finish(&self, index: &mut Index) -> Result<(), LedgerError> {
        let bytes = match fs::read(self.root.join(PENDING)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(self.unreachable(&format!("`{PENDING}` cannot be read"), &e)),
            Ok(bytes) => bytes,
        };
        let pending: Pending = serde_json::from_slice(&bytes)
            .map_err(|e| self.broken(PENDING, format!("it is no batch of records: {e}")))?;
        // What was unfinished of it, too.
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                drop(fs::remove_file(entry.path()));
            }
        }
        // An index of before the crash may end in half a line.
        index.forget();
        match fs::remove_file(self.root.join(INDEX)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(self.unreachable("the index cannot be removed", &e));
            }
            _ => {}
        }
        self.carry_out(&pending, index)?;
        index.forget();
        Ok(())
    }

    /// Brings the index up to date.
    fn refresh(&self, index: &mut Index, may_write: bool) -> Result<(), LedgerError> {
        match index.read_on(&self.root, &self.root.join(INDEX)) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(e) => return Err(self.unreachable("the folder cannot be read", &e)),
        }
        index.rebuild(&self.root).map_err(|trouble| match trouble {
            index::Trouble::Io(e) => self.unreachable("the folder cannot be read", &e),
            index::Trouble::Broken { path, why } => self.broken(&path, why),
        })?;
        if may_write {
            let written = self.put(INDEX, &index.bytes());
            written.map_err(|e| self.unreachable("the index cannot be written", &e))?;
            index.is_written();
        }
        Ok(())
    }

    /// A moment at which a crash is tried.
    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        self.crash.step()
    }

    #[cfg(not(test))]
    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "a test crashes here")]
    fn step(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Ledger for FolderLedger {
    fn place(&self) -> String {
        format!("in the folder {}", self.root.display())
    }

    fn append(&self, records: &[Record]) -> Result<Option<Head>, LedgerError> {
        let mut index = self.index();
        let lock = self.lock();
        let _alone =
            lock.map_err(|e| self.unreachable("it cannot be locked; is the folder writable?", &e))?;
        self.finish(&mut index)?;
        self.refresh(&mut index, true)?;
        let new = missing(records, |record| {
            let there = self.root.join(record.path()).try_exists();
            there.map_err(|e| self.unreachable(&format!("`{}` cannot be looked for", record.path()), &e))
        })?;
        if new.is_empty() {
            return Ok(index.head().cloned());
        }
        let pending = Pending::of(chain(index.head().cloned(), new)?);
        let written = serde_json::to_vec(&pending).map_err(io::Error::from);
        let written = written.and_then(|bytes| self.put(PENDING, &bytes));
        let written = written.and_then(|()| File::open(&self.root)?.sync_all());
        written.map_err(|e| self.unreachable("nothing can be written; is there space on the disk?", &e))?;
        self.carry_out(&pending, &mut index)?;
        Ok(index.head().cloned())
    }

    fn after(&self, sequence: u64, most: usize) -> Result<Vec<Link>, LedgerError> {
        let mut index = self.index();
        let _no_writer = self.lock_to_read();
        self.refresh(&mut index, false)?;
        let read = index.after(sequence).iter().take(most).map(|line| {
            let bytes = fs::read(self.root.join(&line.path));
            let bytes = bytes.map_err(|e| self.broken(&line.path, format!("it cannot be read: {e}")))?;
            let link = Link::read(&bytes).map_err(|e| self.broken(&line.path, e.to_string()))?;
            if Head::of(link.sequence, &bytes) != line.head {
                return Err(self.broken(&line.path, "it was changed after it was written"));
            }
            Ok(link)
        });
        read.collect()
    }
}

impl Pending {
    fn of(files: Vec<NewFile>) -> Self {
        let files = files.into_iter().map(|NewFile { path, bytes, head }| {
            // JSON is UTF-8, and if it were not, the file would be found to be broken.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            PendingFile { path, text, sequence: head.sequence }
        });
        Self { files: files.collect() }
    }
}

/// A file that has no name of its own yet; whoever may see the folder may read it, since no record holds a secret.
fn unfinished(root: &Path) -> io::Result<tempfile::NamedTempFile> {
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    tempfile::Builder::new().prefix(UNFINISHED).permissions(readable).tempfile_in(root)
}

#[cfg(test)]
mod tests;
