//! All policies of a directory, and which of them is for an application.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::mistake::{Mistake, Mistakes};
use super::read::{FILE_BYTES_MAX, Loaded, read};
use crate::engine::facts::ApplicationFacts;
use crate::engine::policy::Policy;

/// Files of one directory; past it something else than policies is in there.
const FILES_MAX: usize = 2000;

/// The policies that are in force together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySet {
    policies: Vec<Loaded>,
    digest: String,
}

/// What the policies say about one application.
#[derive(Clone, Debug, PartialEq)]
pub enum Match {
    /// This policy is for it.
    One(Arc<Policy>),
    /// It is not watched.
    None,
    /// Several policies claim it, so nobody acts: their names.
    Ambiguous(Vec<String>),
}

/// A policy file's content, good or bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The file, as the person named it.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl PolicySet {
    /// Loads every `*.yaml` and `*.yml` of a directory, or one file, or finds all mistakes in them.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        Self::from_files(&read_files(path)?)
    }

    /// Reads the policies of these files, or finds all mistakes in them.
    pub fn from_files(files: &[SourceFile]) -> Result<Self, Mistakes> {
        let mut policies: Vec<Loaded> = Vec::new();
        let mut mistakes: Vec<Mistake> = Vec::new();
        for file in files {
            match read(&file.name, &file.bytes) {
                Ok(loaded) => {
                    mistakes.extend(clash(&policies, &loaded));
                    policies.push(loaded);
                }
                Err(found) => mistakes.extend(found.iter().cloned()),
            }
        }
        match Mistakes::new(mistakes) {
            Some(mistakes) => Err(mistakes),
            None => Ok(Self { policies, digest: digest(files) }),
        }
    }

    /// The policy for an application.
    ///
    /// A policy whose `application.name` is exactly the application's name beats all that describe it by globs, labels, project
    /// or namespace. If several are left, nobody can know which was meant.
    pub fn for_application(&self, facts: &ApplicationFacts) -> Match {
        let all: Vec<&Loaded> = self.policies.iter().filter(|p| p.selector.matches(facts)).collect();
        let exact: Vec<&Loaded> = all.iter().filter(|p| p.selector.is_exact()).copied().collect();
        match if exact.is_empty() { all } else { exact }.as_slice() {
            [] => Match::None,
            [one] => Match::One(Arc::clone(&one.policy)),
            several => Match::Ambiguous(several.iter().map(|p| p.policy.name.clone()).collect()),
        }
    }

    /// Each policy with its selector, sorted by file name.
    pub fn iter(&self) -> impl Iterator<Item = &Loaded> {
        self.policies.iter()
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there are no policies, so that nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// A short digest of all files, to tell one version of the policies from another in a log.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// What makes a policy impossible next to those before it.
fn clash(before: &[Loaded], new: &Loaded) -> Option<Mistake> {
    let mistake = |message: String, help: &str| Mistake {
        file: new.file.clone(),
        place: new.place.clone(),
        message,
        help: Some(help.to_owned()),
    };
    before.iter().find_map(|old| {
        let name = &new.policy.name;
        if old.policy.name == *name {
            let message = format!("a second policy named `{name}`: the first is {}", old.file);
            return Some(mistake(message, "a policy is named after its file: rename one of the two"));
        }
        (old.selector == new.selector).then(|| {
            let message = format!("this policy selects the same applications as {}", old.file);
            mistake(message, "nobody could know which one is meant: remove one, or make one select fewer")
        })
    })
}

/// FNV-1a over names and contents: stable over versions and machines. It guards against nothing, it only names.
pub(super) fn digest(files: &[SourceFile]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for file in files {
        let length = (file.bytes.len() as u64).to_le_bytes();
        for byte in file.name.bytes().chain(length).chain(file.bytes.iter().copied()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// Reads every `*.yaml` and `*.yml` of a directory, or one file, sorted by name.
///
/// Hidden entries are left out: a mounted `ConfigMap` keeps its versions in `..2024_01_01…`, with `..data` pointing at the one in
/// force and each visible file being a link through it. Links to files are followed.
pub fn read_files(path: &Path) -> Result<Vec<SourceFile>, Mistakes> {
    let shown = path.display().to_string();
    if path.is_file() {
        return read_file(path).map(|file| vec![file]).map_err(Mistakes::from);
    }
    let cannot =
        |error: &io::Error| Mistake::whole(&shown, format!("cannot read the policies: {error}"), hint(error));
    let mut paths = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(|error| cannot(&error))? {
        let entry = entry.map_err(|error| cannot(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ending = Path::new(&name).extension().is_some_and(|e| e == "yaml" || e == "yml");
        if ending && !name.starts_with('.') && !entry.path().is_dir() {
            paths.insert(name, entry.path());
        }
    }
    if paths.len() > FILES_MAX {
        let message = format!("{} policy files are too many", paths.len());
        return Err(Mistake::whole(&shown, message, Some(format!("at most {FILES_MAX}"))).into());
    }
    let (mut files, mut mistakes) = (Vec::new(), Vec::new());
    for path in paths.into_values() {
        match read_file(&path) {
            Ok(file) => files.push(file),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    Mistakes::new(mistakes).map_or(Ok(files), Err)
}

fn read_file(path: &Path) -> Result<SourceFile, Mistake> {
    let name = path.display().to_string();
    let cannot =
        |error: &io::Error| Mistake::whole(&name, format!("cannot read the file: {error}"), hint(error));
    // A pipe or a device would block the daemon, or never end.
    if !fs::metadata(path).map_err(|error| cannot(&error))?.is_file() {
        return Err(Mistake::whole(&name, "this is not a regular file", None));
    }
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| cannot(&error))?;
    Ok(SourceFile { name, bytes })
}

fn hint(error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::NotFound => Some("is the path right, and is the volume mounted?".to_owned()),
        io::ErrorKind::PermissionDenied => Some("let the user that runs lastgood read it".to_owned()),
        _ => None,
    }
}
