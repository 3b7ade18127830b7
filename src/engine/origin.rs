//! Where an Application's own specification comes from.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::facts::{AppKey, ApplicationFacts, Revision, SourceKind};

/// An object that defines applications.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// An Application.
    Application(AppKey),
    /// An `ApplicationSet`.
    ApplicationSet(AppKey),
}

impl Origin {
    /// The object's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Application(_) => "Application",
            Self::ApplicationSet(_) => "ApplicationSet",
        }
    }

    /// The object's namespace and name.
    pub fn key(&self) -> &AppKey {
        match self {
            Self::Application(key) | Self::ApplicationSet(key) => key,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.key())
    }
}

/// What an application that defines others was synced to, where it has one source and that is in Git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    repo_url: String,
    target_revision: String,
    /// Since when it was at which revision, oldest first.
    syncs: Vec<(Timestamp, Revision)>,
}

/// The commits between which a specification was changed, as far as its parent's syncs tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenBetween {
    /// The parent's repository.
    pub repo_url: String,
    /// What the parent follows there.
    pub target_revision: String,
    /// What the parent was synced to at last good.
    pub good: Revision,
    /// What it is synced to now.
    pub bad: Revision,
}

impl Written {
    /// Of an application that defines others.
    pub fn by(parent: &ApplicationFacts) -> Option<Self> {
        let [source] = parent.sources.as_slice() else { return None };
        if parent.children.is_empty() || parent.hydrated || !matches!(source.kind, SourceKind::Git { .. }) {
            return None;
        }
        let history = parent.history.iter().map(|entry| (entry.deployed_at, &entry.revisions));
        // One that waits for its children to become healthy is in no history yet.
        let running = parent.operation.as_ref().filter(|operation| operation.is_whole());
        let running =
            running.and_then(|operation| Some((operation.started_at, operation.revisions.as_ref()?)));
        let mut syncs: Vec<(Timestamp, Revision)> = history
            .chain(running)
            .filter_map(|(at, revisions)| Some((at, revisions.single()?.clone())))
            .filter(|(_, revision)| revision.is_commit())
            .collect();
        syncs.sort_by_key(|(at, _)| *at);
        let (repo_url, target_revision) = (source.repo_url.clone(), source.target_revision.clone());
        Some(Self { repo_url, target_revision, syncs })
    }

    /// What was synced since then; none where that is not known, or nothing was.
    pub fn since(&self, good_at: Timestamp) -> Option<WrittenBetween> {
        let (_, good) = self.syncs.iter().rev().find(|(at, _)| *at <= good_at)?;
        let (_, bad) = self.syncs.last()?;
        (good != bad).then(|| WrittenBetween {
            repo_url: self.repo_url.clone(),
            target_revision: self.target_revision.clone(),
            good: good.clone(),
            bad: bad.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::{HistoryEntry, Operation, OperationPhase};
    use crate::engine::fixture::{application, at, commit, operation};

    /// `syncs` are `second revision`; the last one is running.
    fn check(syncs: &[(i64, char)], good_at: i64, expected: Option<(char, char)>) {
        let mut parent = application();
        parent.children = vec![Origin::Application(AppKey::new("argocd", "shop"))];
        let entry = |(second, digit): &(i64, char)| HistoryEntry {
            id: *second,
            revisions: commit(*digit).into(),
            started_at: None,
            deployed_at: at(*second),
            spec_digest: String::new(),
        };
        let (running, ended) = syncs.split_last().unwrap();
        parent.history = ended.iter().map(entry).collect();
        parent.operation = Some(Operation {
            revisions: Some(commit(running.1).into()),
            started_at: at(running.0),
            ..operation(OperationPhase::Running, None)
        });
        let found = Written::by(&parent).unwrap().since(at(good_at)).map(|found| (found.good, found.bad));
        assert_eq!(found, expected.map(|(good, bad)| (commit(good), commit(bad))), "{syncs:?} {good_at}");
    }

    #[test]
    fn a_change_lies_between_the_syncs_at_last_good_and_now() {
        check(&[(10, 'a'), (20, 'b'), (30, 'c')], 25, Some(('b', 'c')));
        check(&[(10, 'a'), (20, 'b'), (30, 'c')], 20, Some(('b', 'c')));
        check(&[(10, 'a'), (20, 'b'), (30, 'c')], 19, Some(('a', 'c')));
        // Not known, and nothing synced: somebody changed the object itself.
        check(&[(10, 'a'), (20, 'b')], 9, None);
        check(&[(10, 'a'), (20, 'b')], 20, None);
        check(&[(10, 'a'), (20, 'a')], 10, None);
    }

    #[test]
    fn only_plain_parents_tell() {
        assert_eq!(Written::by(&application()), None);
        let mut parent = application();
        parent.children = vec![Origin::Application(AppKey::new("argocd", "shop"))];
        assert!(Written::by(&parent).is_some());
        parent.hydrated = true;
        assert_eq!(Written::by(&parent), None);
    }
}
