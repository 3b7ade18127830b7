//! All applications of a daemon together: is it one change that is sick, or the environment?

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::analysis::AppState;
use super::facts::{AppKey, ApplicationFacts, Revisions, SourceKind};
use super::time::elapsed;

/// How long a sickness counts as "at once" with another one.
const AT_ONCE: Duration = Duration::from_secs(10 * 60);

/// Which applications are sick, since when, and at which revision; and which files each is rendered from.
#[derive(Debug, Default)]
pub struct Fleet {
    sick: BTreeMap<AppKey, (Timestamp, Option<Revisions>)>,
    places: BTreeMap<AppKey, Vec<Place>>,
}

/// A folder of a repository that an application is rendered from.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The same for all ways to write a repository's URL.
    repository: String,
    path: String,
    flat: bool,
}

impl Place {
    /// Whether a change of files under `path` of this place changes what `other` is rendered from.
    fn reaches(&self, other: &Self) -> bool {
        self.repository == other.repository
            && (inside(&self.path, &other.path) || (inside(&other.path, &self.path) && !other.flat))
    }
}

/// Whether `path` is `folder` or lies in it.
fn inside(folder: &str, path: &str) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Host and path of a repository's URL, whatever the protocol, the user and the ending.
fn repository(url: &str) -> String {
    let url = url.trim().to_lowercase();
    let (is_url, rest) = url.split_once("://").map_or((false, url.as_str()), |(_, rest)| (true, rest));
    let rest = rest.split_once('@').filter(|(user, _)| !user.contains('/')).map_or(rest, |(_, rest)| rest);
    // `host:path` is how scp and git write it; in a URL what follows the colon is a port.
    let rest = if is_url { rest.to_owned() } else { rest.replacen(':', "/", 1) };
    rest.trim_end_matches('/').trim_end_matches(".git").to_owned()
}

impl Fleet {
    /// Takes an application's newest state in.
    pub fn note(&mut self, app: &AppKey, state: &AppState) {
        match state.sick_since() {
            Some(since) => {
                self.sick.insert(app.clone(), (since, state.phase.current().cloned()));
            }
            None => self.forget(app),
        }
    }

    /// Nobody looks after an application any more.
    pub fn forget(&mut self, app: &AppKey) {
        self.sick.remove(app);
    }

    /// Takes in what an application is rendered from, whether or not anybody looks after it.
    pub fn place(&mut self, facts: &ApplicationFacts) {
        let places = facts.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Git { rendering } => Some(Place {
                repository: repository(&source.repo_url),
                path: rendering.path.clone()?,
                flat: rendering.is_flat(),
            }),
            SourceKind::Chart { .. } => None,
        });
        self.places.insert(facts.app.clone(), places.collect());
    }

    /// An application does not exist any more.
    pub fn gone(&mut self, app: &AppKey) {
        self.forget(app);
        self.places.remove(app);
    }

    /// The other applications that are rendered from files that a revert for this one may change.
    pub fn sharing(&self, app: &AppKey) -> Vec<AppKey> {
        let Some(own) = self.places.get(app) else { return Vec::new() };
        let shares = |places: &[Place]| own.iter().any(|a| places.iter().any(|b| a.reaches(b)));
        self.places
            .iter()
            .filter(|(other, places)| *other != app && shares(places))
            .map(|(other, _)| other.clone())
            .collect()
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

    /// Two places, `url path` with `!` at the end of a flat one's path; does a revert in the first reach the second?
    fn check(ours: &str, theirs: &str, expected: bool) {
        let place = |text: &str| {
            let (url, path) = text.split_once(' ').unwrap();
            let (path, flat) = path.strip_suffix('!').map_or((path, false), |path| (path, true));
            Place { repository: repository(url), path: path.to_owned(), flat }
        };
        assert_eq!(place(ours).reaches(&place(theirs)), expected, "{ours} and {theirs}");
    }

    #[test]
    fn files_are_shared_by_path_whatever_the_url() {
        check("https://git.example/a.git apps/shop", "https://git.example/a apps/blog", false);
        check("https://git.example/a.git apps/shop", "https://git.example/b apps/shop", false);
        check("https://git.example/a.git apps/shop", "https://GIT.example/a/ apps/shop", true);
        check("https://git.example/a.git apps/shop", "git@git.example:a.git apps/shop", true);
        check("ssh://git@git.example/a apps/shop", "https://git.example/a apps/shop", true);
        check("https://git.example/a apps/shop", "https://git.example/a apps/shop-2", false);
        check("https://git.example/a apps/shop", "https://git.example/a apps/shop/eu", true);
        check("https://git.example/a apps/shop", "https://git.example/a apps", true);
        check("https://git.example/a apps/shop", "https://git.example/a apps!", false);
        check("https://git.example/a apps/shop!", "https://git.example/a apps/shop!", true);
        check("https://git.example/a apps/shop", "https://git.example/a ", true);
    }
}
