//! Reading and writing Git trees path by path, so that a large repository is never read as a whole.

use std::collections::BTreeMap;

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

    pub(crate) fn is_submodule(self) -> bool {
        self.mode == i32::from(FileMode::Commit)
    }

    pub(crate) fn of(entry: &git2::TreeEntry<'_>) -> Self {
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

/// The entries at several paths; a folder that they have in common is read once, if they are sorted.
pub(crate) fn entries_at(
    repo: &Repository,
    root: Oid,
    paths: &[Vec<u8>],
) -> Result<Vec<Option<Entry>>, git2::Error> {
    // The folders on the way to the last path: the root, and then one for each name.
    let mut names: Vec<&[u8]> = Vec::new();
    let mut folders = vec![Folder::read(repo, Some(root))?];
    let mut entries = Vec::with_capacity(paths.len());
    for path in paths {
        let mut parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
        let Some(last) = parts.pop() else {
            entries.push(Some(Entry::folder(root)));
            continue;
        };
        let common = names.iter().zip(&parts).take_while(|(a, b)| a == b).count();
        names.truncate(common);
        folders.truncate(common + 1);
        for part in parts.into_iter().skip(common) {
            let below = folders.last().and_then(|folder| folder.child(part)).filter(|e| e.is_folder());
            folders.push(Folder::read(repo, below.map(|e| e.oid))?);
            names.push(part);
        }
        entries.push(folders.last().and_then(|folder| folder.child(last)));
    }
    Ok(entries)
}

/// Writes the tree that differs from `root` only at these paths; or the files that stand where a folder is needed.
///
/// Folders that become empty disappear, as in Git. Each folder is written once.
pub(crate) fn put_all(
    repo: &Repository,
    root: Oid,
    entries: &[(Vec<u8>, Option<Entry>)],
) -> Result<Result<Oid, Vec<Vec<u8>>>, git2::Error> {
    let mut conflicts = Vec::new();
    let entries = entries.iter().map(|(path, entry)| (path.as_slice(), *entry)).collect();
    let result = put(repo, Some(Entry::folder(root)), entries, &[], &mut conflicts)?;
    if !conflicts.is_empty() {
        return Ok(Err(conflicts));
    }
    match result {
        Some(entry) => Ok(Ok(entry.oid)),
        None => repo.treebuilder(None)?.write().map(Ok),
    }
}

/// A path, and what is to be there.
type Change<'p> = (&'p [u8], Option<Entry>);

/// What `old`, which lies at `path`, becomes.
fn put(
    repo: &Repository,
    mut old: Option<Entry>,
    entries: Vec<Change<'_>>,
    path: &[u8],
    conflicts: &mut Vec<Vec<u8>>,
) -> Result<Option<Entry>, git2::Error> {
    let mut below: BTreeMap<&[u8], Vec<Change<'_>>> = BTreeMap::new();
    for (rest, entry) in entries {
        let mut names = rest.splitn(2, |b| *b == b'/');
        match names.next().filter(|name| !name.is_empty()) {
            Some(name) => below.entry(name).or_default().push((names.next().unwrap_or_default(), entry)),
            None => old = entry,
        }
    }
    if below.is_empty() {
        return Ok(old);
    }
    if old.is_some_and(|old| !old.is_folder()) {
        if below.values().flatten().any(|(_, entry)| entry.is_some()) {
            conflicts.push(path.to_vec());
        }
        return Ok(old);
    }
    let folder = Folder::read(repo, old.map(|old| old.oid))?;
    let mut changes = Vec::new();
    for (name, entries) in below {
        let before = folder.child(name);
        let after = put(repo, before, entries, &join(path, name), conflicts)?;
        if after != before {
            changes.push((name.to_vec(), after));
        }
    }
    if changes.is_empty() { Ok(old) } else { write(repo, folder.tree(), &changes) }
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
    let different = differences(repo, Some(old), new)?;
    Ok(different.into_iter().map(|difference| difference.path).collect())
}

/// A file that is not the same in two trees.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) path: Vec<u8>,
    /// Whether the first tree has it.
    pub(crate) before: bool,
    /// Whether the second tree has it.
    pub(crate) after: bool,
}

/// The files that differ between two trees, by their paths; without a first one everything is new.
pub(crate) fn differences(
    repo: &Repository,
    old: Option<Oid>,
    new: Oid,
) -> Result<Vec<Difference>, git2::Error> {
    let mut files = Vec::new();
    compare(repo, old.map(Entry::folder), Some(Entry::folder(new)), &[], &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn compare(
    repo: &Repository,
    old: Option<Entry>,
    new: Option<Entry>,
    path: &[u8],
    files: &mut Vec<Difference>,
) -> Result<(), git2::Error> {
    if old == new {
        return Ok(());
    }
    let folder = |entry: Option<Entry>| entry.filter(|e| e.is_folder()).map(|e| e.oid);
    let file = |entry: Option<Entry>| entry.filter(|e| !e.is_folder());
    if file(old) != file(new) {
        let (before, after) = (file(old).is_some(), file(new).is_some());
        files.push(Difference { path: path.to_vec(), before, after });
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
        match root {
            Some(root) => entries_at(repo, root, footprint.roots()).map(Self),
            None => Ok(Self(vec![None; footprint.roots().len()])),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Many at once is the same as one after the other, whatever the order.
    #[test]
    fn many_paths_are_read_and_written_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path()).unwrap();
        let empty = repo.treebuilder(None).unwrap().write().unwrap();
        let file = |text: &str| {
            Some(Entry { mode: FileMode::Blob.into(), oid: repo.blob(text.as_bytes()).unwrap() })
        };
        let change = |paths: &[&str], to: Option<Entry>| -> Vec<(Vec<u8>, Option<Entry>)> {
            paths.iter().map(|path| (path.as_bytes().to_vec(), to)).collect()
        };
        let files = ["a-b", "a/b/c", "a/b/d", "a/e", "f", "g/h/i"];
        let tree = put_all(&repo, empty, &change(&files, file("x"))).unwrap().unwrap();
        let paths =
            ["g/h", "a", "a/b", "a/b/c", "a/b/c/d", "a-b", "a/e/f", "", "no/such", "a/b/\0", "f", "g/h/i"];
        let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let one_by_one: Vec<_> = paths.iter().map(|path| entry_at(&repo, tree, path).unwrap()).collect();
        assert_eq!(entries_at(&repo, tree, &paths).unwrap(), one_by_one);
        assert_eq!(one_by_one.iter().filter(|entry| entry.is_some()).count(), 8);

        let mut changes = change(&["a/b/c", "a/b/d", "g/h/i", "f/none", "no/such"], None);
        changes.extend(change(&["j/k", "a-b"], file("y")));
        let mut expected = tree;
        for change in &changes {
            expected = put_all(&repo, expected, std::slice::from_ref(change)).unwrap().unwrap();
        }
        assert_eq!(put_all(&repo, tree, &changes).unwrap(), Ok(expected));
        assert_eq!(names(&[&Folder::read(&repo, Some(expected)).unwrap()]), [&b"a"[..], b"a-b", b"f", b"j"]);
        // A file in the way, several times, and nothing left.
        let in_the_way = change(&["f/x/y", "f/z", "a/e/x"], file("z"));
        assert_eq!(put_all(&repo, tree, &in_the_way).unwrap(), Err(vec![b"a/e".to_vec(), b"f".to_vec()]));
        assert_eq!(put_all(&repo, tree, &change(&files, None)).unwrap(), Ok(empty));
        assert_eq!(put_all(&repo, tree, &change(&[""], Some(Entry::folder(empty)))).unwrap(), Ok(empty));
    }
}
