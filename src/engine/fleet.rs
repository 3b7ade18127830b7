//! All applications of a daemon together: is it one change that is sick, or the environment?

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::action::{Other, RevertOrder, RevertPart, Standing};
use super::analysis::AppState;
use super::facts::{AppKey, ApplicationFacts, Origin, Rendering, Revisions, Source, SourceKind};
use super::origin::Written;
use super::time::elapsed;

/// How long a sickness counts as "at once" with another one.
const AT_ONCE: Duration = Duration::from_secs(10 * 60);

/// Which applications are sick, since when, and at which revision; and how each does and what it is rendered from.
#[derive(Debug, Default)]
pub struct Fleet {
    sick: BTreeMap<AppKey, (Timestamp, Option<Revisions>)>,
    places: BTreeMap<AppKey, Vec<Place>>,
    /// What defines each, where that is known.
    parents: BTreeMap<AppKey, Origin>,
    /// Of those that define others.
    written: BTreeMap<AppKey, Written>,
    // Only of those that somebody looks after.
    standings: BTreeMap<AppKey, (Standing, Option<Revisions>)>,
}

/// A source in a Git repository.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Which of the application's sources this is; none where a hydrator writes that one.
    source: Option<usize>,
    /// The same for all ways to write a repository's URL.
    repository: String,
    /// None where it is whatever the repository says (`HEAD`).
    branch: Option<String>,
    rendering: Rendering,
}

/// Host and path of a repository's URL, whatever the protocol, the user and the ending.
pub(crate) fn repository(url: &str) -> String {
    let url = url.trim().to_lowercase();
    let (is_url, rest) = url.split_once("://").map_or((false, url.as_str()), |(_, rest)| (true, rest));
    let rest = rest.split_once('@').filter(|(user, _)| !user.contains('/')).map_or(rest, |(_, rest)| rest);
    // `host:path` is how scp and git write it; in a URL what follows the colon is a port.
    let rest = if is_url { rest.to_owned() } else { rest.replacen(':', "/", 1) };
    rest.trim_end_matches('/').trim_end_matches(".git").to_owned()
}

/// A branch's short name; none for `HEAD`, whatever that is.
fn branch(target_revision: &str) -> Option<String> {
    let name = target_revision.strip_prefix("refs/heads/").unwrap_or(target_revision);
    Some(name.to_owned()).filter(|name| !name.is_empty() && name != "HEAD")
}

impl Fleet {
    /// Takes an application's newest state in.
    pub fn note(&mut self, app: &AppKey, state: &AppState) {
        let current = state.phase.current();
        self.standings.insert(app.clone(), (state.standing(), current.cloned()));
        match state.sick_since() {
            Some(since) => {
                self.sick.insert(app.clone(), (since, current.cloned()));
            }
            None => {
                self.sick.remove(app);
            }
        }
    }

    /// Nobody looks after an application any more.
    pub fn forget(&mut self, app: &AppKey) {
        self.sick.remove(app);
        self.standings.remove(app);
    }

    /// Takes in what an application is rendered from, whether or not anybody looks after it.
    pub fn place(&mut self, facts: &ApplicationFacts) {
        let place = |(source, of): (Option<usize>, &Source)| match &of.kind {
            SourceKind::Git { rendering } => Some(Place {
                source,
                repository: repository(&of.repo_url),
                branch: branch(&of.target_revision),
                rendering: rendering.as_ref().clone(),
            }),
            SourceKind::Chart { .. } => None,
        };
        // Of what is hydrated, people change what it is rendered from.
        let places = match &facts.dry {
            Some(dry) => place((None, &dry.source)).into_iter().collect(),
            None => {
                let sources = facts.sources.iter().enumerate();
                sources.filter_map(|(i, source)| place((Some(i), source))).collect()
            }
        };
        self.places.insert(facts.app.clone(), places);
        match &facts.parent {
            Some(parent) => self.parents.insert(facts.app.clone(), parent.clone()),
            None => self.parents.remove(&facts.app),
        };
        match Written::by(facts) {
            Some(written) => self.written.insert(facts.app.clone(), written),
            None => self.written.remove(&facts.app),
        };
    }

    /// An application does not exist any more.
    pub fn gone(&mut self, app: &AppKey) {
        self.forget(app);
        self.places.remove(app);
        self.parents.remove(app);
        self.written.remove(app);
    }

    /// What was synced where an application's specification comes from; of one that is of a set, where the set does.
    pub fn parent(&self, child: &ApplicationFacts) -> Option<Written> {
        let origin = child.parent.as_ref()?;
        if let Origin::Application(parent) = origin {
            return self.written.get(parent).cloned();
        }
        let mut parents = self.written.values().filter(|written| written.children.contains(origin));
        // Where two say that the set is theirs, Argo CD has them take turns.
        parents.next().filter(|_| parents.next().is_none()).cloned()
    }

    /// What defines an application, if that is in the files of `parent`.
    fn defined(&self, app: &AppKey, parent: &AppKey) -> Option<Origin> {
        match self.parents.get(app)? {
            Origin::Application(of) => (of == parent).then(|| Origin::Application(app.clone())),
            set @ Origin::ApplicationSet(_) => {
                self.written.get(parent).filter(|w| w.children.contains(set)).map(|_| set.clone())
            }
        }
    }

    /// Tells an order which other applications are rendered from its repositories, and how they do now.
    pub fn introduce(&self, order: &mut RevertOrder) {
        for part in &mut order.parts {
            part.others = self.others(&order.app, part);
        }
    }

    fn others(&self, app: &AppKey, part: &RevertPart) -> Vec<Other> {
        let (ours, on) = (repository(&part.repo_url), branch(&part.target_revision));
        // `HEAD` may be any branch.
        let reaches = |place: &&Place| {
            place.repository == ours && (place.branch == on || place.branch.is_none() || on.is_none())
        };
        let parent = part.definition.as_ref().map(|definition| &definition.parent);
        let mut others = Vec::new();
        // The definition is the parent's own.
        for (other, places) in self.places.iter().filter(|(other, _)| *other != app && Some(*other) != parent)
        {
            let shared: Vec<&Place> = places.iter().filter(reaches).collect();
            let defined = parent.and_then(|parent| self.defined(other, parent));
            if shared.is_empty() && defined.is_none() {
                continue;
            }
            let (standing, at) = match self.standings.get(other) {
                Some((standing, at)) => (*standing, at.as_ref()),
                None => (Standing::Well, None),
            };
            let source = shared.first().and_then(|first| first.source);
            others.push(Other {
                app: other.clone(),
                renderings: shared.iter().map(|place| place.rendering.clone()).collect(),
                revision: at.zip(source).and_then(|(at, source)| at.iter().nth(source)).cloned(),
                defined,
                standing,
            });
        }
        others
    }

    /// How many other applications became sick at about this time at another revision.
    ///
    /// Those at the same revision have the culprit in common: one commit that breaks many is still the commit's fault.
    pub fn others_degraded(&self, app: &AppKey, revisions: Option<&Revisions>, now: Timestamp) -> u32 {
        let others = self.sick.iter().filter(|(other, (since, at))| {
            *other != app && elapsed(*since, now) < AT_ONCE && (at.is_none() || at.as_ref() != revisions)
        });
        u32::try_from(others.count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::action::Definition;
    use crate::engine::fixture::{application, commit};

    fn part(repo_url: &str, target_revision: &str) -> RevertPart {
        RevertPart {
            repo_url: repo_url.to_owned(),
            target_revision: target_revision.to_owned(),
            sources: vec![0],
            renderings: Vec::new(),
            definition: None,
            unchanged: Vec::new(),
            hydrated: None,
            no_fix: None,
            others: Vec::new(),
            bad: commit('b'),
            good: commit('a'),
        }
    }

    /// Whether a revert in `ours` (`url branch`) is told of an application of `theirs`.
    fn check(ours: &str, theirs: &str, expected: bool) {
        let of = |text: &str| text.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let mut fleet = Fleet::default();
        let mut blog = application();
        blog.app = AppKey::new("argocd", "blog");
        (blog.sources[0].repo_url, blog.sources[0].target_revision) = of(theirs);
        fleet.place(&blog);
        fleet.place(&application());
        let (repo_url, target_revision) = of(ours);
        let part = part(&repo_url, &target_revision);
        let others = fleet.others(&application().app, &part);
        assert_eq!(others.iter().any(|other| other.app == blog.app), expected, "{ours} and {theirs}");
        assert!(others.iter().all(|other| other.standing == Standing::Well && other.revision.is_none()));
    }

    #[test]
    fn a_definition_is_shared_by_those_that_the_same_application_defines() {
        let (app, set) = (|name: &str| AppKey::new("argocd", name), AppKey::new("argocd", "set"));
        let facts = |name: &str, url: &str, parent: Option<Origin>| {
            let mut facts = application();
            (facts.app, facts.parent) = (app(name), parent);
            facts.sources[0].repo_url = url.to_owned();
            facts
        };
        let of = |name: &str| Some(Origin::Application(app(name)));
        let of_set = Some(Origin::ApplicationSet(set.clone()));
        let mut apps = facts("apps", "apps", of("root"));
        apps.children = vec![Origin::Application(app("shop")), Origin::ApplicationSet(set)];
        let shop = facts("shop", "x", of("apps"));
        let mut fleet = Fleet::default();
        for facts in [
            &apps,
            &shop,
            &facts("blog", "y", of("apps")),
            &facts("of-set", "y", of_set.clone()),
            &facts("stranger", "y", of("root")),
            &facts("root", "apps", None),
        ] {
            fleet.place(facts);
        }
        let mut part = part("apps", "main");
        let (object, parent) = (Origin::Application(app("shop")), app("apps"));
        part.definition = Some(Definition { object, parent });
        let others = fleet.others(&app("shop"), &part);
        let found: Vec<_> = others.iter().map(|o| (o.app.name.as_str(), o.defined.clone())).collect();
        assert_eq!(found, [("blog", of("blog")), ("of-set", of_set.clone()), ("root", None)]);
        assert_eq!(fleet.parent(&shop).unwrap().by, app("apps"));
        assert_eq!(fleet.parent(&facts("of-set", "y", of_set.clone())).unwrap().by, app("apps"));
        // Two that write one set.
        apps.app = app("more-apps");
        fleet.place(&apps);
        assert_eq!(fleet.parent(&facts("of-set", "y", of_set)), None);
        fleet.gone(&app("more-apps"));
        fleet.gone(&app("blog"));
        assert_eq!(fleet.others(&app("shop"), &part).len(), 2);
    }

    #[test]
    fn a_repository_is_the_same_whatever_its_url() {
        check("https://git.example/a.git main", "https://git.example/a main", true);
        check("https://git.example/a.git main", "https://git.example/b main", false);
        check("https://git.example/a.git main", "https://GIT.example/a/ main", true);
        check("https://git.example/a.git main", "git@git.example:a.git main", true);
        check("ssh://git@git.example/a main", "https://git.example/a main", true);
        check("https://git.example/a main", "https://git.example/a other", false);
        check("https://git.example/a main", "https://git.example/a refs/heads/main", true);
        check("https://git.example/a HEAD", "https://git.example/a other", true);
        check("https://git.example/a main", "https://git.example/a HEAD", true);
    }
}
