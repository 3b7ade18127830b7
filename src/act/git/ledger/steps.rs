//! Reading on from a sequence number: what each commit added is known from its message, so only new files are read.

use std::collections::VecDeque;

use git2::Oid;

use super::super::history;
use super::copy::{Copy, End, Tip, seal};
use super::mark::Mark;
use super::name;
use crate::record::ledger::Link;

/// The commits of a branch, as far back as somebody asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    /// Oldest first, without the one that ends the branch.
    list: VecDeque<Step>,
    /// The newest commit that was looked at, whether it is a step or not.
    tip: Option<Oid>,
    /// The commit before the first step; none if that begins the branch.
    before: Option<Oid>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    commit: Oid,
    first: u64,
    last: u64,
}

impl Steps {
    /// The first number of the branch, as far as is known.
    fn first(&self) -> Option<u64> {
        self.list.front().map(|step| step.first)
    }

    fn reaches(&self, sequence: u64) -> bool {
        self.first().is_some_and(|first| first <= sequence.saturating_add(1))
    }
}

impl Copy<'_> {
    /// The links after a sequence number.
    pub(super) fn after(&self, sequence: u64, most: usize) -> Result<Vec<Link>, End> {
        let wanted = sequence.saturating_add(u64::try_from(most).unwrap_or(u64::MAX));
        // What is in the copy stays as it is: the server is only asked when that is not enough.
        let known = self.newest_known()?.filter(|tip| tip.mark.head().sequence >= wanted);
        let Some(mut tip) = known.map_or_else(|| self.look(), |tip| Ok(Some(tip)))? else {
            return Ok(Vec::new());
        };
        if tip.mark.head().sequence <= sequence {
            return Ok(Vec::new());
        }
        let mut years = vec![tip.year];
        while !self.walk(&tip, sequence)? {
            let Some(older) = self.older(tip.year)? else { break };
            years.push(older.year);
            tip = older;
        }
        let mut links = Vec::new();
        for year in years.into_iter().rev() {
            let missing = most.saturating_sub(links.len());
            if missing == 0 {
                break;
            }
            self.read_on(year, sequence, missing, &mut links)?;
        }
        Ok(links)
    }

    /// Looks at a branch's commits from the newest one back, until one begins at or before the next number; whether
    /// there is one.
    fn walk(&self, tip: &Tip, sequence: u64) -> Result<bool, End> {
        let mut all = self.ledger.steps();
        let steps = all.entry(tip.year).or_default();
        // First what is newer than at the last time, then what is older.
        let mut newer = Vec::new();
        let known = steps.tip;
        let mut next = if known == Some(tip.commit) { None } else { Some(tip.commit) };
        while let Some(commit) = next.filter(|commit| Some(*commit) != known) {
            if known.is_none()
                && newer.last().is_some_and(|step: &Step| step.first <= sequence.saturating_add(1))
            {
                break;
            }
            let (step, parent) = self.step(tip.year, commit)?;
            newer.extend(step);
            next = parent;
        }
        if known.is_none() {
            steps.before = next;
        }
        steps.list.extend(newer.into_iter().rev());
        steps.tip = Some(tip.commit);
        while let Some(commit) = steps.before.filter(|_| !steps.reaches(sequence)) {
            let (step, parent) = self.step(tip.year, commit)?;
            if let Some(step) = step {
                steps.list.push_front(step);
            }
            steps.before = parent;
        }
        Ok(steps.reaches(sequence))
    }

    /// What a commit adds, and the one before it.
    fn step(&self, year: i16, commit: Oid) -> Result<(Option<Step>, Option<Oid>), End> {
        let parent = self.repo.find_commit(commit)?.parent_ids().next();
        match Mark::read(&history::message(self.repo, commit)?) {
            Some(Mark::Added { first, head }) => {
                Ok((Some(Step { commit, first, last: head.sequence }), parent))
            }
            Some(Mark::Ended { .. }) => Ok((None, parent)),
            None => {
                let why = format!("its commit {commit} was not made by lastgood: it has no trailer");
                Err(self.broken(self.branch(year), why))
            }
        }
    }

    /// The branch that this one's first record seals.
    fn older(&self, year: i16) -> Result<Option<Tip>, End> {
        let first = self.ledger.steps().get(&year).and_then(|steps| steps.list.front().copied());
        let Some(first) = first.filter(|first| first.first > 1) else { return Ok(None) };
        let read = self.between(None, first.commit)?;
        let sealed = read.first().and_then(seal).map(|seal| seal.branch);
        let older = sealed.as_ref().and_then(|branch| name::year(&self.ledger.prefix, branch));
        let Some(older) = older.filter(|older| *older < year) else {
            let path = read.first().map_or_else(|| self.branch(year), |read| read.path.clone());
            return Err(self.broken(path, "it begins a branch, and seals none that is before it"));
        };
        let known = self.known(older)?.filter(|tip| matches!(tip.mark, Mark::Ended { .. }));
        // An old year may have been put away.
        if known.is_some() { Ok(known) } else { self.fetch(older) }
    }

    /// Reads the links of a branch after a number, at most `most` of them.
    fn read_on(&self, year: i16, sequence: u64, most: usize, links: &mut Vec<Link>) -> Result<(), End> {
        let (before, to, expected) = {
            let all = self.ledger.steps();
            let Some(steps) = all.get(&year) else { return Ok(()) };
            let begin = steps.list.partition_point(|step| step.last <= sequence);
            let Some(first) = steps.list.get(begin) else { return Ok(()) };
            let from = first.first.max(sequence.saturating_add(1));
            let enough = from.saturating_add(u64::try_from(most).unwrap_or(u64::MAX)).saturating_sub(1);
            let end = steps.list.partition_point(|step| step.last < enough);
            let Some(last) = steps.list.get(end).or(steps.list.back()) else { return Ok(()) };
            let before = begin.checked_sub(1).and_then(|before| steps.list.get(before));
            (before.map(|step| step.commit).or(steps.before), last.commit, first.first..=last.last)
        };
        let read = self.between(before, to)?;
        if !read.iter().map(|read| read.link.sequence).eq(expected) {
            return Err(self.broken(self.branch(year), "its files are not those that its commits tell of"));
        }
        let new = read.into_iter().map(|read| read.link).filter(|link| link.sequence > sequence);
        links.extend(new.take(most));
        Ok(())
    }
}
