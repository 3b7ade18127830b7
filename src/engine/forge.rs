//! Forges and pull requests: the words that rules, actions and the journal share.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of forge, by the API that it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgeKind {
    /// github.com or GitHub Enterprise.
    GitHub,
    /// gitlab.com or one's own GitLab.
    GitLab,
    /// Gitea or Forgejo.
    Gitea,
}

/// How a repository's forge is found and spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

impl fmt::Display for ForgeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitHub => "GitHub",
            Self::GitLab => "GitLab",
            Self::Gitea => "Gitea",
        })
    }
}
