//! All policies of a directory, and which of them is for an application.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::code::Code;
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
        code: Code::Ambiguous,
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
        return read_file(path).map(|file| vec![file]);
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
            Err(found) => mistakes.extend(found.iter().cloned()),
        }
    }
    Mistakes::new(mistakes).map_or(Ok(files), Err)
}

fn read_file(path: &Path) -> Result<SourceFile, Mistakes> {
    let name = path.display().to_string();
    let cannot = |error: &io::Error| {
        Mistakes::from(Mistake::whole(&name, format!("cannot read the file: {error}"), hint(error)))
    };
    // A pipe or a device would block the daemon, or never end.
    if !fs::metadata(path).map_err(|error| cannot(&error))?.is_file() {
        return Err(Mistake::whole(&name, "this is not a regular file", None).into());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::{AppKey, HealthStatus, SyncStatus};

    fn file(name: &str, application: &str) -> SourceFile {
        let text = format!(
            "apiVersion: lastgood.dev/v1alpha1\napplication: {{ {application} }}\nrollback: {{ mode: push }}\n"
        );
        SourceFile { name: name.to_owned(), bytes: text.into_bytes() }
    }

    fn facts(namespace: &str, name: &str) -> ApplicationFacts {
        ApplicationFacts {
            app: AppKey::new(namespace, name),
            uid: "1".into(),
            project: "default".into(),
            labels: BTreeMap::from([("tier".into(), "web".into())]),
            sources: vec![],
            spec_digest: String::new(),
            hydrated: false,
            destination_cluster: String::new(),
            destination_namespace: "shop".into(),
            in_cluster: true,
            auto_sync: true,
            operation_requested: false,
            operation: None,
            sync: SyncStatus::Synced,
            compared: None,
            health: HealthStatus::Healthy,
            reconciled_at: None,
            history: vec![],
            workloads: vec![],
            dry: None,
            parent: None,
            children: Vec::new(),
            resume: None,
        }
    }

    /// Says which policy of these (name, selector) is for `argocd/shop-web`, of project `default`, labelled `tier: web`.
    #[track_caller]
    fn check(policies: &[(&str, &str)], expected: &str) {
        let files: Vec<SourceFile> =
            policies.iter().map(|(name, application)| file(name, application)).collect();
        let set = PolicySet::from_files(&files).unwrap_or_else(|mistakes| panic!("\n{mistakes}"));
        let got = match set.for_application(&facts("argocd", "shop-web")) {
            Match::One(policy) => policy.name.clone(),
            Match::None => "none".to_owned(),
            Match::Ambiguous(names) => format!("ambiguous: {}", names.join(", ")),
        };
        assert_eq!(got, expected, "{policies:?}");
    }

    #[test]
    fn selects() {
        check(&[], "none");
        check(&[("a", "name: shop-web")], "a");
        check(&[("a", "name: shop")], "none");
        check(&[("a", "name: 'shop-*'")], "a");
        check(&[("a", "name: '{shop,pay}-???'")], "a");
        check(&[("a", "namespace: argocd")], "a");
        check(&[("a", "namespace: 'team-*'")], "none");
        check(&[("a", "project: default, labels: { tier: web }")], "a");
        check(&[("a", "labels: { tier: web, team: x }")], "none");
        check(&[("a", "name: shop-web, project: other")], "none");
    }

    #[test]
    fn a_name_beats_descriptions_and_a_draw_is_nobodys() {
        check(&[("a", "name: 'shop-*'"), ("b", "name: shop-web")], "b");
        check(
            &[("a", "name: 'shop-*', labels: { tier: web }"), ("b", "name: shop-web, project: other")],
            "a",
        );
        check(&[("a", "name: 'shop-*'"), ("b", "labels: { tier: web }")], "ambiguous: a, b");
        check(&[("a", "name: shop-web"), ("b", "name: shop-web, namespace: argocd")], "ambiguous: a, b");
        check(&[("a", "name: shop-web, namespace: argocd"), ("b", "name: shop-web, namespace: other")], "a");
    }

    #[test]
    fn policies_that_could_never_be_told_apart_are_refused() {
        let check = |files: &[SourceFile], expected: &str| {
            let mistakes = PolicySet::from_files(files).unwrap_err();
            assert_eq!(mistakes.iter().map(Mistake::one_line).collect::<Vec<_>>(), [expected]);
        };
        check(
            &[file("a.yaml", "name: x"), file("b.yaml", "name: x")],
            "b.yaml:2:1: this policy selects the same applications as a.yaml; nobody could know which one is meant: remove one, or make one select fewer",
        );
        check(
            &[file("a.yaml", "name: x"), file("a.yml", "name: y")],
            "a.yml:2:1: a second policy named `a`: the first is a.yaml; a policy is named after its file: rename one of the two",
        );
    }

    #[test]
    fn every_mistake_of_every_file_is_reported() {
        let bad = |name: &str| SourceFile { name: name.to_owned(), bytes: b"nonsense".to_vec() };
        let mistakes = PolicySet::from_files(&[bad("a"), file("b", "name: x"), bad("c")]).unwrap_err();
        assert_eq!(mistakes.iter().map(|m| m.file.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_mounted_config_map_is_read_through_its_links() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let versioned = dir.path().join("..2024_05_01");
        fs::create_dir(&versioned).unwrap();
        for name in ["b.yaml", "a.yml", "notes.txt", ".hidden.yaml"] {
            fs::write(versioned.join(name), file("", &format!("name: {name}")).bytes).unwrap();
            symlink(Path::new("..data").join(name), dir.path().join(name)).unwrap();
        }
        symlink("..2024_05_01", dir.path().join("..data")).unwrap();
        fs::create_dir(dir.path().join("sub.yaml")).unwrap();
        let set = PolicySet::load(dir.path()).unwrap();
        assert_eq!(set.iter().map(|p| p.policy.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(PolicySet::load(&dir.path().join("a.yml")).unwrap().len(), 1);

        symlink("nowhere", dir.path().join("c.yaml")).unwrap();
        let mistakes = PolicySet::load(dir.path()).unwrap_err().to_string();
        assert!(mistakes.contains("c.yaml") && mistakes.contains("cannot read the file"), "{mistakes}");
        assert!(PolicySet::load(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn the_digest_tells_versions_apart() {
        let of = |files: &[&SourceFile]| digest(&files.iter().copied().cloned().collect::<Vec<_>>());
        let (a, b) = (file("a", "name: x"), file("b", "name: x"));
        assert_eq!(of(&[&a]), of(&[&a]));
        assert_ne!(of(&[&a]), of(&[&b]));
        assert_ne!(of(&[&a, &b]), of(&[&b, &a]));
    }
}
