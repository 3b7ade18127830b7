//! Every reason why Git or its server says no to a revert, in words, with what a person can do about it.

use serde::{Deserialize, Serialize};

use super::facts::Revision;

/// Why a revert must not or cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Refusal {
    /// The application follows a tag or a commit.
    #[error("`{target_revision}` is not a branch: there is nothing to push to")]
    NotABranch {
        /// What it follows.
        target_revision: String,
    },
    /// Last good is not an ancestor of bad.
    #[error("last good {good} is not an ancestor of bad {bad}")]
    GoodNotAncestor {
        /// Last good.
        good: Revision,
        /// Bad.
        bad: Revision,
    },
    /// Bad is no longer on the branch.
    #[error("bad {bad} is not on branch `{branch}` any more: its history was rewritten")]
    BadNotOnBranch {
        /// Bad.
        bad: Revision,
        /// The branch.
        branch: String,
    },
    /// The history at hand is incomplete there.
    #[error("the history is cut off at {at}: a revert from a shallow boundary would delete files")]
    Shallow {
        /// The commit whose parents are missing.
        at: Revision,
    },
    /// No commit before bad holds anything else.
    #[error("no commit before {bad} has other content of the application: there is nothing to go back to")]
    NoOtherContent {
        /// Bad.
        bad: Revision,
    },
    /// Nothing in the footprint differs between last good and bad.
    #[error("no commit between last good {good} and bad {bad} changed the application's files")]
    NothingToRevert {
        /// Last good.
        good: Revision,
        /// Bad.
        bad: Revision,
    },
    /// The branch has none of the application's files any more, though bad had.
    #[error(
        "none of the application's files is on branch `{branch}` any more: they were moved or removed since"
    )]
    Gone {
        /// The branch.
        branch: String,
    },
    /// The revert would touch what the policy says must never be reverted.
    #[error("the revert would touch `{file}`, and {rule} must never be reverted")]
    NeverRevert {
        /// What says so: a path or a kind.
        rule: String,
        /// The file.
        file: String,
    },
    /// The revert would undo what a commit says must not be undone.
    #[error(
        "{commit}, which changed `{file}`, says by its trailer `Lastgood: skip` that it must not be reverted"
    )]
    Skipped {
        /// The commit.
        commit: Revision,
        /// The file.
        file: String,
    },
    /// The planned commit would change a file outside the footprint: a fault of ours.
    #[error("the planned revert would change `{file}`, which is not in the footprint; please report this")]
    OutsideFootprint {
        /// The file.
        file: String,
    },
    /// The bad revision is a revert that lastgood made.
    #[error("{bad} is a rollback made by lastgood, and a rollback is never rolled back")]
    BadIsARollback {
        /// The revert commit.
        bad: Revision,
    },
    /// The bad content is what was rolled back before.
    #[error("the content of {bad} was rolled back before, and came back")]
    ContentReturned {
        /// Bad.
        bad: Revision,
    },
    /// The credentials may not push.
    #[error("not authorised to push to `{repo_url}`: {message}")]
    NotAuthorised {
        /// The repository.
        repo_url: String,
        /// The server's words.
        message: String,
    },
    /// The branch is protected: it takes changes by pull request only, or no pushes of this account.
    #[error("the branch `{branch}` is protected: {message}")]
    Protected {
        /// The branch.
        branch: String,
        /// The server's words.
        message: String,
    },
    /// The branch takes only commits whose signature the server can verify.
    #[error("the branch `{branch}` takes only signed commits: {message}")]
    SignatureRequired {
        /// The branch.
        branch: String,
        /// The server's words.
        message: String,
    },
    /// A rule or a hook of the server's refused this commit.
    #[error("a hook or rule of the server declined the push to `{branch}`: {message}")]
    HookDeclined {
        /// The branch.
        branch: String,
        /// The server's words.
        message: String,
    },
    /// The server refused, for a reason that is not recognised.
    #[error("the server declined the push to `{branch}`: {message}")]
    Declined {
        /// The branch.
        branch: String,
        /// The server's words.
        message: String,
    },
    /// Commits are to be signed, and there is no key that does.
    #[error("the revert cannot be signed, and unsigned it must not be pushed: {reason}")]
    CannotSign {
        /// What is wrong with which key.
        reason: String,
    },
    /// There can be no pull request: the forge is not known, or no token for it.
    #[error("no pull request can be opened: {reason}")]
    NoPullRequest {
        /// Why not, and what to do.
        reason: String,
    },
    /// A repository of a kind that cannot be handled.
    #[error("the repository cannot be handled: {reason}")]
    Unsupported {
        /// Why.
        reason: String,
    },
}

impl Refusal {
    /// What a person can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::ContentReturned { .. } => {
                "Find who or what brings the change back (an image updater, a pipeline) and stop it."
            }
            Self::BadIsARollback { .. } | Self::NothingToRevert { .. } => {
                "Look for a cause outside of the application's files."
            }
            Self::Protected { .. } => "Revert by a pull request; then let the account push to the branch.",
            Self::SignatureRequired { .. } => {
                "Revert by hand; then give lastgood a signing key that the server knows."
            }
            Self::HookDeclined { .. } => {
                "Revert by hand as the server's rule wants it; then let lastgood's commits pass that rule."
            }
            Self::NoPullRequest { .. } => "Revert by hand; then give lastgood a token for the forge.",
            Self::NotAuthorised { .. } => {
                "Revert by hand; then give lastgood credentials that may push (a Secret of type `repository-write`)."
            }
            Self::NotABranch { .. }
            | Self::GoodNotAncestor { .. }
            | Self::BadNotOnBranch { .. }
            | Self::Shallow { .. }
            | Self::Gone { .. }
            | Self::NeverRevert { .. }
            | Self::Skipped { .. }
            | Self::OutsideFootprint { .. }
            | Self::CannotSign { .. }
            | Self::NoOtherContent { .. }
            | Self::Declined { .. }
            | Self::Unsupported { .. } => "Revert by hand; then see to what stopped the push.",
        }
    }
}
