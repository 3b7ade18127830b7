//! Pull requests at GitHub, GitLab, Gitea and Forgejo. Each call looks first, so that it can be repeated.

mod address;
mod caller;
mod error;
mod gitea;
mod github;
mod gitlab;
pub mod proposal;

use async_trait::async_trait;

pub use error::ForgeError;
pub use proposal::Proposal;

use crate::act::git::{Access, Auth};
use crate::engine::forge::{ForgeKind, ForgeRules, MergeMethod, PullRequest, PullRequestState};
use address::Address;

/// What one forge can do; one implementation for each API.
#[async_trait]
trait Api: std::fmt::Debug + Send + Sync {
    /// The pull request from `branch` into `base`, whatever has become of it.
    async fn find(&self, base: &str, branch: &str) -> Result<Option<Seen>, ForgeError>;
    /// Opens one; none when there is one already.
    async fn open(&self, proposal: &Proposal) -> Result<Option<Seen>, ForgeError>;
    /// Puts labels on it, beside those that are there.
    async fn label(&self, number: u64, labels: &[String]) -> Result<(), ForgeError>;
    /// Asks people for a review.
    async fn ask_for_review(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError>;
    /// Has the forge merge it as soon as its own rules allow, which may be now.
    async fn merge_when_allowed(
        &self,
        seen: &Seen,
        proposal: &Proposal,
        method: MergeMethod,
    ) -> Result<(), ForgeError>;
    /// Writes a comment.
    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError>;
    /// Closes it without merging.
    async fn close(&self, number: u64) -> Result<(), ForgeError>;
    /// Deletes a branch; one that is not there is deleted.
    async fn delete_branch(&self, branch: &str) -> Result<(), ForgeError>;
}

/// A pull request as a forge shows it.
#[derive(Clone, Debug)]
struct Seen {
    pull_request: PullRequest,
    /// The newest commit of its branch.
    head: Option<String>,
    /// What GraphQL knows it by.
    node: Option<String>,
    /// Whether the forge says that it will merge it by itself.
    merges_itself: bool,
}

impl Seen {
    /// The one that counts among several for one branch: what is merged is done, what is open may be, and of the same the
    /// first, which is the newest.
    fn foremost(all: Vec<Self>) -> Option<Self> {
        let rank = |seen: &Self| match seen.pull_request.state {
            PullRequestState::Merged { .. } => 0,
            PullRequestState::Open => 1,
            PullRequestState::Closed => 2,
        };
        all.into_iter().min_by_key(rank)
    }

    fn is_open(&self) -> bool {
        self.pull_request.state == PullRequestState::Open
    }
}

/// A repository's forge.
#[derive(Debug)]
pub struct Forge {
    api: Box<dyn Api>,
}

/// A pull request that was opened, adopted or looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tended {
    /// It.
    pub pull_request: PullRequest,
    /// Whether it was opened now.
    pub opened: bool,
    /// What was asked for and did not work; none of it keeps the pull request from being merged.
    pub remarks: Vec<String>,
}

/// The page of a repository at its forge: the URL whose credentials the forge's API is called with.
pub fn page(repo_url: &str, rules: &ForgeRules) -> Result<String, ForgeError> {
    Address::of(repo_url, rules).map(|address| address.page)
}

impl Forge {
    /// The forge of a repository; `access` is that of its [`page`].
    pub fn new(repo_url: &str, rules: &ForgeRules, access: &Access) -> Result<Self, ForgeError> {
        let address = Address::of(repo_url, rules)?;
        if matches!(access.auth, Auth::None | Auth::SshKey { .. }) {
            let reason = format!(
                "no token is known for `{}`; name a Secret with one in the policy under `git.forge.secret`",
                address.page
            );
            return Err(ForgeError::unusable(repo_url, reason));
        }
        let api: Box<dyn Api> = match address.kind {
            ForgeKind::GitHub => Box::new(github::GitHub::new(&address, access)?),
            ForgeKind::GitLab => Box::new(gitlab::GitLab::new(&address, access)?),
            ForgeKind::Gitea => Box::new(gitea::Gitea::new(&address, access)?),
        };
        Ok(Self { api })
    }

    /// Sees to it that there is one pull request, and says what has become of it.
    ///
    /// One that exists is adopted, whatever has become of it: what a person closed is not opened again. `complete` says
    /// that labels and reviewers are known to be on it; whoever took one off since meant to.
    pub async fn tend(&self, proposal: &Proposal, complete: bool) -> Result<Tended, ForgeError> {
        let found = self.api.find(&proposal.base, &proposal.branch).await?;
        let (seen, opened) = match found {
            Some(seen) => (seen, false),
            None => match self.api.open(proposal).await? {
                Some(seen) => (seen, true),
                None => (self.found_after_all(proposal).await?, false),
            },
        };
        let mut remarks = Vec::new();
        if seen.is_open() && !complete {
            remarks = self.complete(seen.pull_request.number, proposal).await;
        }
        if let Some(method) = proposal.auto_merge.filter(|_| seen.is_open() && !seen.merges_itself) {
            // Not yet, as a rule: checks of a new pull request begin late, and every look asks again.
            let asked = self.api.merge_when_allowed(&seen, proposal, method).await;
            remarks.extend(asked.err().map(|error| format!("auto-merge is not set: {error}")));
        }
        Ok(Tended { pull_request: seen.pull_request, opened, remarks })
    }

    /// Somebody else opened it between our look and our try.
    async fn found_after_all(&self, proposal: &Proposal) -> Result<Seen, ForgeError> {
        let found = self.api.find(&proposal.base, &proposal.branch).await?;
        found.ok_or_else(|| {
            let message = format!("a pull request of `{}` exists, and yet is not found", proposal.branch);
            ForgeError::Strange { forge: "the forge".to_owned(), message }
        })
    }

    async fn complete(&self, number: u64, proposal: &Proposal) -> Vec<String> {
        let mut remarks = Vec::new();
        if !proposal.labels.is_empty()
            && let Err(error) = self.api.label(number, &proposal.labels).await
        {
            remarks.push(format!("not all labels are set: {error}"));
        }
        if !proposal.reviewers.is_empty()
            && let Err(error) = self.api.ask_for_review(number, &proposal.reviewers).await
        {
            remarks.push(format!("not all reviewers are asked: {error}"));
        }
        remarks
    }

    /// Closes the pull request if it is open, saying why, and removes its branch unless somebody has changed it.
    pub async fn withdraw(&self, proposal: &Proposal, why: &str) -> Result<Option<PullRequest>, ForgeError> {
        let Some(mut seen) = self.api.find(&proposal.base, &proposal.branch).await? else {
            return Ok(None);
        };
        if seen.is_open() {
            let number = seen.pull_request.number;
            // In this order: a comment that is written twice does no harm, one that is missing would.
            self.api.comment(number, why).await?;
            self.api.close(number).await?;
            seen.pull_request.state = PullRequestState::Closed;
        }
        self.tidy_up(proposal, &seen).await?;
        Ok(Some(seen.pull_request))
    }

    /// Removes the side branch of a pull request that is merged or closed, unless somebody has changed it.
    pub async fn clean(&self, proposal: &Proposal) -> Result<(), ForgeError> {
        match self.api.find(&proposal.base, &proposal.branch).await? {
            Some(seen) if !seen.is_open() => self.tidy_up(proposal, &seen).await,
            _ => Ok(()),
        }
    }

    async fn tidy_up(&self, proposal: &Proposal, seen: &Seen) -> Result<(), ForgeError> {
        if seen.head.as_deref() == Some(proposal.commit.as_str()) {
            self.api.delete_branch(&proposal.branch).await?;
        }
        Ok(())
    }
}
