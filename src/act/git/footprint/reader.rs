//! Reads a tree by paths, through symbolic links, within limits: whoever can push a commit decides what it reads.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use git2::{FileMode, ObjectType, Oid, Repository};

use super::super::tree::{Entry, Folder, join};

/// Links that are followed for one path, as many as Linux does.
const LINKS_MAX: usize = 40;

/// The longest path that Linux takes, and so the longest target of a link.
const LINK_BYTES_MAX: usize = 4096;

/// Bytes of a file that refers to others; real ones have a few thousand.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Files that are read for what they refer to. Fifty bases are many.
const FILES_MAX: usize = 2_000;

/// Bytes of all of them together.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Folders that are listed.
const FOLDERS_MAX: usize = 2_000;

/// Names in all of them together.
const NAMES_MAX: usize = 200_000;

/// Folders that are kept, so that the same are not parsed for each path.
const FOLDERS_KEPT_MAX: usize = 1_000;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To a file or a folder, with the path that leads there without links.
    Here(Vec<u8>, Entry),
    /// To nothing, with the path where it would be.
    Missing(Vec<u8>),
    /// Into a submodule, with its path.
    Submodule(Vec<u8>),
    /// Out of the repository.
    Outside,
    /// Round in circles.
    Circle,
}

/// Something in a tree, with its path or its name.
pub(super) type Item = (Vec<u8>, Entry);

/// Reads one tree.
pub(super) struct Reader<'r> {
    repo: &'r Repository,
    root: Oid,
    folders: HashMap<Oid, Rc<Folder<'r>>>,
    files_left: usize,
    bytes_left: usize,
    folders_left: usize,
    names_left: usize,
}

impl<'r> Reader<'r> {
    pub(super) fn new(repo: &'r Repository, root: Oid) -> Self {
        let mut reader = Self {
            repo,
            root,
            folders: HashMap::new(),
            files_left: 0,
            bytes_left: 0,
            folders_left: 0,
            names_left: 0,
        };
        reader.renew();
        reader
    }

    /// Gives all limits back.
    pub(super) fn renew(&mut self) {
        (self.files_left, self.bytes_left) = (FILES_MAX, BYTES_MAX);
        (self.folders_left, self.names_left) = (FOLDERS_MAX, NAMES_MAX);
    }

    /// Where a clean path leads, and the links on the way, each with the path at which it lies.
    pub(super) fn place(&mut self, path: &[u8]) -> Result<(Place, Vec<Vec<u8>>), git2::Error> {
        let mut links = Vec::new();
        let mut ahead: VecDeque<Vec<u8>> = parts(path);
        let mut path: Vec<u8> = Vec::new();
        let mut above: Vec<(usize, Entry)> = Vec::new();
        let mut at = Entry::folder(self.root);
        while let Some(name) = ahead.pop_front() {
            if name == b".." {
                let Some((length, folder)) = above.pop() else { return Ok((Place::Outside, links)) };
                path.truncate(length);
                at = folder;
                continue;
            }
            let below = join(&path, &name);
            let Some(entry) = self.child(at, &name)? else {
                let rest = ahead.into_iter().fold(below, |path, name| join(&path, &name));
                return Ok((Place::Missing(rest), links));
            };
            if entry.mode == i32::from(FileMode::Commit) {
                return Ok((Place::Submodule(below), links));
            }
            if entry.mode != i32::from(FileMode::Link) {
                above.push((path.len(), at));
                (path, at) = (below, entry);
                continue;
            }
            links.push(below);
            if links.len() > LINKS_MAX {
                return Ok((Place::Circle, links));
            }
            let target = self.blob(entry.oid, LINK_BYTES_MAX)?;
            let Some(target) = target.filter(|target| !target.starts_with(b"/")) else {
                return Ok((Place::Outside, links));
            };
            for part in parts(&target).into_iter().rev() {
                ahead.push_front(part);
            }
        }
        Ok((Place::Here(path, at), links))
    }

    /// What a folder holds under a name; nothing when it is no folder.
    pub(super) fn child(&mut self, folder: Entry, name: &[u8]) -> Result<Option<Entry>, git2::Error> {
        if !folder.is_folder() {
            return Ok(None);
        }
        Ok(self.folder(folder.oid)?.child(name))
    }

    /// Everything in a folder; none when too many were listed.
    pub(super) fn list(&mut self, folder: Entry) -> Result<Option<Vec<Item>>, git2::Error> {
        if !folder.is_folder() {
            return Ok(Some(Vec::new()));
        }
        let folder = self.folder(folder.oid)?;
        let count = folder.tree().map_or(0, git2::Tree::len);
        match (self.folders_left.checked_sub(1), self.names_left.checked_sub(count)) {
            (Some(folders), Some(names)) => (self.folders_left, self.names_left) = (folders, names),
            _ => return Ok(None),
        }
        let entries = folder.tree().into_iter().flat_map(git2::Tree::iter);
        Ok(Some(
            entries.map(|e| (e.name_bytes().to_vec(), Entry { mode: e.filemode(), oid: e.id() })).collect(),
        ))
    }

    /// A file that may refer to others; or why it is not read.
    pub(super) fn file(&mut self, file: Entry) -> Result<Result<Vec<u8>, &'static str>, git2::Error> {
        let Some(left) = self.files_left.checked_sub(1) else {
            return Ok(Err("too many files refer to others"));
        };
        self.files_left = left;
        if !file.is_file() {
            return Ok(Err("it is not a file"));
        }
        let content = self.blob(file.oid, FILE_BYTES_MAX.min(self.bytes_left))?;
        self.bytes_left -= content.as_ref().map_or(0, Vec::len);
        Ok(content.ok_or("it is too large, or too many files refer to others"))
    }

    fn folder(&mut self, oid: Oid) -> Result<Rc<Folder<'r>>, git2::Error> {
        if let Some(folder) = self.folders.get(&oid) {
            return Ok(Rc::clone(folder));
        }
        let folder = Rc::new(Folder::read(self.repo, Some(oid))?);
        if self.folders.len() >= FOLDERS_KEPT_MAX {
            self.folders.clear();
        }
        self.folders.insert(oid, Rc::clone(&folder));
        Ok(folder)
    }

    fn blob(&self, oid: Oid, bytes_max: usize) -> Result<Option<Vec<u8>>, git2::Error> {
        let (size, kind) = self.repo.odb()?.read_header(oid)?;
        if size > bytes_max || kind != ObjectType::Blob {
            return Ok(None);
        }
        Ok(Some(self.repo.find_blob(oid)?.content().to_vec()))
    }
}

/// The parts of a path that mean something.
fn parts(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect()
}
