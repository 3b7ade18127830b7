//! Reading and writing Git trees path by path, so that a large repository is never read as a whole.

use git2::{FileMode, ObjectType, Oid, Repository, Tree};

use super::footprint::Footprint;

/// What a tree holds under one name: a file, a symbolic link, a folder or a submodule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The mode, normalised as Git does (group-writable files of old become plain files).
    pub(crate) mode: i32,
    /// The object.
    pub(crate) oid: Oid,
}

impl Entry {
    pub(crate) fn folder(oid: Oid) -> Self {
        Self { mode: FileMode::Tree.into(), oid }
    }

    pub(crate) fn is_folder(self) -> bool {
        self.mode == i32::from(FileMode::Tree)
    }

    /// Whether this is a regular file: neither a link nor a submodule, whose content must not be merged by lines.
    pub(crate) fn is_file(self) -> bool {
        self.mode == i32::from(FileMode::Blob) || self.mode == i32::from(FileMode::BlobExecutable)
    }

    fn of(entry: &git2::TreeEntry<'_>) -> Self {
        Self { mode: entry.filemode(), oid: entry.id() }
    }
}

/// A folder that is read once: libgit2 caches no tree above 4 KiB, and parses it again for each lookup.
pub(crate) struct Folder<'r>(Option<Tree<'r>>);

impl<'r> Folder<'r> {
    /// Reads it; a folder that is not there is an empty one.
    pub(crate) fn read(repo: &'r Repository, id: Option<Oid>) -> Result<Self, git2::Error> {
        id.map(|id| repo.find_tree(id)).transpose().map(Self)
    }

    pub(crate) fn child(&self, name: &[u8]) -> Option<Entry> {
        // Git has no such name, and git2 ends the thread over it; whoever can push decides what is asked for.
        let name = Some(name).filter(|name| !name.contains(&0))?;
        self.0.as_ref()?.get_name_bytes(name).map(|e| Entry::of(&e))
    }

    pub(crate) fn tree(&self) -> Option<&Tree<'r>> {
        self.0.as_ref()
    }
}

/// All names of some folders, sorted, each once.
pub(crate) fn names(folders: &[&Folder<'_>]) -> Vec<Vec<u8>> {
    let trees = folders.iter().filter_map(|folder| folder.tree());
    let mut names: Vec<_> = trees.flat_map(|tree| tree.iter().map(|e| e.name_bytes().to_vec())).collect();
    names.sort();
    names.dedup();
    names
}

/// The entry at a path; the empty path is the root itself.
pub(crate) fn entry_at(repo: &Repository, root: Oid, path: &[u8]) -> Result<Option<Entry>, git2::Error> {
    let mut at = Entry::folder(root);
    for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        if !at.is_folder() {
            return Ok(None);
        }
        match Folder::read(repo, Some(at.oid))?.child(name) {
            Some(entry) => at = entry,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// Writes the tree that differs from `root` only at `path`; folders that become empty disappear, as in Git.
///
/// None means that nothing is left. `Err(path)` inside the result names a file that stands where a folder is needed.
pub(crate) fn put(
    repo: &Repository,
    root: Option<Oid>,
    path: &[u8],
    entry: Option<Entry>,
) -> Result<Result<Option<Entry>, Vec<u8>>, git2::Error> {
    let mut names = path.splitn(2, |b| *b == b'/');
    let name = names.next().unwrap_or_default();
    if name.is_empty() {
        return Ok(Ok(entry));
    }
    let new = match names.next() {
        None => entry,
        Some(rest) => {
            let old = Folder::read(repo, root)?.child(name);
            match old {
                Some(old) if !old.is_folder() => {
                    return Ok(if entry.is_some() {
                        Err(name.to_vec())
                    } else {
                        Ok(root.map(Entry::folder))
                    });
                }
                _ => {}
            }
            match put(repo, old.map(|e| e.oid), rest, entry)? {
                Ok(new) => new,
                Err(below) => return Ok(Err([name, b"/", &below].concat())),
            }
        }
    };
    let old = root.map(|oid| repo.find_tree(oid)).transpose()?;
    write(repo, old.as_ref(), &[(name.to_vec(), new)]).map(Ok)
}

/// Puts several entries; the paths of files that stand where a folder is needed come back as conflicts.
pub(crate) fn put_all(
    repo: &Repository,
    root: Oid,
    entries: &[(Vec<u8>, Option<Entry>)],
) -> Result<Result<Oid, Vec<Vec<u8>>>, git2::Error> {
    let mut result = Some(Entry::folder(root));
    let mut conflicts = Vec::new();
    for (path, entry) in entries {
        match put(repo, result.map(|e| e.oid), path, *entry)? {
            Ok(new) => result = new,
            Err(file) => conflicts.push(file),
        }
    }
    if !conflicts.is_empty() {
        return Ok(Err(conflicts));
    }
    match result {
        Some(entry) => Ok(Ok(entry.oid)),
        None => repo.treebuilder(None)?.write().map(Ok),
    }
}

/// Writes a tree: the old one with some names set or removed; none when it is empty.
pub(crate) fn write(
    repo: &Repository,
    old: Option<&Tree<'_>>,
    changes: &[(Vec<u8>, Option<Entry>)],
) -> Result<Option<Entry>, git2::Error> {
    let mut builder = repo.treebuilder(old)?;
    for (name, entry) in changes {
        match entry {
            Some(entry) => {
                builder.insert(name.as_slice(), entry.oid, entry.mode)?;
            }
            None => {
                if builder.get(name.as_slice())?.is_some() {
                    builder.remove(name.as_slice())?;
                }
            }
        }
    }
    if builder.is_empty() { Ok(None) } else { builder.write().map(Entry::folder).map(Some) }
}

/// The paths of the files that differ between two trees, sorted; folders that are the same are not read.
pub(crate) fn changed(repo: &Repository, old: Oid, new: Oid) -> Result<Vec<Vec<u8>>, git2::Error> {
    let mut files = Vec::new();
    compare(repo, Some(Entry::folder(old)), Some(Entry::folder(new)), &[], &mut files)?;
    files.sort();
    Ok(files)
}

fn compare(
    repo: &Repository,
    old: Option<Entry>,
    new: Option<Entry>,
    path: &[u8],
    files: &mut Vec<Vec<u8>>,
) -> Result<(), git2::Error> {
    if old == new {
        return Ok(());
    }
    let folder = |entry: Option<Entry>| entry.filter(|e| e.is_folder()).map(|e| e.oid);
    let file = |entry: Option<Entry>| entry.filter(|e| !e.is_folder());
    if file(old) != file(new) {
        files.push(path.to_vec());
    }
    let (old, new) = (Folder::read(repo, folder(old))?, Folder::read(repo, folder(new))?);
    for name in names(&[&old, &new]) {
        let (old, new) = (old.child(&name), new.child(&name));
        if old != new {
            compare(repo, old, new, &join(path, &name), files)?;
        }
    }
    Ok(())
}

/// `folder/name`, or just the name at the root.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// The folders on the way to a path in the tree that was read last, and what stood at its end.
///
/// Commits that follow each other share nearly all of a tree: where a folder is the same, so is all that lies in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    folders: Vec<Oid>,
    end: Option<Entry>,
}

impl Trail {
    fn follow(&mut self, repo: &Repository, root: Oid, path: &[u8]) -> Result<Option<Entry>, git2::Error> {
        let mut at = Some(Entry::folder(root));
        let names = path.split(|b| *b == b'/').filter(|name| !name.is_empty());
        for (depth, name) in names.enumerate() {
            let Some(folder) = at.filter(|entry| entry.is_folder()) else {
                at = None;
                break;
            };
            if self.folders.get(depth) == Some(&folder.oid) {
                return Ok(self.end);
            }
            self.folders.truncate(depth);
            at = Folder::read(repo, Some(folder.oid))?.child(name);
            self.folders.push(folder.oid);
        }
        self.end = at;
        Ok(at)
    }
}

/// What a footprint holds at one commit: the entry of each root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(Vec<Option<Entry>>);

impl Snapshot {
    /// Reads it; the roots' entries alone tell whether anything below differs.
    pub(crate) fn of(
        repo: &Repository,
        root: Option<Oid>,
        footprint: &Footprint,
    ) -> Result<Self, git2::Error> {
        let entries = footprint.roots().iter().map(|path| match root {
            Some(root) => entry_at(repo, root, path),
            None => Ok(None),
        });
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }

    /// The same, faster for one of many commits in a row.
    pub(crate) fn along(
        repo: &Repository,
        root: Oid,
        footprint: &Footprint,
        trails: &mut [Trail],
    ) -> Result<Self, git2::Error> {
        let ways = footprint.roots().iter().zip(trails);
        let entries = ways.map(|(path, trail)| trail.follow(repo, root, path));
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }

    /// Whether the footprint holds nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// A digest of the content: a folder's own tree id, or for anything else the hash of a sorted list.
    pub(crate) fn digest(&self, footprint: &Footprint) -> Result<String, git2::Error> {
        if let [Some(only)] = self.0.as_slice()
            && only.is_folder()
        {
            return Ok(only.oid.to_string());
        }
        let mut list = Vec::new();
        for (path, entry) in footprint.roots().iter().zip(&self.0) {
            let (mode, oid) = entry.map_or((0, Oid::ZERO_SHA1), |e| (e.mode, e.oid));
            list.extend_from_slice(path);
            list.extend_from_slice(format!("\0{mode:o}\0{oid}\n").as_bytes());
        }
        Oid::hash_object(ObjectType::Blob, &list).map(|oid| oid.to_string())
    }
}
