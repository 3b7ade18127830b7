//! Hydrated branches: which commit of the branch that people write a machine's commit was rendered from.

use git2::Repository;

use super::Trouble;
use super::cache;
use super::footprint::dry_revision;
use super::plan::{Stop, commit_id};
use super::transport::Session;
use crate::engine::action::{Hydrated, Refusal};
use crate::engine::facts::Revision;

/// The commit that `revision` was rendered from; itself where nothing is hydrated.
pub(crate) fn dry(
    repo: &Repository,
    session: &Session,
    hydrated: Option<&Hydrated>,
    revision: &Revision,
) -> Result<Revision, Trouble> {
    let Some(Hydrated { target_revision, path }) = hydrated else { return Ok(revision.clone()) };
    let id = commit_id(revision)?;
    if repo.find_commit(id).is_err() {
        cache::fetch_any(repo, session, target_revision)?;
    }
    let unsupported = |reason: String| Trouble::from(Stop::from(Refusal::Unsupported { reason }));
    let Ok(commit) = repo.find_commit(id) else {
        return Err(unsupported(format!(
            "{revision} is not on the hydrated branch `{target_revision}` any more"
        )));
    };
    dry_revision(repo, commit.tree_id(), path.as_bytes())?.ok_or_else(|| {
        unsupported(format!("the hydrated commit {revision} does not say which commit it was rendered from"))
    })
}
