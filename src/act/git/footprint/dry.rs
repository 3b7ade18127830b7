//! From which commit a hydrated tree was rendered.

use git2::{Oid, Repository};

use super::search::Search;
use super::yaml;
use crate::engine::facts::Revision;

/// The file in which Argo CD's hydrator says it, in each application's folder and at the root of the branch.
const FILE: &[u8] = b"hydrator.metadata";

/// The commit that a folder of a hydrated tree was rendered from, as far as the tree tells.
///
/// The folder's own file names the commit that brought its content; the root's file the newest one, which may have
/// changed other folders.
///
/// # Errors
/// When the repository cannot be read.
pub fn dry_revision(repo: &Repository, tree: Oid, folder: &[u8]) -> Result<Option<Revision>, git2::Error> {
    let mut search = Search::new(repo, tree);
    for folder in [folder, b""] {
        let Some((file, entry)) = search.go_if_there(FILE, folder, FILE)? else { continue };
        let documents = search.read_yaml(&file, entry)?;
        let revision = documents.first().and_then(|document| yaml::text(document, "drySha"));
        return Ok(revision.map(Revision::new).filter(Revision::is_commit));
    }
    Ok(None)
}
