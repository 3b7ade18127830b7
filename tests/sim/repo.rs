//! The Git repository: one branch, one application's folder. A commit's content says how it behaves when it is live.

use jiff::Timestamp;
use lastgood::engine::action::{
    Culprit, Delivery, Proposed, Refusal, RelateOrder, Relation, RevertOrder, RevertOutcome, RevertPart,
    RevertRecord, RevertedPart, Standing, Touched,
};
use lastgood::engine::facts::Revision;
use lastgood::engine::forge::{ProposedPart, PullRequest, PullRequestState, WithdrawOrder};
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

/// A pull request of the repository's forge.
pub struct Pull {
    pub number: u64,
    rollback: String,
    bad: Revision,
    content: Content,
    pub state: PullRequestState,
}

impl Pull {
    fn shown(&self) -> PullRequest {
        let url = format!("https://git.example.com/shop/pulls/{}", self.number);
        PullRequest { number: self.number, url, state: self.state.clone() }
    }
}

#[derive(Default)]
pub struct Repo {
    pub commits: Vec<Commit>,
    pub pulls: Vec<Pull>,
    /// Whether the branch takes no pushes.
    pub protected: bool,
}

impl Repo {
    pub fn revision(index: usize) -> Revision {
        // Told apart by their beginning, as Git's are: a rollback is named by the first twelve digits.
        Revision::new(format!("{:08x}{:032x}", index + 0x1000, 0))
    }

    pub fn index(revision: &Revision) -> usize {
        usize::from_str_radix(&revision.as_str()[..8], 16).unwrap() - 0x1000
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
            definition: part.definition.clone(),
            bad: part.bad.clone(),
            revert: Self::revision(index),
            culprits: (good + 1..=bad)
                .rev()
                .map(|i| Culprit {
                    revision: Self::revision(i),
                    author: "dev <dev@example.com>".into(),
                    authored_at: Timestamp::UNIX_EPOCH,
                    committer: None,
                    committed_at: None,
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
        if matches!(order.mode, Delivery::PullRequest { .. }) {
            let record = RevertRecord { parts: vec![reverted(good)], touches: touches.to_vec() };
            return self.propose(order, record, &bad_revision, at_good);
        }
        if self.protected {
            let (branch, message) = ("main".into(), "pre-receive hook declined".into());
            return RevertOutcome::Refused(Refusal::Protected { branch, message });
        }
        let rollback = Some((order.rollback.clone(), bad_revision));
        self.commits.push(Commit { content: at_good, rollback });
        RevertOutcome::Pushed(record(self.tip()))
    }

    /// Opens a pull request, or finds the one that there is.
    fn propose(
        &mut self,
        order: &RevertOrder,
        record: RevertRecord,
        bad: &Revision,
        content: Content,
    ) -> RevertOutcome {
        if !self.pulls.iter().any(|pull| pull.bad == *bad) {
            let (number, rollback) = (self.pulls.len() as u64 + 1, order.rollback.clone());
            self.pulls.push(Pull {
                number,
                rollback,
                bad: bad.clone(),
                content,
                state: PullRequestState::Open,
            });
        }
        let pull = self.pulls.iter().find(|pull| pull.bad == *bad).unwrap();
        let part = ProposedPart {
            repo_url: record.parts[0].repo_url.clone(),
            base: "main".into(),
            branch: format!("lastgood/{}", pull.number),
            commit: record.parts[0].revert.clone(),
            pull_request: pull.shown(),
        };
        RevertOutcome::Proposed(Box::new(Proposed { record, parts: vec![part], remarks: Vec::new() }))
    }

    /// A person merges a pull request, if it does not conflict; a squash may lose what says whose rollback it is.
    pub fn merge(&mut self, i: usize, keeps_trailers: bool) -> bool {
        let (tip, at_bad) = (self.commits[self.tip()].content, self.content(&self.pulls[i].bad));
        let pull = &mut self.pulls[i];
        if pull.state != PullRequestState::Open || tip != at_bad {
            return false;
        }
        pull.state = PullRequestState::Merged { commit: None };
        let rollback = keeps_trailers.then(|| (pull.rollback.clone(), pull.bad.clone()));
        let content = pull.content;
        self.commits.push(Commit { content, rollback });
        true
    }

    /// Closes what is open of these pull requests.
    pub fn withdraw(&mut self, order: &WithdrawOrder) -> Vec<PullRequest> {
        let mut ended = Vec::new();
        let numbers: Vec<_> = order.parts.iter().map(|part| part.pull_request.number).collect();
        for pull in self.pulls.iter_mut().filter(|pull| numbers.contains(&pull.number)) {
            if pull.state == PullRequestState::Open {
                pull.state = PullRequestState::Closed;
            }
            ended.push(pull.shown());
        }
        ended
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
