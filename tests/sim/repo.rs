//! The Git repository: one branch, one application's folder. A commit's content says how it behaves when it is live.

use jiff::Timestamp;
use lastgood::engine::action::{
    Culprit, Refusal, RelateOrder, Relation, RevertOrder, RevertOutcome, RevertPart, RevertRecord,
    RevertedPart, Standing, Touched,
};
use lastgood::engine::facts::Revision;
use lastgood::engine::policy::OnNewerChange;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    /// Pods of it crash.
    Crashes,
    /// Its error rate is high.
    Errors,
    /// Its sync fails.
    FailsToSync,
}

/// What the application's folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub id: u32,
    pub behaviour: Behaviour,
}

pub struct Commit {
    pub content: Content,
    /// The rollback that made it, with the bad revision.
    pub rollback: Option<(String, Revision)>,
}

#[derive(Default)]
pub struct Repo {
    pub commits: Vec<Commit>,
}

impl Repo {
    pub fn revision(index: usize) -> Revision {
        Revision::new(format!("{:040x}", index + 0x1000))
    }

    pub fn index(revision: &Revision) -> usize {
        usize::from_str_radix(revision.as_str(), 16).unwrap() - 0x1000
    }

    pub fn tip(&self) -> usize {
        self.commits.len() - 1
    }

    pub fn content(&self, revision: &Revision) -> Content {
        self.commits[Self::index(revision)].content
    }

    pub fn push(&mut self, content: Content) -> usize {
        self.commits.push(Commit { content, rollback: None });
        self.tip()
    }

    /// The revert as `act` does it: look first, plan on the tip, compare-and-swap.
    pub fn revert(&mut self, order: &RevertOrder, touches: &[Touched]) -> RevertOutcome {
        let [part] = order.parts.as_slice() else { panic!("one source has one part: {order:?}") };
        let RevertPart { good: good_revision, bad: bad_revision, .. } = part.clone();
        let (bad, good) = (Self::index(&bad_revision), Self::index(&good_revision));
        if good >= bad {
            return RevertOutcome::Refused(Refusal::GoodNotAncestor {
                good: good_revision,
                bad: bad_revision,
            });
        }
        let (at_bad, at_good) = (self.commits[bad].content, self.commits[good].content);
        let tip = self.commits[self.tip()].content;
        let newer = &self.commits[bad + 1..];
        let ours =
            newer.iter().position(|c| c.rollback.as_ref().is_some_and(|(id, _)| *id == order.rollback));
        let only_look = order.only_look;
        let reverted = |index: usize| RevertedPart {
            repo_url: part.repo_url.clone(),
            branch: "main".into(),
            sources: part.sources.clone(),
            bad: part.bad.clone(),
            revert: Self::revision(index),
            culprits: (good + 1..=bad)
                .rev()
                .map(|i| Culprit {
                    revision: Self::revision(i),
                    author: "dev <dev@example.com>".into(),
                    authored_at: Timestamp::UNIX_EPOCH,
                    subject: "change".into(),
                })
                .collect(),
            files: vec!["shop/app.yaml".into()],
            quarantine: at_bad.id.to_string(),
            notes: Vec::new(),
            attempts: 1,
        };
        let record = |index| RevertRecord { parts: vec![reverted(index)], touches: touches.to_vec() };
        if let Some(found) = ours {
            if tip == at_bad {
                return RevertOutcome::Refused(Refusal::ContentReturned { bad: bad_revision });
            }
            return RevertOutcome::AlreadyReverted(record(bad + 1 + found));
        }
        if self.commits[bad].rollback.is_some() {
            return RevertOutcome::Refused(Refusal::BadIsARollback { bad: bad_revision });
        }
        if order.quarantine.contains(&at_bad.id.to_string()) {
            return RevertOutcome::Refused(Refusal::ContentReturned { bad: bad_revision });
        }
        if at_bad == at_good {
            return RevertOutcome::Refused(Refusal::NothingToRevert {
                good: good_revision,
                bad: bad_revision,
            });
        }
        if tip == at_good {
            let done = newer.iter().rposition(|c| c.content == at_good && c.content != at_bad).unwrap();
            return RevertOutcome::AlreadyReverted(record(bad + 1 + done));
        }
        if only_look {
            return RevertOutcome::NotThere;
        }
        if tip != at_bad && order.rules.on_newer_change == OnNewerChange::Wait {
            // What changed it last, unless it is known not to help.
            let changed = |i: &usize| self.commits[*i].content != self.commits[*i - 1].content;
            let newest = (bad + 1..self.commits.len()).rev().find(changed).unwrap();
            let known = part.no_fix.as_ref().is_some_and(|no_fix| Self::index(no_fix) >= newest);
            if !known && self.commits[newest].rollback.is_none() {
                let (revision, branch) = (Self::revision(newest), "main".into());
                return RevertOutcome::Newer { revision, branch };
            }
        }
        if tip != at_bad {
            return RevertOutcome::Conflict { files: vec!["shop/app.yaml".into()] };
        }
        if touches.iter().any(|other| other.standing != Standing::Sick) {
            return RevertOutcome::Shared { with: touches.to_vec() };
        }
        let rollback = Some((order.rollback.clone(), bad_revision));
        self.commits.push(Commit { content: at_good, rollback });
        RevertOutcome::Pushed(record(self.tip()))
    }

    pub fn relate(&self, order: &RelateOrder) -> Relation {
        let (ancestor, descendant) = (Self::index(&order.ancestor), Self::index(&order.descendant));
        let content = self.commits[descendant].content;
        Relation {
            ancestor: order.ancestor.clone(),
            descendant: order.descendant.clone(),
            descends: ancestor <= descendant,
            content: content.id.to_string(),
            same_content: content == self.commits[ancestor].content,
        }
    }

    /// How many commits revert `bad` for lastgood.
    pub fn reverts_of(&self, bad: &Revision) -> usize {
        self.commits.iter().filter(|c| c.rollback.as_ref().is_some_and(|(_, b)| b == bad)).count()
    }
}
