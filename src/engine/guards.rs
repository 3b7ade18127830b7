//! Every reason not to act on a degraded verdict, one function each.

use super::analysis::{AppState, LastGood};
use super::decide::Context;
use super::entry::Why;
use super::facts::{ApplicationFacts, Revision, SourceKind};
use super::time::elapsed;
use crate::engine::facts::Revisions;

/// The day in which reverts are counted.
const BUDGET_WINDOW: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// What may be reverted: every guard passed.
#[derive(Debug)]
pub struct Cleared<'a> {
    /// The bad commit.
    pub bad: &'a Revision,
    /// The last good commit.
    pub good: &'a Revision,
    /// The repository.
    pub repo_url: &'a str,
    /// What the Application follows.
    pub target_revision: &'a str,
    /// The application's folder.
    pub path: &'a str,
}

/// Runs all guards; the first that objects is the reason.
pub fn check<'a>(
    state: &'a AppState,
    application: &'a ApplicationFacts,
    bad: &'a Revisions,
    bad_spec_digest: &str,
    context: &Context<'_>,
) -> Result<Cleared<'a>, Why> {
    let last_good = known_last_good(state, bad)?;
    let (bad, good, repo_url, target_revision, path) = one_git_source(application, bad, last_good)?;
    not_a_rollback(state, bad)?;
    good_stands(state, good)?;
    spec_is_the_same(last_good, bad_spec_digest, application, repo_url)?;
    nobody_elses_files(context)?;
    within_budget(state, context)?;
    not_the_environment(context)?;
    Ok(Cleared { bad, good, repo_url, target_revision, path })
}

fn known_last_good<'a>(state: &'a AppState, bad: &Revisions) -> Result<&'a LastGood, Why> {
    let good = state.last_good.as_ref().ok_or(Why::LastGoodUnknown)?;
    if good.revisions == *bad {
        return Err(Why::BadIsLastGood { bad: bad.clone() });
    }
    Ok(good)
}

type GitSource<'a> = (&'a Revision, &'a Revision, &'a str, &'a str, &'a str);

fn one_git_source<'a>(
    application: &'a ApplicationFacts,
    bad: &'a Revisions,
    good: &'a LastGood,
) -> Result<GitSource<'a>, Why> {
    let no = |reason: &str| Err(Why::SourceNotRevertible { reason: reason.to_owned() });
    if application.hydrated {
        return no("its manifests are hydrated from another branch");
    }
    let [source] = application.sources.as_slice() else {
        return no("the application has several sources");
    };
    let (Some(bad), Some(good)) = (bad.single(), good.revisions.single()) else {
        return no("the application had several sources");
    };
    let path = match &source.kind {
        SourceKind::Git { path, .. } => path,
        SourceKind::Chart { chart } => {
            return no(&format!("its source is the chart `{chart}`, not a folder in Git"));
        }
        SourceKind::Reference => return no("its source only holds values for others"),
    };
    if !bad.is_commit() || !good.is_commit() {
        return no("its revisions are not Git commits");
    }
    Ok((bad, good, &source.repo_url, &source.target_revision, path))
}

fn not_a_rollback(state: &AppState, bad: &Revision) -> Result<(), Why> {
    for past in &state.reverts {
        if past.revert == *bad {
            return Err(Why::BadIsARollback { bad: bad.clone() });
        }
        if past.bad == *bad {
            return Err(Why::AlreadyRolledBack { bad: bad.clone(), revert: past.revert.clone() });
        }
    }
    Ok(())
}

fn good_stands(state: &AppState, good: &Revision) -> Result<(), Why> {
    if state.reverts.iter().any(|past| past.bad == *good) {
        return Err(Why::LastGoodWasRolledBack { good: good.clone() });
    }
    Ok(())
}

/// Good, bad and what the Application says now: the revert goes to the branch and folder that it names now.
fn spec_is_the_same(
    good: &LastGood,
    bad_spec_digest: &str,
    application: &ApplicationFacts,
    repo_url: &str,
) -> Result<(), Why> {
    if good.spec_digest != bad_spec_digest || application.spec_digest != bad_spec_digest {
        return Err(Why::SpecChanged { repo_url: repo_url.to_owned() });
    }
    Ok(())
}

fn nobody_elses_files(context: &Context<'_>) -> Result<(), Why> {
    if context.sharing.is_empty() {
        return Ok(());
    }
    Err(Why::SharedFiles { with: context.sharing.to_vec() })
}

fn within_budget(state: &AppState, context: &Context<'_>) -> Result<(), Why> {
    let recent = state.reverts.iter().filter(|past| elapsed(past.at, context.now) < BUDGET_WINDOW).count();
    let count = u32::try_from(recent).unwrap_or(u32::MAX);
    if count >= context.policy.rollback.reverts_per_day {
        return Err(Why::Budget { count });
    }
    Ok(())
}

fn not_the_environment(context: &Context<'_>) -> Result<(), Why> {
    if context.others_degraded >= context.policy.rollback.others_degraded {
        return Err(Why::Environment { others: context.others_degraded });
    }
    Ok(())
}
