//! Writes the revert's commit, signed if that was asked for.

use git2::{Oid, Repository, Signature, Time};
use jiff::Timestamp;

use super::Identity;
use super::plan::Stop;
use crate::engine::action::Refusal;

/// Writes a commit of this tree upon `parent`, without a reference to it.
///
/// Where a signature was asked for and cannot be made, there is no commit.
pub fn write(
    repo: &Repository,
    identity: &Identity,
    message: &str,
    tree: Oid,
    parent: Oid,
    now: Timestamp,
) -> Result<Oid, Stop> {
    let signer = identity.signer()?;
    let signature = Signature::new(&identity.name, &identity.email, &Time::new(now.as_second(), 0))?;
    let (tree, parent) = (repo.find_tree(tree)?, repo.find_commit(parent)?);
    let Some(signer) = signer else {
        return Ok(repo.commit(None, &signature, &signature, message, &tree, &[&parent])?);
    };
    let content = repo.commit_create_buffer(&signature, &signature, message, &tree, &[&parent])?;
    let content = content.as_str().map_err(|_| cannot_sign(&"the commit is not UTF-8"))?;
    let proof = signer.sign(content, now).map_err(|e| cannot_sign(&e))?;
    Ok(repo.commit_signed(content, &proof, None)?)
}

pub(crate) fn cannot_sign(reason: &impl ToString) -> Stop {
    Stop::from(Refusal::CannotSign { reason: reason.to_string() })
}
