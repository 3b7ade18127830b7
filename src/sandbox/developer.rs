//! Somebody who commits to the sandbox's repository, straight into the bare repository.

use std::path::{Path, PathBuf};

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Repository, RepositoryInitOptions, Signature, Time};

use super::clock::Clock;

/// Why a commit could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} in the repository {}: {}; is another program using the folder?", .path.display(), .source.message())]
pub struct DeveloperError {
    what: String,
    path: PathBuf,
    source: git2::Error,
}

/// Commits files to one branch of a bare repository.
#[derive(Clone, Debug)]
pub struct Developer {
    repository: PathBuf,
    branch: String,
    clock: Clock,
}

impl Developer {
    /// Makes an empty bare repository with this branch as its `HEAD`.
    pub fn new_repository(path: &Path, branch: &str, clock: Clock) -> Result<Self, DeveloperError> {
        let mut options = RepositoryInitOptions::new();
        options.bare(true).no_reinit(true).initial_head(branch);
        let made = Repository::init_opts(path, &options);
        let failed = |source| DeveloperError { what: "begin".to_owned(), path: path.to_owned(), source };
        made.map(drop).map_err(failed)?;
        Ok(Self { repository: path.to_owned(), branch: branch.to_owned(), clock })
    }

    /// Commits on top of the branch: each file gets a new content, or goes away with `None`. Gives back the commit's id.
    pub fn commit(
        &self,
        files: &[(&str, Option<&str>)],
        message: &str,
        author: &str,
    ) -> Result<String, DeveloperError> {
        let failed = |source| DeveloperError {
            what: format!("commit `{message}` to `{}`", self.branch),
            path: self.repository.clone(),
            source,
        };
        self.try_commit(files, message, author).map_err(failed)
    }

    /// The newest commit's id.
    pub fn tip(&self) -> Result<String, DeveloperError> {
        let name = format!("refs/heads/{}", self.branch);
        let found = Repository::open_bare(&self.repository)
            .and_then(|repository| Ok(repository.find_reference(&name)?.peel_to_commit()?.id().to_string()));
        found.map_err(|source| DeveloperError {
            what: format!("find `{}`", self.branch),
            path: self.repository.clone(),
            source,
        })
    }

    fn try_commit(
        &self,
        files: &[(&str, Option<&str>)],
        message: &str,
        author: &str,
    ) -> Result<String, git2::Error> {
        let repository = Repository::open_bare(&self.repository)?;
        let name = format!("refs/heads/{}", self.branch);
        let parent = repository.find_reference(&name).ok().map(|tip| tip.peel_to_commit()).transpose()?;
        let mut update = TreeUpdateBuilder::new();
        for (path, content) in files {
            match content {
                Some(content) => update.upsert(*path, repository.blob(content.as_bytes())?, FileMode::Blob),
                None => update.remove(*path),
            };
        }
        let base = match &parent {
            Some(parent) => parent.tree()?,
            None => repository.find_tree(repository.treebuilder(None)?.write()?)?,
        };
        let tree = repository.find_tree(update.create_updated(&repository, &base)?)?;
        let (person, address) = author.split_once('<').unwrap_or((author, "someone@example.com"));
        let time = Time::new(self.clock.now().as_second(), 0);
        let signature = Signature::new(person.trim(), address.trim_end_matches('>'), &time)?;
        let parents: Vec<_> = parent.iter().collect();
        // libgit2 refuses when the branch is no longer where the first parent says.
        let id = repository.commit(Some(&name), &signature, &signature, message, &tree, &parents)?;
        Ok(id.to_string())
    }
}
