//! Forges and pull requests: the words that rules, actions and the journal share.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::Revision;

/// What the names of side branches begin with.
pub const SIDE_BRANCHES: &str = "lastgood/";

/// A kind of forge, by the API that it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ForgeKind {
    /// github.com or GitHub Enterprise.
    GitHub,
    /// gitlab.com or one's own GitLab.
    GitLab,
    /// Gitea or Forgejo.
    Gitea,
}

/// How a repository's forge is found and spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForgeRules {
    /// Its kind; none means that the host's name tells.
    pub kind: Option<ForgeKind>,
    /// The forge's address for browsers; none means that the repository's URL tells.
    pub url: Option<String>,
    /// The Secret with a token, in Argo CD's namespace; none means the repository's own credentials.
    pub secret: Option<String>,
}

/// How a forge merges a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MergeMethod {
    /// With a merge commit, or as the project says where the forge leaves no choice.
    Merge,
    /// As one new commit.
    Squash,
    /// As the same commit on the newest one.
    Rebase,
}

/// A pull request, or a merge request as GitLab says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// Its address for browsers.
    pub url: String,
    /// What has become of it.
    pub state: PullRequestState,
}

/// What has become of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PullRequestState {
    /// It waits.
    Open,
    /// It was merged.
    Merged {
        /// The commit that the forge names for it, which may be a merge, a squashed or a rebased one.
        commit: Option<String>,
    },
    /// It was closed and not merged.
    Closed,
}

/// What pull requests are like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposalRules {
    /// Whether a push that a protected branch refuses becomes a pull request.
    pub if_protected: bool,
    /// Labels to put on it.
    pub labels: Vec<String>,
    /// Who is asked for a review: people, or teams as `organisation/team`.
    pub reviewers: Vec<String>,
    /// Whether and how the forge shall merge it by itself, once its own rules allow.
    pub auto_merge: Option<MergeMethod>,
}

impl Default for ProposalRules {
    fn default() -> Self {
        Self { if_protected: true, labels: Vec::new(), reviewers: Vec::new(), auto_merge: None }
    }
}

/// A revert in one repository that waits to be merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposedPart {
    /// The repository, as the Application writes it.
    pub repo_url: String,
    /// The branch that is to change.
    pub base: String,
    /// The side branch that holds the revert.
    pub branch: String,
    /// The revert on it.
    pub commit: Revision,
    /// The pull request.
    pub pull_request: PullRequest,
}

/// Pull requests that are needless now: to be closed if they are open, and their branches removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawOrder {
    /// The rollback that they are for.
    pub rollback: String,
    /// The `AppProject`, for Argo CD's choice of credentials.
    pub project: String,
    /// What was proposed.
    pub parts: Vec<ProposedPart>,
    /// Why, for a comment.
    pub why: String,
}

impl fmt::Display for ForgeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitHub => "GitHub",
            Self::GitLab => "GitLab",
            Self::Gitea => "Gitea",
        })
    }
}
