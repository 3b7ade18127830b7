//! What the repositories hold of the commits that records name.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::source::Where;
use crate::act::git::inspect::Inspected;
use crate::act::git::{Trusted, redact};
use crate::audit::reverts::{Observed, Wanted};

/// What was read, and of which repositories nothing was.
pub(super) struct Read {
    pub(super) observed: BTreeMap<String, Observed>,
    /// Those that records name, and that were not given.
    pub(super) missing: Vec<String>,
}

/// How to look.
pub(super) struct Look<'a> {
    pub(super) place: &'a Where,
    /// The repositories that were given.
    pub(super) given: Vec<String>,
    /// Branches to look at beside those that records name.
    pub(super) branches: BTreeSet<String>,
    pub(super) since: Option<Timestamp>,
    pub(super) trusted: Option<&'a Trusted>,
}

impl Look<'_> {
    /// Reads what is wanted of each repository that records name from the one of those given that it is.
    pub(super) fn read(&self, wanted: &BTreeMap<String, Wanted>) -> anyhow::Result<Read> {
        let mut observed: BTreeMap<String, Observed> = BTreeMap::new();
        let mut branches = self.branches.clone();
        branches.extend(wanted.values().flat_map(|wanted| wanted.branches.iter().cloned()));
        for given in &self.given {
            let fetched = self.place.repository(given, None, &branches)?;
            let repo = Inspected::open(&fetched.dir)?;
            let mut is_named = false;
            for (url, wanted) in wanted {
                if is(given, &repo, url, wanted)? {
                    let mut all = self.branches.clone();
                    all.extend(wanted.branches.iter().cloned());
                    all.extend(fetched.default.clone());
                    observed.insert(url.clone(), self.observe(&repo, &all, wanted)?);
                    is_named = true;
                }
            }
            if !is_named {
                let mut all = self.branches.clone();
                all.extend(fetched.default.clone());
                observed.insert(redact(given), self.observe(&repo, &all, &Wanted::default())?);
            }
        }
        let missing = wanted.keys().filter(|url| !observed.contains_key(*url)).cloned().collect();
        Ok(Read { observed, missing })
    }

    fn observe(
        &self,
        repo: &Inspected,
        branches: &BTreeSet<String>,
        wanted: &Wanted,
    ) -> anyhow::Result<Observed> {
        let mut observed = Observed::default();
        for branch in branches {
            let Some(tip) = repo.tip(branch)? else { continue };
            observed.branches.insert(branch.clone(), repo.reverts(tip, self.since, self.trusted)?);
            for (on, id) in wanted.reverts.iter().filter(|(on, _)| on == branch) {
                if repo.commit(id, None)?.is_some() && repo.is_on(tip, id)? {
                    observed.on_branch.insert((on.clone(), id.clone()));
                }
            }
        }
        for id in &wanted.commits {
            if let Some(commit) = repo.commit(id, self.trusted)? {
                observed.commits.insert(id.clone(), commit);
            }
        }
        Ok(observed)
    }
}

/// Whether two URLs name the same repository.
fn same(one: &str, other: &str) -> bool {
    let plain = |url: &str| redact(url).trim_end_matches('/').trim_end_matches(".git").to_lowercase();
    plain(one) == plain(other)
}

/// Whether the given repository is the one that records name: by its URL, by its remotes, or by what it holds.
fn is(given: &str, repo: &Inspected, url: &str, wanted: &Wanted) -> anyhow::Result<bool> {
    if same(given, url) || repo.remotes().iter().any(|remote| same(remote, url)) {
        return Ok(true);
    }
    for id in &wanted.commits {
        if repo.commit(id, None)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
