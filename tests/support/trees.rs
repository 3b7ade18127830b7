//! Trees in a real repository, without commits.

use git2::{Index, IndexEntry, IndexTime, Oid, Repository};
use lastgood::act::git::footprint::{Followed, follow};
use lastgood::engine::facts::Rendering;

/// A bare repository; trees are written right into it.
pub(crate) struct Repo {
    pub(crate) repo: Repository,
    _dir: tempfile::TempDir,
}

impl Repo {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path()).unwrap();
        // What is written stays in memory.
        repo.odb().unwrap().add_new_mempack_backend(1_000).unwrap();
        Self { repo, _dir: dir }
    }

    /// Writes a tree: a content `-> target` is a link, `@` a submodule.
    pub(crate) fn tree<P: AsRef<[u8]>>(&self, files: &[(P, &str)]) -> Oid {
        let mut index = Index::new().unwrap();
        for (path, content) in files {
            let (mode, id) = match (content.strip_prefix("-> "), *content) {
                (Some(target), _) => (0o120_000, self.repo.blob(target.as_bytes()).unwrap()),
                (None, "@") => (0o160_000, Oid::from_str(&"1".repeat(40)).unwrap()),
                (None, content) => (0o100_644, self.repo.blob(content.as_bytes()).unwrap()),
            };
            let time = IndexTime::new(0, 0);
            let entry = IndexEntry {
                ctime: time,
                mtime: time,
                dev: 0,
                ino: 0,
                mode,
                uid: 0,
                gid: 0,
                file_size: 0,
                id,
                flags: 0,
                flags_extended: 0,
                path: path.as_ref().to_vec(),
            };
            index.add(&entry).unwrap();
        }
        index.write_tree_to(&self.repo).unwrap()
    }

    pub(crate) fn follow<P: AsRef<[u8]>>(&self, files: &[(P, &str)], rendering: &Rendering) -> Followed {
        follow(&self.repo, self.tree(files), std::slice::from_ref(rendering)).unwrap()
    }
}
