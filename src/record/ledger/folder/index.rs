//! Where each sequence number lies in a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::super::{Digest, Head, Link};

/// Folders between the root and a record: year, month, day.
const DEPTH: usize = 3;

/// The file's lines, and how far it was read.
#[derive(Debug, Default)]
pub(super) struct Index {
    lines: Vec<Line>,
    /// Bytes of the file that the lines are from; none before the folder was looked through.
    read: Option<u64>,
}

/// One of them: `SEQUENCE HASH PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) head: Head,
    pub(super) path: String,
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let sequence = parts.next()?.parse().ok()?;
        let hash = Digest::try_from(parts.next()?.to_owned()).ok()?;
        Some(Self { head: Head { sequence, hash }, path: parts.next()?.to_owned() })
    }

    fn write(&self) -> String {
        format!("{} {} {}\n", self.head.sequence, self.head.hash, self.path)
    }

    /// Whether the file holds what this says.
    fn is_so(&self, root: &Path) -> bool {
        let Ok(bytes) = fs::read(root.join(&self.path)) else { return false };
        Link::read(&bytes).is_ok_and(|link| Head::of(link.sequence, &bytes) == self.head)
    }
}

/// Why a folder has no index.
#[derive(Debug)]
pub(super) enum Trouble {
    Io(io::Error),
    Broken { path: String, why: String },
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Index {
    pub(super) fn head(&self) -> Option<&Head> {
        self.lines.last().map(|line| &line.head)
    }

    /// The lines after this sequence number.
    pub(super) fn after(&self, sequence: u64) -> &[Line] {
        let at = self.lines.partition_point(|line| line.head.sequence <= sequence);
        self.lines.get(at..).unwrap_or_default()
    }

    /// Begins anew.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Reads what was added to the index; false if it does not agree with itself or with the files.
    ///
    /// Files are counted when it is read for the first time. Later the last one is enough, since who adds files under the
    /// lock adds the lines, or leaves a batch that is finished before anything else.
    pub(super) fn read_on(&mut self, root: &Path, path: &Path) -> io::Result<bool> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        let begin = self.read.unwrap_or(0);
        let length = file.metadata()?.len();
        if length < begin {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(begin))?;
        let mut text = String::new();
        if file.read_to_string(&mut text).is_err() || !(text.is_empty() || text.ends_with('\n')) {
            return Ok(false);
        }
        for line in text.lines() {
            let Some(line) = Line::parse(line) else { return Ok(false) };
            if self.head().is_some_and(|head| head.sequence.checked_add(1) != Some(line.head.sequence)) {
                return Ok(false);
            }
            self.lines.push(line);
        }
        let is_first = self.read.is_none();
        self.read = Some(begin + text.len() as u64);
        if self.lines.last().is_some_and(|last| !last.is_so(root)) {
            return Ok(false);
        }
        Ok(!is_first || files(root)?.len() == self.lines.len())
    }

    /// Makes it anew from the files, which must be one chain.
    pub(super) fn rebuild(&mut self, root: &Path) -> Result<(), Trouble> {
        self.forget();
        let mut found = Vec::new();
        for path in files(root)? {
            let bytes = fs::read(root.join(&path))?;
            match Link::read(&bytes) {
                Ok(link) => {
                    let head = Head::of(link.sequence, &bytes);
                    found.push((Line { head, path }, link.previous));
                }
                Err(error) => return Err(Trouble::Broken { path, why: error.to_string() }),
            }
        }
        found.sort_by_key(|(line, _)| line.head.sequence);
        // Old years may have been put away: the chain need not begin at its first link.
        for (line, previous) in found {
            if let Some(head) = self.head() {
                let expected = head.sequence.saturating_add(1);
                let why = if line.head.sequence != expected {
                    format!("it has number {}, where {expected} must follow", line.head.sequence)
                } else if previous.as_ref() != Some(&head.hash) {
                    format!("it does not carry the hash of number {}", head.sequence)
                } else {
                    self.lines.push(line);
                    continue;
                };
                return Err(Trouble::Broken { path: line.path, why });
            }
            self.lines.push(line);
        }
        Ok(())
    }

    /// The whole file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lines.iter().map(Line::write).collect::<String>().into_bytes()
    }

    /// What [`Self::bytes`] gave is on the disk.
    pub(super) fn is_written(&mut self) {
        self.read = Some(self.bytes().len() as u64);
    }

    /// Adds lines, here and to the file.
    pub(super) fn add(&mut self, path: &Path, lines: impl Iterator<Item = Line>) -> io::Result<()> {
        let lines: Vec<_> = lines.collect();
        let text: String = lines.iter().map(Line::write).collect();
        OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())?;
        self.lines.extend(lines);
        self.read = Some(self.read.unwrap_or(0) + text.len() as u64);
        Ok(())
    }
}

/// The records' paths, from the root.
fn files(root: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![(root.to_path_buf(), Vec::<String>::new())];
    while let Some((folder, names)) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let is_folder = entry.file_type()?.is_dir();
            let names = [names.as_slice(), &[name]].concat();
            match names.len() {
                n if is_folder && n <= DEPTH => open.push((entry.path(), names)),
                n if n == DEPTH + 1
                    && !is_folder
                    && entry.path().extension().is_some_and(|e| e == "json") =>
                {
                    found.push(names.join("/"));
                }
                _ => {}
            }
        }
    }
    Ok(found)
}
