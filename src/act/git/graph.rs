//! The commits of a range, read once and kept in memory: a plan asks many questions about the same ones.

use std::collections::{HashMap, HashSet};

use git2::{ErrorCode, Odb, Oid, Repository, Sort};

use super::history::revision;
use super::plan::Stop;
use crate::engine::action::Refusal;

/// The commits after `old` up to a tip; all of history without an `old`.
pub(crate) struct Graph {
    old: Option<Oid>,
    /// Newest first; no commit before its children.
    order: Vec<Oid>,
    nodes: HashMap<Oid, Node>,
}

/// What a plan needs of a commit again and again.
pub(crate) struct Node {
    pub(crate) tree: Oid,
    pub(crate) parents: Vec<Oid>,
}

impl Graph {
    /// Reads the range, and refuses when its history is cut off.
    ///
    /// libgit2 takes a boundary commit for one without parents, and undoing that would delete everything in it.
    pub(crate) fn read(repo: &Repository, tip: Oid, old: Option<Oid>) -> Result<Self, Stop> {
        let order = match walk(repo, old.as_slice(), tip) {
            Err(e) if e.code() == ErrorCode::NotFound => {
                find_gap(repo, tip)?;
                return Err(e.into());
            }
            order => order?,
        };
        let odb = repo.odb()?;
        let mut nodes = HashMap::with_capacity(order.len());
        for id in &order {
            nodes.insert(*id, Node::read(&odb, *id)?);
        }
        // Only where something says so does libgit2 see other parents than those that are written.
        let grafted = repo.is_shallow() || repo.commondir().join("info/grafts").exists();
        for (id, node) in order.iter().filter_map(|id| nodes.get_key_value(id)) {
            // What was walked is at hand, which leaves the edges.
            let present = node.parents.iter().all(|parent| nodes.contains_key(parent) || odb.exists(*parent));
            if !present || (grafted && seen_parents(repo, *id)? != node.parents) {
                return Err(Refusal::Shallow { at: revision(*id) }.into());
            }
        }
        Ok(Self { old, order, nodes })
    }

    /// A commit of the range.
    pub(crate) fn node(&self, id: Oid) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// The commits of the range from which one descends, with itself; and whether `old` is another.
    fn ancestors(&self, of: Oid) -> (HashSet<Oid>, bool) {
        let mut reaches_old = self.old == Some(of);
        let mut seen = HashSet::new();
        let mut open = vec![of];
        while let Some(id) = open.pop() {
            let Some(node) = self.nodes.get(&id) else { continue };
            if seen.insert(id) {
                reaches_old |= node.parents.iter().any(|parent| self.old == Some(*parent));
                open.extend(&node.parents);
            }
        }
        (seen, reaches_old)
    }

    /// The commits after all of `olds` up to `new`, newest first; none where the range does not tell.
    // Whatever lies on a way between two commits of the range is in the range itself.
    pub(crate) fn between(&self, olds: &[Oid], new: Oid) -> Option<Vec<Oid>> {
        if !self.nodes.contains_key(&new) {
            return None;
        }
        let (mut wanted, _) = self.ancestors(new);
        let mut whole = self.old.is_none();
        for old in olds {
            let (hidden, reaches_old) = self.ancestors(*old);
            whole |= reaches_old;
            wanted.retain(|id| !hidden.contains(id));
        }
        whole.then(|| self.order.iter().copied().filter(|id| wanted.contains(id)).collect())
    }

    /// Whether `descendant` is `ancestor` or comes after it; none where the range does not tell.
    pub(crate) fn descends(&self, descendant: Oid, ancestor: Oid) -> Option<bool> {
        let is_old = self.old == Some(ancestor);
        if !self.nodes.contains_key(&descendant) || !(is_old || self.nodes.contains_key(&ancestor)) {
            return None;
        }
        let (ancestors, reaches_old) = self.ancestors(descendant);
        Some(if is_old { reaches_old } else { ancestors.contains(&ancestor) })
    }
}

impl Node {
    /// Reads the header alone: libgit2 would parse all of the commit, and keep that.
    pub(crate) fn read(odb: &Odb<'_>, id: Oid) -> Result<Self, git2::Error> {
        let object = odb.read(id)?;
        let mut lines = object.data().split(|b| *b == b'\n');
        let oid = |hex: &[u8]| std::str::from_utf8(hex).ok().and_then(|hex| Oid::from_str(hex.trim()).ok());
        let tree = lines.next().and_then(|line| oid(line.strip_prefix(b"tree ")?));
        let tree = tree.ok_or_else(|| git2::Error::from_str(&format!("{id} is not a commit")))?;
        let parents = lines.map_while(|line| oid(line.strip_prefix(b"parent ")?)).collect();
        Ok(Self { tree, parents })
    }
}

/// The parents as libgit2 sees them.
fn seen_parents(repo: &Repository, id: Oid) -> Result<Vec<Oid>, git2::Error> {
    Ok(repo.find_commit(id)?.parent_ids().collect())
}

/// Refuses a commit whose parents are not all at hand and seen.
pub(crate) fn has_parents(repo: &Repository, id: Oid) -> Result<(), Stop> {
    let odb = repo.odb()?;
    let written = Node::read(&odb, id)?.parents;
    if written.iter().all(|parent| odb.exists(*parent)) && written == seen_parents(repo, id)? {
        Ok(())
    } else {
        Err(Refusal::Shallow { at: revision(id) }.into())
    }
}

/// Names the commit whose parents are missing, walking everything: libgit2's own walk only says that it failed.
fn find_gap(repo: &Repository, tip: Oid) -> Result<(), Stop> {
    let mut seen = HashSet::from([tip]);
    let mut open = vec![tip];
    while let Some(id) = open.pop() {
        has_parents(repo, id)?;
        open.extend(seen_parents(repo, id)?.into_iter().filter(|parent| seen.insert(*parent)));
    }
    Ok(())
}

/// The commits after all of `hidden` up to `tip`, newest first.
pub(crate) fn walk(repo: &Repository, hidden: &[Oid], tip: Oid) -> Result<Vec<Oid>, git2::Error> {
    let mut walk = repo.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
    walk.push(tip)?;
    for commit in hidden {
        walk.hide(*commit)?;
    }
    walk.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use git2::{Signature, Time};

    use super::*;

    /// A history of 24 commits, each on one, two or three of those before it; the clocks of some went wrong.
    fn history(repo: &Repository, mut seed: u64) -> Vec<Oid> {
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(seed >> 33).unwrap() % below
        };
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let mut ids: Vec<Oid> = Vec::new();
        for number in 0..24 {
            let seconds = if random(6) == 0 { 500 } else { 1000 + 10 * number };
            let author = Signature::new("Ann", "ann@example.org", &Time::new(seconds, 0)).unwrap();
            let mut parents = BTreeSet::new();
            for _ in 0..=random(3) {
                let newest = ids.len().saturating_sub(random(6) + 1);
                parents.extend(ids.get(newest));
            }
            let parents: Vec<_> = parents.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
            let parents: Vec<_> = parents.iter().collect();
            let message = format!("{number}");
            ids.push(repo.commit(None, &author, &author, &message, &tree, &parents).unwrap());
        }
        ids
    }

    /// The ancestors of a commit and itself, by what each commit says.
    fn truth(repo: &Repository, of: Oid) -> BTreeSet<Oid> {
        let mut seen = BTreeSet::new();
        let mut open = vec![of];
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(repo.find_commit(id).unwrap().parent_ids());
            }
        }
        seen
    }

    #[test]
    fn a_range_in_memory_answers_as_the_repository_does() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path()).unwrap();
        let (mut told, mut not_told) = (0, 0);
        for seed in 0..40 {
            let ids = history(&repo, seed);
            let (tip, base) = (ids[23], ids[usize::try_from(seed).unwrap() % 12]);
            let graph = Graph::read(&repo, tip, Some(base)).unwrap();
            for new in &ids {
                let ancestors = truth(&repo, *new);
                for old in &ids {
                    let known = graph.descends(*new, *old);
                    assert!(
                        known.is_none_or(|known| known == ancestors.contains(old)),
                        "{seed}: {new} {old}"
                    );
                    let Some(found) = graph.between(&[*old], *new) else {
                        not_told += 1;
                        continue;
                    };
                    told += 1;
                    let expected: BTreeSet<_> = &ancestors - &truth(&repo, *old);
                    assert_eq!(
                        found.iter().copied().collect::<BTreeSet<_>>(),
                        expected,
                        "{seed}: {old} to {new}"
                    );
                    for (at, id) in found.iter().enumerate() {
                        let parents: Vec<_> = repo.find_commit(*id).unwrap().parent_ids().collect();
                        assert!(!found[..at].iter().any(|newer| parents.contains(newer)), "{seed}: order");
                    }
                }
            }
        }
        assert!(told > 2000 && not_told > 2000, "{told} {not_told}");
    }
}
