//! Writes the revert's commit, signed if that was asked for.

use git2::{Oid, Repository, Signature, Time};
use jiff::Timestamp;

use super::Identity;
use super::history::revision;
use super::message::Undone;
use super::plan::{self, Plan, Stop};
use crate::engine::action::Refusal;

/// Writes the commit of a plan upon the branch's tip, with what `message` makes of the commits that are undone.
pub(crate) fn of_plan(
    repo: &Repository,
    identity: &Identity,
    plan: &Plan,
    tip: Oid,
    now: Timestamp,
    message: impl Fn(&Undone<'_>) -> String,
) -> Result<Oid, Stop> {
    let mut culprits = Vec::new();
    for id in &plan.evidence.culprits {
        culprits.push(plan::culprit(repo, *id)?);
    }
    let single = match plan.evidence.single {
        Some(id) => {
            let mut parents = repo.find_commit(id)?.parent_ids().collect::<Vec<_>>().into_iter();
            let first = parents.next();
            let merged_into = parents.next().and(first).map(|parent| parent.to_string());
            let id = revision(id);
            culprits.iter().find(|c| c.revision == id).map(|culprit| (culprit, merged_into))
        }
        None => None,
    };
    let message = message(&Undone { culprits: &culprits, single });
    write(repo, identity, &message, plan.tree, Some(tip), now)
}

/// Writes a commit of this tree upon `parent`, or one that begins a history, without a reference to it.
///
/// Where a signature was asked for and cannot be made, there is no commit.
pub fn write(
    repo: &Repository,
    identity: &Identity,
    message: &str,
    tree: Oid,
    parent: Option<Oid>,
    now: Timestamp,
) -> Result<Oid, Stop> {
    let signer = identity.signer()?;
    let signature = Signature::new(&identity.name, &identity.email, &Time::new(now.as_second(), 0))?;
    let (tree, parent) = (repo.find_tree(tree)?, parent.map(|id| repo.find_commit(id)).transpose()?);
    let parents = parent.iter().collect::<Vec<_>>();
    let Some(signer) = signer else {
        return Ok(repo.commit(None, &signature, &signature, message, &tree, &parents)?);
    };
    let content = repo.commit_create_buffer(&signature, &signature, message, &tree, &parents)?;
    let content = content.as_str().map_err(|_| cannot_sign(&"the commit is not UTF-8"))?;
    let proof = signer.sign(content, now).map_err(|e| cannot_sign(&e))?;
    Ok(repo.commit_signed(content, &proof, None)?)
}

pub(crate) fn cannot_sign(reason: &impl ToString) -> Stop {
    Stop::from(Refusal::CannotSign { reason: reason.to_string() })
}
