//! Every reason not to act on a degraded verdict, one function each.

use super::analysis::{AppState, LastGood, PastPart};
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
    let last_good = known_last_good(state, bad, bad_spec_digest)?;
    let (bad, good, repo_url, target_revision, path) = one_git_source(application, bad, last_good)?;
    not_a_rollback(state, bad)?;
    good_stands(state, good)?;
    spec_is_the_same(last_good, bad_spec_digest, application, repo_url)?;
    nobody_elses_files(context)?;
    within_budget(state, context)?;
    not_the_environment(context)?;
    Ok(Cleared { bad, good, repo_url, target_revision, path })
}

fn known_last_good<'a>(
    state: &'a AppState,
    bad: &Revisions,
    bad_spec_digest: &str,
) -> Result<&'a LastGood, Why> {
    let good = state.last_good.as_ref().ok_or(Why::LastGoodUnknown)?;
    if good.revisions == *bad && good.spec_digest == bad_spec_digest {
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
        SourceKind::Git { rendering } => match &rendering.path {
            Some(path) => path,
            None => return no("its source only holds values for others"),
        },
        SourceKind::Chart { chart } => {
            return no(&format!("its source is the chart `{chart}`, not a folder in Git"));
        }
    };
    if !bad.is_commit() || !good.is_commit() {
        return no("its revisions are not Git commits");
    }
    Ok((bad, good, &source.repo_url, &source.target_revision, path))
}

fn past(state: &AppState) -> impl Iterator<Item = &PastPart> {
    state.reverts.iter().flat_map(|past| &past.parts)
}

fn not_a_rollback(state: &AppState, bad: &Revision) -> Result<(), Why> {
    for past in past(state) {
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
    if past(state).any(|past| past.bad == *good) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::analysis::PastRevert;
    use crate::engine::entry::LastGoodFrom;
    use crate::engine::facts::{AppKey, Rendering};
    use crate::engine::fixture::{application, at, commit, policy};
    use crate::engine::policy::Policy;

    /// A degraded revision `b` after last good `a`, where every guard passes.
    struct Case {
        state: AppState,
        application: ApplicationFacts,
        bad: Revisions,
        spec_digest: &'static str,
        policy: Policy,
        others_degraded: u32,
        sharing: Vec<AppKey>,
    }

    fn past(bad: char, revert: char, second: i64) -> PastRevert {
        let (bad, revert) = (commit(bad), commit(revert));
        let parts = vec![PastPart { bad, revert, quarantine: String::new() }];
        PastRevert { parts, at: at(second) }
    }

    const NOW: i64 = 1_000_000;

    /// What the guards say after `change`.
    fn check(change: impl FnOnce(&mut Case), expected: &str) {
        let last_good = LastGood {
            revisions: commit('a').into(),
            spec_digest: "spec".into(),
            at: at(0),
            from: LastGoodFrom::Analysis,
        };
        let mut case = Case {
            state: AppState { last_good: Some(last_good), ..AppState::default() },
            application: application(),
            bad: commit('b').into(),
            spec_digest: "spec",
            policy: policy(),
            others_degraded: 0,
            sharing: Vec::new(),
        };
        change(&mut case);
        let Case { state, application, bad, spec_digest, policy, others_degraded, sharing } = &case;
        let (now, others_degraded) = (at(NOW), *others_degraded);
        let context = Context { policy, cluster: "test", now, others_degraded, sharing };
        let said = match super::check(state, application, bad, spec_digest, &context) {
            Ok(cleared) => format!("revert {} to {}", cleared.bad.short(), cleared.good.short()),
            Err(why) => why.to_string(),
        };
        assert!(said.contains(expected), "{said} is not: {expected}");
    }

    #[test]
    fn a_degraded_revision_may_be_reverted_to_last_good() {
        check(|_| {}, "revert bbbbbbbb to aaaaaaaa");
    }

    #[test]
    fn nobody_elses_files_are_changed() {
        let blog = AppKey::new("argocd", "blog");
        check(
            |case| case.sharing.push(blog),
            "argocd/blog are rendered from files that the revert may change",
        );
    }

    #[test]
    fn last_good_must_be_known_and_another_one() {
        check(|case| case.state.last_good = None, "no last good revision is known");
        check(|case| case.bad = commit('a').into(), "itself was last good");
        check(|case| case.state.reverts.push(past('a', 'c', 0)), "was itself rolled back");
    }

    #[test]
    fn a_rollback_is_never_rolled_back_and_nothing_twice() {
        check(|case| case.state.reverts.push(past('c', 'b', 0)), "a rollback is never rolled back");
        check(|case| case.state.reverts.push(past('b', 'c', 0)), "was rolled back before by cccccccc");
        check(|case| case.state.reverts.push(past('c', 'd', 0)), "revert bbbbbbbb");
    }

    #[test]
    fn only_one_git_source_can_be_reverted() {
        check(|case| case.application.hydrated = true, "hydrated from another branch");
        check(
            |case| {
                let source = case.application.sources.remove(0);
                case.application.sources = vec![source.clone(), source];
            },
            "the application has several sources",
        );
        check(|case| case.application.sources.clear(), "the application has several sources");
        let two = || Revisions::new(vec![commit('b'), commit('c')]).unwrap();
        check(|case| case.bad = two(), "the application had several sources");
        check(
            |case| case.state.last_good.as_mut().unwrap().revisions = two(),
            "the application had several sources",
        );
        let kind = |kind: SourceKind| move |case: &mut Case| case.application.sources[0].kind = kind;
        check(kind(SourceKind::Chart { chart: "shop".into() }), "its source is the chart `shop`");
        check(kind(SourceKind::git(Rendering::default())), "only holds values for others");
        check(|case| case.bad = Revision::new("1.2.3").into(), "not Git commits");
    }

    #[test]
    fn a_changed_specification_is_not_undone_in_its_repository() {
        check(|case| case.spec_digest = "another", "source specification changed");
    }

    #[test]
    fn a_day_has_its_limit() {
        let day = 24 * 60 * 60;
        let reverts = |first: i64, second: i64| {
            move |case: &mut Case| case.state.reverts = vec![past('c', 'd', first), past('e', 'f', second)]
        };
        check(reverts(NOW - 100, NOW - 50), "2 rollbacks within 24 hours");
        check(reverts(NOW - day, NOW - 50), "revert bbbbbbbb");
        check(reverts(NOW - day + 1, NOW - 50), "2 rollbacks within 24 hours");
    }

    #[test]
    fn others_that_are_sick_too_point_to_the_environment() {
        check(|case| case.others_degraded = 2, "revert bbbbbbbb");
        check(|case| case.others_degraded = 3, "3 other applications are degraded at the same time");
    }
}
