//! The three-way merge of a footprint: base is bad, ours is the branch's tip, theirs is last good.
//!
//! Path by path, so that only what differs is read. Where a file is gone on one side it may have moved: then, and only
//! then, [`renames`](super::renames) merges the footprint as a whole.

use git2::{FileFavor, FileMode, MergeFileInput, MergeFileOptions, Oid, Repository};

use super::attributes::{Attributes, Driver};
use super::footprint::Footprint;
use super::renames;
use super::tree::{self, Entry, Folder};

/// Files above this size are not merged by lines: nobody edits such a manifest by hand, and the merge is quadratic.
const MERGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How much of a file is searched for a NUL byte to tell binary from text, as Git does.
const BINARY_PROBE_BYTES: usize = 8000;

/// Merges the footprint of the trees base, ours and theirs into ours; or the conflicting paths, sorted.
pub(crate) fn footprint(
    repo: &Repository,
    footprint: &Footprint,
    roots: [Oid; 3],
) -> Result<Result<Oid, Vec<Vec<u8>>>, git2::Error> {
    let [base, ours, theirs] = roots;
    let mut merge = Merge { attributes: Attributes::new(repo, ours), repo, conflicts: vec![], moved: false };
    let mut entries = Vec::new();
    let at = |root: Oid| tree::entries_at(repo, root, footprint.roots());
    let sides = at(base)?.into_iter().zip(at(ours)?).zip(at(theirs)?);
    for (path, ((base, ours), theirs)) in footprint.roots().iter().zip(sides) {
        let sides = Sides { base, ours, theirs };
        let merged = merge.path(path, sides)?;
        if merged != sides.ours {
            entries.push((path.clone(), merged));
        }
    }
    let Merge { attributes, mut conflicts, moved, .. } = merge;
    if moved {
        return renames::merge(repo, footprint, roots, &attributes);
    }
    if conflicts.is_empty() {
        match tree::put_all(repo, ours, &entries)? {
            Ok(tree) => return Ok(Ok(tree)),
            Err(files) => conflicts = files,
        }
    }
    conflicts.sort();
    conflicts.dedup();
    Ok(Err(conflicts))
}

/// One path in the three trees.
#[derive(Clone, Copy, Debug)]
struct Sides {
    base: Option<Entry>,
    ours: Option<Entry>,
    theirs: Option<Entry>,
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

    /// Whether both sides changed what was there, and one or both removed it: it may be somewhere else now.
    fn may_have_moved(self) -> bool {
        let gone = |side: Option<Entry>| self.base.is_some() && side.is_none();
        self.ours != self.base && self.theirs != self.base && (gone(self.ours) || gone(self.theirs))
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

struct Merge<'r> {
    repo: &'r Repository,
    attributes: Attributes<'r>,
    conflicts: Vec<Vec<u8>>,
    /// Whether something that both sides changed is gone on one: a look path by path is not enough.
    moved: bool,
}

impl Merge<'_> {
    /// Merges one path and everything below it.
    fn path(&mut self, path: &[u8], sides: Sides) -> Result<Option<Entry>, git2::Error> {
        let folders = sides.folders();
        // Two sides that agree may still have removed a file that each of them moved elsewhere, so such folders are
        // looked into.
        let agree = sides.ours == sides.theirs && sides.ours != sides.base && folders.is_some();
        if sides.is_trivial() && !agree {
            self.moved |= sides.may_have_moved();
            return Ok(sides.result());
        }
        if let Some(folders) = folders {
            return self.folders(path, folders);
        }
        if sides.may_have_moved() {
            self.moved = true;
        } else if let Some([base, ours, theirs]) = sides.files()
            && let Some(oid) = self.text(path, base.oid, ours.oid, theirs.oid)?
        {
            // Regular files have but two modes, so that two of three sides always agree.
            let mode = if ours.mode == base.mode { theirs.mode } else { ours.mode };
            return Ok(Some(Entry { mode, oid }));
        }
        self.conflicts.push(path.to_vec());
        Ok(sides.ours)
    }

    fn folders(&mut self, path: &[u8], folders: [Option<Oid>; 3]) -> Result<Option<Entry>, git2::Error> {
        let [base_id, ours_id, theirs_id] = folders;
        let (base, ours) = (Folder::read(self.repo, base_id)?, Folder::read(self.repo, ours_id)?);
        let theirs = Folder::read(self.repo, theirs_id)?;
        let one_side_is_gone = base_id.is_some() && (ours_id.is_none() || theirs_id.is_none());
        let mut changes = Vec::new();
        for name in tree::names(&[&base, &ours, &theirs]) {
            let sides =
                Sides { base: base.child(&name), ours: ours.child(&name), theirs: theirs.child(&name) };
            // New in a folder that the other side moved: it may have to move too.
            self.moved |= one_side_is_gone && sides.base.is_none();
            let merged = self.path(&tree::join(path, &name), sides)?;
            if merged != sides.ours {
                changes.push((name, merged));
            }
        }
        if changes.is_empty() {
            return Ok(ours_id.map(Entry::folder));
        }
        tree::write(self.repo, ours.tree(), &changes)
    }

    /// Merges by lines; none when the lines conflict or the file is not text.
    fn text(&self, path: &[u8], base: Oid, ours: Oid, theirs: Oid) -> Result<Option<Oid>, git2::Error> {
        if base == theirs || ours == theirs {
            return Ok(Some(ours));
        }
        if ours == base {
            return Ok(Some(theirs));
        }
        let mut options = MergeFileOptions::new();
        match self.attributes.driver(path)? {
            Driver::Text => {}
            Driver::Union => {
                options.favor(FileFavor::Union);
            }
            Driver::Binary | Driver::Custom => return Ok(None),
        }
        let blobs = [self.repo.find_blob(base)?, self.repo.find_blob(ours)?, self.repo.find_blob(theirs)?];
        if blobs.iter().any(|b| b.size() > MERGE_BYTES_MAX || is_binary(b.content())) {
            return Ok(None);
        }
        let [base, ours, theirs] = blobs.each_ref().map(|blob| {
            let mut input = MergeFileInput::new();
            input.content(blob.content()).mode(Some(FileMode::Blob));
            input
        });
        let merged = git2::merge_file(&base, &ours, &theirs, Some(&mut options))?;
        if !merged.is_automergeable() {
            return Ok(None);
        }
        self.repo.blob(merged.content()).map(Some)
    }
}

fn is_binary(content: &[u8]) -> bool {
    content.iter().take(BINARY_PROBE_BYTES).any(|b| *b == 0)
}
