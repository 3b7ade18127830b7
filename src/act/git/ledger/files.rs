//! The files that a ledger's commits add.

use std::num::NonZero;
use std::path::Path;
use std::thread;

use git2::{FileMode, Oid, Repository};

use super::super::tree::{Entry, Folder, join};
use crate::record::ledger::{Head, Link};

/// Files that one thread reads as fast as several.
const FOR_ONE_THREAD: usize = 64;

/// Bytes of one file that are read: a record with its evidence takes some tens of kilobytes.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A file of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Where it lies, from the root.
    pub(super) path: String,
    pub(super) blob: Oid,
}

/// A path, and why nothing of a ledger lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) path: String,
    pub(super) why: String,
}

impl Wrong {
    fn new(path: &[u8], why: &str) -> Self {
        Self { path: String::from_utf8_lossy(path).into_owned(), why: why.to_owned() }
    }
}

/// The files of a tree that another one does not have, if it has all that is in the other. Folders that are the same are
/// not read.
pub(super) fn added(
    repo: &Repository,
    old: Option<Oid>,
    new: Oid,
) -> Result<Result<Vec<File>, Wrong>, git2::Error> {
    let mut files = Vec::new();
    let mut open = vec![(Vec::new(), old, new)];
    while let Some((folder, old, new)) = open.pop() {
        let (old, new) = (Folder::read(repo, old)?, Folder::read(repo, Some(new))?);
        let mut kept = 0;
        for entry in new.tree().into_iter().flat_map(|tree| tree.iter()) {
            let (path, now) = (join(&folder, entry.name_bytes()), Entry::of(&entry));
            let before = old.child(entry.name_bytes());
            kept += usize::from(before.is_some());
            match before {
                Some(before) if before == now => {}
                Some(before) if before.is_folder() && now.is_folder() => {
                    open.push((path, Some(before.oid), now.oid));
                }
                Some(_) => return Ok(Err(Wrong::new(&path, "it was changed after it was written"))),
                None if now.is_folder() => open.push((path, None, now.oid)),
                None if now.mode != i32::from(FileMode::Blob) => {
                    return Ok(Err(Wrong::new(&path, "it is no plain file, and no part of a ledger")));
                }
                None => match String::from_utf8(path) {
                    Ok(path) => files.push(File { path, blob: now.oid }),
                    Err(error) => {
                        return Ok(Err(Wrong::new(error.as_bytes(), "its name is no record's")));
                    }
                },
            }
        }
        if let Some(old) = old.tree().filter(|old| old.len() != kept) {
            let gone = old.iter().find(|entry| new.child(entry.name_bytes()).is_none());
            let path = join(&folder, gone.as_ref().map_or(b"".as_slice(), git2::TreeEntry::name_bytes));
            return Ok(Err(Wrong::new(&path, "it was there before, and is gone")));
        }
    }
    Ok(Ok(files))
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) path: String,
    pub(super) link: Link,
    pub(super) head: Head,
}

/// Reads files, in the order of their numbers; on all processors if they are many.
pub(super) fn read(repo: &Repository, files: &[File]) -> Result<Result<Vec<Read>, Wrong>, git2::Error> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut read = if files.len() <= FOR_ONE_THREAD || threads == 1 {
        some(repo, files)?
    } else {
        // A repository is for one thread, so each opens its own.
        let path = repo.path();
        let parts = files.chunks(files.len().div_ceil(threads));
        let all = thread::scope(|scope| {
            let running: Vec<_> = parts.map(|part| scope.spawn(move || some(&open(path)?, part))).collect();
            let joined = running.into_iter().map(|one| match one.join() {
                Ok(read) => read,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<Result<Vec<_>, git2::Error>>()
        })?;
        all.into_iter().collect::<Result<Vec<_>, Wrong>>().map(|parts| parts.concat())
    };
    if let Ok(read) = &mut read {
        read.sort_by_key(|one| one.link.sequence);
    }
    Ok(read)
}

fn open(path: &Path) -> Result<Repository, git2::Error> {
    Repository::open_bare(path)
}

fn some(repo: &Repository, files: &[File]) -> Result<Result<Vec<Read>, Wrong>, git2::Error> {
    let odb = repo.odb()?;
    let mut read = Vec::with_capacity(files.len());
    for File { path, blob } in files {
        if odb.read_header(*blob)?.0 > FILE_BYTES_MAX {
            return Ok(Err(Wrong::new(path.as_bytes(), "it is larger than any record")));
        }
        let object = odb.read(*blob)?;
        let link = match Link::read(object.data()) {
            Ok(link) => link,
            Err(error) => return Ok(Err(Wrong { path: path.clone(), why: error.to_string() })),
        };
        let head = Head::of(link.sequence, object.data());
        read.push(Read { path: path.clone(), link, head });
    }
    Ok(Ok(read))
}
