//! The three-way merge of one path: base is bad, ours is the branch's tip, theirs is last good.

use git2::{FileMode, MergeFileInput, Oid, Repository};

use super::tree::{self, Entry, Folder};

/// Files above this size are not merged by lines: nobody edits such a manifest by hand, and the merge is quadratic.
const MERGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How much of a file is searched for a NUL byte to tell binary from text, as Git does.
const BINARY_PROBE_BYTES: usize = 8000;

/// One path in the three trees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides {
    pub(crate) base: Option<Entry>,
    pub(crate) ours: Option<Entry>,
    pub(crate) theirs: Option<Entry>,
}

impl Sides {
    fn each(self) -> [Option<Entry>; 3] {
        [self.base, self.ours, self.theirs]
    }

    /// Whether one look at the ids tells what the merge results in.
    fn is_trivial(self) -> bool {
        self.base == self.theirs || self.ours == self.theirs || self.ours == self.base
    }

    /// What a trivial merge results in.
    fn result(self) -> Option<Entry> {
        if self.ours == self.base { self.theirs } else { self.ours }
    }

    /// The three folders, when no side is anything but a folder; a missing folder counts as an empty one.
    fn folders(self) -> Option<[Option<Oid>; 3]> {
        let all = self.each().iter().flatten().all(|e| e.is_folder());
        all.then(|| self.each().map(|e| e.map(|e| e.oid)))
    }

    /// The three regular files, when every side is one.
    fn files(self) -> Option<[Entry; 3]> {
        match (self.base, self.ours, self.theirs) {
            (Some(b), Some(o), Some(t)) if b.is_file() && o.is_file() && t.is_file() => Some([b, o, t]),
            _ => None,
        }
    }
}

/// Merges one path and everything below it; conflicting paths are added to `conflicts`.
pub(crate) fn merge(
    repo: &Repository,
    path: &[u8],
    sides: Sides,
    conflicts: &mut Vec<Vec<u8>>,
) -> Result<Option<Entry>, git2::Error> {
    if sides.is_trivial() {
        return Ok(sides.result());
    }
    if let Some(folders) = sides.folders() {
        return merge_folders(repo, path, folders, conflicts);
    }
    if let Some([base, ours, theirs]) = sides.files()
        && let Some(oid) = merge_text(repo, path, base.oid, ours.oid, theirs.oid)?
    {
        // Regular files have but two modes, so that two of three sides always agree.
        let mode = if ours.mode == base.mode { theirs.mode } else { ours.mode };
        return Ok(Some(Entry { mode, oid }));
    }
    conflicts.push(path.to_vec());
    Ok(sides.ours)
}

fn merge_folders(
    repo: &Repository,
    path: &[u8],
    folders: [Option<Oid>; 3],
    conflicts: &mut Vec<Vec<u8>>,
) -> Result<Option<Entry>, git2::Error> {
    let [base_id, ours_id, theirs_id] = folders;
    let (base, ours) = (Folder::read(repo, base_id)?, Folder::read(repo, ours_id)?);
    let theirs = Folder::read(repo, theirs_id)?;
    let mut changes = Vec::new();
    for name in tree::names(&[&base, &ours, &theirs]) {
        let sides = Sides { base: base.child(&name), ours: ours.child(&name), theirs: theirs.child(&name) };
        let merged = merge(repo, &tree::join(path, &name), sides, conflicts)?;
        if merged != sides.ours {
            changes.push((name, merged));
        }
    }
    if changes.is_empty() {
        return Ok(ours_id.map(Entry::folder));
    }
    tree::write(repo, ours.tree(), &changes)
}

/// Merges by lines; none when the lines conflict or the file is not text.
fn merge_text(
    repo: &Repository,
    path: &[u8],
    base: Oid,
    ours: Oid,
    theirs: Oid,
) -> Result<Option<Oid>, git2::Error> {
    if base == theirs || ours == theirs {
        return Ok(Some(ours));
    }
    if ours == base {
        return Ok(Some(theirs));
    }
    let blobs = [repo.find_blob(base)?, repo.find_blob(ours)?, repo.find_blob(theirs)?];
    if blobs.iter().any(|b| b.size() > MERGE_BYTES_MAX || is_binary(b.content())) {
        return Ok(None);
    }
    let [base, ours, theirs] = blobs.each_ref().map(|blob| {
        let mut input = MergeFileInput::new();
        input.content(blob.content()).path(path).mode(Some(FileMode::Blob));
        input
    });
    let merged = git2::merge_file(&base, &ours, &theirs, None)?;
    if !merged.is_automergeable() {
        return Ok(None);
    }
    repo.blob(merged.content()).map(Some)
}

fn is_binary(content: &[u8]) -> bool {
    content.iter().take(BINARY_PROBE_BYTES).any(|b| *b == 0)
}
