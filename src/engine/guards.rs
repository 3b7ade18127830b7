//! Every reason not to act on a degraded verdict, one function each.

use std::collections::BTreeSet;

use super::action::{Definition, Hydrated, RevertPart, Unchanged};
use super::analysis::{AppState, Bad, LastGood, PastPart};
use super::decide::Context;
use super::entry::Why;
use super::facts::{ApplicationFacts, Origin, Revision, SourceKind, WrittenBetween};
use super::fleet::repository;
use super::origin::Written;
use super::time::elapsed;
use crate::engine::facts::Revisions;

/// The day in which reverts are counted.
const BUDGET_WINDOW: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Runs all guards; the first that objects is the reason, else these are to be reverted.
pub fn check(
    state: &AppState,
    application: &ApplicationFacts,
    bad: &Bad,
    context: &Context<'_>,
) -> Result<Vec<RevertPart>, Why> {
    let last_good = known_last_good(state, &bad.revisions, &bad.spec_digest)?;
    let same_spec = last_good.spec_digest == bad.spec_digest && application.spec_digest == bad.spec_digest;
    let parts = if same_spec {
        changed_sources(application, &bad.revisions, last_good)?
    } else {
        // What its sources were is of no use where they were named otherwise.
        vec![changed_definition(application, bad, last_good, context)?]
    };
    for part in &parts {
        not_a_rollback(state, &part.bad)?;
        good_stands(state, &part.good)?;
    }
    if parts.is_empty() {
        return Err(Why::BadIsLastGood { bad: bad.revisions.clone() });
    }
    within_budget(state, context)?;
    not_the_environment(context)?;
    Ok(parts)
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

/// What changed since last good, by repository and branch.
fn changed_sources(
    application: &ApplicationFacts,
    bad: &Revisions,
    good: &LastGood,
) -> Result<Vec<RevertPart>, Why> {
    let no = |reason: String| Err(Why::SourceNotRevertible { reason });
    if application.hydrated {
        return hydrated_source(application, bad, good);
    }
    let (sources, then, now) = (application.sources.len(), good.revisions.len(), bad.len());
    if then != now || sources != now {
        return no(format!(
            "the application had {then} sources at last good, {now} at bad, and has {sources}"
        ));
    }
    let mut parts: Vec<RevertPart> = Vec::new();
    let revisions = good.revisions.iter().zip(bad.iter());
    for (i, (source, (good, bad))) in application.sources.iter().zip(revisions).enumerate() {
        if good == bad {
            continue;
        }
        let rendering = match &source.kind {
            SourceKind::Git { rendering } => rendering.as_ref().clone(),
            SourceKind::Chart { chart } => {
                return no(format!("the chart `{chart}` changed from {good} to {bad}, and it is not in Git"));
            }
        };
        if !bad.is_commit() || !good.is_commit() {
            return no(format!("`{good}` and `{bad}` of {} are not Git commits", source.repo_url));
        }
        let same = parts
            .iter_mut()
            .find(|part| part.repo_url == source.repo_url && part.target_revision == source.target_revision);
        match same {
            Some(part) if part.bad == *bad && part.good == *good => {
                part.sources.push(i);
                part.renderings.push(rendering);
            }
            Some(part) => {
                let branch = &part.target_revision;
                return no(format!(
                    "its sources were at different commits of `{branch}` of {}",
                    part.repo_url
                ));
            }
            None => parts.push(RevertPart {
                repo_url: source.repo_url.clone(),
                target_revision: source.target_revision.clone(),
                sources: vec![i],
                renderings: vec![rendering],
                definition: None,
                unchanged: Vec::new(),
                hydrated: None,
                no_fix: None,
                others: Vec::new(),
                bad: bad.clone(),
                good: good.clone(),
            }),
        }
    }
    Ok(parts)
}

/// What a hydrator writes is undone where people write: on the branch that it renders from.
fn hydrated_source(
    application: &ApplicationFacts,
    bad: &Revisions,
    good: &LastGood,
) -> Result<Vec<RevertPart>, Why> {
    let no = |reason: &str| Err(Why::SourceNotRevertible { reason: reason.to_owned() });
    let ([synced], Some(dry)) = (application.sources.as_slice(), &application.dry) else {
        return no("its manifests are hydrated, and it does not say from where");
    };
    if good.dry_digest.as_ref() != Some(&dry.digest) {
        return no("what its manifests are hydrated from was specified otherwise at last good");
    }
    let dry = &dry.source;
    let (SourceKind::Git { rendering }, SourceKind::Git { rendering: on_branch }) = (&dry.kind, &synced.kind)
    else {
        return no("its manifests are hydrated from a chart, which is not in Git");
    };
    let (Some(bad), Some(good)) = (bad.single(), good.revisions.single()) else {
        return no("its manifests are hydrated, and were not before");
    };
    if dry.repo_url != synced.repo_url {
        let (branch, url) = (&dry.target_revision, &dry.repo_url);
        return no(&format!("its manifests are hydrated from `{branch}` of {url} into another repository"));
    }
    if !bad.is_commit() || !good.is_commit() {
        return no("its revisions are not Git commits");
    }
    if bad == good {
        return Ok(Vec::new());
    }
    Ok(vec![RevertPart {
        repo_url: dry.repo_url.clone(),
        target_revision: dry.target_revision.clone(),
        sources: vec![0],
        renderings: vec![rendering.as_ref().clone()],
        definition: None,
        unchanged: Vec::new(),
        hydrated: Some(Hydrated {
            target_revision: synced.target_revision.clone(),
            path: on_branch.path.clone().unwrap_or_default(),
        }),
        no_fix: None,
        others: Vec::new(),
        bad: bad.clone(),
        good: good.clone(),
    }])
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

/// Where the application is defined by another one's files: the commits between which those changed its specification.
fn changed_definition(
    application: &ApplicationFacts,
    bad: &Bad,
    good: &LastGood,
    context: &Context<'_>,
) -> Result<RevertPart, Why> {
    // Argo CD remembers few syncs: where those of a busy parent begin later, what it was at when last good became known.
    let between = |w: &Written| {
        let at_sync = good.synced_at.and_then(|synced_at| w.between(synced_at, bad.synced_at));
        at_sync.or_else(|| w.between(good.at, bad.synced_at))
    };
    let written = context.parent.and_then(|w| Some((w, between(w)?)));
    let held = |also: Option<String>| {
        let urls: BTreeSet<&str> =
            application.sources.iter().map(|source| source.repo_url.as_str()).collect();
        let repo_url = urls.into_iter().collect::<Vec<_>>().join(", ");
        let (written_by, between) = (application.parent.clone(), context.parent.and(written.as_ref()));
        let between = between.map(|(_, between)| Box::new(between.clone()));
        Why::SpecChanged { repo_url, written_by, between, also }
    };
    let (Some((parent, between)), Some(Origin::Application(_))) = (&written, &application.parent) else {
        return Err(held(None));
    };
    if application.spec_digest != bad.spec_digest {
        return Err(held(Some("it has changed once more since".to_owned())));
    }
    let unchanged = own_sources(application, bad, good, parent, between).map_err(|also| held(Some(also)))?;
    let object = Origin::Application(application.app.clone());
    Ok(RevertPart {
        repo_url: between.repo_url.clone(),
        target_revision: between.target_revision.clone(),
        sources: Vec::new(),
        renderings: vec![parent.rendering.clone()],
        definition: Some(Definition { object, parent: parent.by.clone() }),
        unchanged,
        hydrated: None,
        no_fix: None,
        others: Vec::new(),
        bad: between.bad.clone(),
        good: between.good.clone(),
    })
}

/// The sources that moved to another commit though they follow what they followed at last good: their files must be the
/// same in both, or the specification is not the only thing that changed. As an error what cannot be compared.
fn own_sources(
    application: &ApplicationFacts,
    bad: &Bad,
    good: &LastGood,
    parent: &Written,
    between: &WrittenBetween,
) -> Result<Vec<Unchanged>, String> {
    if application.hydrated {
        return Err("its manifests are hydrated".to_owned());
    }
    if bad.revisions == good.revisions {
        return Ok(Vec::new());
    }
    let known = [good.revisions.len(), bad.revisions.len(), good.tracked.len()];
    if known.iter().any(|len| *len != application.sources.len()) {
        return Err("its revisions changed too".to_owned());
    }
    let mut unchanged = Vec::new();
    let revisions = good.revisions.iter().zip(bad.revisions.iter());
    for ((source, tracked), (good, bad)) in application.sources.iter().zip(&good.tracked).zip(revisions) {
        // What it follows is part of the specification: the revision changed with it.
        if good == bad || source.tracked() != *tracked {
            continue;
        }
        let SourceKind::Git { rendering } = &source.kind else {
            return Err(format!("a chart of {} changed from {good} to {bad} too", source.repo_url));
        };
        if repository(&source.repo_url) != repository(&between.repo_url) || parent.by == application.app {
            return Err(format!("{} moved from {} to {} too", source.repo_url, good.short(), bad.short()));
        }
        let (rendering, good, bad) = (rendering.as_ref().clone(), good.clone(), bad.clone());
        unchanged.push(Unchanged { rendering, good, bad });
    }
    Ok(unchanged)
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
    use crate::engine::facts::{AppKey, Dry, HistoryEntry, Origin, Source};
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
        parent: Option<Written>,
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
            dry_digest: None,
            tracked: application().tracked("spec"),
            synced_at: None,
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
            parent: None,
        };
        change(&mut case);
        let Case { state, application, bad, spec_digest, policy, others_degraded, parent } = &case;
        let (now, others_degraded) = (at(NOW), *others_degraded);
        let context = Context { policy, cluster: "test", now, others_degraded, parent: parent.as_ref() };
        let bad = Bad {
            revisions: bad.clone(),
            spec_digest: (*spec_digest).to_owned(),
            synced_at: at(200),
            degraded_at: now,
            breaches: Vec::new(),
            broken: std::collections::BTreeMap::new(),
        };
        let said = match super::check(state, application, &bad, &context) {
            Ok(parts) => {
                let part = |p: &RevertPart| {
                    let within = p.definition.as_ref().map(|d| format!("{} of {}", d.object, d.parent));
                    let within = within.unwrap_or_else(|| format!("{:?}", p.sources));
                    let (bad, good) = (p.bad.short(), p.good.short());
                    let same: Vec<_> = p.unchanged.iter().map(|u| u.bad.short().to_owned()).collect();
                    let same = if same.is_empty() { String::new() } else { format!(", same at {same:?}") };
                    format!("revert {bad} to {good} in {within}{same}")
                };
                parts.iter().map(part).collect::<Vec<_>>().join(" and ")
            }
            Err(why) => why.to_string(),
        };
        assert!(said.contains(expected), "{said} is not: {expected}");
    }

    #[test]
    fn a_degraded_revision_may_be_reverted_to_last_good() {
        check(|_| {}, "revert bbbbbbbb to aaaaaaaa");
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

    fn revisions(digits: &str) -> Revisions {
        Revisions::new(digits.chars().map(commit).collect()).unwrap()
    }

    /// Sources from these repositories, then the revisions at last good and at bad.
    fn sources(repositories: &'static [&str], good: &'static str, bad: &'static str) -> impl Fn(&mut Case) {
        move |case| {
            let source = case.application.sources.remove(0);
            let of = |name: &&str| Source { repo_url: (*name).to_owned(), ..source.clone() };
            case.application.sources = repositories.iter().map(of).collect();
            case.state.last_good.as_mut().unwrap().revisions = revisions(good);
            case.bad = revisions(bad);
        }
    }

    #[test]
    fn the_sources_that_changed_are_reverted_once_for_each_repository() {
        check(
            sources(&["x", "y"], "ac", "bd"),
            "revert bbbbbbbb to aaaaaaaa in [0] and revert dddddddd to cccccccc in [1]",
        );
        check(sources(&["x", "y"], "ac", "ad"), "revert dddddddd to cccccccc in [1]");
        check(sources(&["x", "y", "x"], "aca", "bcb"), "revert bbbbbbbb to aaaaaaaa in [0, 2]");
        check(sources(&["x", "x"], "aa", "bc"), "at different commits of `main` of x");
    }

    #[test]
    fn what_is_not_in_git_cannot_be_reverted() {
        check(|case| case.application.hydrated = true, "hydrated, and it does not say from where");
        let hydrated = |url: &'static str| {
            move |case: &mut Case| {
                let synced = case.application.sources[0].clone();
                case.application.hydrated = true;
                let source = Source { repo_url: url.to_owned(), ..synced };
                case.application.dry = Some(Dry { source, digest: "dry".into() });
                case.state.last_good.as_mut().unwrap().dry_digest = Some("dry".into());
            }
        };
        check(
            hydrated("https://git.example.com/dry.git"),
            "hydrated from `main` of https://git.example.com/dry.git into another repository",
        );
        check(hydrated("https://git.example.com/shop.git"), "revert bbbbbbbb to aaaaaaaa in [0]");
        check(
            |case| {
                hydrated("https://git.example.com/shop.git")(case);
                case.application.dry.as_mut().unwrap().digest = "another".into();
            },
            "hydrated from was specified otherwise at last good",
        );
        check(|case| case.application.sources.clear(), "had 1 sources at last good, 1 at bad, and has 0");
        check(sources(&["x"], "a", "bc"), "had 1 sources at last good, 2 at bad, and has 1");
        let chart = || SourceKind::Chart { chart: "shop".into() };
        check(|case| case.application.sources[0].kind = chart(), "the chart `shop` changed from");
        let beside = |good: &'static str, bad: &'static str| {
            move |case: &mut Case| {
                sources(&["x", "charts"], good, bad)(case);
                case.application.sources[1].kind = chart();
            }
        };
        check(beside("ac", "bc"), "revert bbbbbbbb to aaaaaaaa in [0]");
        check(beside("ac", "bd"), "the chart `shop` changed from");
        check(|case| case.bad = Revision::new("1.2.3").into(), "not Git commits");
    }

    #[test]
    fn a_changed_specification_is_not_undone_in_its_repository() {
        check(|case| case.spec_digest = "another", "source specification changed");
        check(
            |case| {
                case.spec_digest = "another";
                case.application.parent = Some(Origin::ApplicationSet(AppKey::new("argocd", "shops")));
            },
            ", but where ApplicationSet argocd/shops has it from",
        );
        // A pinned chart of another version is a change of the specification.
        check(
            |case| {
                case.spec_digest = "another";
                case.application.sources[0].kind = SourceKind::Chart { chart: "shop".into() };
            },
            "source specification changed",
        );
    }

    /// Another specification at bad, written by `apps`, which went from `d` to `e` in between; then `change`.
    fn by_parent(change: impl FnOnce(&mut Case)) -> impl FnOnce(&mut Case) {
        |case: &mut Case| {
            case.bad = commit('a').into();
            (case.spec_digest, case.application.spec_digest) = ("another", "another".to_owned());
            let mut apps = application();
            apps.app = AppKey::new("argocd", "apps");
            apps.children = vec![Origin::Application(case.application.app.clone())];
            let entry = |id, digit, second| HistoryEntry {
                id,
                revisions: commit(digit).into(),
                started_at: Some(at(second)),
                deployed_at: at(second),
                initiated_by: None,
                spec_digest: String::new(),
            };
            apps.history = vec![entry(0, 'd', -10), entry(1, 'e', 190)];
            apps.operation = None;
            case.application.parent = Some(Origin::Application(apps.app.clone()));
            case.parent = Written::by(&apps);
            change(case);
        }
    }

    #[test]
    fn a_changed_specification_is_undone_where_it_is_written() {
        const DONE: &str = "revert eeeeeeee to dddddddd in Application argocd/shop of argocd/apps";
        check(by_parent(|_| {}), DONE);
        // The sync before last good's own is forgotten.
        check(by_parent(|case| case.state.last_good.as_mut().unwrap().synced_at = Some(at(-20))), DONE);
        // What it follows is another commit now.
        check(
            by_parent(|case| {
                case.bad = commit('b').into();
                case.application.sources[0].target_revision = "v2".into();
            }),
            DONE,
        );
        // The branch moved on, in the parent's repository: its own files must be the same.
        check(by_parent(|case| case.bad = commit('b').into()), &format!("{DONE}, same at [\"bbbbbbbb\"]"));
        let elsewhere = |case: &mut Case| {
            case.bad = commit('b').into();
            case.application.sources[0].repo_url = "https://git.example.com/other.git".into();
            case.state.last_good.as_mut().unwrap().tracked = case.application.tracked("another");
        };
        check(by_parent(elsewhere), "other.git moved from aaaaaaaa to bbbbbbbb too");
        check(
            by_parent(|case| {
                case.bad = commit('b').into();
                case.state.last_good.as_mut().unwrap().tracked = Vec::new();
            }),
            "its revisions changed too",
        );
        check(by_parent(|case| case.application.spec_digest = "third".into()), "changed once more since");
        check(by_parent(|case| case.application.hydrated = true), "its manifests are hydrated");
        check(by_parent(|case| case.parent = None), "source specification changed since last good");
        // The guards of any other revert.
        check(
            by_parent(|case| case.state.reverts.push(past('x', 'e', 0))),
            "a rollback is never rolled back",
        );
        check(by_parent(|case| case.state.reverts.push(past('d', 'x', 0))), "was itself rolled back");
        check(by_parent(|case| case.others_degraded = 3), "3 other applications are degraded");
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
