//! A bare copy of each repository, which may be thrown away at any time.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use git2::{
    AutotagOption, Buf, Direction, ErrorCode, FetchOptions, ObjectType, Oid, Reference, RemoteCallbacks,
    Repository, RepositoryInitOptions,
};

use super::advert::Wanted;
use super::error::{Class, Failure};
use super::transport::Session;

/// Pack files after which a copy is thrown away: each fetch adds one, and libgit2 never folds them together.
const PACKS_MAX: usize = 200;

/// Objects in files of their own after which they are put into one pack, as Git does by itself (`gc.auto`): each commit
/// of ours adds some. They are counted in one folder of 256.
const LOOSE_MAX: usize = 6700;
const LOOSE_SAMPLE: &str = "objects/17";

/// Where the copy of one repository lies.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

/// What the target revision turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A branch, and its tip.
    Branch { name: String, tip: Oid },
    /// A tag, a commit, or nothing that the server has.
    NotABranch,
}

impl Cache {
    /// The copy of the repository at `url` under `root`.
    pub(crate) fn new(root: &Path, url: &str) -> Result<Self, git2::Error> {
        let name = Oid::hash_object(ObjectType::Blob, url.trim_end_matches('/').as_bytes())?;
        Ok(Self { dir: root.join(format!("{name}.git")) })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens the copy, a new one if there is none or the old one has worn out.
    pub(crate) fn open(&self) -> Result<Repository, Failure> {
        // No fetch of ours is shallow, so a boundary here is a remnant of something else.
        if self.packs() > PACKS_MAX || self.dir.join("shallow").exists() {
            self.discard()?;
        }
        if let Ok(repo) = Repository::open_bare(&self.dir) {
            let sample = fs::read_dir(self.dir.join(LOOSE_SAMPLE)).map_or(0, Iterator::count);
            if sample.saturating_mul(256) > LOOSE_MAX {
                // Without it the copy is as good, only larger.
                drop(fold(&repo));
            }
            return Ok(repo);
        }
        self.discard()?;
        if let Some(root) = self.dir.parent() {
            // For us alone: the copies are as private as the repositories.
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
            made.map_err(|e| self.broken(&e.to_string()))?;
        }
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).mkpath(true);
        Repository::init_opts(&self.dir, &options).map_err(|e| self.broken(e.message()))
    }

    /// Throws the copy away.
    pub(crate) fn discard(&self) -> Result<(), Failure> {
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.broken(&e.to_string())),
            _ => Ok(()),
        }
    }

    fn packs(&self) -> usize {
        let packs = fs::read_dir(self.dir.join("objects/pack")).into_iter().flatten().flatten();
        packs.filter(|file| file.path().extension().is_some_and(|e| e == "pack")).count()
    }

    fn broken(&self, why: &str) -> Failure {
        let dir = self.dir.display();
        Failure::new(
            Class::Other,
            format!("the copy at {dir} cannot be used: {why}; is the folder writable?"),
        )
    }
}

/// Puts objects that lie in files of their own into one pack.
fn fold(repo: &Repository) -> Result<(), git2::Error> {
    let io = |e: io::Error| git2::Error::from_str(&e.to_string());
    let mut loose = Vec::new();
    for folder in fs::read_dir(repo.path().join("objects")).map_err(io)?.flatten() {
        let Ok(begin) = folder.file_name().into_string() else { continue };
        // Beside the 256 folders lie `pack` and `info`.
        if begin.len() == 2 {
            for file in fs::read_dir(folder.path()).map_err(io)?.flatten() {
                let name = format!("{begin}{}", file.file_name().to_string_lossy());
                loose.extend(Oid::from_str(&name).ok().map(|id| (id, file.path())));
            }
        }
    }
    let mut pack = repo.packbuilder()?;
    for (id, _) in &loose {
        pack.insert_object(*id, None)?;
    }
    let mut bytes = Buf::new();
    pack.write_buf(&mut bytes)?;
    let odb = repo.odb()?;
    let mut writer = odb.packwriter()?;
    writer.write_all(&bytes).map_err(io)?;
    writer.commit()?;
    loose.iter().try_for_each(|(_, path)| fs::remove_file(path)).map_err(io)
}

/// Fetches the branch that an application follows, with all of its history and nothing else.
pub(crate) fn fetch_branch(repo: &Repository, session: &Session, target: &str) -> Result<Target, Failure> {
    fetch(repo, session, target, false)
}

/// Fetches whatever an application follows: only to look at it.
pub(crate) fn fetch_any(repo: &Repository, session: &Session, target: &str) -> Result<Target, Failure> {
    fetch(repo, session, target, true)
}

// `Remote::list` is never asked: it panics on a reference whose name is not UTF-8.
fn fetch(repo: &Repository, session: &Session, target: &str, any: bool) -> Result<Target, Failure> {
    session.begin(Wanted::target(target));
    let explain = |e: git2::Error| session.explain(&e);
    let mut remote = repo.remote_anonymous(&session.access.url).map_err(explain)?;
    let mut connection = remote.connect_auth(Direction::Fetch, None, None).map_err(explain)?;
    let name = if target.is_empty() || target == "HEAD" {
        match connection.default_branch() {
            Ok(head) => String::from_utf8_lossy(&head).into_owned(),
            Err(e) if e.code() == ErrorCode::NotFound => return Ok(Target::NotABranch),
            Err(e) => return Err(explain(e)),
        }
    } else {
        target.to_owned()
    };
    let name = name.strip_prefix("refs/heads/").unwrap_or(&name);
    let branch = format!("+refs/heads/{name}:refs/remotes/origin/{name}");
    if !Reference::is_valid_name(&format!("refs/heads/{name}")) {
        return Ok(Target::NotABranch);
    }
    if let Some(tip) = fetch_ref(connection.remote(), &branch).map_err(explain)? {
        return Ok(Target::Branch { name: name.to_owned(), tip });
    }
    if any {
        let tag = name.strip_prefix("refs/tags/").unwrap_or(name);
        fetch_ref(connection.remote(), &format!("+refs/tags/{tag}:refs/tags/{tag}")).map_err(explain)?;
    }
    Ok(Target::NotABranch)
}

/// Fetches all branches whose names begin with `prefix`, which ends with `/`.
pub(crate) fn fetch_below(repo: &Repository, session: &Session, prefix: &str) -> Result<(), Failure> {
    session.begin(Wanted { prefixes: vec![format!("refs/heads/{prefix}")], ..Wanted::default() });
    let explain = |e: git2::Error| session.explain(&e);
    let mut remote = repo.remote_anonymous(&session.access.url).map_err(explain)?;
    fetch_ref(&mut remote, &format!("+refs/heads/{prefix}*:refs/remotes/origin/{prefix}*"))
        .map_err(explain)?;
    Ok(())
}

/// Fetches one reference; none when the server does not have it.
fn fetch_ref(remote: &mut git2::Remote<'_>, refspec: &str) -> Result<Option<Oid>, git2::Error> {
    let mut found = None;
    let mut callbacks = RemoteCallbacks::new();
    callbacks.update_tips(|_, _, new| {
        found = Some(new);
        true
    });
    let mut options = FetchOptions::new();
    options.download_tags(AutotagOption::None).update_fetchhead(false).report_unchanged(true);
    options.remote_callbacks(callbacks);
    remote.fetch(&[refspec], Some(&mut options), None)?;
    drop(options);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_files_become_one_pack() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), "https://git.example/a").unwrap();
        let repo = cache.open().unwrap();
        let in_sample = |n: &u32| {
            let id = Oid::hash_object(ObjectType::Blob, n.to_string().as_bytes()).unwrap().to_string();
            LOOSE_SAMPLE.ends_with(&id[..2])
        };
        let write = |n: u32| repo.blob(n.to_string().as_bytes()).unwrap();
        let mut ids: Vec<_> = (0..).filter(in_sample).take(LOOSE_MAX / 256).map(write).collect();
        let loose = || fs::read_dir(repo.path().join(LOOSE_SAMPLE)).unwrap().count();
        cache.open().unwrap();
        assert_eq!((loose(), cache.packs()), (LOOSE_MAX / 256, 0));
        ids.push((0..).filter(in_sample).nth(LOOSE_MAX / 256).map(write).unwrap());
        let repo = cache.open().unwrap();
        assert_eq!((loose(), cache.packs()), (0, 1));
        assert!(ids.iter().all(|id| repo.find_blob(*id).is_ok()));
    }
}
