//! Looks for a revert that is there already, before another one is made.

use std::collections::HashSet;

use git2::Oid;

use super::history::{self, Culprits, History};
use super::message::{TRAILER_APPLICATION, TRAILER_BAD, TRAILER_ROLLBACK, reverted, trailer, trailers};
use super::plan::{self, Range, Rollback, Stop};

/// What a commit's message says of reverts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// This very rollback: ours, from before a crash or a lost answer.
    Ours,
    /// A person's revert of a culprit: done only if it left nothing to undo of the others.
    Persons,
    /// Another daemon's revert of the same bad revision for the same application.
    Daemons,
    /// A daemon's revert of the same bad revision for another application: done only if nothing is left to undo.
    OtherApplication,
}

/// The commit after bad that says that it undid the culprits; ours before anybody else's, else the newest.
pub(crate) fn for_marked_revert(
    history: &mut History<'_>,
    rollback: &Rollback<'_>,
    range: &Range,
    culprits: &Culprits,
) -> Result<Option<Oid>, Stop> {
    let mut somebodys = None;
    for commit in history.between(range.bad, range.tip)? {
        let message = history::message(history.repo, commit)?;
        let Some(mark) = mark(rollback, range, culprits, &message) else { continue };
        // The mark alone is not enough: in a repository of several applications the same culprit is reverted
        // once for each, and each revert touches its own files only.
        if !history.touches(commit)? {
            continue;
        }
        match mark {
            Mark::Ours => return Ok(Some(commit)),
            Mark::OtherApplication | Mark::Persons if !leaves_nothing(history, range, commit)? => {}
            Mark::Persons | Mark::Daemons | Mark::OtherApplication => somebodys = somebodys.or(Some(commit)),
        }
    }
    Ok(somebodys)
}

/// Whether our revert, put on this commit, would change nothing.
fn leaves_nothing(history: &History<'_>, range: &Range, commit: Oid) -> Result<bool, Stop> {
    let there = Range { tip: commit, ..*range };
    let before = history.repo.find_commit(commit)?.tree_id();
    match plan::merged(history.repo, history.footprint, &there) {
        Ok(after) => Ok(after == before),
        Err(Stop::Conflict(_)) => Ok(false),
        Err(stop) => Err(stop),
    }
}

fn mark(own: &Rollback<'_>, range: &Range, culprits: &Culprits, message: &str) -> Option<Mark> {
    let trailers = trailers(message);
    let Some(rollback) = trailer(&trailers, TRAILER_ROLLBACK) else {
        let is_culprit = |id: &str| culprits.all.iter().any(|c| c.to_string().starts_with(id));
        return reverted(message).any(is_culprit).then_some(Mark::Persons);
    };
    if rollback == own.id {
        return Some(Mark::Ours);
    }
    if trailer(&trailers, TRAILER_BAD) != Some(range.bad.to_string().as_str()) {
        return None;
    }
    let same = trailer(&trailers, TRAILER_APPLICATION) == Some(own.app.to_string().as_str());
    Some(if same { Mark::Daemons } else { Mark::OtherApplication })
}

/// Whether the content at bad was brought by a rollback, of whichever daemon and application.
pub(crate) fn is_rollback(history: &mut History<'_>, range: &Range) -> Result<bool, Stop> {
    let commits: HashSet<Oid> = history.between(range.good, range.bad)?.into_iter().collect();
    let content = history.snapshot(range.bad)?;
    let mut at = range.bad;
    // Goes to the commit that brought the content, as `git log` would: past whatever left it as it was, and
    // through a merge to the side that it came from.
    while commits.contains(&at) {
        let parents = history.parents(at)?;
        let mut from = None;
        for parent in parents {
            if from.is_none() && history.snapshot(parent)? == content {
                from = Some(parent);
            }
        }
        let Some(parent) = from else {
            let message = history::message(history.repo, at)?;
            return Ok(trailer(&trailers(&message), TRAILER_ROLLBACK).is_some());
        };
        at = parent;
    }
    Ok(false)
}
