//! What `.gitattributes` on the branch's tip say about merging a file.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, Index, IndexEntry, IndexTime, Oid, Repository};

use super::tree;

const FILE: &[u8] = b".gitattributes";

/// How a file that both sides changed is to be merged (gitattributes(5), "merge").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// By lines.
    Text,
    /// By lines, keeping those of both sides where they conflict.
    Union,
    /// Not at all.
    Binary,
    /// By a program of somebody's own, which is not at hand.
    Custom,
}

/// The attributes of one tree.
pub(crate) struct Attributes<'r> {
    repo: &'r Repository,
    tree: Oid,
}

impl<'r> Attributes<'r> {
    pub(crate) fn new(repo: &'r Repository, tree: Oid) -> Self {
        Self { repo, tree }
    }

    /// How the file at `path` is merged.
    pub(crate) fn driver(&self, path: &[u8]) -> Result<Driver, git2::Error> {
        if !self.load([path])? {
            return Ok(Driver::Text);
        }
        let path = Path::new(OsStr::from_bytes(path));
        let value = self.repo.get_attr_bytes(path, "merge", AttrCheckFlags::INDEX_ONLY)?;
        Ok(match AttrValue::from_bytes(value) {
            AttrValue::True | AttrValue::Unspecified | AttrValue::String("text") => Driver::Text,
            AttrValue::False | AttrValue::String("binary") => Driver::Binary,
            AttrValue::String("union") => Driver::Union,
            AttrValue::String(_) | AttrValue::Bytes(_) => Driver::Custom,
        })
    }

    /// Shows libgit2 the files that hold for these paths; whether there are any.
    ///
    /// A bare repository has no place where it would look for them by itself, so they are put into an index that is
    /// never written.
    pub(crate) fn load<'p>(&self, paths: impl IntoIterator<Item = &'p [u8]>) -> Result<bool, git2::Error> {
        let mut folders: BTreeSet<&[u8]> = BTreeSet::from([b"".as_slice()]);
        for path in paths {
            let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
            folders.extend(ends.filter_map(|end| path.get(..end)));
        }
        let mut index = Index::new()?;
        for folder in folders {
            let path = tree::join(folder, FILE);
            if let Some(entry) = tree::entry_at(self.repo, self.tree, &path)?.filter(|e| e.is_file()) {
                index.add(&index_entry(path, entry.oid))?;
            }
        }
        let any = !index.is_empty();
        self.repo.set_index(&mut index)?;
        Ok(any)
    }
}

fn index_entry(path: Vec<u8>, id: Oid) -> IndexEntry {
    let time = IndexTime::new(0, 0);
    IndexEntry {
        ctime: time,
        mtime: time,
        dev: 0,
        ino: 0,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path,
    }
}
