//! One append, again and again while others push first.

use git2::{FileMode, Oid};
use jiff::Timestamp;

use super::super::declined::{Declined, Reason};
use super::super::error::{Class, Failure};
use super::super::push::{self, PushOutcome};
use super::super::tree::{self, Entry};
use super::super::{Identity, commit};
use super::copy::{Copy, End, Tip};
use super::mark::Mark;
use super::name;
use crate::record::ledger::{Head, LedgerError, NewFile, Record, Seal, chain, missing};

pub(super) struct Append<'a> {
    pub(super) copy: &'a Copy<'a>,
    pub(super) identity: &'a Identity,
    pub(super) records: &'a [Record],
    pub(super) now: Timestamp,
}

impl Append<'_> {
    pub(super) fn run(&self) -> Result<Option<Head>, End> {
        let copy = self.copy;
        // What is in the copy was on the server, and the push finds out whether it still is all.
        let known = if self.records.is_empty() { None } else { copy.newest_known()? };
        let mut newest = if known.is_some() { known } else { copy.look()? };
        let mut attempts = 0;
        loop {
            let records = missing(self.records, |record| self.is_there(record, newest.as_ref()))?;
            let Some(year) = records.iter().map(|record| name::year_of(record)).max() else {
                return Ok(newest.map(|tip| tip.mark.head().clone()));
            };
            copy.in_time(attempts)?;
            attempts += 1;
            let pushed = match &newest {
                None => self.add(year, None, None, &records)?,
                Some(tip) => match &tip.mark {
                    Mark::Added { head, .. } if year <= tip.year => {
                        self.add(tip.year, Some(tip.commit), Some(head), &records)?
                    }
                    Mark::Added { head, .. } => self.end(tip, head, year)?,
                    Mark::Ended { head, next } => self.go_on(tip, head, next, &records)?,
                },
            };
            newest = match pushed {
                Some(tip) => {
                    copy.believe(&tip)?;
                    Some(tip)
                }
                None => {
                    copy.session.pause(attempts);
                    copy.look()?
                }
            };
        }
    }

    /// Whether a record is on a branch. A late one may be on that of any year since.
    fn is_there(&self, record: &Record, newest: Option<&Tip>) -> Result<bool, End> {
        let Some(newest) = newest else { return Ok(false) };
        let path = record.path();
        let since = name::year_of(record);
        let before = if since < newest.year { self.copy.years_before(newest.year)? } else { Vec::new() };
        for year in before.into_iter().filter(|year| *year >= since) {
            let known = self.copy.known(year)?.filter(|tip| matches!(tip.mark, Mark::Ended { .. }));
            let tip = if known.is_some() { known } else { self.copy.fetch(year)? };
            if let Some(tip) = tip
                && self.holds(tip.commit, &path)?
            {
                return Ok(true);
            }
        }
        self.holds(newest.commit, &path)
    }

    fn holds(&self, commit: Oid, path: &str) -> Result<bool, End> {
        let tree = self.copy.repo.find_commit(commit)?.tree_id();
        Ok(tree::entry_at(self.copy.repo, tree, path.as_bytes())?.is_some())
    }

    /// Adds records to the branch of a year; none if it moved.
    fn add(
        &self,
        year: i16,
        parent: Option<Oid>,
        head: Option<&Head>,
        records: &[&Record],
    ) -> Result<Option<Tip>, End> {
        let files = chain(head.cloned(), records.iter().copied())?;
        let Some(last) = files.last() else { return Ok(None) };
        let message = Mark::message_of(records, &last.head);
        let tree = self.write(parent, &files)?;
        self.push(year, parent, tree, &message)
    }

    /// Ends a branch since a new year has begun; nothing can be added to it after that.
    fn end(&self, tip: &Tip, head: &Head, year: i16) -> Result<Option<Tip>, End> {
        let tree = self.copy.repo.find_commit(tip.commit)?.tree_id();
        let message = Mark::message_of_end(head, &self.copy.branch(year));
        self.push(tip.year, Some(tip.commit), tree, &message)
    }

    /// Begins the branch that the last one names, with a seal on the last one before the records.
    fn go_on(&self, tip: &Tip, head: &Head, next: &str, records: &[&Record]) -> Result<Option<Tip>, End> {
        let copy = self.copy;
        let Some(year) = name::year(&copy.ledger.prefix, next).filter(|year| *year > tip.year) else {
            let why = format!("it says that it goes on in `{next}`, which is no later branch of this ledger");
            return Err(copy.broken(copy.branch(tip.year), why));
        };
        let Some(occasion) = records.first() else { return Ok(None) };
        let Head { sequence, hash } = head.clone();
        let (branch, commit) = (copy.branch(tip.year), tip.commit.to_string());
        let seal = Seal { branch, commit, sequence, hash }.record(occasion);
        let seal = seal.map_err(|e| LedgerError::Unfit { id: "ledger-sealed".into(), why: e.to_string() })?;
        let mut all = vec![&seal];
        // Records of a later year yet make it end again first.
        if records.iter().all(|record| name::year_of(record) <= year) {
            all.extend(records);
        }
        self.add(year, None, Some(head), &all)
    }

    /// Writes the tree with these files.
    fn write(&self, parent: Option<Oid>, files: &[NewFile]) -> Result<Oid, End> {
        let repo = self.copy.repo;
        let root = match parent {
            Some(parent) => repo.find_commit(parent)?.tree_id(),
            None => repo.treebuilder(None)?.write()?,
        };
        let mut entries = Vec::new();
        for file in files {
            let entry = Entry { mode: FileMode::Blob.into(), oid: repo.blob(&file.bytes)? };
            entries.push((file.path.clone().into_bytes(), Some(entry)));
        }
        tree::put_all(repo, root, &entries)?.map_err(|paths| {
            let path = paths.first().map(|path| String::from_utf8_lossy(path).into_owned());
            self.copy.broken(path.unwrap_or_default(), "a file lies where a folder of the ledger must be")
        })
    }

    /// Commits and pushes; none if the branch moved.
    fn push(&self, year: i16, parent: Option<Oid>, tree: Oid, message: &str) -> Result<Option<Tip>, End> {
        let (repo, session) = (self.copy.repo, self.copy.session);
        let commit = commit::write(repo, self.identity, message, tree, parent, self.now)?;
        let Some(mark) = Mark::read(message) else { return Ok(None) };
        let branch = self.copy.branch(year);
        match push::push(repo, session, &branch, commit, parent.unwrap_or(Oid::ZERO_SHA1)) {
            PushOutcome::Pushed => Ok(Some(Tip { year, commit, mark })),
            PushOutcome::Moved => Ok(None),
            PushOutcome::Unknown(failure) => Err(failure.into()),
            PushOutcome::NotAuthorised(message) => Err(Failure::new(Class::NotAuthorised, message).into()),
            PushOutcome::Declined(declined) => {
                // A server that lost a race refuses in words of its own; whether it was one, the branch tells.
                let there = self.copy.fetch(year)?;
                if there.map(|tip| tip.commit) != parent {
                    return Ok(None);
                }
                Err(Failure::new(Class::Other, advice(&branch, &declined)).into())
            }
        }
    }
}

/// What a person can do about a refused push.
fn advice(branch: &str, declined: &Declined) -> String {
    let what = match declined.reason {
        Reason::SignatureRequired => "sign with a key that the server knows",
        Reason::Trouble => "it is tried again",
        _ => {
            "let lastgood's account push to branches `lastgood/ledger/**`, or keep the ledger in a repository of its \
             own or in a folder"
        }
    };
    format!("the server refuses the push to `{branch}`: {}; {what}", declined.message)
}
