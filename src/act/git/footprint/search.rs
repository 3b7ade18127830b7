//! The search for a footprint in one tree: what was reached, and what was not.

use std::collections::HashSet;

use git2::{Oid, Repository};
use serde_json::Value;

use super::super::tree::{Entry, join};
use super::follow::{Followed, Root};
use super::path::{self, is_within, shown};
use super::reader::{Item, Place, Reader};
use super::{Note, yaml};

/// Roots that are collected; a plan looks at each of them in several trees.
const ROOTS_MAX: usize = 10_000;

/// Notes that are collected; nobody reads more.
const NOTES_MAX: usize = 100;

/// Who refers to what the Application itself says.
pub(super) const APPLICATION: &[u8] = b"the Application";

/// References that are followed; an application of a thousand files has a few thousand.
const REFERENCES_MAX: usize = 50_000;

/// One search.
pub(super) struct Search<'r> {
    reader: Reader<'r>,
    found: Followed,
    references_left: usize,
    // What was looked at, and as what.
    seen: HashSet<(Seen, Vec<u8>)>,
}

/// As what something is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Seen {
    /// As a whole folder.
    Folder,
    /// As a folder that Kustomize builds.
    Kustomization,
    /// As a chart.
    Chart,
    /// As a file that imports others.
    Jsonnet,
}

/// What is in a folder, everything below it or only right in it.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files and links, with their paths.
    pub(super) files: Vec<Item>,
    /// Whether it is all there is.
    pub(super) is_complete: bool,
}

impl<'r> Search<'r> {
    pub(super) fn new(repo: &'r Repository, root: Oid) -> Self {
        Self {
            reader: Reader::new(repo, root),
            found: Followed::default(),
            references_left: REFERENCES_MAX,
            seen: HashSet::new(),
        }
    }

    /// What was found; the next search in this tree begins anew, with all limits.
    pub(super) fn finish(&mut self) -> Followed {
        self.reader.renew();
        self.references_left = REFERENCES_MAX;
        self.seen.clear();
        std::mem::take(&mut self.found)
    }

    pub(super) fn note(&mut self, note: Note) {
        if self.found.notes.len() < NOTES_MAX {
            self.found.notes.insert(note);
        }
    }

    /// Whether this was not looked at before.
    pub(super) fn first(&mut self, seen: Seen, path: &[u8]) -> bool {
        self.seen.insert((seen, path.to_vec()))
    }

    /// Takes a root.
    pub(super) fn add(&mut self, path: &[u8], root: Root) {
        if self.found.roots.len() >= ROOTS_MAX {
            return self.note(Note::Limit { from: shown(APPLICATION), limit: "its files" });
        }
        self.found.add(path, root);
    }

    /// Goes where a reference leads; links on the way, and what is not there, are roots.
    pub(super) fn go(
        &mut self,
        from: &[u8],
        folder: &[u8],
        reference: &[u8],
    ) -> Result<Option<Item>, git2::Error> {
        let place = self.look(from, folder, reference)?;
        if let Some(Place::Missing(path)) = place {
            self.add(&path, Root::Missing);
            return Ok(None);
        }
        Ok(self.here(from, reference, place))
    }

    /// The same where it is there, and nothing where it is not.
    pub(super) fn go_if_there(
        &mut self,
        from: &[u8],
        folder: &[u8],
        reference: &[u8],
    ) -> Result<Option<Item>, git2::Error> {
        let place = self.look(from, folder, reference)?.filter(|place| !matches!(place, Place::Missing(_)));
        Ok(self.here(from, reference, place))
    }

    fn look(&mut self, from: &[u8], folder: &[u8], reference: &[u8]) -> Result<Option<Place>, git2::Error> {
        let Some(left) = self.references_left.checked_sub(1) else {
            self.note(Note::Limit { from: shown(from), limit: "references" });
            return Ok(None);
        };
        self.references_left = left;
        let Some(path) = path::join(folder, reference) else { return Ok(Some(Place::Outside)) };
        let (place, links) = self.reader.place(&path)?;
        for link in links {
            self.add(&link, Root::File);
        }
        if let Place::Submodule(path) = &place {
            self.add(path, Root::File);
            self.note(Note::Submodule { from: shown(from), path: shown(path) });
            return Ok(None);
        }
        Ok(Some(place))
    }

    fn here(&mut self, from: &[u8], reference: &[u8], place: Option<Place>) -> Option<Item> {
        let (from, path) = (shown(from), shown(reference));
        match place? {
            Place::Here(path, entry) => return Some((path, entry)),
            Place::Outside => self.note(Note::Outside { from, path }),
            Place::Circle => self.note(Note::Circle { from, path }),
            Place::Missing(_) | Place::Submodule(_) => {}
        }
        None
    }

    /// Takes the file or the whole folder that a reference leads to.
    pub(super) fn take(&mut self, from: &[u8], folder: &[u8], reference: &[u8]) -> Result<(), git2::Error> {
        match self.go(from, folder, reference)? {
            Some((path, entry)) => self.take_entry(&path, entry),
            None => Ok(()),
        }
    }

    /// Takes a file or a whole folder.
    pub(super) fn take_entry(&mut self, path: &[u8], entry: Entry) -> Result<(), git2::Error> {
        if entry.is_folder() {
            return self.take_folder(path, entry).map(drop);
        }
        self.add(path, Root::File);
        Ok(())
    }

    /// Takes a whole folder with what its links lead to, and gives what is in it.
    pub(super) fn take_folder(&mut self, path: &[u8], folder: Entry) -> Result<Listing, git2::Error> {
        self.add(path, Root::Folder);
        // Nothing is outside of the whole repository.
        if path.is_empty() || !self.first(Seen::Folder, path) {
            return Ok(Listing::default());
        }
        let listing = self.list(path, folder, true)?;
        if !listing.is_complete {
            self.note(Note::Limit { from: shown(path), limit: "folders in which links are looked for" });
        }
        for (link, _) in listing.files.iter().filter(|(_, entry)| is_link(*entry)) {
            let Some((target, entry)) = self.go(link, b"", link)? else { continue };
            if entry.is_folder() && is_within(path, &target) {
                self.note(Note::Circle { from: shown(link), path: shown(&target) });
            } else if !is_within(&target, path) {
                self.take_entry(&target, entry)?;
            }
        }
        Ok(listing)
    }

    /// What is in a folder, with what is below it or without; a link is not followed.
    pub(super) fn list(&mut self, path: &[u8], folder: Entry, below: bool) -> Result<Listing, git2::Error> {
        let mut listing = Listing { files: Vec::new(), is_complete: true };
        let mut folders = vec![(path.to_vec(), folder)];
        while let Some((path, folder)) = folders.pop() {
            let Some(entries) = self.reader.list(folder)? else {
                listing.is_complete = false;
                break;
            };
            for (name, entry) in entries {
                let path = join(&path, &name);
                if !entry.is_folder() {
                    listing.files.push((path, entry));
                } else if below {
                    folders.push((path, entry));
                }
            }
        }
        Ok(listing)
    }

    /// What lies right in a folder; none when too much was listed.
    pub(super) fn entries(&mut self, folder: Entry) -> Result<Option<Vec<Item>>, git2::Error> {
        self.reader.list(folder)
    }

    /// What lies right in a folder under a name.
    pub(super) fn child(&mut self, folder: Entry, name: &[u8]) -> Result<Option<Entry>, git2::Error> {
        self.reader.child(folder, name)
    }

    /// A file that may refer to others; one that cannot be read is noted.
    pub(super) fn read(&mut self, path: &[u8], file: Entry) -> Result<Option<Vec<u8>>, git2::Error> {
        match self.reader.file(file)? {
            Ok(content) => Ok(Some(content)),
            Err(reason) => {
                self.note(Note::Unreadable { path: shown(path), reason: reason.to_owned() });
                Ok(None)
            }
        }
    }

    /// The documents of a YAML file that may refer to others; what cannot be read is noted.
    pub(super) fn read_yaml(&mut self, path: &[u8], file: Entry) -> Result<Vec<Value>, git2::Error> {
        let Some(content) = self.read(path, file)? else { return Ok(Vec::new()) };
        match yaml::documents(&content) {
            Ok(documents) => Ok(documents),
            Err(reason) => {
                self.note(Note::Unreadable { path: shown(path), reason });
                Ok(Vec::new())
            }
        }
    }
}

pub(super) fn is_link(entry: Entry) -> bool {
    entry.mode == i32::from(git2::FileMode::Link)
}
