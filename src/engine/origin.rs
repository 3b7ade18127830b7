//! Where an Application's own specification comes from.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::facts::{AppKey, ApplicationFacts, HistoryEntry, Rendering, Revision, SourceKind};

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

/// An application that defines others and what it was synced to, where it has one source and that is in Git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// Which application that is.
    pub by: AppKey,
    /// Its `AppProject`.
    pub project: String,
    /// How it is rendered.
    pub rendering: Rendering,
    /// What it defines.
    pub children: Vec<Origin>,
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
    /// What it was synced to when the change was.
    pub bad: Revision,
}

impl Written {
    /// Of an application that defines others.
    pub fn by(parent: &ApplicationFacts) -> Option<Self> {
        let [source] = parent.sources.as_slice() else { return None };
        let SourceKind::Git { rendering } = &source.kind else { return None };
        if parent.children.is_empty() || parent.hydrated {
            return None;
        }
        // A child is changed while the sync runs.
        let begun = |entry: &HistoryEntry| entry.started_at.unwrap_or(entry.deployed_at);
        let history = parent.history.iter().map(|entry| (begun(entry), &entry.revisions));
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
        Some(Self {
            by: parent.app.clone(),
            project: parent.project.clone(),
            rendering: rendering.as_ref().clone(),
            children: parent.children.clone(),
            repo_url: source.repo_url.clone(),
            target_revision: source.target_revision.clone(),
            syncs,
        })
    }

    /// What was synced between the two times; none where that is not known, or nothing was.
    ///
    /// Of an older sync Argo CD may tell only when it ended, which can be after the child's own sync began. So what came
    /// first after `good_at` counts at the least.
    pub fn between(&self, good_at: Timestamp, bad_at: Timestamp) -> Option<WrittenBetween> {
        let before = self.syncs.iter().take_while(|(at, _)| *at <= good_at).count();
        let (_, good) = before.checked_sub(1).and_then(|last| self.syncs.get(last))?;
        let after = self.syncs.get(before..).unwrap_or_default();
        let (in_time, _) = after.split_at(after.partition_point(|(at, _)| *at <= bad_at));
        let changed = |(_, revision): &&(Timestamp, Revision)| revision != good;
        let (_, bad) = if in_time.iter().any(|sync| changed(&sync)) {
            in_time.last().filter(changed)?
        } else {
            after.iter().find(changed)?
        };
        Some(WrittenBetween {
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
    use crate::engine::facts::{Operation, OperationPhase};
    use crate::engine::fixture::{application, at, commit, operation};

    /// `syncs` are `second revision`; the last one is running.
    fn check(syncs: &[(i64, char)], (good_at, bad_at): (i64, i64), expected: Option<(char, char)>) {
        let mut parent = application();
        parent.children = vec![Origin::Application(AppKey::new("argocd", "shop"))];
        let entry = |(second, digit): &(i64, char)| HistoryEntry {
            id: *second,
            revisions: commit(*digit).into(),
            started_at: None,
            deployed_at: at(*second),
            initiated_by: None,
            spec_digest: String::new(),
        };
        let (running, ended) = syncs.split_last().unwrap();
        parent.history = ended.iter().map(entry).collect();
        parent.operation = Some(Operation {
            revisions: Some(commit(running.1).into()),
            started_at: at(running.0),
            ..operation(OperationPhase::Running, None)
        });
        let found = Written::by(&parent).unwrap().between(at(good_at), at(bad_at));
        let found = found.map(|found| (found.good, found.bad));
        assert_eq!(found, expected.map(|(good, bad)| (commit(good), commit(bad))), "{syncs:?} {good_at}");
    }

    #[test]
    fn a_change_lies_between_the_syncs_at_last_good_and_at_bad() {
        let syncs = [(10, 'a'), (20, 'b'), (30, 'c')];
        check(&syncs, (25, 30), Some(('b', 'c')));
        check(&syncs, (20, 35), Some(('b', 'c')));
        check(&syncs, (19, 35), Some(('a', 'c')));
        // What came after it did not bring it.
        check(&syncs, (15, 29), Some(('a', 'b')));
        // Known only by its end.
        check(&syncs, (15, 19), Some(('a', 'b')));
        check(&[(10, 'a'), (15, 'a'), (20, 'b'), (30, 'c')], (12, 19), Some(('a', 'b')));
        // Not known, and nothing synced: somebody changed the object itself.
        check(&[(10, 'a'), (20, 'b')], (9, 30), None);
        check(&[(10, 'a'), (20, 'b')], (20, 30), None);
        check(&[(10, 'a'), (20, 'a')], (10, 30), None);
        check(&[(10, 'a'), (20, 'b'), (30, 'a')], (10, 30), None);
    }

    #[test]
    fn a_sync_counts_from_its_beginning() {
        let mut parent = application();
        parent.children = vec![Origin::Application(AppKey::new("argocd", "shop"))];
        let entry = |id, digit, started: i64, ended: i64| HistoryEntry {
            id,
            revisions: commit(digit).into(),
            started_at: Some(at(started)),
            deployed_at: at(ended),
            initiated_by: None,
            spec_digest: String::new(),
        };
        parent.history = vec![entry(0, 'a', 10, 12), entry(1, 'b', 20, 500), entry(2, 'c', 600, 601)];
        let found = Written::by(&parent).unwrap().between(at(100), at(600)).unwrap();
        assert_eq!((found.good, found.bad), (commit('b'), commit('c')));
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
