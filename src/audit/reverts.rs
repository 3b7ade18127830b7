//! Whether the reverts on the branches and the ledger agree: each vouches for the other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use super::claim::{Claim, Named, Part};
use super::finding::{Code, Finding};
use super::history::signature;
use super::leaf::Leaf;
use crate::act::git::inspect::Commit;
use crate::act::git::message::{TRAILER_APPLICATION, TRAILER_BAD, TRAILER_CLUSTER, TRAILER_ROLLBACK};

/// The trailer of a revert: the hash of the record of its intent.
pub const TRAILER_RECORD: &str = "Lastgood-Record";

/// What has to be read of a repository.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The branches that reverts were pushed to.
    pub branches: BTreeSet<String>,
    /// The commits that should be on one of these branches, with it.
    pub reverts: BTreeSet<(String, String)>,
    /// The commits that records name.
    pub commits: BTreeSet<String>,
}

/// What a repository holds of what was wanted.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The commits that are there.
    pub commits: HashMap<String, Commit>,
    /// The reverts that are on their branch, with it.
    pub on_branch: HashSet<(String, String)>,
    /// The branches that are there, each with the commits on it that say that they are a rollback.
    pub branches: BTreeMap<String, Vec<Commit>>,
}

/// What came of comparing.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The reverts that have their records.
    pub reverts: usize,
    /// Reverts from before the ledger began.
    pub older: usize,
    /// Reverts of clusters whose ledger was not read.
    pub others: usize,
    /// Records of reverts whose commits this version cannot read.
    pub unread: Vec<String>,
}

/// The commits that records name, by the repository.
pub fn wanted(leaves: &[Leaf], since: Option<Timestamp>) -> BTreeMap<String, Wanted> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for (_, part, _) in pushed(leaves, since) {
        let repo = wanted.entry(part.repo_url.clone()).or_default();
        repo.branches.insert(part.branch.clone());
        repo.reverts.insert((part.branch.clone(), part.revert.clone()));
        repo.commits.extend([part.revert.clone(), part.bad.clone()]);
        repo.commits.extend(part.culprits.iter().map(|culprit| culprit.revision.clone()));
    }
    wanted
}

/// The reverts that records say were pushed, and whether they were there already.
fn pushed(leaves: &[Leaf], since: Option<Timestamp>) -> impl Iterator<Item = (&Leaf, &Part, bool)> {
    let newer = leaves.iter().filter(move |leaf| since.is_none_or(|since| since <= leaf.at));
    newer.flat_map(|leaf| {
        let (parts, already) = match leaf.claim.as_deref() {
            Some(Claim::Pushed { parts: Some(parts), already, .. }) => (parts.as_slice(), *already),
            _ => (&[][..], false),
        };
        parts.iter().map(move |part| (leaf, part, already))
    })
}

/// Compares the records of all clusters with what the repositories hold. `leaves` are in the order of their chains.
pub fn compare(leaves: &[Leaf], since: Option<Timestamp>, observed: &BTreeMap<String, Observed>) -> Compared {
    let mut compared = Compared::default();
    for leaf in leaves {
        if matches!(leaf.claim.as_deref(), Some(Claim::Pushed { parts: None, .. })) {
            compared.unread.push(leaf.path.clone());
        }
    }
    for (leaf, part, already) in pushed(leaves, since) {
        if let Some(repo) = observed.get(&part.repo_url) {
            revert(leaf, part, already, repo, &mut compared.findings);
        }
    }
    let ledger = Ledger::of(leaves);
    let mut seen = HashSet::new();
    for commit in observed.values().flat_map(|repo| repo.branches.values().flatten()) {
        if seen.insert(commit.id.as_str()) {
            ledger.check(commit, &mut compared);
        }
    }
    compared
}

/// Compares a revert with its record.
fn revert(leaf: &Leaf, part: &Part, already: bool, repo: &Observed, findings: &mut Vec<Finding>) {
    let Part { repo_url, branch, revert: id, .. } = part;
    let Some(commit) = repo.commits.get(id) else {
        let message = format!("{} says that it was pushed to `{branch}` of {repo_url}", leaf.path);
        findings.push(Finding::on_commit(Code::CommitMissing, id, message));
        return;
    };
    if !repo.on_branch.contains(&(branch.clone(), id.clone())) {
        let message = format!("{} says that it is on `{branch}` of {repo_url}", leaf.path);
        findings.push(Finding::on_commit(Code::CommitOffBranch, id, message));
    }
    let mut differs = |what: String| {
        let message = format!("{}; {} says otherwise", what, leaf.path);
        findings.push(Finding::on_commit(Code::CommitDiffers, id, message));
    };
    if let Some(what) = other_files(part, commit) {
        differs(what);
    }
    let rollback = match leaf.claim.as_deref() {
        Some(Claim::Pushed { rollback, .. }) => rollback.as_str(),
        _ => "",
    };
    let is_ours = !already || commit.trailer(TRAILER_ROLLBACK) == Some(rollback);
    if is_ours {
        if commit.parents.len() != 1 {
            differs(format!("it has {} parents", commit.parents.len()));
        }
        let application = leaf.application.as_deref().unwrap_or_default();
        for (key, expected) in [
            (TRAILER_ROLLBACK, rollback),
            (TRAILER_CLUSTER, leaf.cluster.as_str()),
            (TRAILER_APPLICATION, application),
            (TRAILER_BAD, part.bad.as_str()),
        ] {
            let told = commit.trailer(key).unwrap_or_default();
            if told != expected {
                differs(format!("its `{key}` is `{told}` and not `{expected}`"));
            }
        }
    }
    if !already {
        findings.extend(signature(commit));
    }
    for (id, named) in
        [(&part.bad, None)].into_iter().chain(part.culprits.iter().map(|c| (&c.revision, Some(c))))
    {
        match repo.commits.get(id) {
            None => {
                let message = format!("{} names it in {repo_url}", leaf.path);
                findings.push(Finding::on_commit(Code::CommitMissing, id, message));
            }
            Some(commit) => findings.extend(named.and_then(|named| other_commit(leaf, named, commit))),
        }
    }
}

/// What the files of a revert are, if they are others than its record says.
fn other_files(part: &Part, commit: &Commit) -> Option<String> {
    let changed: BTreeSet<&str> = commit.changes.iter().map(|change| change.path.as_str()).collect();
    let (named, more) = match part.files.split_last() {
        Some((last, first)) => match last.strip_prefix("and ").and_then(|last| last.strip_suffix(" more")) {
            Some(more) => (first, more.parse().unwrap_or(0_usize)),
            None => (part.files.as_slice(), 0),
        },
        None => (&[][..], 0),
    };
    let missing = named.iter().find(|file| !changed.contains(file.as_str()));
    match missing {
        Some(file) => Some(format!("it does not change {file}")),
        None if changed.len() != named.len() + more => {
            Some(format!("it changes {} files and not {}", changed.len(), named.len() + more))
        }
        None => None,
    }
}

fn other_commit(leaf: &Leaf, named: &Named, commit: &Commit) -> Option<Finding> {
    let what = if commit.author != named.author {
        format!("its author is {} and not {}", commit.author, named.author)
    } else if commit.subject != named.subject {
        format!("its subject is `{}` and not `{}`", commit.subject, named.subject)
    } else if commit.authored_at != named.authored_at {
        format!("it is of {} and not of {}", commit.authored_at, named.authored_at)
    } else {
        return None;
    };
    let message = format!("{what}, as {} says", leaf.path);
    Some(Finding::on_commit(Code::CommitDiffers, &commit.id, message))
}

/// The records by what reverts say of them.
struct Ledger<'a> {
    /// When each cluster's chain begins.
    begins: HashMap<&'a str, Timestamp>,
    /// The rollback of each intent, by the record's hash.
    intents: HashMap<&'a str, &'a str>,
    /// The commits that records say were pushed.
    pushed: HashSet<&'a str>,
    /// The rollbacks that it knows.
    rollbacks: HashSet<&'a str>,
}

impl<'a> Ledger<'a> {
    fn of(leaves: &'a [Leaf]) -> Self {
        let mut ledger = Self {
            begins: HashMap::new(),
            intents: HashMap::new(),
            pushed: HashSet::new(),
            rollbacks: HashSet::new(),
        };
        for leaf in leaves {
            let begin = ledger.begins.entry(&leaf.cluster).or_insert(leaf.at);
            *begin = leaf.at.min(*begin);
            match leaf.claim.as_deref() {
                Some(Claim::Intended { rollback, record }) => {
                    ledger.intents.insert(record.as_str(), rollback);
                    ledger.rollbacks.insert(rollback);
                }
                Some(Claim::Pushed { rollback, parts, .. }) => {
                    let parts = parts.iter().flatten();
                    ledger.pushed.extend(parts.map(|part| part.revert.as_str()));
                    ledger.rollbacks.insert(rollback);
                }
                None => {}
            }
        }
        ledger
    }

    /// Looks for the records of a commit that says that it is a rollback.
    fn check(&self, commit: &Commit, compared: &mut Compared) {
        // Without a cluster it is a person's, of `lastgood revert`, which has no ledger.
        let Some(cluster) = commit.trailer(TRAILER_CLUSTER) else { return };
        let rollback = commit.trailer(TRAILER_ROLLBACK).unwrap_or_default();
        let Some(begin) = self.begins.get(cluster) else {
            compared.others += 1;
            return;
        };
        let record = commit.trailer(TRAILER_RECORD);
        let is_known = self.rollbacks.contains(rollback) || self.pushed.contains(commit.id.as_str());
        if record.is_none() && !is_known && commit.committed_at < *begin {
            compared.older += 1;
            return;
        }
        let before = compared.findings.len();
        match record.map(|record| (record, self.intents.get(record))) {
            Some((_, Some(known))) if *known == rollback => {}
            Some((record, Some(known))) => {
                let message =
                    format!("it names {record}, which is of the rollback {known} and not of {rollback}");
                compared.findings.push(Finding::on_commit(Code::RecordUnknown, &commit.id, message));
            }
            Some((record, None)) => {
                let message = format!("it names {record}, and no record of cluster {cluster} has this hash");
                compared.findings.push(Finding::on_commit(Code::RecordUnknown, &commit.id, message));
            }
            None => {
                let message =
                    format!("it says that it is the rollback {rollback}, without a `{TRAILER_RECORD}`");
                compared.findings.push(Finding::on_commit(Code::NoRecordTrailer, &commit.id, message));
            }
        }
        if !self.pushed.contains(commit.id.as_str()) {
            let message = format!("it says that it is the rollback {rollback} of cluster {cluster}");
            compared.findings.push(Finding::on_commit(Code::RevertUnrecorded, &commit.id, message));
        }
        compared.reverts += usize::from(compared.findings.len() == before);
    }
}
